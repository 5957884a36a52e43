"""Boosted networks against the authors' package, scikit-learn's boosting of trees, and automatic derivatives."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from sklearn.datasets import load_diabetes, load_iris, make_moons
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPRegressor
from sklearn.preprocessing import scale
from sklearn.utils.random import sample_without_replacement

from reprolib.losses.boosting import LogExpLoss, SoftmaxLoss, SquaredLoss
from reprolib.models.gbnn import GBNNClassifier, GBNNRegressor, fit_piece

TASKS = ("two classes", "three classes", "regression")


def data(name):
    if name == "two classes":
        return make_moons(90, noise=0.3, random_state=0)
    X, y = (load_iris if name == "three classes" else load_diabetes)(return_X_y=True)
    return scale(X), scale(y) if name == "regression" else y


@pytest.mark.filterwarnings("ignore", category=ConvergenceWarning)
@pytest.mark.parametrize("activation", ["logistic", "tanh", "relu", "identity"])
@pytest.mark.parametrize(("units", "outputs"), [(1, None), (3, None), (1, 4), (2, 4)])
def test_a_piece_is_the_network_of_scikit_learn(units, outputs, activation):
    """To the last bit: the same draws and the same order of operations. The penalty is large enough to count."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(70, 5)), rng.normal(size=70 if outputs is None else (70, outputs))
    options = dict(activation=activation, alpha=0.3, max_iter=40)
    mine, state = np.random.RandomState(2), np.random.RandomState(2)
    ours = fit_piece(X, y, units, rng=mine, **options)
    theirs = MLPRegressor(hidden_layer_sizes=(units,), solver="lbfgs", tol=0.0, random_state=state, **options).fit(X, y)
    assert ours.n_iter_ == theirs.n_iter_ > 5
    for here, there in zip(ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True):
        assert np.array_equal(here, there)
    assert np.array_equal(ours.predict(X), theirs.predict(X))
    assert mine.uniform() == state.uniform()  # the next piece starts from the same state, too


@pytest.fixture
def theirs(monkeypatch):
    """The package; recent versions of scikit-learn do not recognize its classifiers."""
    module = pytest.importorskip("gbnn.GBNN")
    monkeypatch.setattr(module, "is_classifier", lambda model: model._estimator_type == "classifier")
    return module


@pytest.mark.parametrize("subsample", [1.0, 0.5])
@pytest.mark.parametrize("units_per_step", [1, 3])
@pytest.mark.parametrize("name", TASKS)
def test_the_authors_package_makes_the_same_network(theirs, monkeypatch, name, units_per_step, subsample):
    X, y = data(name)
    regression = name == "regression"
    state = np.random.RandomState(3)
    monkeypatch.setattr(theirs, "sample_without_replacement", partial(sample_without_replacement, random_state=state))
    options = dict(eta=0.5, subsample=subsample, max_iter=60)
    other = theirs.GNEGNERegressor if regression else theirs.GNEGNEClassifier
    model = other(total_nn=12, num_nn_step=units_per_step, random_state=state, **options)
    model.fit(X, y)
    Ours = GBNNRegressor if regression else GBNNClassifier
    ours = Ours(12, units_per_step, random_state=np.random.RandomState(3), **options).fit(X, y)
    assert ours.steps_.tolist() == model.steps  # the same draws and the same order of operations: the same bits
    assert ours.train_loss_[-1] < ours.train_loss_[0]
    expected = model.predict(X) if regression else model.predict_proba(X)
    here = ours.predict(X) if regression else ours.predict_proba(X)
    assert np.abs(here - expected).max() < 1e-12
    assembled, mlp = model.to_NN(), ours.to_mlp()
    for layer, weight, bias in zip((mlp[0], mlp[2]), assembled.coefs_, assembled.intercepts_, strict=True):
        assert layer.weight.detach().numpy() == pytest.approx(weight.T, rel=1e-12, abs=1e-12)
        assert layer.bias.detach().numpy() == pytest.approx(bias, rel=1e-12, abs=1e-12)


def test_two_class_losses_are_those_of_boosted_trees():
    """One tree with two leaves: its leaf values are the sum of residuals over that of curvatures, in log odds 2F."""
    X, y = data("two classes")
    trees = GradientBoostingClassifier(n_estimators=1, max_depth=1, learning_rate=1.0).fit(X, y)
    sign, loss = 2.0 * y - 1, LogExpLoss()
    F = np.full(len(y), loss.initial(sign))
    r = loss.negative_gradient(sign, F)
    leaf = trees.estimators_[0, 0].apply(X)
    for which in np.unique(leaf):
        h = (leaf == which).astype(float)
        F = F + loss.newton_step(sign, r, h) * h
    assert np.abs(2 * F - trees.decision_function(X)).max() < 1e-9


@pytest.mark.parametrize("name", TASKS)
def test_residuals_and_steps_are_derivatives(name):
    rng = np.random.default_rng(0)
    n, k = 30, 3
    if name == "regression":
        loss, y, F = SquaredLoss(), rng.normal(size=n), rng.normal(size=n)
    elif name == "two classes":
        loss, y, F = LogExpLoss(), rng.choice([-1.0, 1.0], n), rng.normal(size=n)
    else:
        loss, y, F = SoftmaxLoss(), np.eye(k)[rng.integers(k, size=n)], rng.normal(size=(n, k))
    h, Y = rng.normal(size=F.shape), torch.from_numpy(y)

    def summed(F):
        if name == "regression":
            return ((Y - F) ** 2).sum() / 2
        if name == "two classes":
            return torch.nn.functional.soft_margin_loss(2 * F, Y, reduction="sum")
        return torch.nn.functional.cross_entropy(F, Y, reduction="sum")

    point = torch.from_numpy(F)
    gradient = torch.autograd.functional.jacobian(summed, point).numpy()
    assert loss(y, F) == pytest.approx(float(summed(point)) / n)
    r = loss.negative_gradient(y, F)
    assert np.abs(r + gradient).max() < 1e-12
    if name != "regression":  # the diagonal of the Hessian over all rows and classes
        hessian = torch.autograd.functional.hessian(summed, point).numpy().reshape(h.size, h.size)
        expected = -(gradient * h).sum() / (np.diag(hessian) * h.ravel() ** 2).sum()
        assert loss.newton_step(y, r, h) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(("loss", "y"), [(SquaredLoss(), np.arange(7.0)), (LogExpLoss(), np.array([1.0, 1, 1, -1]))])
def test_the_start_is_the_best_constant(loss, y):
    found = minimize_scalar(
        lambda c: loss(y, np.full(len(y), c)), bounds=(-9, 9), method="bounded", options={"xatol": 1e-9}
    )
    assert loss.initial(y) == pytest.approx(found.x, abs=1e-6)


def test_losses_are_finite_far_from_zero():
    F = np.array([-800.0, 800.0, 800.0])
    y = np.array([1.0, 1.0, -1.0])
    assert LogExpLoss()(y, F) == pytest.approx(3200 / 3)
    assert LogExpLoss().negative_gradient(y, F) == pytest.approx([2, 0, -2])
    assert np.isnan(LogExpLoss().newton_step(y[1:2], np.zeros(1), np.ones(1)))
