"""Figures carry alt text, size and caption, and stay small."""

import base64

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pytest

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
    assert metadata["reprolib"] == {"caption": "Waves.", "thumbnail": True}
    assert caption == {"reprolib": {"role": "caption"}}
    assert len(base64.b64decode(data["image/png"])) < 60_000
    assert not plt.get_fignums()


@pytest.mark.parametrize("missing", [{"caption": " ", "alt": "x"}, {"caption": "x", "alt": ""}])
def test_a_figure_without_words_is_refused(shown, missing):
    with pytest.raises(ValueError, match="caption and an alt text"):
        figures.show(plt.figure(), **missing)
    plt.close("all")


def test_palette_is_fixed_by_role():
    colors = figures.palette(baseline=["xavier", "kaiming"], method="virgo", ablations=["forward"])
    assert colors["virgo"] == figures.ACCENT and colors["xavier"] == figures.GREYS[0]
    assert len(set(colors.values())) == 4
    with pytest.raises(ValueError, match="twice"):
        figures.palette(baseline=["a"], method="a")
    with pytest.raises(ValueError, match="at most"):
        figures.palette(baseline=list("abcde"), method="m")
