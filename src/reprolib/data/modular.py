"""Arithmetic modulo p: every pair of numbers is a sample, and what is not trained on is the test set."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

OPERATIONS = {"+": torch.add, "-": torch.sub, "*": torch.mul}


class Pairs(NamedTuple):
    """Pairs of numbers from 0 to p - 1, and the results modulo p."""

    x_train: Int[Tensor, "train 2"]
    y_train: Int[Tensor, " train"]
    x_test: Int[Tensor, "test 2"]
    y_test: Int[Tensor, " test"]


def modular(p: int, operation: str = "+", fraction: float = 0.4, generator: torch.Generator | None = None) -> Pairs:
    """Split all p * p pairs at random.

    Args:
        p: the modulus, at least 2.
        operation: ``"+"``, ``"-"`` or ``"*"``.
        fraction: of the pairs that are trained on, between 0 and 1; their number is rounded down.
        generator: decides the split; torch's own when None.

    Raises:
        ValueError: an unknown `operation`, or a `p` or `fraction` that leaves one of the two sets empty.
    """
    if operation not in OPERATIONS:
        raise ValueError(f"operation must be one of {', '.join(map(repr, OPERATIONS))}, got {operation!r}.")
    train = int(p * p * fraction)
    if not 0 < train < p * p:
        raise ValueError(
            f"p = {p} and fraction = {fraction} give {train} training pairs of {p * p}: both sets need one."
        )
    pairs = torch.cartesian_prod(torch.arange(p), torch.arange(p))
    x = pairs[torch.randperm(p * p, generator=generator)]
    y = OPERATIONS[operation](*x.T) % p
    return Pairs(x[:train], y[:train], x[train:], y[train:])
