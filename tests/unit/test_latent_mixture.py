"""Draws and expectation-maximization of a mixture with unit covariance."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from reprolib.latent.mixture import em_spherical, gaussian_mixture, posterior

MEANS = np.array([[0.0, 0.0], [3.0, 0.0], [0.0, 4.0]])


def test_draws_have_the_means_of_their_components():
    X, z = gaussian_mixture(MEANS, 60_000, np.random.default_rng(0))
    for k, mean in enumerate(MEANS):
        assert np.mean(z == k) == pytest.approx(1 / 3, abs=0.01)
        assert X[z == k].mean(axis=0) == pytest.approx(mean, abs=0.03)
        assert np.cov(X[z == k].T) == pytest.approx(np.eye(2), abs=0.03)


def test_posterior_is_that_of_the_densities():
    X, weights = np.random.default_rng(1).standard_normal((50, 2)), np.array([0.2, 0.5, 0.3])
    joint = np.array([multivariate_normal(mean).pdf(X) for mean in MEANS]).T * weights
    assert posterior(X, MEANS, weights) == pytest.approx(joint / joint.sum(axis=1, keepdims=True))


def test_em_climbs_and_finds_the_means():
    X, _ = gaussian_mixture(MEANS, 4000, np.random.default_rng(2))
    start = MEANS + np.random.default_rng(3).standard_normal(MEANS.shape)
    climb = [em_spherical(X, start, steps)[2] for steps in range(12)]
    assert (np.diff(climb) > -1e-12).all()
    means, weights, _ = em_spherical(X, start, 50)
    assert means == pytest.approx(MEANS, abs=0.12)
    assert weights == pytest.approx([1 / 3] * 3, abs=0.03)


def test_a_component_without_points_stays_finite():
    X = np.zeros((5, 2))
    means, weights, value = em_spherical(X, np.array([[0.0, 0.0], [1e3, 0.0]]), 3)
    assert np.isfinite(means).all()
    assert weights == pytest.approx([1, 0])
    assert np.isfinite(value)
