"""The balanced start of linear self-attention (Zhang, Frei and Bartlett, JMLR 2024, Assumption 3.3)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from reprolib.models.linear_attention import LinearSelfAttention


def largest_scale(cov: Float[Tensor, "d d"], n: int) -> float:
    r"""Return the scale below which Theorem 4.1 promises convergence: :math:`\sigma^2\|\Gamma\|\sqrt d=2`.

    Here :math:`\Gamma=(1+\frac1n)\Lambda+\frac1n\mathrm{tr}(\Lambda)I`, with the spectral norm.

    Args:
        cov: the covariance :math:`\Lambda` of the training inputs.
        n: examples in a training prompt.
    """
    norm = (1 + 1 / n) * torch.linalg.matrix_norm(cov, ord=2) + cov.trace() / n
    return float((2 / (norm * len(cov) ** 0.5)) ** 0.5)


@torch.no_grad()
def lsa_balanced_(
    layer: LinearSelfAttention, scale: float, generator: torch.Generator | None = None
) -> LinearSelfAttention:
    r"""Fill a layer in place with the paper's random start.

    :math:`W^{PV}` is zero but for :math:`\sigma` in its last entry, and the upper left block of :math:`W^{KQ}` is
    :math:`\sigma MM^\top/\|MM^\top\|_F` with a matrix :math:`M` of standard normal entries. So the two factors have
    the same norm, and gradient flow keeps it so.

    Args:
        layer: its matrices are overwritten.
        scale: :math:`\sigma` > 0.
        generator: source of randomness; torch's own when None.

    Returns:
        `layer`.

    Raises:
        ValueError: `scale` is not above 0; nothing is changed then.
    """
    if not 0 < scale < float("inf"):
        raise ValueError(f"scale must be above 0, got {scale}.")
    d = len(layer.W_KQ) - 1
    M = torch.randn(d, d, generator=generator, dtype=torch.float64)
    Theta = M @ M.T
    layer.W_PV.zero_()[-1, -1] = scale
    layer.W_KQ.zero_()[:d, :d] = scale * Theta / Theta.norm()
    return layer
