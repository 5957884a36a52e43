"""What gradient boosting needs of a loss: the start, the residuals and the length of a step.

Emami and Martinez-Munoz, Sequential Training of Neural Networks with Gradient Boosting, IEEE Access 2023; after
Friedman, Greedy Function Approximation: A Gradient Boosting Machine, Annals of Statistics 2001. The order of operations
is that of the authors' package, so that fits agree to the last bit (L-BFGS makes rounding grow). In all classes, `F` is
the raw prediction, `residual` the negative gradient at it, and `h` the output of the network that is to be added.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.special import expit, logsumexp, softmax


class SquaredLoss:
    """Half the squared error; the targets are real numbers."""

    def __call__(self, y: Float[np.ndarray, " n"], F: Float[np.ndarray, " n"]) -> float:
        """Return the mean loss."""
        return float(((y - F) ** 2).mean() / 2)

    def initial(self, y: Float[np.ndarray, " n"]) -> np.float64:
        """Return the best constant: the mean."""
        return y.mean()

    def negative_gradient(self, y: Float[np.ndarray, " n"], F: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Return y - F."""
        return y - F

    def newton_step(self, y, residual, h) -> float:
        """Return 1: Newton's step along the least-squares fit to all residuals."""
        return 1.0


class LogExpLoss:
    """log(1 + exp(-2 y F)) for two classes; the targets are -1 and 1, and F is half the log odds."""

    def __call__(self, y: Float[np.ndarray, " n"], F: Float[np.ndarray, " n"]) -> float:
        """Return the mean loss."""
        return float(np.logaddexp(0, -2 * y * F).mean())

    def initial(self, y: Float[np.ndarray, " n"]) -> np.float64:
        """Return the best constant: half the log odds of the class 1."""
        mean = y.mean()
        return 0.5 * np.log((1 + mean) / (1 - mean))

    def negative_gradient(self, y: Float[np.ndarray, " n"], F: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
        """Return 2 y / (1 + exp(2 y F)), between -2 and 2."""
        with np.errstate(over="ignore"):  # the quotient is then 0, as it should be
            return 2 * y / (1 + np.exp(2 * y * F))

    def newton_step(
        self, y: Float[np.ndarray, " n"], residual: Float[np.ndarray, " n"], h: Float[np.ndarray, " n"]
    ) -> float:
        """Return Newton's step along h from 0; not finite where no curvature is left."""
        with np.errstate(all="ignore"):
            return float((residual * h).sum() / (residual * h * h * (2 * y - residual)).sum())

    def proba(self, F: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n 2"]:
        """Return the probabilities of the classes -1 and 1."""
        return np.column_stack([expit(-2 * F), expit(2 * F)])


class SoftmaxLoss:
    """Cross-entropy of K classes; the targets are one-hot, and F holds the logits."""

    def __call__(self, y: Float[np.ndarray, "n k"], F: Float[np.ndarray, "n k"]) -> float:
        """Return the mean loss."""
        return float((logsumexp(F, axis=1) - (y * F).sum(axis=1)).mean())

    def initial(self, y: Float[np.ndarray, "n k"]) -> Float[np.ndarray, " k"]:
        """Return 0 for every class, which is the best constant only where the classes are equally frequent."""
        return np.zeros(y.shape[1])

    def negative_gradient(self, y: Float[np.ndarray, "n k"], F: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
        """Return y - softmax(F)."""
        return y - np.exp(F - logsumexp(F, axis=1, keepdims=True))

    def newton_step(
        self, y: Float[np.ndarray, "n k"], residual: Float[np.ndarray, "n k"], h: Float[np.ndarray, "n k"]
    ) -> float:
        """Return Newton's step along h from 0 with the Hessian's diagonal alone; not finite where it vanishes."""
        p = y - residual
        with np.errstate(all="ignore"):
            return float((h * (y - p)).sum() / (h * h * p * (1 - p)).sum())

    def proba(self, F: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n k"]:
        """Return the probabilities."""
        return softmax(F, axis=1)
