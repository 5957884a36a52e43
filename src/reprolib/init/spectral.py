"""The small spectral start of the sub-gradient method (Ma and Fattahi, JMLR 2023, Algorithm 2)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from reprolib.data.recovery import adjoint


@torch.no_grad()
def spectral_init_(
    U: Float[Tensor, "d k"], A: Float[Tensor, "m d d"], y: Float[Tensor, " m"], alpha: float
) -> Float[Tensor, "d k"]:
    r"""Fill `U` in place so that :math:`UU^\top=\alpha^2C_+`, with C the average of the measurements by sign.

    :math:`C=\frac1m\sum_i\mathrm{sign}(y_i)\frac{A_i+A_i^\top}2`, and :math:`C_+` keeps its k largest eigenvalues,
    those of them that are positive. Only the sign of a value enters: an outlier counts no more than any other.

    Args:
        U: the matrix to fill; k is the rank that we allow, from 1 to d.
        A: measurement matrices.
        y: measured values.
        alpha: size of the start, > 0.

    Returns:
        `U`.

    Raises:
        ValueError: shapes that do not fit together, k above d, or `alpha` not above 0. `U` is not changed then.
    """
    check_problem(U, A, y)
    if U.ndim != 2 or y.ndim != 1:
        raise ValueError(f"spectral_init_ fills one matrix at a time, got U {tuple(U.shape)}, y {tuple(y.shape)}.")
    if not 0 < alpha < float("inf"):
        raise ValueError(f"alpha, the size of the start, must be above 0, got {alpha}.")
    C = adjoint(A, y.sign())
    eigenvalues, eigenvectors = torch.linalg.eigh((C + C.T) / 2)  # ascending
    k = U.shape[1]
    top = eigenvalues.flip(0)[:k].clamp(min=0)
    return U.copy_(alpha * eigenvectors.flip(1)[:, :k] * top.sqrt())


def check_problem(U: Tensor, A: Tensor, y: Tensor) -> None:
    """Raise a ValueError in one sentence if `U` (..., d, k), `A` (m, d, d) and `y` (..., m) do not fit together."""
    if A.ndim != 3 or A.shape[1] != A.shape[2] or len(A) == 0:
        raise ValueError(f"A must hold m square matrices, shape (m, d, d), got {tuple(A.shape)}.")
    m, d, _ = A.shape
    if U.ndim < 2 or U.shape[-2] != d:
        raise ValueError(f"U must have d = {d} rows, as the measurement matrices have, got shape {tuple(U.shape)}.")
    if not 1 <= U.shape[-1] <= d:
        raise ValueError(f"U may have from 1 to d = {d} columns (the rank that we allow), got {U.shape[-1]}.")
    if y.ndim < 1 or y.shape[-1] != m:
        raise ValueError(f"y must hold a value for each of the {m} measurements, got shape {tuple(y.shape)}.")
    if not U.dtype == A.dtype == y.dtype or not U.is_floating_point():
        raise ValueError(f"U, A and y must be floats of one dtype, got {U.dtype}, {A.dtype} and {y.dtype}.")
