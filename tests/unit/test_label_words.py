"""A tiny T5 that answers with words, and GLUE in the words of the released code."""

from __future__ import annotations

import pytest

pytest.importorskip("transformers")

from reprolib.models.label_words import GLUE, encoded

T5 = "google-t5/t5-base"


@pytest.mark.parametrize("task", GLUE)
def test_texts_and_words(task, monkeypatch, capsys):
    monkeypatch.delenv("REPROLIB_DATA", raising=False)
    ids, labels, words = encoded.__wrapped__(task, T5, "train", 40, True)
    assert "random words stand in" in capsys.readouterr().out
    assert ids.shape == (len(labels), 40) and set(labels.tolist()) == {0, 1} and len(words) == 2
    start = f"classify the {GLUE[task].instruction}: word"[:38]
    assert bytes(int(i) - 3 for i in ids[0][: len(start)]).decode() == start  # ByT5's ids are bytes, moved by 3


def test_an_unknown_task():
    with pytest.raises(ValueError, match="'cola', 'mrpc'"):
        encoded("snli", T5, "train", 8, True)
