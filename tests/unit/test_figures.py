"""Figures carry alt text, size and caption, and stay small."""

import base64
import io

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgb, to_rgba
from PIL import Image

from reprolib import figures


@pytest.fixture
def shown(monkeypatch):
    outputs = []
    monkeypatch.setattr(figures, "display", lambda data, metadata, raw: outputs.append((data, metadata)))
    figures.use()
    return outputs


def line_figure():
    fig, axes = plt.subplots(1, 2)
    for ax in axes:
        for k in range(6):
            ax.plot(np.sin(np.arange(200) / (5 + k)), label=f"method {k}")
        ax.legend()
    return fig


def test_show_displays_png_with_alt_size_and_caption_within_60_kb(shown):
    figures.show(line_figure(), caption="Waves.", alt="Six waves of growing period.", thumbnail=True)
    (data, metadata), (_, caption) = shown
    assert metadata["image/png"] == {"alt": "Six waves of growing period.", "width": 720, "height": 320}
    dark = metadata["reprolib"].pop("dark")
    assert metadata["reprolib"] == {"caption": "Waves.", "thumbnail": True}
    assert caption == {"reprolib": {"role": "caption"}}
    for png, paper in ((data["image/png"], figures.PAPER), (dark, figures.DARK_PAPER)):
        assert len(base64.b64decode(png)) < 60_000
        corner = Image.open(io.BytesIO(base64.b64decode(png))).convert("RGB").getpixel((0, 0))
        assert np.array(corner) / 255 == pytest.approx(to_rgb(paper), abs=0.02)
    assert not plt.get_fignums()


def test_show_draws_what_savefig_draws(shown):
    fig = line_figure()
    buffer = io.BytesIO()
    fig.savefig(buffer, dpi=figures.DPI)
    plt.close(fig)
    expected = np.asarray(Image.open(buffer).convert("RGB"), dtype=float)
    figures.show(line_figure(), caption="Waves.", alt="Six waves.")
    png = base64.b64decode(shown[0][0]["image/png"])
    drawn = np.asarray(Image.open(io.BytesIO(png)).convert("RGB"), dtype=float)
    assert drawn.shape == expected.shape
    assert np.abs(drawn - expected).mean() < 2  # of 255: the colors are 256


def test_darken_turns_greys_around_keeps_hues_and_leaves_pictures_alone(shown):
    fig, (lines, picture) = plt.subplots(1, 2)
    [ink] = lines.plot([0, 1], color="black", marker="o", markerfacecolor="none", markeredgecolor=figures.ACCENT)
    [dots] = lines.plot([0, 1], "o", color="black")
    band = lines.fill_between([0, 1], 0, 1, color="black", alpha=0.2)
    [bar] = lines.bar(0, 1, color=figures.BETWEEN[0], edgecolor="white")
    outline = lines.scatter([0], [0], facecolors="none", edgecolors="black")
    cells = picture.pcolormesh(np.arange(4.0).reshape(2, 2), cmap="viridis")
    on_picture = picture.text(0, 0, "3", color="white")
    [border] = picture.plot([0, 1], color="black")
    fig.canvas.draw()
    before = cells.get_facecolor().copy()
    figures.darken(fig)

    paper, light = to_rgba(figures.DARK_PAPER), to_rgba(figures.DARK_INK)
    assert to_rgba(ink.get_color()) == pytest.approx(light)
    assert to_rgba(ink.get_markerfacecolor())[3] == 0
    assert to_rgba(dots.get_markerfacecolor()) == pytest.approx(light)
    assert to_rgba(ink.get_markeredgecolor()) == pytest.approx(to_rgba(figures.ACCENT), abs=0.01)
    assert band.get_facecolor()[0] == pytest.approx([*light[:3], 0.2])
    assert bar.get_edgecolor() == pytest.approx(paper)
    red, green, blue, _ = bar.get_facecolor()
    assert blue > green > red
    assert len(outline.get_facecolor()) == 0 and outline.get_edgecolor()[0] == pytest.approx(light)
    assert lines.get_facecolor() == pytest.approx(paper, abs=0.02)
    fig.canvas.draw()
    assert (cells.get_facecolor() == before).all() and on_picture.get_color() == "white"
    assert border.get_color() == "black"
    plt.close(fig)


@pytest.mark.parametrize("missing", [{"caption": " ", "alt": "x"}, {"caption": "x", "alt": ""}])
def test_a_figure_without_words_is_refused(shown, missing):
    with pytest.raises(ValueError, match="caption and an alt text"):
        figures.show(plt.figure(), **missing)
    plt.close("all")


def test_bands_and_error_bars_are_the_mean_and_its_interval():
    curves = [[1.0, 5.0], [2.0, 5.0], [6.0, 5.0]]
    mean, low, high = figures.interval([1.0, 2.0, 6.0])
    fig, (left, right) = plt.subplots(1, 2)
    figures.band(left, [0, 1], curves, color="red")
    assert left.lines[0].get_ydata().tolist() == [mean, 5]
    assert left.collections[0].get_paths()[0].get_extents().intervaly.tolist() == pytest.approx([low, high])
    figures.errorbars(right, [0, 1], zip(*curves, strict=True), fmt="o")
    assert right.lines[0].get_ydata().tolist() == [mean, 5]
    assert right.collections[0].get_segments()[0][:, 1].tolist() == pytest.approx([low, high])
    plt.close(fig)


def test_palette_is_fixed_by_role():
    colors = figures.palette(baseline=["xavier", "kaiming"], method="virgo", ablations=["forward"])
    assert colors["virgo"] == figures.ACCENT and colors["xavier"] == figures.GREYS[0]
    assert len(set(colors.values())) == 4
    with pytest.raises(ValueError, match="twice"):
        figures.palette(baseline=["a"], method="a")
    with pytest.raises(ValueError, match="at most"):
        figures.palette(baseline=list("abcde"), method="m")
