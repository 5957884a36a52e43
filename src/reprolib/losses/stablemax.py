r"""Cross-entropy at the edge of floating point (Prieto et al., ICLR 2025, arXiv 2501.04697).

Shift the logits of a sample so that the largest is 0. Its softmax divides by :math:`\sum_ce^{z_c}`, and when all terms
but the largest are too small to change that sum, it is exactly 1, and so is the probability: *softmax collapse*.
StableMax replaces the exponential by a function that grows like a straight line: in float64 no term is absorbed before
the logits are about 1e8 apart.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F


def linear_exp(x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    r"""Return :math:`s(x)=x+1` for :math:`x\ge0` and :math:`1/(1-x)` below, the stand-in for :math:`e^x`.

    Positive, increasing, and with a continuous derivative; :math:`s(0)=s'(0)=1`.
    """
    # Without the clamp, the branch that is not taken divides by 0 at x = 1, and its gradient is NaN.
    return torch.where(x < 0, 1 / (1 - x.clamp(max=0)), x + 1)


def log_stablemax(x: Float[Tensor, "*shape"], dim: int = -1) -> Float[Tensor, "*shape"]:
    r"""Return :math:`\log\big(s(x_c)/\sum_{c'}s(x_{c'})\big)` along `dim`, the counterpart of ``log_softmax``.

    It is no function of differences: adding a constant to all logits changes it.
    """
    s = linear_exp(x)
    return s.log() - s.sum(dim, keepdim=True).log()


def stablemax_cross_entropy(logits: Float[Tensor, "samples classes"], y: Int[Tensor, " samples"]) -> Float[Tensor, ""]:
    """Return the mean cross-entropy with StableMax in place of softmax, computed in float64 whatever `logits` are."""
    s = linear_exp(logits.double())
    return (s.sum(-1) / s.gather(-1, y[:, None]).squeeze(-1)).log().mean()


def cross_entropy_in(
    logits: Float[Tensor, "samples classes"], y: Int[Tensor, " samples"], dtype: torch.dtype
) -> Float[Tensor, ""]:
    """Return the mean softmax cross-entropy, computed in `dtype`; the gradient has the precision of `logits` again."""
    return F.cross_entropy(logits.to(dtype), y)


@torch.no_grad()
def softmax_collapse(logits: Float[Tensor, "*samples classes"], dtype: torch.dtype) -> Float[Tensor, ""]:
    r"""Return the fraction of samples whose :math:`\sum_ce^{z_c-\max z}` is exactly 1 in `dtype`."""
    z = logits.to(dtype)
    return ((z - z.amax(-1, keepdim=True)).exp().sum(-1) == 1).double().mean()
