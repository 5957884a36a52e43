"""Text as tokens: nothing is lost, nothing unknown, and a missing file is one clear sentence."""

from __future__ import annotations

import pytest

from reprolib.data import text
from reprolib.data.sources import DataNotFound

LINES = ["The cat sat.", "The dog (a cat) sat.", "Cats don't sit, do they?", "The cat sat."]


def test_lines_come_back_as_they_were_and_equal_ones_count_once():
    corpus = text.corpus("test", LINES, vocab_size=100)
    assert [corpus.text(line) for line in corpus.lines] == LINES[:3]
    assert corpus.pieces[0] == "" and all(0 not in line for line in corpus.lines)


def test_a_small_vocabulary_keeps_the_frequent_pieces_and_leaves_lines_out():
    lines = ["a b a.", "a b a!", "a b a?", "rare b a."]
    corpus = text.corpus("test", lines, vocab_size=5)
    assert len(corpus.pieces) == 5
    assert [corpus.text(line) for line in corpus.lines] == ["a b a."]
    with pytest.raises(ValueError, match="no line of test is left with vocab_size = 2"):
        text.corpus("test", lines, vocab_size=2)


def test_a_split_is_a_partition_that_the_seed_decides():
    corpus = text.corpus("test", [f"line {'abcdefghij'[i]} x." for i in range(10)], vocab_size=100)
    train, held_out = corpus.split(3)
    assert (len(train), len(held_out)) == (8, 2)
    assert sorted(train + held_out) == sorted(corpus.lines)
    assert corpus.split(3) == (train, held_out) and corpus.split(4) != (train, held_out)


def test_python_s_help_is_prose():
    sentences = text.python_help()
    assert len(sentences) > 1000
    assert all("\n" not in s and "  " not in s and s[0].isupper() and s[-1] in ".!?" for s in sentences)


def test_shakespeare_is_read_from_the_mirror_without_speakers(tmp_path, monkeypatch):
    monkeypatch.setenv("REPROLIB_DATA", str(tmp_path))
    (tmp_path / "tiny_shakespeare").mkdir()
    (tmp_path / "tiny_shakespeare" / "input.txt").write_text("First Citizen:\nSpeak,  speak.\n\nAll:\nResolved.\n")
    assert text.tiny_shakespeare() == ["Speak, speak.", "Resolved."]
    assert text.available("tiny-shakespeare", stand_in=True) == "tiny-shakespeare"


@pytest.mark.parametrize("folder", [True, False])
def test_a_missing_shakespeare_is_one_sentence_that_names_the_variable(tmp_path, monkeypatch, folder, capsys):
    monkeypatch.setenv("REPROLIB_DATA", str(tmp_path))
    if not folder:
        monkeypatch.delenv("REPROLIB_DATA")
    with pytest.raises(DataNotFound, match="REPROLIB_DATA") as error:
        text.load("tiny-shakespeare", 5000)
    assert "\n" not in str(error.value) and str(error.value).endswith(".")
    assert text.available("tiny-shakespeare") == "tiny-shakespeare"
    assert text.available("tiny-shakespeare", stand_in=True) == text.BABBLE
    assert "made-up words stand in for it" in capsys.readouterr().out


def test_the_stand_in_has_words_brackets_and_full_stops_and_is_always_the_same():
    lines = text.babble(lines=300)
    assert lines == text.babble(lines=300)
    assert all(line.endswith(".") for line in lines) and any("(" in line for line in lines)
    assert len(text.load(text.BABBLE, 5000).lines) > 1000


def test_an_unknown_text_is_named():
    with pytest.raises(ValueError, match="got 'tale'"):
        text.load("tale", 100)
