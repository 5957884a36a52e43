"""Prompts for in-context learning: many small regression problems, each with its own task vector and one query."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Prompts(NamedTuple):
    """Examples `x` (batch, n, d), labels `y` (batch, n), a query `xq` (batch, d) and its label `yq` (batch,)."""

    x: Float[Tensor, "batch n d"]
    y: Float[Tensor, "batch n"]
    xq: Float[Tensor, "batch d"]
    yq: Float[Tensor, " batch"]


def linear_regression_prompts(
    batch: int,
    n: int,
    d: int,
    cov: Float[Tensor, "d d"] | Float[Tensor, "batch d d"] | None = None,
    noise: float = 0.0,
    w: Float[Tensor, " d"] | Float[Tensor, "batch d"] | None = None,
    generator: torch.Generator | None = None,
) -> Prompts:
    """Draw prompts of linear regression in float64 (Zhang, Frei and Bartlett, JMLR 2024, section 3).

    Examples and query are independent N(0, cov); a label is <w, x> plus noise. Torch draws normal numbers four times
    as fast in float32, so they are drawn so and then converted; all sums are in float64.

    Args:
        batch: number of prompts.
        n: examples in each.
        d: dimension of an input.
        cov: covariance of the inputs, positive definite: one for all prompts or one a prompt; the identity when None.
        noise: standard deviation of the noise in every label, the query's too.
        w: the task, one for all prompts or one a prompt; drawn from N(0, I) a prompt when None.
        generator: source of randomness; torch's own when None.

    Raises:
        ValueError: a size below 1, shapes that do not fit, or `noise` < 0.
        torch.linalg.LinAlgError: `cov` is not positive definite.
    """
    if min(batch, n, d) < 1:
        raise ValueError(f"batch, n and d must be at least 1, got {batch}, {n} and {d}.")
    if not noise >= 0:
        raise ValueError(f"noise must be at least 0, got {noise}.")
    if cov is not None and tuple(cov.shape) not in ((d, d), (batch, d, d)):
        raise ValueError(f"cov must have shape {(d, d)} or {(batch, d, d)}, got {tuple(cov.shape)}.")
    if w is not None and tuple(w.shape) not in ((d,), (batch, d)):
        raise ValueError(f"w must have shape {(d,)} or {(batch, d)}, got {tuple(w.shape)}.")
    if w is None:
        w = torch.randn(batch, d, generator=generator).double()
    x = torch.randn(batch, n + 1, d, generator=generator).double()
    if cov is not None:
        x = x @ torch.linalg.cholesky(cov).mT
    y = x @ w if w.ndim == 1 else (x @ w[:, :, None])[..., 0]
    if noise:
        y = y + noise * torch.randn(batch, n + 1, generator=generator)
    return Prompts(x[:, :-1], y[:, :-1], x[:, -1], y[:, -1])


def interleave(x: Float[Tensor, "batch n d"], y: Float[Tensor, "batch n"]) -> Float[Tensor, "batch 2n d"]:
    """Return the tokens x_1, y_1, x_2, y_2, ...; a label is padded with zeros to the width of an input.

    This is how Garg et al. (NeurIPS 2022) feed regression to a language model.

    Raises:
        ValueError: as many labels as inputs are needed.
    """
    if x.ndim != 3 or y.shape != x.shape[:2]:
        raise ValueError(f"x (batch, n, d) and y (batch, n) do not fit: {tuple(x.shape)} and {tuple(y.shape)}.")
    labels = torch.nn.functional.pad(y[..., None], (0, x.shape[-1] - 1))
    return torch.stack([x, labels], dim=2).flatten(1, 2)
