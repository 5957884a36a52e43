"""A network with one hidden layer, trained a few hidden units at a time by gradient boosting.

Emami and Martinez-Munoz, Sequential Training of Neural Networks with Gradient Boosting, IEEE Access 2023. The two
estimators follow scikit-learn's conventions, so they work in its pipelines, searches and cross-validations.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import minimize
from scipy.special import expit
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.random import sample_without_replacement
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import nn

from reprolib.losses.boosting import LogExpLoss, SoftmaxLoss, SquaredLoss

ACTIVATIONS = {"logistic": nn.Sigmoid, "tanh": nn.Tanh, "relu": nn.ReLU, "identity": nn.Identity}
VALUE = {"logistic": expit, "tanh": np.tanh, "relu": lambda Z: np.maximum(Z, 0), "identity": lambda Z: Z}
SLOPE = {  # of these, times a gradient G; H is the value
    "logistic": lambda G, H: G * H * (1 - H),
    "tanh": lambda G, H: G * (1 - H**2),
    "relu": lambda G, H: G * (H > 0),
    "identity": lambda G, H: G,
}
SOLVED = 1e-8  # a mean training loss below this leaves residuals of rounding errors, and steps of any length


@dataclass(frozen=True, eq=False)
class Piece:
    """A small network with linear outputs; its arrays are named as in `MLPRegressor`."""

    activation: str
    coefs_: list[Float[np.ndarray, "fan_in fan_out"]]  # of the hidden units and of the outputs
    intercepts_: list[Float[np.ndarray, " fan_out"]]
    n_iter_: int

    def predict(self, X: Float[np.ndarray, "n d"]) -> np.ndarray:
        """Return the outputs, shape (n,) for one and (n, outputs) for several."""
        H = VALUE[self.activation](X @ self.coefs_[0] + self.intercepts_[0])
        out = H @ self.coefs_[1] + self.intercepts_[1]
        return out[:, 0] if out.shape[1] == 1 else out


def fit_piece(X: Float[np.ndarray, "n d"], targets: np.ndarray, units, *, activation, alpha, max_iter, rng) -> Piece:
    """Fit a small network to targets of shape (n,) or (n, outputs) by least squares, with L-BFGS.

    This is `MLPRegressor` with ``solver="lbfgs"`` and ``tol=0``, in its order of operations and so to the last bit, but
    without its checks, which take most of the time of a network so small.
    """
    Y, value, slope = targets.reshape(len(X), -1), VALUE[activation], SLOPE[activation]
    (n, d), q = X.shape, Y.shape[1]
    i, j, k = np.cumsum([d * units, units * q, units]).tolist()
    H = off = None  # hidden units, and outputs minus targets

    def parts(v):
        return v[:i].reshape(d, units), v[i:j].reshape(units, q), v[j:k], v[k:]

    def loss(v):
        nonlocal H, off
        W, V, b, c = parts(v)
        H = value(X @ W + b)
        off = H @ V + c - Y
        return 0.5 * ((off**2).sum(axis=0) / n).sum() / q + 0.5 * alpha * (v[:i] @ v[:i] + v[i:j] @ v[i:j]) / n

    def gradient(v):  # L-BFGS asks for it right after the loss at the same place
        back, result = slope(off @ v[i:j].reshape(units, q).T, H), np.empty_like(v)
        into_W, into_V, into_b, into_c = parts(result)
        np.matmul(X.T, back, out=into_W)
        np.matmul(H.T, off, out=into_V)
        back.sum(axis=0, out=into_b)
        off.sum(axis=0, out=into_c)
        result[:j] += alpha * v[:j]
        return result / n

    start = []
    for fan_in, fan_out in ((d, units), (units, q)):
        bound = np.sqrt((2 if activation == "logistic" else 6) / (fan_in + fan_out))
        start += [rng.uniform(-bound, bound, (fan_in, fan_out)), rng.uniform(-bound, bound, fan_out)]
    W, b, V, c = start
    v = np.concatenate([W.ravel(), V.ravel(), b, c])
    found = minimize(loss, v, jac=gradient, method="L-BFGS-B", options=dict(maxiter=max_iter, gtol=0.0))
    W, V, b, c = parts(found.x)
    return Piece(activation, [W, V], [b, c], min(found.nit, max_iter))


class BoostedNetwork(BaseEstimator):
    """What classifier and regressor share.

    Args:
        n_units: hidden units in all.
        units_per_step: hidden units of each small network, J; n_units // J of them are trained, one after the other.
        eta: shrinkage of the steps, above 0.
        subsample: share of the rows, drawn without replacement, to which a small network is fitted; above 0, at most 1.
        activation: of the hidden units: ``"logistic"``, ``"tanh"``, ``"relu"`` or ``"identity"``.
        alpha: L2 penalty of a small network, as in `MLPRegressor`.
        max_iter: most iterations of L-BFGS for a small network.
        random_state: seed or `RandomState` for subsamples and weights.

    Attributes:
        initial_: the constant that boosting starts from, a number or one for each class.
        networks_: the small networks, `Piece` objects.
        steps_: by what each is multiplied, shape (steps,).
        train_loss_: mean training loss after each step, shape (steps,).
        stopped_: why fewer steps were made than asked for, or None.
        n_iter_: most iterations that a small network took.

    Raises:
        ValueError: in `fit`, a parameter out of its range.
    """

    def __init__(
        self, n_units=200, units_per_step=1, *, eta=1.0, subsample=0.5, activation="logistic", alpha=1e-4,
        max_iter=200, random_state=None,
    ):  # fmt: skip
        self.n_units = n_units
        self.units_per_step = units_per_step
        self.eta = eta
        self.subsample = subsample
        self.activation = activation
        self.alpha = alpha
        self.max_iter = max_iter
        self.random_state = random_state

    def _boost(self, X: Float[np.ndarray, "n d"], y: np.ndarray, loss):
        """Fit small networks to the residuals, one after the other; `y` as `loss` wants it."""
        if not 1 <= self.units_per_step <= self.n_units:
            raise ValueError(f"units_per_step must be from 1 to n_units, got {self.units_per_step!r}.")
        if not self.eta > 0:
            raise ValueError(f"eta must be above 0, got {self.eta!r}.")
        if not 0 < self.subsample <= 1:
            raise ValueError(f"subsample must be above 0 and at most 1, got {self.subsample!r}.")
        if self.activation not in ACTIVATIONS:
            raise ValueError(f"activation must be one of {', '.join(map(repr, ACTIVATIONS))}, got {self.activation!r}.")
        rng = check_random_state(self.random_state)
        rows = max(1, int(self.subsample * len(X)))
        self.loss_, self.initial_, self.stopped_ = loss, loss.initial(y), None
        self.networks_, self.steps_, self.train_loss_ = [], [], []
        F = np.zeros(y.shape) + self.initial_
        for _ in range(self.n_units // self.units_per_step):
            residual = loss.negative_gradient(y, F)
            drawn = sample_without_replacement(len(X), rows, random_state=rng) if rows < len(X) else slice(None)
            # One generator for all: the same integer each time would give equal starts.
            network = fit_piece(
                X[drawn], residual[drawn], self.units_per_step,
                activation=self.activation, alpha=self.alpha, max_iter=self.max_iter, rng=rng,
            )  # fmt: skip
            h = network.predict(X)
            step = self.eta * loss.newton_step(y, residual, h)
            if not np.isfinite(step * h).all():
                self.stopped_ = "a step is not finite"
                break
            F = F + step * h
            self.networks_.append(network)
            self.steps_.append(step)
            self.train_loss_.append(loss(y, F))
            if self.train_loss_[-1] < SOLVED:
                self.stopped_ = "the training loss is zero"
                break
        self.steps_, self.train_loss_ = np.array(self.steps_), np.array(self.train_loss_)
        self.n_iter_ = max((network.n_iter_ for network in self.networks_), default=0)
        return self

    def _stages(self, X) -> Iterator[np.ndarray]:
        """Yield the raw prediction of the constant alone, then with the first network, with the first two, ..."""
        check_is_fitted(self)
        X = validate_data(self, X, reset=False, dtype=np.float64)
        F = np.zeros((len(X), *np.shape(self.initial_))) + self.initial_
        yield F
        for network, step in zip(self.networks_, self.steps_, strict=True):
            F = F + step * network.predict(X)
            yield F

    def _raw(self, X) -> np.ndarray:
        """Return the raw prediction of the whole ensemble."""
        for F in self._stages(X):  # noqa: B007 the last one counts
            pass
        return F

    def to_mlp(self, steps: int | None = None) -> nn.Sequential:
        """Assemble one ordinary network, in float64, that computes the same function.

        Args:
            steps: use only the first so many small networks, at least 1; all by default.

        Returns:
            Linear, activation, Linear. Its outputs are predictions of the regressor, logits of the classifier: one
            for two classes, whose sigmoid is the probability of the second class; else one for each class.

        Raises:
            ValueError: more steps than there are, or fewer than 1.
        """
        check_is_fitted(self)
        steps = len(self.networks_) if steps is None else steps
        if not 1 <= steps <= len(self.networks_):
            raise ValueError(f"steps must be from 1 to {len(self.networks_)}, got {steps!r}.")
        networks = self.networks_[:steps]
        scale = 2.0 if isinstance(self.loss_, LogExpLoss) else 1.0  # F is half the log odds there
        scaled = scale * self.steps_[:steps]
        hidden = np.concatenate([n.coefs_[0] for n in networks], axis=1)
        hidden_bias = np.concatenate([n.intercepts_[0] for n in networks])
        output = np.concatenate([s * n.coefs_[1] for s, n in zip(scaled, networks, strict=True)])
        output_bias = scale * self.initial_ + sum(s * n.intercepts_[1] for s, n in zip(scaled, networks, strict=True))
        mlp = nn.Sequential(nn.Linear(*hidden.shape), ACTIVATIONS[self.activation](), nn.Linear(*output.shape)).double()
        with torch.no_grad():
            for parameter, value in zip(mlp.parameters(), (hidden.T, hidden_bias, output.T, output_bias), strict=True):
                parameter.copy_(torch.from_numpy(value))
        return mlp


class GBNNRegressor(RegressorMixin, BoostedNetwork):
    """A boosted network for one real target; inputs and target want to be standardized first.

    Parameters, attributes and errors are those of `BoostedNetwork`.
    """

    def fit(self, X: Float[np.ndarray, "n d"], y: Float[np.ndarray, " n"]):
        """Fit to inputs and targets, and return self."""
        X, y = validate_data(self, X, y, dtype=np.float64, y_numeric=True, ensure_min_samples=2)
        return self._boost(X, y, SquaredLoss())

    def predict(self, X: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
        """Return the predictions."""
        return self._raw(X)

    def staged_predict(self, X: Float[np.ndarray, "n d"]) -> Iterator[Float[np.ndarray, " n"]]:
        """Yield the predictions with 0, 1, 2, ... small networks."""
        yield from self._stages(X)


class GBNNClassifier(ClassifierMixin, BoostedNetwork):
    """A boosted network for two or more classes; inputs want to be standardized first.

    Parameters, attributes and errors are those of `BoostedNetwork`; and

    Attributes:
        classes_: the labels, sorted, shape (classes,).
    """

    def fit(self, X: Float[np.ndarray, "n d"], y):
        """Fit to inputs and class labels, and return self.

        Raises:
            ValueError: there is one class only.
        """
        X, y = validate_data(self, X, y, dtype=np.float64, ensure_min_samples=2)
        check_classification_targets(y)
        self.classes_, number = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise ValueError("a classifier needs two classes or more, and y has one class.")
        if len(self.classes_) == 2:
            return self._boost(X, 2.0 * number - 1, LogExpLoss())
        return self._boost(X, np.eye(len(self.classes_))[number], SoftmaxLoss())

    def decision_function(self, X: Float[np.ndarray, "n d"]) -> np.ndarray:
        """Return F: half the log odds of the second of two classes, shape (n,), or logits, shape (n, classes)."""
        return self._raw(X)

    def staged_decision_function(self, X: Float[np.ndarray, "n d"]) -> Iterator[np.ndarray]:
        """Yield F with 0, 1, 2, ... small networks."""
        yield from self._stages(X)

    def predict_proba(self, X: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n k"]:
        """Return the probability of every class."""
        F = self._raw(X)
        return self.loss_.proba(F)

    def predict(self, X: Float[np.ndarray, "n d"]) -> np.ndarray:
        """Return the most probable class."""
        return self._labels(self._raw(X))

    def staged_predict(self, X: Float[np.ndarray, "n d"]) -> Iterator[np.ndarray]:
        """Yield the most probable class with 0, 1, 2, ... small networks."""
        yield from map(self._labels, self._stages(X))

    def _labels(self, F: np.ndarray) -> np.ndarray:
        return self.classes_[(F > 0).astype(int) if F.ndim == 1 else F.argmax(axis=1)]
