"""Noise levels and Euler's method for the probability flow of a diffusion model (Karras et al., 2022)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor


def karras_sigmas(steps: int, largest: float, smallest: float, rho: float = 7.0) -> list[float]:
    """Return `steps` falling noise levels, evenly spaced in the power 1 / `rho`, and a last one of 0 (EDM, equation 5).

    Raises:
        ValueError: fewer than two steps, or not 0 < `smallest` < `largest`.
    """
    if steps < 2 or not 0 < smallest < largest:
        raise ValueError(f"needs at least 2 steps and 0 < smallest < largest, got {steps}, {smallest}, {largest}.")
    ramp = torch.linspace(largest ** (1 / rho), smallest ** (1 / rho), steps, dtype=torch.float64)
    return [*(ramp**rho).tolist(), 0.0]


def euler(
    denoise: Callable[[Tensor, float], Tensor], x: Float[Tensor, "batch ..."], sigmas: list[float]
) -> Float[Tensor, "batch ..."]:
    r"""Follow :math:`dx/d\sigma=(x-D(x,\sigma))/\sigma` by Euler's method; `denoise` is called once a step.

    One call a step is what guidance with momentum expects.

    Args:
        denoise: ``denoise(x, sigma)``, the (guided) prediction of the clean sample.
        x: samples at the first noise level.
        sigmas: falling noise levels; a last one of 0 returns the last prediction.
    """
    for now, after in zip(sigmas[:-1], sigmas[1:], strict=True):
        prediction = denoise(x, now)
        x = prediction + after / now * (x - prediction)
    return x
