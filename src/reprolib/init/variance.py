r"""Weights that keep the variance through an activation and a linear map (Yang and Wang, 2024, arXiv 2409.10594).

For :math:`x\sim\mathcal N(0,1)`, :math:`\mathrm{Var}(w^\top F(x))=d\,\mathrm{Var}(w)\,\mathbb E[F(x)^2]` with d inputs:
the variance of a weight must be :math:`\alpha/d`, :math:`\alpha=1/\mathbb E[F(x)^2]`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

REACH, NODES = 12.0, 20_001  # the trapezoidal rule on [-12, 12]: beyond it the normal density is below 1e-32


def second_moment(fn: Callable[[Tensor], Tensor], variance: float = 1.0) -> float:
    r"""Return :math:`\mathbb E[F(\sqrt V z)^2]` for a standard normal z, in double precision.

    Args:
        fn: F, on a vector.
        variance: V, 0 or more.

    Raises:
        ValueError: `variance` is negative.
    """
    if not variance >= 0:
        raise ValueError(f"variance must be 0 or more, got {variance}.")
    z = torch.linspace(-REACH, REACH, NODES, dtype=torch.float64)
    density = torch.exp(-z.square() / 2) / math.sqrt(2 * math.pi)
    with torch.no_grad():
        return (fn(math.sqrt(variance) * z).square() * density).sum().item() * (2 * REACH / (NODES - 1))


def activation_gain(fn: Callable[[Tensor], Tensor]) -> float:
    r"""Return :math:`\alpha=1/\mathbb E[F(x)^2]` for a standard normal x, in units of variance (2 for ReLU).

    torch's ``calculate_gain`` is its square root, a factor for the deviation.

    Args:
        fn: F, on a vector of double precision.

    Raises:
        ValueError: F is zero.
    """
    moment = second_moment(fn)
    if not moment > 0:
        raise ValueError("an activation that is zero everywhere has no gain.")
    return 1 / moment


def variance_preserving_(
    weight: Float[Tensor, "fan_out fan_in"], gain: float, generator: torch.Generator | None = None
) -> Float[Tensor, "fan_out fan_in"]:
    r"""Fill a linear map's weight, in place, with normal numbers of variance gain / fan_in.

    Args:
        weight: of a map that comes after the activation whose `activation_gain` is given.
        gain: alpha, above 0.
        generator: of the numbers; torch's own when None.

    Raises:
        ValueError: `gain` is not above 0, or `weight` is no matrix.
    """
    if not gain > 0:
        raise ValueError(f"gain must be above 0, got {gain}.")
    if weight.ndim != 2:
        raise ValueError(f"weight must have shape (fan_out, fan_in), got {tuple(weight.shape)}.")
    return torch.nn.init.normal_(weight, std=math.sqrt(gain / weight.shape[1]), generator=generator)
