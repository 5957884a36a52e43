"""Lines of text as tokens: whole words and punctuation, for language models that train in a second."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from reprolib.data.sources import find_local, not_found

PIECE = re.compile(r" ?[A-Za-z']+| ?[^A-Za-z'\s]")  # a word or one other character, each with the space before it
SHAKESPEARE = ("tiny_shakespeare", "input.txt")
URL = "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt"


class Corpus(NamedTuple):
    """Tokenized lines.

    Attributes:
        name: for labels.
        pieces: the text of every token, most frequent first; token 0 ends a line and has the empty text.
        lines: the lines as tuples of tokens, without the end. ``"".join(pieces[t] for t in line)`` is the text.
    """

    name: str
    pieces: tuple[str, ...]
    lines: tuple[tuple[int, ...], ...]

    def text(self, line: Sequence[int]) -> str:
        """Return a line as text."""
        return "".join(self.pieces[token] for token in line)

    def split(self, seed: int, share: float = 0.2) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]]]:
        """Return the lines in two random parts, the second with this share of them."""
        order = np.random.default_rng(seed).permutation(len(self.lines))
        cut = len(order) - round(share * len(order))
        return [self.lines[i] for i in order[:cut]], [self.lines[i] for i in order[cut:]]


def corpus(name: str, lines: Sequence[str], vocab_size: int, shortest: int = 3, longest: int = 60) -> Corpus:
    """Tokenize lines into whole words and single other characters.

    Args:
        name: for labels.
        lines: lines of text with single spaces; equal ones count once.
        vocab_size: tokens with the end, at most; lines with a rarer piece are left out, so that nothing is unknown.
        shortest, longest: a line's length in tokens.

    Raises:
        ValueError: nothing is left.
    """
    split = [PIECE.findall(line) for line in dict.fromkeys(lines)]
    counts = Counter(piece for line in split for piece in line)
    pieces = ("", *sorted(counts, key=lambda piece: (-counts[piece], piece))[: vocab_size - 1])
    number = {piece: i for i, piece in enumerate(pieces)}
    kept = [line for line in split if shortest <= len(line) <= longest and all(piece in number for piece in line)]
    if not kept:
        raise ValueError(f"no line of {name} is left with vocab_size = {vocab_size}.")
    return Corpus(name, pieces, tuple(tuple(number[piece] for piece in line) for line in kept))


def python_help() -> list[str]:
    """Return the sentences of the language reference that every Python carries for ``help("with")`` and the like.

    About 2,000 sentences; another version of Python has slightly different ones.
    """
    from pydoc_data.topics import topics

    paragraphs = [" ".join(p.split()) for name in sorted(topics) for p in re.split(r"\n\s*\n", topics[name])]
    sentences = [s for p in paragraphs for s in re.split(r"(?<=[.!?]) (?=[A-Z])", p)]
    return [s for s in sentences if re.fullmatch(r"[A-Z].*[.!?]", s)]


def tiny_shakespeare() -> list[str]:
    """Return the lines of tiny-shakespeare (Karpathy, 2015) without the names of the speakers.

    Raises:
        DataNotFound: ``REPROLIB_DATA`` is not set or its folder does not hold the text.
    """
    path = find_local(*SHAKESPEARE)
    if path is None:
        place = "/".join(["$REPROLIB_DATA", *SHAKESPEARE])
        fix = f"set REPROLIB_DATA to a folder and put the text there, e.g. with `curl --create-dirs -o {place} {URL}`."
        raise not_found("tiny-shakespeare", [place], fix)
    lines = [" ".join(line.split()) for line in path.read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line and not line.endswith(":")]


def babble(lines: int = 8000, words: int = 3000) -> list[str]:
    """Return made-up lines of made-up words, always the same: a Markov chain with Zipf-like frequencies.

    They have what constraints on a text ask about, words, brackets and full stops, and show that a path works.
    """
    rng = np.random.default_rng(0)
    letters, weight = list("etaoinshrdlu"), 1 / np.arange(1, words + 1)
    lexicon = ["".join(rng.choice(letters, rng.integers(2, 9))) for _ in range(words)]
    follow = rng.choice(words, (words, 20), p=weight / weight.sum())  # each word has twenty likely successors
    result = []
    for _ in range(lines):
        word, line = int(rng.integers(words)), []
        for _ in range(int(rng.integers(3, 12))):
            word = int(follow[word, rng.integers(20)] if rng.random() < 0.8 else rng.integers(words))
            line.append(lexicon[word] if rng.random() < 0.95 else f"({lexicon[word]})")
        result.append(" ".join(line).capitalize() + ".")
    return result


BABBLE = "made-up words in place of tiny-shakespeare"
LOADERS = {"Python's help": python_help, "tiny-shakespeare": tiny_shakespeare, BABBLE: babble}


def available(name: str, stand_in: bool = False) -> str:
    """Return `name`, or the name of its stand-in.

    Args:
        name: a name that `load` takes.
        stand_in: where tiny-shakespeare is not in the mirror, say so and name made-up text instead.
    """
    if stand_in and name == "tiny-shakespeare" and find_local(*SHAKESPEARE) is None:
        print("tiny-shakespeare is not in REPROLIB_DATA: lines of made-up words stand in for it.")
        return BABBLE
    return name


@lru_cache(maxsize=4)
def load(name: str, vocab_size: int) -> Corpus:
    """Return a corpus by name: ``"Python's help"``, ``"tiny-shakespeare"`` or its stand-in.

    Args:
        name: which one.
        vocab_size: as for `corpus`.

    Raises:
        ValueError: another name.
        DataNotFound: tiny-shakespeare is not in the mirror.
    """
    if name not in LOADERS:
        raise ValueError(f"the text must be one of {', '.join(map(repr, LOADERS))}, got {name!r}.")
    return corpus(name, LOADERS[name](), vocab_size)
