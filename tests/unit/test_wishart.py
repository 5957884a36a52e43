"""The triangular factors have the distribution of a sample's second moment."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from reprolib.latent.wishart import gram_factors

COVARIANCE = np.array([[2.0, 0.6, 0.0], [0.6, 1.0, -0.3], [0.0, -0.3, 0.5]])


@pytest.mark.parametrize("n", [2, 3, 40])  # fewer rows than columns, as many, more
def test_first_two_moments_are_those_of_a_sample(n):
    T = gram_factors(n, COVARIANCE, 40_000, np.random.default_rng(0))
    assert T.shape == (40_000, 3, min(n, 3))
    W = T @ T.mT
    mean = n * COVARIANCE
    variance = n * (COVARIANCE**2 + np.outer(np.diag(COVARIANCE), np.diag(COVARIANCE)))
    assert (np.abs(W.mean(axis=0) - mean) < 5 * np.sqrt(variance / 40_000)).all()
    assert W.var(axis=0) == pytest.approx(variance, rel=0.06)
    if n >= 3:
        theirs = stats.wishart(df=n, scale=COVARIANCE)
        assert theirs.mean() == pytest.approx(mean)
        assert theirs.var() == pytest.approx(variance)


def test_factors_are_lower_triangular_and_follow_the_seed():
    draw, again = (gram_factors(10, COVARIANCE, 4, np.random.default_rng(1)) for _ in range(2))
    assert np.array_equal(draw, again)
    assert np.array_equal(draw, np.tril(draw))
    assert (draw[:, range(3), range(3)] > 0).all()


def test_a_sample_has_a_row():
    with pytest.raises(ValueError, match="at least one row"):
        gram_factors(0, COVARIANCE, 1, np.random.default_rng(0))
