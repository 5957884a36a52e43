"""Pairs, their likelihood, and the fit."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import subspace_angles
from scipy.optimize import check_grad
from scipy.special import expit

from reprolib.latent.contrastive import contrastive_pairs, fit_pairs, pair_loss

THETA = np.array([[1.5, 0.0, 0.0, 0.0], [0.0, 1.0, 0.5, 0.0]])


def test_similar_pairs_are_as_frequent_as_the_model_says():
    X, X2, s = contrastive_pairs(THETA, 100_000, np.random.default_rng(0))
    chance = expit(((X @ THETA.T) * (X2 @ THETA.T)).sum(axis=1))
    for low in (0.0, 0.25, 0.5, 0.75):
        inside = (low <= chance) & (chance < low + 0.25)
        assert s[inside].mean() == pytest.approx(chance[inside].mean(), abs=0.015)


def test_gradient_is_that_of_the_loss():
    pairs = contrastive_pairs(THETA, 50, np.random.default_rng(1))
    theta = np.random.default_rng(2).standard_normal(THETA.size)
    off = check_grad(
        lambda t: pair_loss(t.reshape(THETA.shape), *pairs)[0],
        lambda t: pair_loss(t.reshape(THETA.shape), *pairs)[1].ravel(),
        theta,
    )
    assert off < 1e-6


def test_the_fit_is_stationary_and_near_the_truth_up_to_rotation():
    pairs = contrastive_pairs(THETA, 30_000, np.random.default_rng(3))
    fit = fit_pairs(*pairs, rank=2)
    value, gradient = pair_loss(fit, *pairs)
    assert value <= pair_loss(THETA, *pairs)[0]
    assert np.abs(gradient).max() < 1e-4
    assert fit.T @ fit == pytest.approx(THETA.T @ THETA, abs=0.15)


def test_the_start_is_near_the_span_of_the_features():
    pairs = contrastive_pairs(THETA, 30_000, np.random.default_rng(4))
    assert subspace_angles(fit_pairs(*pairs, rank=2, steps=0).T, THETA.T).max() < 0.2
