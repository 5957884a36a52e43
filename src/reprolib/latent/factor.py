r"""The factor model x = B z + mu with unit noise, its maximum likelihood estimate, and heads on top of it.

Every sample enters through its second moments alone, so functions take those, for many repetitions at once. Ge et al.
(2024, Section 4) state the model; the closed forms follow from the rules for Gaussian vectors.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.linalg import eigh

Array = np.ndarray


def joint_covariance(
    B: Float[Array, "d r"], beta: Float[Array, " r"], eps: float, nuisance: Float[Array, "d k"] | None = None
) -> Float[Array, "d+1 d+1"]:
    """Return the covariance of (x, y), where y = beta'z + eps * noise is the last coordinate.

    Args:
        B: loadings; x = B z + mu with independent standard normal z and mu.
        beta: weights of the latent factors in the label.
        eps: standard deviation of the label's noise.
        nuisance: loadings of more factors in x, which the label does not depend on.
    """
    covariance = B @ B.T + np.eye(len(B))
    if nuisance is not None:
        covariance = covariance + nuisance @ nuisance.T
    cross = (B @ beta)[:, None]
    return np.block([[covariance, cross], [cross.T, np.array([[beta @ beta + eps**2]])]])


def bayes_linear(joint: Float[Array, "d+1 d+1"]) -> tuple[Float[Array, " d"], float]:
    """Return the weights of the best predictor of y from x, E[y | x] = w'x, and its risk, the variance of y given x."""
    w = np.linalg.solve(joint[:-1, :-1], joint[:-1, -1])
    return w, float(joint[-1, -1] - joint[:-1, -1] @ w)


def linear_excess_risk(
    w: Float[Array, "*batch d"], w_star: Float[Array, " d"], covariance: Float[Array, "d d"]
) -> Float[Array, "*batch"]:
    """Return the expected squared error of w'x minus that of the best predictor: (w - w*)' Sigma (w - w*)."""
    return np.einsum("...i,ij,...j->...", w - w_star, covariance, w - w_star)


def ppca_mle(C: Float[Array, "*batch d d"], rank: int) -> Float[Array, "*batch d rank"]:
    """Return the loadings that maximize the likelihood of the factor model with unit noise, up to a rotation.

    With eigenvalues l_j and eigenvectors v_j of the second moment, column j is v_j sqrt(max(l_j - 1, 0)), largest first
    (Tipping and Bishop, 1999, there with the noise estimated, too).

    Args:
        C: second moments, X'X / m.
        rank: number of latent factors, from 1 to d.
    """
    d = C.shape[-1]
    loadings = np.empty((*C.shape[:-1], rank))
    for at in np.ndindex(C.shape[:-2]):  # the largest alone take half the time of all, or less
        values, vectors = eigh(C[at], subset_by_index=(d - rank, d - 1), check_finite=False)
        loadings[at] = (vectors * np.sqrt(np.maximum(values - 1, 0)))[:, ::-1]
    return loadings


def loglikelihood(B: Float[Array, "d r"], C: Float[Array, "d d"]) -> float:
    """Return the mean log density of a sample with second moment C under N(0, B B' + I), constants left out."""
    covariance = B @ B.T + np.eye(len(B))
    return float(-(np.linalg.slogdet(covariance)[1] + np.trace(np.linalg.solve(covariance, C))) / 2)


def least_squares(T: Float[Array, "*batch d+1 d+1"]) -> Float[Array, "*batch d"]:
    """Return the least-squares weights of a labeled sample; T is a triangular factor of the second moment of (x, y)."""
    return np.linalg.solve(np.swapaxes(T[..., :-1, :-1], -1, -2), T[..., -1, :-1, None])[..., 0]


def head(T: Float[Array, "*batch d+1 k"], B: Float[Array, "*batch d r"]) -> Float[Array, "*batch d"]:
    """Return the weights on x of a least-squares head on the features B'x; columns of zeros are left out.

    Any invertible change of the features gives the same predictor; E[z | x] = (I + B'B)^-1 B'x is one.

    Args:
        T: factor of the second moment of (x, y), T T' = sums of (x, y)(x, y)', from a labeled sample.
        B: loadings, or any other map whose columns span the features.
    """
    F = np.swapaxes(B, -1, -2) @ T[..., :-1, :]
    inverse = np.linalg.pinv(F @ np.swapaxes(F, -1, -2), rcond=1e-12, hermitian=True)
    return (B @ inverse @ F @ T[..., -1, :, None])[..., 0]


def ridge_path(T: Float[Array, "*batch d+1 d+1"], n: int, penalties: Float[Array, " p"]) -> Float[Array, "*batch p d"]:
    """Return ridge weights (X'X / n + penalty I)^-1 X'y / n for every penalty, from the factor T of `least_squares`."""
    L = T[..., :-1, :-1]
    values, vectors = np.linalg.eigh(L @ np.swapaxes(L, -1, -2) / n)
    along = np.swapaxes(vectors, -1, -2) @ L @ T[..., -1, :-1, None] / n  # X'y / n in the eigenvectors
    shrunk = np.swapaxes(along, -1, -2) / (values[..., None, :] + penalties[:, None])
    return shrunk @ np.swapaxes(vectors, -1, -2)
