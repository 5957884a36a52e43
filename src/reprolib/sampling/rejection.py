r"""Draws of one token under a constraint, with a weight (Lipkin et al., COLM 2025, arXiv 2504.05410).

`p` holds the probabilities of the tokens, ``accept(token)`` says whether one is legal, and `Z`, the probability of
all legal tokens together, is not known. Every function draws a token from the legal ones with their probabilities
over `Z`, and all but `ars` come with a number whose mean is `Z`. They differ in how often they ask.

`p` need not sum to one: the weight then estimates the sum over the legal tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

Accept = Callable[[int], bool]
Order = Callable[[np.ndarray, np.random.Generator], Iterator[int]]
DEAD = -1  # in place of a token where none is legal
PICKED = 24  # as many arrivals are cheaper to find one by one than by sorting


class Draw(NamedTuple):
    """What a draw gives.

    Attributes:
        token: a legal token, or `DEAD`.
        weight: the estimate of `Z`; 0 for a dead end.
        evaluations: how many different tokens were checked. A token that comes up again costs nothing.
        first: those of them that were checked up to the token itself, before any work for the weight.
    """

    token: int
    weight: float
    evaluations: int
    first: int


class Draws(NamedTuple):
    """Many draws: the fields of `Draw`, as arrays."""

    token: Int[np.ndarray, " n"]
    weight: Float[np.ndarray, " n"]
    evaluations: Int[np.ndarray, " n"]
    first: Int[np.ndarray, " n"]


def race(p: Float[np.ndarray, " vocab"], rng: np.random.Generator) -> Iterator[int]:
    """Yield tokens in the order in which draws without replacement from `p` bring them up.

    Token i arrives after an exponential time of rate ``p[i]``; the earliest of any set is token i with probability
    ``p[i]`` over the set's sum. Minus the logarithm of these times are Gumbel-perturbed log-probabilities.

    Args:
        p: non-negative; tokens of probability 0 never come.
        rng: source of randomness; all of it is drawn before the first token.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        times = np.where(p > 0, rng.standard_exponential(len(p)) / p, np.inf)
    for _ in range(min(PICKED, len(p))):
        token = int(times.argmin())
        if times[token] == np.inf:
            return
        yield token
        times[token] = np.inf
    for token in times.argsort()[: np.isfinite(times).sum()].tolist():
        yield token


def mask(p: Float[np.ndarray, " vocab"], accept: Accept, rng: np.random.Generator) -> Draw:
    """Check every token with ``p > 0``: the exact weight, at the price of the vocabulary (token masking)."""
    possible = np.flatnonzero(p)
    legal = np.array([token for token in possible.tolist() if accept(token)], dtype=int)
    sums = p[legal].cumsum()
    if not len(legal):
        return Draw(DEAD, 0.0, len(possible), len(possible))
    at = sums.searchsorted(rng.random() * sums[-1], side="right")
    return Draw(int(legal[at]), float(sums[-1]), len(possible), len(possible))


def ars(p: Float[np.ndarray, " vocab"], accept: Accept, rng: np.random.Generator, order: Order = race) -> Draw:
    """Adaptive rejection sampling: draw, and remove what is rejected, until a token is legal.

    The weight is 1, or 0 for a dead end: a sequence of such tokens is locally constrained decoding.

    Args:
        p: probabilities, shape (vocab,).
        accept: the constraint.
        rng: source of randomness.
        order: called as ``order(p, rng)`` for draws without replacement; a test can give its own.
    """
    token, rejected = _until_accepted(p, accept, rng, order)
    checked = len(rejected) + (token != DEAD)
    return Draw(token, float(token != DEAD), checked, checked)


def awrs(p: Float[np.ndarray, " vocab"], accept: Accept, rng: np.random.Generator, order: Order = race) -> Draw:
    r"""Adaptive weighted rejection sampling (Definition 2): `ars`, and one more loop for the weight.

    A second loop goes on with fresh draws from all but the rejected tokens until it accepts, too. With
    :math:`\psi_0` the probability of what the first loop rejected and `n` the rejections of both, the weight is
    :math:`(1-\psi_0)/(n+1)`. Its mean is `Z`, given any accepted token.

    Args:
        p, accept, rng, order: as for `ars`. An array of fractions gives a fraction as weight.
    """
    accept = cache(accept)
    token, rejected = _until_accepted(p, accept, rng, order)
    if token == DEAD:
        return Draw(DEAD, 0.0, len(rejected), len(rejected))
    left = _without(p, rejected)
    again, more = _until_accepted(left, accept, rng, order)
    n = len(rejected) + len(more)
    # 1 - psi is the sum of what is left: a difference would lose its digits when little is left.
    return Draw(token, left.sum() / (n + 1), n + 1 + (again != token), len(rejected) + 1)


def awrs_recursive(
    p: Float[np.ndarray, " vocab"], accept: Accept, rng: np.random.Generator, order: Order = race
) -> Draw:
    r"""The cheaper variant in later releases of the authors' library: `ars`, and one more check for the weight.

    After the accepted token x the next one in the same order is checked. The weight is :math:`1-\psi_0` when that is
    legal or none is left, else ``p[x]``.

    Args:
        p, accept, rng, order: as for `ars`.
    """
    tokens, rejected = order(p, rng), []
    for token in tokens:
        if accept(token):
            break
        rejected.append(token)
    else:
        return Draw(DEAD, 0.0, len(rejected), len(rejected))
    following = next(tokens, None)
    survives = following is None or accept(following)
    weight = _without(p, rejected).sum() if survives else p[token]
    return Draw(token, weight, len(rejected) + 1 + (following is not None), len(rejected) + 1)


def wrs(p: Float[np.ndarray, " vocab"], accept: Accept, rng: np.random.Generator, loops: int = 1) -> Draw:
    """Weighted rejection sampling (Definition 1): draws with replacement, until ``loops + 1`` are accepted.

    The weight is ``loops / (rejections + loops)``. Repeats of a rejected token are drawn as one geometric number and
    not one by one, so that a small `Z` takes no longer; the authors' library calls this its geometric variant.

    Args:
        p: probabilities, shape (vocab,), summing to 1.
        accept, rng: as for `ars`.
        loops: at least 1.

    Raises:
        ValueError: `loops` is below 1.
    """
    if loops < 1:
        raise ValueError(f"loops must be at least 1, got {loops}.")
    accept = cache(accept)
    left, accepted, rejections, removed, first = p / p.sum(), [], 0, 0, 0
    while len(accepted) <= loops:
        for token in race(left, rng):
            rejections += rng.geometric(min(left.sum(), 1.0)) - 1
            if accept(token):
                first = first or removed + 1
                accepted.append(token)
                break
            left[token] = 0
            removed += 1
            rejections += 1
        else:
            return Draw(DEAD, 0.0, removed, removed)
    return Draw(accepted[0], p.sum() * loops / (rejections + loops), removed + len(set(accepted)), first)


def awrs_many(p: Float[np.ndarray, "n vocab"], legal: Bool[np.ndarray, "n vocab"], rng: np.random.Generator) -> Draws:
    """Independent `awrs` draws, a row each, for a constraint that is known in full: to study the estimator.

    Args:
        p: probabilities of each row.
        legal: which tokens are legal; broadcasts against `p`.
        rng: source of randomness.

    Returns:
        Arrays of shape (n,), with ``evaluations`` as if each token had been checked when its turn came.
    """
    p, legal = np.broadcast_arrays(p, legal)
    rows = np.arange(len(p))

    def loop(left):
        with np.errstate(divide="ignore", invalid="ignore"):
            times = np.where(left > 0, rng.standard_exponential(left.shape) / left, np.inf)
        token = np.where(legal, times, np.inf).argmin(axis=1)
        stop = np.where(legal[rows, token], times[rows, token], np.inf)
        return token, stop < np.inf, ~legal & (times < stop[:, None])

    token, alive, rejected = loop(p)
    left = np.where(rejected, 0, p)
    again, _, more = loop(left)
    n, first = rejected.sum(axis=1), rejected.sum(axis=1) + alive
    total = n + more.sum(axis=1)
    weight = np.where(alive, left.sum(axis=1) / (total + 1), 0.0)
    return Draws(np.where(alive, token, DEAD), weight, np.where(alive, total + 1 + (again != token), n), first)


def _until_accepted(p, accept, rng, order) -> tuple[int, list[int]]:
    """The first accepted token, or `DEAD`, and the tokens rejected before."""
    rejected = []
    for token in order(p, rng):
        if accept(token):
            return token, rejected
        rejected.append(token)
    return DEAD, rejected


def _without(p, tokens):
    left = p.copy()
    left[tokens] = 0
    return left
