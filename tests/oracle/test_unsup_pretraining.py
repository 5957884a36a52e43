"""Pretraining against scikit-learn, a numerical maximum of the likelihood, and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.linalg import subspace_angles
from scipy.stats import multivariate_normal
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.metrics import log_loss
from sklearn.mixture import GaussianMixture

from reprolib.latent.contrastive import contrastive_pairs, fit_pairs, pair_loss
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
from reprolib.latent.mixture import em_spherical, gaussian_mixture, log_joint, posterior
from reprolib.latent.wishart import gram_factors

D, R, S, EPS = 12, 2, 2.0, 0.5
RNG = np.random.default_rng(4)
B = S * np.linalg.qr(RNG.standard_normal((D, R)))[0]
BETA = np.ones(R) / R**0.5
JOINT = joint_covariance(B, BETA, EPS)
W_STAR, RISK = bayes_linear(JOINT)


@pytest.fixture(scope="module")
def data():
    rows = RNG.multivariate_normal(np.zeros(D + 1), JOINT, size=300)
    return rows[:, :-1], rows[:, -1], np.linalg.cholesky(rows.T @ rows)


def test_loadings_span_the_principal_components(data):
    X = np.concatenate([data[0], -data[0]])  # mean zero, so that PCA's centering changes nothing
    ours = ppca_mle(X.T @ X / len(X), R)
    assert subspace_angles(ours, PCA(R).fit(X).components_.T).max() < 1e-6


def test_no_numerical_optimum_is_higher(data):
    C = data[0].T @ data[0] / 300
    ours = loglikelihood(ppca_mle(C, R), C)
    theta, moment = torch.randn(D, R, dtype=torch.float64, generator=torch.Generator().manual_seed(0)), torch.tensor(C)
    theta.requires_grad_()
    optimizer = torch.optim.LBFGS([theta], max_iter=500, tolerance_change=1e-14, line_search_fn="strong_wolfe")

    def loss():
        optimizer.zero_grad()
        model = theta @ theta.T + torch.eye(D, dtype=torch.float64)
        value = (torch.logdet(model) + torch.trace(torch.linalg.solve(model, moment))) / 2
        value.backward()
        return value

    optimizer.step(loss)
    assert -loss().item() == pytest.approx(ours, abs=1e-6)


def test_predictors_are_those_of_scikit_learn(data):
    X, y, T = data
    plain = LinearRegression(fit_intercept=False)
    assert least_squares(T) == pytest.approx(plain.fit(X, y).coef_)
    fit = ppca_mle(X.T @ X / 300, R)
    assert head(T, fit) == pytest.approx(fit @ plain.fit(X @ fit, y).coef_)
    penalties = np.array([1e-3, 0.1, 10.0])
    for penalty, w in zip(penalties, ridge_path(T, 300, penalties), strict=True):
        assert w == pytest.approx(Ridge(alpha=300 * penalty, fit_intercept=False).fit(X, y).coef_)


def test_mean_excess_has_its_closed_form():
    """OLS and a head on any fixed features have the mean excess of least squares on Gaussian features."""
    n, reps = 60, 4000
    T = gram_factors(n, JOINT, reps, np.random.default_rng(5))
    fit = B + 0.4 * np.random.default_rng(6).standard_normal(B.shape)
    delta = linear_excess_risk(head(np.linalg.cholesky(JOINT), fit), W_STAR, JOINT[:-1, :-1])
    for w, expected in (
        (least_squares(T), RISK * D / (n - D - 1)),
        (head(T, fit), delta + (RISK + delta) * R / (n - R - 1)),
    ):
        excess = linear_excess_risk(w, W_STAR, JOINT[:-1, :-1])
        assert abs(excess.mean() - expected) < 4 * excess.std() / reps**0.5


@pytest.mark.parametrize(("s", "m"), [(2.0, 4000), (1.0, 400)])
def test_extra_term_follows_the_spiked_limit(s, m):
    d = 40
    loadings = np.eye(d)[:, :R] * s
    joint = joint_covariance(loadings, BETA, EPS)
    w_star, _ = bayes_linear(joint)
    T = gram_factors(m, joint[:-1, :-1], 200, np.random.default_rng(7))
    fit = ppca_mle(T @ T.mT / m, R)
    measured = linear_excess_risk(head(np.linalg.cholesky(joint), fit), w_star, joint[:-1, :-1]).mean()
    ratio = (d - R) / m
    c = (1 - ratio / s**4) / (1 + ratio / s**2)
    assert measured == pytest.approx(s**2 * (1 - c) / ((1 + s**2) * (1 + s**2 * c)), rel=0.08)


def test_em_is_that_of_scikit_learn_where_the_variance_is_known():
    means = 6 / 2**0.5 * np.eye(4, 10)
    X, _ = gaussian_mixture(means, 20_000, np.random.default_rng(8))
    ours, weights, _ = em_spherical(X, means, 30)
    theirs = GaussianMixture(4, covariance_type="spherical", means_init=means, tol=1e-8).fit(X)
    assert ours == pytest.approx(theirs.means_, abs=2e-3)  # theirs estimates the variances, too
    assert weights == pytest.approx(theirs.weights_, abs=1e-3)
    assert np.abs(posterior(X, ours, weights) - theirs.predict_proba(X)).mean() < 1e-4


def test_log_joint_is_that_of_the_densities_up_to_a_term_in_x_alone():
    means, weights = np.random.default_rng(11).standard_normal((3, 5)), np.array([0.2, 0.5, 0.3])
    X, _ = gaussian_mixture(means, 50, np.random.default_rng(12))
    theirs = np.stack([multivariate_normal(mean).logpdf(X) for mean in means], axis=1) + np.log(weights)
    difference = log_joint(X, means, weights) - theirs
    assert difference == pytest.approx(np.repeat(difference[:, :1], 3, axis=1))


def test_contrastive_fit_of_one_coordinate_is_a_logistic_regression():
    """With d = r = 1 the logit is theta^2 x x', linear in the product of the two."""
    X, X2, s = contrastive_pairs(np.array([[1.2]]), 3000, np.random.default_rng(9))
    theirs = LogisticRegression(C=1e10, fit_intercept=False, tol=1e-10).fit(X * X2, s)
    fit = fit_pairs(X, X2, s, rank=1)
    assert fit.item() ** 2 == pytest.approx(theirs.coef_.item(), rel=1e-3)
    assert pair_loss(fit, X, X2, s)[0] == pytest.approx(log_loss(s, theirs.predict_proba(X * X2)), abs=1e-6)


def test_contrastive_extra_term_follows_the_fisher_information():
    d, r, m = 20, 2, 20_000
    theta = np.eye(r, d)
    rng = np.random.default_rng(10)
    u, v = rng.standard_normal((2, 200_000, r))
    p = 1 / (1 + np.exp(-(u * v).sum(axis=1)))
    information = np.mean(p * (1 - p) * u[:, 0] ** 2)
    extra = []
    for _ in range(20):
        Q = np.linalg.qr(fit_pairs(*contrastive_pairs(theta, m, rng), rank=r).T)[0]
        w_star = theta.T @ np.ones(r) / r**0.5
        extra.append(np.sum((w_star - Q @ (Q.T @ w_star)) ** 2))
    assert np.mean(extra) == pytest.approx((d - r) / (2 * m * information), rel=0.25)
