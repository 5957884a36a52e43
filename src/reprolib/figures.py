"""The book's figures: one style, one color a method through a chapter, a caption and alt text on each."""

from __future__ import annotations

import base64
import colorsys
import io
from collections.abc import Iterable, Sequence
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import seaborn as sns
from IPython.display import display
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import Collection
from matplotlib.colors import to_rgba, to_rgba_array
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.text import Text
from PIL import Image

from reprolib.claims import interval

__all__ = ["band", "darken", "errorbars", "interval", "palette", "show", "use"]

DPI = 130  # sharp on a phone, small on disk
CSS_DPI = 100  # figure inches to CSS pixels: 7.2 in is the page's text width
PAPER = "#fcfcfa"
DARK_PAPER, DARK_INK = "#17181b", "#f0eee9"  # the page's own in dark mode
GREYS = ("#6b7280", "#a3a8b0", "#434955", "#c4c8ce")
ACCENT = "#d55e00"
BETWEEN = (
    "#0072b2",
    "#56b4e9",
    "#009e73",
    "#cc79a7",
    "#e69f00",
)  # Okabe and Ito: safe for color-blind readers

COLORED = {  # what holds a color of its own, and under which names
    Line2D: ("color", "markerfacecolor", "markeredgecolor"),
    Text: ("color",),
    Patch: ("facecolor", "edgecolor"),
    Collection: ("facecolor", "edgecolor"),
}


def use() -> None:
    """Set the book's style for every figure that follows."""
    sns.set_theme(
        context="notebook",
        style="ticks",
        rc={
            "axes.edgecolor": "#434955",
            "axes.facecolor": PAPER,
            "axes.grid": True,
            "axes.labelsize": 10,
            "axes.prop_cycle": plt.cycler(color=[ACCENT, *BETWEEN, *GREYS]),
            "axes.spines.right": False,
            "axes.spines.top": False,
            "axes.titlelocation": "left",
            "axes.titlesize": 10.5,
            # Or matplotlib measures all ticks again and again, to look for one in the title's way. So a number above an
            # axis that all its ticks are multiplied by would be in the way: choose other units.
            "axes.titley": 1.0,
            "figure.constrained_layout.use": True,
            "figure.facecolor": PAPER,
            "figure.figsize": (7.2, 3.2),
            "font.family": "DejaVu Sans",  # ships with matplotlib: the same picture on every machine
            "font.size": 10,
            "grid.color": "#e4e5e7",
            "grid.linewidth": 0.7,
            "legend.fontsize": 9,
            "legend.frameon": False,
            "lines.linewidth": 1.8,
            "savefig.facecolor": PAPER,
            "xtick.labelsize": 9,
            "ytick.labelsize": 9,
        },
    )


def palette(*, baseline: Sequence[str], method: str | Sequence[str], ablations: Sequence[str] = ()) -> dict[str, str]:
    """Return name -> color: greys for baselines, the accent for the paper's method, the rest in between.

    Raises:
        ValueError: a name comes twice, or there are more names than colors that can be told apart.
    """
    methods = [method] if isinstance(method, str) else list(method)
    between = [*methods[1:], *ablations]  # a paper with several variants: the first is the accent
    names = [*baseline, *methods, *ablations]
    if len(set(names)) != len(names):
        raise ValueError(f"a name comes twice in the palette: {names}.")
    if len(baseline) > len(GREYS) or len(between) > len(BETWEEN):
        raise ValueError(f"at most {len(GREYS)} baselines and {len(BETWEEN) + 1} other methods can be told apart.")
    return {
        **dict(zip(baseline, GREYS, strict=False)),
        methods[0]: ACCENT,
        **dict(zip(between, BETWEEN, strict=False)),
    }


def band(ax: Axes, x: Sequence[float], curves: Iterable[Sequence[float]], **style: Any) -> None:
    """Draw the mean of curves over seeds, and its 95% interval as a band.

    Args:
        ax: where to draw.
        x: the positions of the points.
        curves: one a seed, each with a value a point.
        style: of the mean, for `Axes.plot`.
    """
    mean, low, high = np.transpose([interval(values) for values in np.stack([*curves], axis=1)])
    [line] = ax.plot(x, mean, **style)
    ax.fill_between(x, low, high, color=line.get_color(), alpha=0.2, linewidth=0)


def errorbars(ax: Axes, x: Sequence[float], groups: Iterable[Sequence[float]], **style: Any) -> None:
    """Draw the mean of each group of values and its 95% interval.

    Args:
        ax: where to draw.
        x: the positions of the groups.
        groups: the values of each, one a seed.
        style: for `Axes.errorbar`.
    """
    mean, low, high = np.transpose([interval(group) for group in groups])
    ax.errorbar(x, mean, (mean - low, high - mean), **style)


def show(fig: Figure, *, caption: str, alt: str, thumbnail: bool = False) -> None:
    """Display `fig` with its caption, and close it.

    Args:
        fig: the figure.
        caption: one or two sentences that say what to see; Markdown and maths are allowed.
        alt: what a person who cannot see the figure should know.
        thumbnail: this figure stands for the chapter in the gallery.

    Raises:
        ValueError: no caption or no alt text.
    """
    if not caption.strip() or not alt.strip():
        raise ValueError("every figure needs a caption and an alt text.")
    canvas = FigureCanvasAgg(fig)  # one for both pictures, since it keeps the sizes of texts
    fig.set_dpi(DPI)
    light = _png(canvas)
    fig.set_layout_engine("none")  # the layout of the light one stays
    darken(fig)
    ours = {"caption": caption, "thumbnail": thumbnail, "dark": _png(canvas)}
    plt.close(fig)
    width, height = (round(side * CSS_DPI) for side in fig.get_size_inches())
    display(
        {"image/png": light, "text/plain": f"Figure: {alt}"},
        metadata={"image/png": {"alt": alt, "width": width, "height": height}, "reprolib": ours},
        raw=True,
    )
    display(
        {"text/markdown": f"*{caption}*", "text/plain": caption},
        metadata={"reprolib": {"role": "caption"}},
        raw=True,
    )


def _png(canvas: FigureCanvasAgg) -> str:
    """Draw the figure and return it as PNG, in base64."""
    canvas.draw()  # fig.savefig draws twice, and packs a PNG that would be unpacked here
    # 256 colors are enough for lines and bars, and a third of the bytes. Octrees keep a color that few pixels have.
    picture = Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    picture = picture.quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    picture.save(buffer, format="png")
    return base64.b64encode(buffer.getvalue()).decode()


def darken(fig: Figure) -> None:
    """Recolor a finished figure for a dark page: paper and ink change places, and colors keep their hue.

    What a color map has drawn keeps its colors, and so do text and lines that were put on a picture.
    """
    pictured = [ax for ax in fig.axes if ax.images or any(c.get_array() is not None for c in ax.collections)]
    on_pictures = {artist for ax in pictured for artist in (*ax.texts, *ax.lines)}
    for artist in {*fig.findobj()} - on_pictures:  # findobj finds some twice
        for kind, names in COLORED.items():
            if isinstance(artist, kind) and getattr(artist, "get_array", lambda: None)() is None:
                # All are read before one is set: a marker's may follow the line's. "none" has no color.
                before = {name: to_rgba_array(getattr(artist, f"get_{name}")()) for name in names}
                for name, colors in before.items():
                    if len(colors):
                        new = [_dark(color) for color in colors]
                        getattr(artist, f"set_{name}")(new if kind is Collection else new[0])


def _dark(color: Sequence[float]) -> tuple[float, float, float, float]:
    """Return the color, red to alpha in [0, 1], that stands on dark paper for one that stands on light paper."""
    *rgb, alpha = color
    hue, lightness, saturation = colorsys.rgb_to_hls(*rgb)
    if saturation * min(lightness, 1 - lightness) < 0.1:  # a grey
        paper, ink = (np.array(to_rgba(end)[:3]) for end in (DARK_PAPER, DARK_INK))
        rgb = paper + (ink - paper) * (1 - lightness)
    else:
        rgb = colorsys.hls_to_rgb(hue, max(lightness, 0.42), saturation)
    return (*rgb, alpha)
