"""Weights of trees: they reproduce predictions, keep to the bounds of p, and refuse what they cannot describe."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.ensemble import ExtraTreesRegressor, GradientBoostingRegressor, RandomForestRegressor
from sklearn.tree import DecisionTreeRegressor

from reprolib.smoothers.trees import (
    boosting_path,
    boosting_weights,
    effective_parameters,
    forest_weights,
    leaf_shares,
    overlap,
    tree_weights,
    weights_by_tree,
)

N, M = 60, 25


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    X = rng.random((N, 3))
    return X, np.sin(5 * X[:, 0]) + X[:, 1] + rng.standard_normal(N), rng.random((M, 3))


@pytest.mark.parametrize("forest", [RandomForestRegressor, ExtraTreesRegressor])
@pytest.mark.parametrize(
    "options",
    [{"bootstrap": False}, {"bootstrap": True}, {"bootstrap": True, "max_samples": 0.4}, {"max_leaf_nodes": 7}],
)
def test_weights_times_labels_are_the_predictions(data, forest, options):
    X, y, X0 = data
    model = forest(8, max_features=0.6, random_state=1, **options).fit(X, y)
    for inputs in (X, X0):
        S = forest_weights(model, X, inputs)
        trees = weights_by_tree(model, X, inputs)
        assert np.abs(S @ y - model.predict(inputs)).max() < 1e-12
        assert np.abs(np.mean([s.toarray() for s in trees], axis=0) - S).max() < 1e-14
        for tree, s in zip(model.estimators_, trees, strict=True):
            assert np.abs(s @ y - tree.predict(inputs)).max() < 1e-12
        assert (S >= 0).all() and np.abs(S.sum(axis=1) - 1).max() < 1e-12


def test_a_point_drawn_twice_counts_twice_and_one_that_was_not_drawn_not_at_all():
    X, counts = np.array([[0.0], [0.1], [0.2], [1.0]]), np.array([2, 1, 0, 1])
    drawn = np.repeat(np.arange(4), counts)
    tree = DecisionTreeRegressor(max_depth=1).fit(X[drawn], np.array([0.0, 0.0, 9.0, 5.0])[drawn])
    S = tree_weights(tree, X, np.array([[0.05], [0.9]]), counts).toarray()
    assert np.allclose(S, [[2 / 3, 1 / 3, 0, 0], [0, 0, 0, 1]])


def test_shares_of_every_leaf_sum_to_one_and_inner_nodes_have_none(data):
    X, y, _ = data
    tree = DecisionTreeRegressor(max_leaf_nodes=9, random_state=0).fit(X, y)
    leaves = tree.tree_.children_left == -1
    assert np.allclose(leaf_shares(tree, X).sum(axis=1), leaves)


@pytest.mark.parametrize("init", ["zero", None])
@pytest.mark.parametrize("leaves", [2, 5, N])
def test_boosted_weights_reproduce_every_stage(data, init, leaves):
    X, y, X0 = data
    options = dict(n_estimators=30, learning_rate=0.1, max_depth=None, max_leaf_nodes=leaves, random_state=2)
    model = GradientBoostingRegressor(init=init, **options).fit(X, y)
    stages = zip(model.staged_predict(X), model.staged_predict(X0), boosting_path(model, X, X0), strict=True)
    for train, new, (S_train, S_new) in stages:
        assert np.abs(S_train @ y - train).max() < 1e-12 and np.abs(S_new @ y - new).max() < 1e-12
    assert np.array_equal(boosting_weights(model, X, X0), S_new)


def test_effective_parameters_of_known_smoothers():
    A = np.column_stack([np.ones(N), np.random.default_rng(1).standard_normal((N, 4))])
    hat = A @ np.linalg.pinv(A)
    assert effective_parameters(hat) == pytest.approx(5) == pytest.approx(np.trace(hat))
    assert effective_parameters(np.full((M, N), 1 / N)) == pytest.approx(1)
    nearest = np.eye(N)[np.arange(M)]  # p counts training points, also at fewer queries
    assert effective_parameters(nearest) == effective_parameters(csr_array(nearest)) == N
    assert effective_parameters(np.eye(N) / 2) == N / 4


def test_overlaps_hold_the_parameters_of_trees_and_of_every_part_of_the_forest(data):
    X, y, X0 = data
    model = RandomForestRegressor(6, max_features=0.3, random_state=3).fit(X, y)
    trees = weights_by_tree(model, X, X0)
    pairs = overlap(trees)
    assert np.allclose(np.diag(pairs), [effective_parameters(s) for s in trees])
    for B in (1, 2, 6):
        part = np.mean([s.toarray() for s in trees[:B]], axis=0)
        assert pairs[:B, :B].mean() == pytest.approx(effective_parameters(part))
    dense = [s.toarray() for s in trees]
    assert pairs[1, 4] == pytest.approx(N / M * (dense[1] * dense[4]).sum())


def test_overlap_of_fully_grown_trees_is_how_often_they_agree(data):
    X, y, X0 = data
    model = RandomForestRegressor(2, max_features=0.3, bootstrap=False, random_state=4).fit(X, y)
    choices = [s.toarray().argmax(axis=1) for s in weights_by_tree(model, X, X0)]
    agree = np.mean(choices[0] == choices[1])
    assert 0 < agree < 1
    assert overlap(weights_by_tree(model, X, X0))[0, 1] == pytest.approx(N * agree)


def test_what_is_no_weighted_mean_of_these_points_is_refused(data):
    X, y, X0 = data
    forest = RandomForestRegressor(2, random_state=0).fit(X, y)
    with pytest.raises(ValueError, match="not what the tree was fitted on"):
        forest_weights(forest, X[::-1], X0)
    with pytest.raises(ValueError, match="not what the tree was fitted on"):  # the bootstrap sample is missing
        tree_weights(forest.estimators_[0], X, X0)
    weighted = DecisionTreeRegressor(max_depth=2).fit(X, y, sample_weight=np.linspace(1, 2, N))
    with pytest.raises(ValueError, match="not what the tree was fitted on"):
        tree_weights(weighted, X, X0)
    median = RandomForestRegressor(1, criterion="absolute_error", bootstrap=False).fit(X, y)
    with pytest.raises(ValueError, match="medians"):
        forest_weights(median, X, X0)
    huber = GradientBoostingRegressor(loss="huber", n_estimators=1).fit(X, y)
    with pytest.raises(ValueError, match="loss 'squared_error'"):
        boosting_weights(huber, X, X0)
    part = GradientBoostingRegressor(subsample=0.5, n_estimators=1).fit(X, y)
    with pytest.raises(ValueError, match="not what the tree was fitted on"):
        boosting_weights(part, X, X0)
