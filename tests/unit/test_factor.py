"""The factor model: moments, the best predictor, its rivals, and what cannot change a prediction."""

from __future__ import annotations

import numpy as np
import pytest

from reprolib.latent.factor import (
    bayes_linear,
    head,
    joint_covariance,
    least_squares,
    linear_excess_risk,
    loglikelihood,
    ppca_mle,
    ridge_path,
)
from reprolib.latent.wishart import gram_factors

RNG = np.random.default_rng(0)
D, R, EPS = 6, 2, 0.5
B, BETA = RNG.standard_normal((D, R)), np.array([1.0, -0.5])
JOINT = joint_covariance(B, BETA, EPS)


def test_joint_covariance_is_that_of_draws():
    nuisance = RNG.standard_normal((D, 1))
    z, u = RNG.standard_normal((400_000, R)), RNG.standard_normal((400_000, 1))
    X = z @ B.T + u @ nuisance.T + RNG.standard_normal((400_000, D))
    y = z @ BETA + EPS * RNG.standard_normal(400_000)
    drawn = np.cov(np.column_stack([X, y]).T)
    assert drawn == pytest.approx(joint_covariance(B, BETA, EPS, nuisance), abs=0.06)


def test_bayes_predictor_has_its_closed_form():
    w, risk = bayes_linear(JOINT)
    inner = np.linalg.inv(np.eye(R) + B.T @ B)
    assert w == pytest.approx(B @ inner @ BETA)
    assert risk == pytest.approx(EPS**2 + BETA @ inner @ BETA)


def test_excess_is_the_risk_above_the_best():
    w_star, risk = bayes_linear(JOINT)
    w = RNG.standard_normal((3, D))
    total = [JOINT[-1, -1] - 2 * v @ JOINT[:-1, -1] + v @ JOINT[:-1, :-1] @ v for v in w]
    assert linear_excess_risk(w, w_star, JOINT[:-1, :-1]) == pytest.approx(np.array(total) - risk)


def test_mle_finds_the_model_from_its_own_moments():
    fit = ppca_mle(JOINT[:-1, :-1], R)
    assert fit @ fit.T == pytest.approx(B @ B.T)
    assert loglikelihood(fit, JOINT[:-1, :-1]) > loglikelihood(1.01 * fit, JOINT[:-1, :-1])


def test_directions_below_the_noise_are_left_out():
    fit = ppca_mle(np.diag([3.0, 0.9, 0.5]), 2)
    assert np.abs(fit[:, 0]) == pytest.approx([2**0.5, 0, 0])
    assert (fit[:, 1] == 0).all()
    T = np.linalg.cholesky(np.diag([3.0, 0.9, 0.5, 1.0]) + 0.1)
    assert head(T, fit) == pytest.approx(head(T, fit[:, :1]))


def test_predictors_are_those_of_the_drawn_points():
    X, y = RNG.standard_normal((30, D)), RNG.standard_normal(30)
    data = np.column_stack([X, y])
    T = np.linalg.cholesky(data.T @ data)[None]
    assert least_squares(T)[0] == pytest.approx(np.linalg.lstsq(X, y)[0])
    assert head(T, B[None])[0] == pytest.approx(B @ np.linalg.lstsq(X @ B, y)[0])
    for penalty, w in zip([0.01, 1.0], ridge_path(T, 30, np.array([0.01, 1.0]))[0], strict=True):
        assert w == pytest.approx(np.linalg.solve(X.T @ X / 30 + penalty * np.eye(D), X.T @ y / 30))


def test_a_head_does_not_see_the_basis_of_its_features():
    T = gram_factors(20, JOINT, 5, RNG)
    change = RNG.standard_normal((R, R)) + 2 * np.eye(R)
    assert head(T, B @ change) == pytest.approx(head(T, B[None]))


def test_the_best_head_in_population_comes_from_the_true_moments():
    fit = B + 0.3 * RNG.standard_normal((D, R))
    covariance, (w_star, _) = JOINT[:-1, :-1], bayes_linear(JOINT)
    w = head(np.linalg.cholesky(JOINT), fit)
    assert fit.T @ covariance @ (w - w_star) == pytest.approx(np.zeros(R), abs=1e-12)
    near = w + 0.01 * (fit @ RNG.standard_normal((R, 20))).T
    assert (linear_excess_risk(near, w_star, covariance) > linear_excess_risk(w, w_star, covariance)).all()
