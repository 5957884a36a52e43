"""Sequential Monte Carlo over sequences of tokens: particles grow by weighted draws and are resampled by weight."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class Particles(NamedTuple):
    """Weighted sequences.

    Attributes:
        sequences: n tuples of tokens, the last one `end`; one that was cut off has weight 0.
        log_weights: (n,). The mean of the weights is an unbiased estimate of the target's total mass.
    """

    sequences: list[tuple[int, ...]]
    log_weights: Float[np.ndarray, " n"]

    @property
    def mass(self) -> float:
        """The mean weight."""
        return float(np.exp(self.log_weights).mean())

    @property
    def probabilities(self) -> Float[np.ndarray, " n"]:
        """The weights, normalized; all 0 when no particle survived."""
        top = self.log_weights.max()
        if top == -np.inf:
            return np.zeros(len(self.log_weights))
        weights = np.exp(self.log_weights - top)
        return weights / weights.sum()


def smc(
    step: Callable[[tuple[int, ...]], Sequence],
    n: int,
    *,
    end: int,
    max_len: int,
    rng: np.random.Generator,
    ess_threshold: float = 0.5,
) -> Particles:
    """Grow `n` sequences token by token and resample them when their weights become uneven.

    Args:
        step: ``step(sequence) -> (token, weight, ...)``, such as a `reprolib.sampling.rejection.Draw`.
        n: number of particles.
        end: the token that ends a sequence.
        max_len: tokens of a sequence at most, `end` included; the target has no longer ones.
        rng: source of randomness for the resampling.
        ess_threshold: resample (multinomially) when the effective number of particles falls below this share of `n`;
            with 0 never, which is importance sampling.

    Raises:
        ValueError: `n` or `max_len` below 1, or `ess_threshold` outside [0, 1].
    """
    if n < 1 or max_len < 1:
        raise ValueError(f"n and max_len must be at least 1, got {n} and {max_len}.")
    if not 0 <= ess_threshold <= 1:
        raise ValueError(f"ess_threshold is a share from 0 to 1, got {ess_threshold}.")
    sequences: list[tuple[int, ...]] = [()] * n
    log_weights = np.zeros(n)
    for _ in range(max_len):
        growing = [i for i in range(n) if sequences[i][-1:] != (end,) and log_weights[i] > -np.inf]
        if not growing:
            break
        for i in growing:
            token, weight = step(sequences[i])[:2]
            sequences[i] += (token,)
            log_weights[i] += np.log(weight) if weight > 0 else -np.inf
        top = log_weights.max()
        if top == -np.inf:
            break
        weights = np.exp(log_weights - top)
        if weights.sum() ** 2 < ess_threshold * n * (weights**2).sum():
            chosen = rng.choice(n, n, p=weights / weights.sum())
            sequences = [sequences[i] for i in chosen]
            log_weights[:] = top + np.log(weights.mean())
    unfinished = [sequence[-1:] != (end,) for sequence in sequences]
    return Particles(sequences, np.where(unfinished, -np.inf, log_weights))
