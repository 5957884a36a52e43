"""An n-gram language model: counts, interpolated. It trains in a second and gives honest probabilities."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from jaxtyping import Float

from reprolib.data.text import Corpus, load

END = 0  # the token that ends a line; as a context it stands for what precedes a line


class NGramLM:
    r"""Interpolated n-gram model with Witten-Bell smoothing (Witten and Bell, 1991).

    After a context h that was seen n times with T different continuations,
    :math:`p(w\mid h)=\frac{c(hw)+T\,p(w\mid h')}{n+T}`, where :math:`h'` is h without its oldest token; the shortest
    level falls back to the uniform distribution. There is nothing to tune, and no token has probability 0.

    Args:
        lines: lines of tokens, numbers from 1 to ``vocab_size - 1``; each is followed by `END`.
        vocab_size: number of tokens with `END`.
        order: 1 for single tokens, 3 for trigrams.

    Raises:
        ValueError: `order` below 1, no line, or a token out of range.
    """

    def __init__(self, lines: Sequence[Sequence[int]], vocab_size: int, order: int):
        if order < 1 or not lines:
            raise ValueError(f"an n-gram model needs an order of at least 1 and at least one line, got order {order}.")
        self.order, self.vocab_size = order, vocab_size
        counts: dict[tuple[int, ...], Counter] = defaultdict(Counter)
        for line in lines:
            if any(not 0 < token < vocab_size for token in line):
                raise ValueError(f"tokens must be numbers from 1 to {vocab_size - 1}.")
            padded = (END,) * (order - 1) + tuple(line) + (END,)
            for i in range(order - 1, len(padded)):
                for k in range(order):
                    counts[padded[i - k : i]][padded[i]] += 1
        self._levels = {h: _level(counter) for h, counter in counts.items()}
        self._unigram = self._refine(np.full(vocab_size, 1 / vocab_size), ())

    def __call__(self, context: Sequence[int]) -> Float[np.ndarray, " vocab"]:
        """Return the probabilities of the next token after `context`, the tokens of a line so far; a new array."""
        padded = (END,) * (self.order - 1) + tuple(context[-(self.order - 1) :] if self.order > 1 else ())
        p = self._unigram.copy()
        for k in range(1, self.order):
            h = padded[-k:]
            if h not in self._levels:  # then no longer context was seen either
                break
            p = self._refine(p, h)
        return p

    def nll(self, lines: Sequence[Sequence[int]]) -> float:
        """Return the mean negative log-likelihood of `lines` in nats a token, `END` included."""
        logs = [np.log(self(line[:i])[token]) for line in lines for i, token in enumerate([*line, END])]
        return -float(np.mean(logs))

    def _refine(self, p, h):
        tokens, shares, rest = self._levels[h]
        p = p * rest
        p[tokens] += shares
        return p


@lru_cache(maxsize=5)
def models(data: str, vocab_size: int, seed: int) -> tuple[Corpus, list[tuple[int, ...]], dict[int, NGramLM]]:
    """Return a corpus, its held-out lines, and the models of orders 1 to 3 of its other lines.

    Kept for the next call: many trials ask for the same.

    Args:
        data, vocab_size: as for `reprolib.data.text.load`.
        seed: decides which lines are held out.
    """
    corpus = load(data, vocab_size)
    train, held_out = corpus.split(seed)
    return corpus, held_out, {order: NGramLM(train, len(corpus.pieces), order) for order in (1, 2, 3)}


def _level(counter: Counter) -> tuple[np.ndarray, np.ndarray, float]:
    """The continuations of a context, their counts over n + T, and T over n + T."""
    tokens = np.fromiter(counter.keys(), dtype=np.intp, count=len(counter))
    counts = np.fromiter(counter.values(), dtype=float, count=len(counter))
    total = counts.sum() + len(counter)
    return tokens, counts / total, len(counter) / total
