"""Second moments of Gaussian samples, drawn directly: the cost does not depend on the size of the sample."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

Array = np.ndarray


def gram_factors(
    n: int, covariance: Float[Array, "d d"], size: int, generator: np.random.Generator
) -> Float[Array, "size d k"]:
    """Draw T with the property that T T' is distributed as X'X, for X of n independent rows from N(0, covariance).

    Bartlett's decomposition: the triangular factor of a standard Gaussian sample has independent normal entries
    below its diagonal and, on it, roots of chi-square variables with n, n - 1, ... degrees of freedom. It is
    multiplied by the Cholesky factor of the covariance, so T is lower triangular, of width k = min(n, d).

    Args:
        n: rows of the sample, at least 1.
        covariance: positive definite.
        size: number of independent draws.
        generator: source of all draws.

    Raises:
        ValueError: no row.
        numpy.linalg.LinAlgError: the covariance is not positive definite.
    """
    if n < 1:
        raise ValueError(f"a sample needs at least one row, got n = {n}.")
    d = len(covariance)
    k = min(n, d)
    factors = np.tril(generator.standard_normal((size, d, k)), -1)
    factors[:, range(k), range(k)] = np.sqrt(generator.chisquare(n - np.arange(k), (size, k)))
    return np.linalg.cholesky(covariance) @ factors
