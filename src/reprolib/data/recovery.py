"""Low-rank matrices and their Gaussian measurements, some of them corrupted: a problem that needs no download.

A linear measurement of a matrix `X` is ``<A_i, X>``, the sum of the products of the entries. `measure` takes all of
them at once, and `adjoint` is its transpose: it turns one number a measurement back into a matrix.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

NOISES = ("none", "outlier", "gaussian")


class Measurements(NamedTuple):
    """``y = <A, X> + s``: matrices `A` (m, d, d), measured values `y` (m,) and the noise `s` (m,) in them."""

    A: Float[Tensor, "m d d"]
    y: Float[Tensor, " m"]
    s: Float[Tensor, " m"]


def measure(A: Float[Tensor, "m d d"], X: Float[Tensor, "*batch d d"]) -> Float[Tensor, "*batch m"]:
    """Return ``<A_i, X>`` for every measurement i and every matrix of a batch, in one matrix product."""
    return X.flatten(-2) @ A.flatten(1).T


def adjoint(A: Float[Tensor, "m d d"], v: Float[Tensor, "*batch m"]) -> Float[Tensor, "*batch d d"]:
    """Return ``1/m sum_i v_i A_i``: the transpose of `measure`, divided by the number of measurements."""
    return (v @ A.flatten(1) / len(A)).unflatten(-1, A.shape[1:])


def low_rank_psd(
    d: int, r: int, eigenvalues: Sequence[float] | None = None, generator: torch.Generator | None = None
) -> tuple[Float[Tensor, "d d"], Float[Tensor, "d r"]]:
    """Draw a positive semi-definite matrix of rank `r` with random eigenvectors, in float64.

    Args:
        d: its dimension.
        r: its rank, from 1 to `d`.
        eigenvalues: the `r` eigenvalues above zero; all 1 when None.
        generator: source of randomness; torch's own when None.

    Returns:
        The matrix ``V diag(eigenvalues) V^T`` and its eigenvectors `V`, uniform over orthonormal frames.

    Raises:
        ValueError: the rank is not from 1 to `d`, or the eigenvalues are not `r` positive numbers.
    """
    if not 1 <= r <= d:
        raise ValueError(f"rank r must be from 1 to the dimension d = {d}, got {r}.")
    sigma = torch.tensor([1.0] * r if eigenvalues is None else list(eigenvalues), dtype=torch.float64)
    if len(sigma) != r or not (sigma > 0).all():
        raise ValueError(f"eigenvalues must be {r} numbers above 0, got {sigma.tolist()}.")
    V, R = torch.linalg.qr(torch.randn(d, r, generator=generator, dtype=torch.float64))
    V = V * R.diagonal().sign()  # with a positive diagonal of R the frame is uniform (Haar)
    return V * sigma @ V.T, V


def gaussian_measurements(
    X: Float[Tensor, "d d"],
    m: int,
    noise: str = "none",
    p: float = 0.0,
    scale: float = 1.0,
    generator: torch.Generator | None = None,
) -> Measurements:
    """Measure `X` with `m` matrices of independent standard normal entries (not symmetric), and corrupt the values.

    The draws do not depend on `noise`, `p` or `scale`: from one generator state every kind of noise meets the same
    matrices, the outliers of a larger `p` include those of a smaller one, and `scale` only stretches them.

    Args:
        X: the matrix to measure.
        m: number of measurements.
        noise: ``"none"``; ``"outlier"``: with probability `p` a value is off by a normal draw; ``"gaussian"``: every
            value is.
        p: probability of an outlier, in [0, 1).
        scale: standard deviation of the noise (not its variance).
        generator: source of randomness; torch's own when None.

    Raises:
        ValueError: `X` is not square, `m` < 1, `noise` is unknown, `p` is outside [0, 1), or `scale` < 0.
    """
    if X.ndim != 2 or X.shape[0] != X.shape[1]:
        raise ValueError(f"X must be a square matrix, got shape {tuple(X.shape)}.")
    if m < 1:
        raise ValueError(f"m must be at least 1 measurement, got {m}.")
    if noise not in NOISES:
        raise ValueError(f"noise must be one of {', '.join(map(repr, NOISES))}, got {noise!r}.")
    if not 0 <= p < 1:
        raise ValueError(f"p, the probability of an outlier, must be at least 0 and below 1, got {p}.")
    if not scale >= 0:
        raise ValueError(f"scale must be at least 0, got {scale}.")
    A = torch.randn(m, *X.shape, generator=generator, dtype=X.dtype)
    chance = torch.rand(m, generator=generator, dtype=X.dtype)
    s = scale * torch.randn(m, generator=generator, dtype=X.dtype)
    if noise != "gaussian":
        s = torch.where(chance < (p if noise == "outlier" else 0), s, 0.0)
    return Measurements(A, measure(A, X) + s, s)
