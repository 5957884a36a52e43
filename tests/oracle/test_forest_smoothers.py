"""Forest weights against quantile-forest, scikit-learn's own predictions, closed forms and Monte Carlo."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import GradientBoostingRegressor, RandomForestClassifier, RandomForestRegressor
from sklearn.neighbors import KNeighborsRegressor

from reprolib.data.mars import make_mars
from reprolib.smoothers.trees import boosting_path, effective_parameters, forest_weights, overlap, weights_by_tree

N, M = 120, 40


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(5)
    X, y = make_mars(N, kind="MARSadd", sigma=1.0, generator=rng)
    return X, y, make_mars(M, kind="MARSadd", sigma=1.0, generator=rng)[0]


@pytest.mark.parametrize("bootstrap", [False, True])
def test_shared_leaves_are_those_that_quantile_forest_counts(data, bootstrap):
    """With fully grown trees and no bootstrap its proximity counts over the trees are the weights."""
    quantile_forest = pytest.importorskip("quantile_forest")
    X, y, X0 = data
    options = dict(n_estimators=12, max_features=0.6, random_state=6, bootstrap=bootstrap)
    theirs = quantile_forest.RandomForestQuantileRegressor(max_samples_leaf=None, **options).fit(X, y)
    counts = np.zeros((M, N))
    for row, pairs in enumerate(theirs.proximity_counts(X0)):
        for point, count in pairs:
            counts[row, point] = count
    S = forest_weights(theirs, X, X0)
    assert np.array_equal(S > 0, counts > 0)
    if not bootstrap:
        assert np.abs(S - counts / 12).max() < 1e-12


@pytest.mark.parametrize("q", [0.1, 0.5, 0.9])
def test_weighted_quantiles_are_those_of_quantile_forest(data, q):
    """Meinshausen (2006): the conditional quantile is that of the labels under the weights."""
    quantile_forest = pytest.importorskip("quantile_forest")
    X, y, X0 = data
    model = quantile_forest.RandomForestQuantileRegressor(20, min_samples_leaf=4, random_state=7, bootstrap=False)
    model.set_params(max_samples_leaf=None).fit(X, y)
    theirs = model.predict(X0, [q], weighted_quantile=True, interpolation="lower")
    order = np.argsort(y)
    below = np.cumsum(forest_weights(model, X, X0)[:, order], axis=1)
    low, high = (y[order][np.argmax(below >= at, axis=1)] for at in (max(q - 0.05, 0), min(q + 0.05, 1 - 1e-9)))
    assert ((low <= theirs) & (theirs <= high)).all()


@pytest.mark.parametrize("bootstrap", [False, True])
def test_a_classifier_averages_labels_too(data, bootstrap):
    X, y, X0 = data
    label = (y > np.median(y)).astype(int)
    model = RandomForestClassifier(15, random_state=8, bootstrap=bootstrap).fit(X, label)
    assert np.abs(forest_weights(model, X, X0) @ label - model.predict_proba(X0)[:, 1]).max() < 1e-12


def test_boosting_with_fully_grown_trees_has_a_closed_form(data):
    """S_train = (1 - (1 - eta)^m) I, as T_train = I."""
    X, y, X0 = data
    options = dict(learning_rate=0.05, init="zero", max_depth=None, max_leaf_nodes=N)
    model = GradientBoostingRegressor(n_estimators=60, **options).fit(X, y)
    for m, (S_train, _) in enumerate(boosting_path(model, X, X0), 1):
        assert np.abs(S_train - (1 - 0.95**m) * np.eye(N)).max() < 1e-12
        assert effective_parameters(S_train) == pytest.approx(N * (1 - 0.95**m) ** 2)


def test_a_tree_on_a_line_is_the_nearest_neighbor():
    """In one dimension cuts lie in the middle between neighbors, so a fully grown tree picks the nearer one."""
    rng = np.random.default_rng(9)
    X, X0 = rng.permutation(50)[:, None] + 0.0, rng.uniform(0, 49, (200, 1))
    y = rng.standard_normal(50)
    forest = RandomForestRegressor(3, bootstrap=False, random_state=0).fit(X, y)
    nearest = KNeighborsRegressor(1).fit(X, np.arange(50)).predict(X0).astype(int)
    assert np.array_equal(forest_weights(forest, X, X0), np.eye(50)[nearest])
    assert np.allclose(overlap(weights_by_tree(forest, X, X0)), 50)


def test_p_is_the_variance_of_noise_through_fixed_weights(data):
    X, y, X0 = data
    S = forest_weights(RandomForestRegressor(10, random_state=10).fit(X, y), X, X0)
    variance = ((S @ (3 * np.random.default_rng(11).standard_normal((N, 4000)))) ** 2).mean(axis=0)
    error = variance.std() / len(variance) ** 0.5
    assert abs(variance.mean() - 9 * effective_parameters(S) / N) < 4 * error
