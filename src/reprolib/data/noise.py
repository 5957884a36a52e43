"""Wrong labels, put in on purpose."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from jaxtyping import Int
from torch import Tensor


def symmetric_noise(
    labels: Int[Tensor, " samples"],
    rate: float,
    num_classes: int,
    generator: torch.Generator | None = None,
    include_true: bool = True,
) -> Int[Tensor, " samples"]:
    """Return a copy of `labels` in which a part was drawn anew, uniformly over the classes.

    Exactly ``ceil(rate * samples)`` labels are drawn anew (Liu et al., 2020, arXiv 2007.00151, and many before).

    Args:
        labels: class numbers from 0 to ``num_classes - 1``.
        rate: share of labels that are drawn anew, in [0, 1].
        num_classes: at least 2.
        generator: torch's own when None.
        include_true: a new label may be the old one, so that ``rate * (1 - 1 / num_classes)`` of the labels come out
            wrong on average. With False every new label is wrong. Both go by the name of *symmetric noise*.

    Raises:
        ValueError: `rate` or `num_classes` out of range, or labels that are no class numbers.
    """
    _check(labels, rate)
    if num_classes < 2 or (len(labels) and not 0 <= labels.min() <= labels.max() < num_classes):
        raise ValueError(f"labels must be class numbers from 0 to num_classes - 1, num_classes is {num_classes}.")
    chosen = torch.randperm(len(labels), generator=generator)[: math.ceil(rate * len(labels))].to(labels.device)
    steps = torch.randint(0 if include_true else 1, num_classes, (len(chosen),), generator=generator)
    noisy = labels.clone()
    noisy[chosen] = (labels[chosen] + steps.to(labels)) % num_classes
    return noisy


def asymmetric_noise(
    labels: Int[Tensor, " samples"],
    rate: float,
    mapping: Mapping[int, int],
    generator: torch.Generator | None = None,
) -> Int[Tensor, " samples"]:
    """Return a copy of `labels` in which a part of some classes was renamed as a similar class.

    Exactly ``ceil(rate * n)`` of the n examples of every class in `mapping` get the other name, judged by the labels
    as they came in: with ``{3: 5, 5: 3}`` no example is renamed twice.

    Args:
        labels: class numbers.
        rate: share of renamed examples within a class, in [0, 1].
        mapping: class -> the name that it gets.
        generator: torch's own when None.

    Raises:
        ValueError: `rate` out of range, or a class that is mapped to itself.
    """
    _check(labels, rate)
    if same := [old for old, new in mapping.items() if old == new]:
        raise ValueError(f"a class cannot be mistaken for itself, but mapping has {same}.")
    noisy = labels.clone()
    for old, new in mapping.items():
        members = (labels == old).nonzero().squeeze(-1)
        order = torch.randperm(len(members), generator=generator).to(labels.device)
        noisy[members[order[: math.ceil(rate * len(members))]]] = new
    return noisy


def _check(labels: Tensor, rate: float) -> None:
    if labels.ndim != 1 or labels.is_floating_point():
        raise ValueError(f"labels must be one row of whole numbers, got {labels.dtype} of shape {tuple(labels.shape)}.")
    if not 0 <= rate <= 1:
        raise ValueError(f"rate must be from 0 to 1, got {rate}.")
