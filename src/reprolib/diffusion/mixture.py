"""The exact denoiser of a Gaussian mixture, with and without a condition on the class."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor


class GaussianMixtureDenoiser:
    r"""Posterior means of :math:`x_0` given :math:`x=x_0+\sigma\epsilon`, where :math:`x_0` is a mixture of Gaussians.

    All components have one weight and the covariance :math:`\tau^2I`. Given its component, with mean :math:`\mu`, a
    sample has the posterior mean :math:`(\tau^2x+\sigma^2\mu)/(\tau^2+\sigma^2)`, and component :math:`k` has the
    posterior weight :math:`\propto\exp(-\|x-\mu_k\|^2/2(\tau^2+\sigma^2))`.

    Args:
        means: one a component.
        tau: standard deviation of a component in each dimension, at least 0.
        labels: the class of each component, from 0; every class has at least one.

    Raises:
        ValueError: `means` and `labels` differ in length, a class is empty, or `tau` is negative.
    """

    def __init__(self, means: Float[Tensor, "k dim"], tau: float, labels: Int[Tensor, " k"]) -> None:
        if len(means) != len(labels):
            raise ValueError(f"there are {len(means)} means, but {len(labels)} labels.")
        if len(labels) == 0 or labels.min() < 0 or len(labels.unique()) != labels.max() + 1:
            raise ValueError("labels must be classes from 0 on, each with at least one component.")
        if not tau >= 0:
            raise ValueError(f"tau must be at least 0, got {tau!r}.")
        self.means, self.tau, self.labels = means, tau, labels
        self.other = torch.where(labels == torch.arange(int(labels.max()) + 1)[:, None], 0.0, -torch.inf).to(means)

    def log_weights(self, x: Float[Tensor, "batch dim"], sigma: float) -> Float[Tensor, "batch k"]:
        """Return the logarithms of the posterior weights of the components, up to a constant a sample."""
        return (x @ self.means.T - self.means.square().sum(dim=1) / 2) / (self.tau**2 + sigma**2)

    def uncond(self, x: Float[Tensor, "batch dim"], sigma: float) -> Float[Tensor, "batch dim"]:
        """Return the posterior mean at noise level `sigma` > 0."""
        return self._mean(x, sigma, self.log_weights(x, sigma))

    def cond(self, x: Float[Tensor, "batch dim"], sigma: float, y: Int[Tensor, " batch"]) -> Float[Tensor, "batch dim"]:
        """Return the posterior mean at noise level `sigma` > 0, given the classes `y`."""
        return self._mean(x, sigma, self.log_weights(x, sigma) + self.other[y])

    def classify(self, x: Float[Tensor, "batch dim"]) -> Int[Tensor, " batch"]:
        """Return the most probable class of clean samples."""
        logits = self.log_weights(x, 0.0)
        return torch.stack([torch.logsumexp(logits + other, dim=1) for other in self.other], dim=1).argmax(dim=1)

    def sample(self, y: Int[Tensor, " batch"], generator: torch.Generator) -> Float[Tensor, "batch dim"]:
        """Draw clean samples of the classes `y`."""
        component = torch.multinomial(self.other.exp()[y], 1, generator=generator).squeeze(1)
        noise = torch.randn(len(y), self.means.shape[1], generator=generator, dtype=self.means.dtype)
        return self.means[component] + self.tau * noise

    def moments(self) -> tuple[Float[Tensor, " dim"], Float[Tensor, "dim dim"]]:
        """Return the mean and the covariance of the whole mixture."""
        mean = self.means.mean(dim=0)
        centered = self.means - mean
        identity = torch.eye(len(mean), dtype=mean.dtype)
        return mean, centered.T @ centered / len(centered) + self.tau**2 * identity

    def _mean(self, x, sigma, log_weights):
        average = torch.softmax(log_weights, dim=1) @ self.means
        return (self.tau**2 * x + sigma**2 * average) / (self.tau**2 + sigma**2)
