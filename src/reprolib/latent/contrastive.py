r"""Contrastive pairs: P(s = 1 | x, x') = sigmoid(f(x)'f(x')) with linear features f(x) = Theta x, and its MLE.

Ge et al. (2024, Section 6); the linear map is the simplest feature class.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import minimize
from scipy.special import expit

Array = np.ndarray


def contrastive_pairs(
    theta: Float[Array, "r d"], m: int, generator: np.random.Generator
) -> tuple[Float[Array, "m d"], Float[Array, "m d"], Int[Array, " m"]]:
    """Return m pairs of independent standard normal inputs, and whether each is similar (1) or not (0)."""
    X, X2 = generator.standard_normal((2, m, theta.shape[1]))
    logits = ((X @ theta.T) * (X2 @ theta.T)).sum(axis=1)
    return X, X2, (generator.random(m) < expit(logits)).astype(int)


def pair_loss(
    theta: Float[Array, "r d"], X: Float[Array, "m d"], X2: Float[Array, "m d"], s: Int[Array, " m"]
) -> tuple[float, Float[Array, "r d"]]:
    """Return the mean negative log-likelihood of the similarities, and its gradient."""
    F, F2 = X @ theta.T, X2 @ theta.T
    logits = (F * F2).sum(axis=1)
    error = (expit(logits) - s)[:, None]
    gradient = ((error * F2).T @ X + (error * F).T @ X2) / len(s)
    return float(np.mean(np.logaddexp(0, logits) - s * logits)), gradient


def fit_pairs(
    X: Float[Array, "m d"], X2: Float[Array, "m d"], s: Int[Array, " m"], rank: int, steps: int = 500
) -> Float[Array, "rank d"]:
    """Return the features that maximize the likelihood of the similarities, up to a rotation.

    L-BFGS from a spectral start: the expected moment of (s - 1/2) times x and x' has the same leading eigenvectors as
    Theta'Theta. The start has unit length in each of them.

    Args:
        X, X2, s: the pairs.
        rank: number of features.
        steps: iterations of L-BFGS, at most.
    """
    moment = ((s - 0.5)[:, None] * X).T @ X2
    start = np.linalg.eigh(moment + moment.T)[1][:, : -rank - 1 : -1].T

    def loss(flat):
        value, gradient = pair_loss(flat.reshape(start.shape), X, X2, s)
        return value, gradient.ravel()

    found = minimize(loss, start.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": steps})
    return found.x.reshape(start.shape)
