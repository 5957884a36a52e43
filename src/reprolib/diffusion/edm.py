"""A class-conditional denoiser in the form of EDM (Karras, Aittala, Aila and Laine, 2022), and its loss."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

P_MEAN, P_STD = -1.2, 1.2  # of log sigma in training (EDM, Table 1)


class EDMDenoiser(nn.Module):
    r"""A preconditioned multilayer perceptron :math:`F`, for samples that are vectors.

    It predicts :math:`c_\text{skip}x+c_\text{out}F(c_\text{in}x,\tfrac14\ln\sigma,y)`. With the standard deviation
    :math:`s` of the data, :math:`c_\text{skip}=s^2/(\sigma^2+s^2)`, :math:`c_\text{out}=\sigma s/\sqrt{\sigma^2+s^2}`
    and :math:`c_\text{in}=1/\sqrt{\sigma^2+s^2}` (EDM, Table 1), so input and target of :math:`F` keep a unit variance.

    Args:
        dim: numbers of a sample.
        classes: number of classes; one more entry of the embedding stands for no class.
        sigma_data: :math:`s`.
        hidden_dim: width of the two hidden layers.
        embed_dim: length of a class's embedding.
    """

    def __init__(
        self, dim: int, classes: int, *, sigma_data: float, hidden_dim: int = 256, embed_dim: int = 32
    ) -> None:
        super().__init__()
        self.classes, self.sigma_data = classes, sigma_data
        self.embed = nn.Embedding(classes + 1, embed_dim)
        self.net = nn.Sequential(
            nn.Linear(dim + 1 + embed_dim, hidden_dim), nn.SiLU(),
            nn.Linear(hidden_dim, hidden_dim), nn.SiLU(),
            nn.Linear(hidden_dim, dim),
        )  # fmt: skip

    def forward(
        self, x: Float[Tensor, "batch dim"], sigma: Float[Tensor, "batch 1"], y: Int[Tensor, " batch"]
    ) -> Float[Tensor, "batch dim"]:
        """Return the denoised samples; the class number `classes` stands for no class."""
        total = (sigma.square() + self.sigma_data**2).sqrt()
        F = self.net(torch.cat([x / total, sigma.log() / 4, self.embed(y)], dim=1))
        return (self.sigma_data / total) ** 2 * x + sigma * self.sigma_data / total * F

    def cond(self, x: Float[Tensor, "batch dim"], sigma: float, y: Int[Tensor, " batch"]) -> Float[Tensor, "batch dim"]:
        """Return the prediction at noise level `sigma` > 0, given the classes `y`."""
        return self(x, x.new_full((len(x), 1), sigma), y)

    def uncond(self, x: Float[Tensor, "batch dim"], sigma: float) -> Float[Tensor, "batch dim"]:
        """Return the prediction at noise level `sigma` > 0 that knows no class."""
        return self.cond(x, sigma, torch.full((len(x),), self.classes, device=x.device))

    def loss(
        self,
        x: Float[Tensor, "batch dim"],
        y: Int[Tensor, " batch"],
        *,
        label_dropout: float,
        generator: torch.Generator,
    ) -> Float[Tensor, ""]:
        r"""Return the weighted squared error :math:`(\sigma^2+s^2)/(\sigma s)^2\,(D-x)^2` at random noise levels.

        Args:
            x, y: clean samples and their classes.
            label_dropout: the share of samples whose class is hidden.
            generator: draws noise levels, noise and hidden classes (on the CPU).
        """
        sigma = (P_MEAN + P_STD * torch.randn(len(x), 1, generator=generator)).exp().to(x)
        noise = torch.randn(x.shape, generator=generator).to(x)
        hidden = (torch.rand(len(x), generator=generator) < label_dropout).to(x.device)
        error = self(x + sigma * noise, sigma, y.masked_fill(hidden, self.classes)) - x
        weight = (sigma.square() + self.sigma_data**2) / (sigma * self.sigma_data) ** 2
        return (weight * error.square()).mean()
