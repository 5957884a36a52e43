"""Gaussian weights of any rank and one norm, after Liu et al. (2024), "How connectivity structure shapes ..."."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


@torch.no_grad()
def low_rank_(
    tensor: Float[Tensor, "out hidden"], rank: int, gain: float = 1.25, generator: torch.Generator | None = None
) -> Float[Tensor, "out hidden"]:
    r"""Fill `tensor` in place with a Gaussian matrix, cut to this rank and brought back to its norm.

    :math:`A_{ij}\sim N(0,g^2/n)` with n the number of columns, :math:`A_r` keeps the r largest singular values, and
    the result is :math:`A_r\,\|A\|_F/\|A_r\|_F`. Generators in the same state give one :math:`A` to all ranks.

    Args:
        tensor: the matrix to fill.
        rank: from 1 to the smaller side.
        gain: g, above 0.
        generator: draws A; torch's own when None.

    Returns:
        `tensor`.

    Raises:
        ValueError: no matrix, or a `rank` or `gain` out of range. `tensor` is not changed then.

    Source: released code of the paper, ``main.py`` (`np.linalg.svd`, truncation, normalization).
    """
    if tensor.ndim != 2:
        raise ValueError(f"low_rank_ fills a matrix, got shape {tuple(tensor.shape)}.")
    if not 1 <= rank <= min(tensor.shape):
        raise ValueError(f"rank must be from 1 to {min(tensor.shape)}, got {rank}.")
    if not 0 < gain < float("inf"):
        raise ValueError(f"gain must be above 0, got {gain}.")
    tensor.normal_(0, gain / tensor.shape[1] ** 0.5, generator=generator)
    U, S, Vh = torch.linalg.svd(tensor.double(), full_matrices=False)
    kept = S[:rank] * S.norm() / S[:rank].norm()
    return tensor.copy_(U[:, :rank] * kept @ Vh[:rank])
