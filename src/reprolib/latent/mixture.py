"""A mixture of Gaussians with unit covariance: draws, posterior, and expectation-maximization."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy.special import logsumexp, softmax

Array = np.ndarray


def gaussian_mixture(
    means: Float[Array, "k d"], n: int, generator: np.random.Generator
) -> tuple[Float[Array, "n d"], Int[Array, " n"]]:
    """Return n points of an equally weighted mixture with unit covariance, and their components."""
    z = generator.integers(len(means), size=n)
    return means[z] + generator.standard_normal((n, means.shape[1])), z


def log_joint(X: Float[Array, "n d"], means: Float[Array, "k d"], weights: Float[Array, " k"]) -> Float[Array, "n k"]:
    """Return log p(x, z = k), up to a term that does not depend on the component or the parameters."""
    with np.errstate(divide="ignore"):  # a component that lost all its points
        return X @ means.T - (means**2).sum(axis=1) / 2 + np.log(weights)


def posterior(X: Float[Array, "n d"], means: Float[Array, "k d"], weights: Float[Array, " k"]) -> Float[Array, "n k"]:
    """Return P(z = k | x) for every row of X."""
    return softmax(log_joint(X, means, weights), axis=1)


def em_spherical(
    X: Float[Array, "n d"], means: Float[Array, "k d"], steps: int
) -> tuple[Float[Array, "k d"], Float[Array, " k"], float]:
    """Fit means and weights of a mixture with known unit covariance by expectation-maximization.

    Args:
        X: the sample.
        means: where to start, with equal weights.
        steps: number of E and M steps.

    Returns:
        Means, weights, and the mean log-likelihood, up to a term that depends on X alone.
    """
    weights = np.full(len(means), 1 / len(means))
    for _ in range(steps):
        R = posterior(X, means, weights)
        mass = R.sum(axis=0)
        means, weights = R.T @ X / np.maximum(mass, 1e-12)[:, None], mass / len(X)
    return means, weights, float(logsumexp(log_joint(X, means, weights), axis=1).mean())
