r"""TLEG: layers on a line, :math:`\theta_\ell=\theta_B+t_\ell\theta_A` (Xia et al., AAAI 2024, arXiv 2312.05614).

Works on any modules with equal parameters, such as the blocks of a transformer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn


def positions(depth: int) -> list[float]:
    r"""Return :math:`t_\ell=\ell/L` for :math:`\ell=0,\dots,L-1`, as the authors' code has it: 1 is never reached.

    Raises:
        ValueError: `depth` is below 1.
    """
    if depth < 1:
        raise ValueError(f"depth must be at least 1, got {depth}.")
    return [layer / depth for layer in range(depth)]


def on_line(base: Mapping[str, Tensor], slope: Mapping[str, Tensor], t: float) -> dict[str, Tensor]:
    """Return base + t * slope, tensor by tensor.

    Raises:
        ValueError: the two do not name the same tensors.
    """
    if base.keys() != slope.keys():
        raise ValueError(f"base and slope differ in {sorted(base.keys() ^ slope.keys())}.")
    return {name: torch.add(value, slope[name], alpha=t) for name, value in base.items()}


@torch.no_grad()
def expand_linear_(
    layers: Sequence[nn.Module],
    base: Mapping[str, Tensor],
    slope: Mapping[str, Tensor],
    at: Sequence[float] | None = None,
) -> Sequence[nn.Module]:
    """Fill every layer, in place, with its point on the line (stage 2 of the paper).

    Args:
        layers: modules with the parameters that `base` and `slope` name, and no others.
        base, slope: the learngene.
        at: one position a layer; `positions` of the number of layers when None.

    Returns:
        `layers`.

    Raises:
        ValueError: not one position a layer, a module that comes twice, or names or shapes that do not fit.
    """
    at = positions(len(layers)) if at is None else at
    if len(at) != len(layers):
        raise ValueError(f"{len(layers)} layers need as many positions, got {len(at)}.")
    if len(set(map(id, layers))) != len(layers):
        raise ValueError("a module comes twice among the layers: it cannot be at two positions.")
    for layer, t in zip(layers, at, strict=True):
        own, point = dict(layer.named_parameters()), on_line(base, slope, t)
        wrong = [name for name in own.keys() | point.keys() if _shape(own, name) != _shape(point, name)]
        if wrong:
            raise ValueError(f"layer and learngene differ in {sorted(wrong)}.")
        for name, parameter in own.items():
            parameter.copy_(point[name])
    return layers


def _shape(tensors: Mapping[str, Tensor], name: str):
    return tensors[name].shape if name in tensors else None
