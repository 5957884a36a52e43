"""Which examples to keep, given their scores."""

from __future__ import annotations

from jaxtyping import Float, Int
from torch import Tensor


def prune_by_score(
    scores: Float[Tensor, " n"], keep: int, *, largest: bool = True, skip: int = 0
) -> Int[Tensor, " keep"]:
    """Return the places of the examples to keep, those of the largest scores first.

    Args:
        scores: infinity is allowed, NaN is not.
        keep: how many, at least 1.
        largest: False keeps the smallest scores, smallest first.
        skip: leave out so many from that end: the window of ranks skip to skip + keep.

    Equal scores stay in the order of the examples, so that it decides between them: shuffle where that matters.

    Raises:
        ValueError: the window does not fit into the examples, or a score is NaN.
    """
    if not (keep >= 1 and skip >= 0 and keep + skip <= len(scores)):
        raise ValueError(f"cannot keep {keep} of {len(scores)} examples after leaving out {skip}.")
    if scores.isnan().any():
        raise ValueError("a score is NaN.")
    return scores.argsort(descending=largest, stable=True)[skip : skip + keep]
