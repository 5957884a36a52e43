"""The book's figures: one style, one color a method through a chapter, a caption and alt text on each."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import matplotlib.pyplot as plt
import seaborn as sns
from IPython.display import display
from matplotlib.figure import Figure
from PIL import Image

from reprolib.claims import interval

__all__ = ["interval", "palette", "show", "use"]

DPI = 130  # sharp on a phone, small on disk
CSS_DPI = 100  # figure inches to CSS pixels: 7.2 in is the page's text width
PAPER = "#fcfcfa"  # a light card of its own keeps a figure readable on a dark page
GREYS = ("#6b7280", "#a3a8b0", "#434955", "#c4c8ce")
ACCENT = "#d55e00"
BETWEEN = (
    "#0072b2",
    "#56b4e9",
    "#009e73",
    "#cc79a7",
    "#e69f00",
)  # Okabe and Ito: safe for color-blind readers


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
    buffer = io.BytesIO()
    fig.savefig(buffer, format="png", dpi=DPI)
    plt.close(fig)
    # 256 colors are enough for lines and bars, and a third of the bytes. Octrees keep a color that few pixels have.
    picture = Image.open(buffer).convert("RGB").quantize(256, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
    buffer = io.BytesIO()
    picture.save(buffer, format="png", optimize=True)
    width, height = (round(side * CSS_DPI) for side in fig.get_size_inches())
    image = {"alt": alt, "width": width, "height": height}
    display(
        {"image/png": base64.b64encode(buffer.getvalue()).decode(), "text/plain": f"Figure: {alt}"},
        metadata={"image/png": image, "reprolib": {"caption": caption, "thumbnail": thumbnail}},
        raw=True,
    )
    display(
        {"text/markdown": f"*{caption}*", "text/plain": caption},
        metadata={"reprolib": {"role": "caption"}},
        raw=True,
    )
