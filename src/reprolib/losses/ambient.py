"""Ambient score matching (Daras, Cherapanamjeri and Daskalakis, 2025, arXiv 2411.02780): noisy samples as data."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from reprolib.diffusion.edm import P_MEAN, P_STD


def x0_to_xn(
    x0: Float[Tensor, "*batch dim"],
    x_t: Float[Tensor, "*batch dim"],
    sigma_t: Float[Tensor, "*batch 1"] | float,
    sigma_n: Float[Tensor, "*batch 1"] | float,
) -> Float[Tensor, "*batch dim"]:
    r"""Turn a prediction of the clean sample into one of the same sample at noise level :math:`\sigma_n`.

    .. math:: \mathbb E[x_n\mid x_t]=(1-r)\,\mathbb E[x_0\mid x_t]+r\,x_t,\qquad r=\sigma_n^2/\sigma_t^2,

    which is Tweedie's formula applied twice: the score at level t is both :math:`(\mathbb E[x_0|x_t]-x_t)/\sigma_t^2`
    and :math:`(\mathbb E[x_n|x_t]-x_t)/(\sigma_t^2-\sigma_n^2)`.

    Args:
        x0: the prediction of the clean sample, given `x_t`.
        x_t: the noisy sample.
        sigma_t: its noise level, above 0.
        sigma_n: the level in question, from 0 to `sigma_t`.
    """
    r = (sigma_n / sigma_t) ** 2
    return (1 - r) * x0 + r * x_t


def ambient_edm_loss(
    denoise: Callable[[Tensor, Tensor], Tensor],
    y: Float[Tensor, "*batch dim"],
    sigma_y: Float[Tensor, "*batch 1"],
    u: Float[Tensor, "*#batch 1"],
    noise: Float[Tensor, "*#batch dim"],
    *,
    sigma_data: float = 0.5,
) -> Float[Tensor, "*batch dim"]:
    r"""Return EDM's weighted squared error for samples that have noise of their own, for each number of a sample.

    The noise level is :math:`\sigma=\max(e^{-1.2+1.2u},\sigma_y)`, as in the authors' code; a draw below
    :math:`\sigma_y` is moved there, where the loss and its gradient are 0. A clean sample has EDM's loss.

    Args:
        denoise: ``denoise(x, sigma)``, the prediction of clean samples; shapes as `y` and `sigma_y`.
        y: samples, each with its noise as it was stored once.
        sigma_y: the standard deviation of that noise, at least 0 and known.
        u, noise: standard normal draws, for the level and for the noise that is added. Both may lack leading
            dimensions of `y`, which then share them.
        sigma_data: standard deviation of the clean data, in the weight.
    """
    sigma = torch.maximum((P_MEAN + P_STD * u).exp(), sigma_y)
    x = y + (sigma.square() - sigma_y.square()).sqrt() * noise
    error = x0_to_xn(denoise(x, sigma), x, sigma, sigma_y) - y
    return (sigma.square() + sigma_data**2) / (sigma * sigma_data) ** 2 * error.square()
