"""One layer of linear self-attention that learns linear regression in context (Zhang, Frei and Bartlett, JMLR 2024)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn


def embed(
    x: Float[Tensor, "batch n d"], y: Float[Tensor, "batch n"], xq: Float[Tensor, "batch d"]
) -> Float[Tensor, "batch d+1 n+1"]:
    """Return the prompts as matrices: a column an example, inputs above labels; the query's label is 0 (eq. 3.1).

    Raises:
        ValueError: shapes that do not fit together.
    """
    if x.ndim != 3 or y.shape != x.shape[:2] or xq.shape != (x.shape[0], x.shape[2]):
        shapes = ", ".join(str(tuple(t.shape)) for t in (x, y, xq))
        raise ValueError(f"x (batch, n, d), y (batch, n) and xq (batch, d) do not fit: {shapes}.")
    inputs = torch.cat([x, xq[:, None]], dim=1)
    labels = torch.cat([y, y.new_zeros(len(y), 1)], dim=1)
    return torch.cat([inputs, labels[..., None]], dim=2).mT


class LinearSelfAttention(nn.Module):
    r"""Attention without softmax: :math:`f(E)=E+W^{PV}E\,E^\top W^{KQ}E/\rho` (eq. 3.3).

    :math:`\rho` is the number of examples in the prompt at hand. Both matrices start at zero: fill them with
    `reprolib.init.lsa.lsa_balanced_`.

    Args:
        d: dimension of an input; both matrices have d + 1 rows and columns.

    Raises:
        ValueError: `d` < 1.
    """

    def __init__(self, d: int):
        super().__init__()
        if d < 1:
            raise ValueError(f"d must be at least 1, got {d}.")
        self.W_PV = nn.Parameter(torch.zeros(d + 1, d + 1))
        self.W_KQ = nn.Parameter(torch.zeros(d + 1, d + 1))

    def forward(self, E: Float[Tensor, "batch d+1 n+1"]) -> Float[Tensor, "batch d+1 n+1"]:
        """Return f(E); the prediction is its bottom right entry."""
        return E + self.W_PV @ E @ (E.mT @ self.W_KQ @ E) / (E.shape[-1] - 1)

    def predict(
        self, x: Float[Tensor, "batch n d"], y: Float[Tensor, "batch n"], xq: Float[Tensor, "batch d"]
    ) -> Float[Tensor, " batch"]:
        r"""Return the bottom right entry of ``forward(embed(x, y, xq))`` at the cost of two passes over the prompt.

        It needs the last row of :math:`W^{PV}` and the first d columns of :math:`W^{KQ}` only.
        """
        row, columns = self.W_PV[-1], self.W_KQ[:, :-1]
        weights, at_query = x @ row[:-1] + y * row[-1], xq @ row[:-1]  # one number a column of E
        inputs = (weights[:, None] @ x)[:, 0] + at_query[:, None] * xq
        labels = (weights * y).sum(1)
        gathered = torch.cat([inputs, labels[:, None]], dim=1)
        return (gathered * (xq @ columns.mT)).sum(1) / x.shape[1]
