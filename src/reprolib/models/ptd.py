"""Convolution kernels of diagonal state space models of which only the output matrix is trained."""

from __future__ import annotations

import torch
from jaxtyping import Complex, Float
from torch import Tensor, nn


class FrozenModesKernel(nn.Module):
    r"""The kernels :math:`K_\ell=\mathrm{Re}\sum_kC_k\bar B_ke^{\ell\Delta\lambda_k}` of H channels, zero-order hold.

    All n modes are kept, with no factor 2: where modes are conjugate pairs the sum is real before training, and
    elsewhere the real part is the kernel. Modes, B and the steps are fixed, as in the authors' robustness experiment
    (Yu et al., ICLR 2024, arXiv 2310.01698), so all powers are computed once.

    Args:
        modes: the eigenvalues :math:`\lambda`, shared by all channels.
        B: the input vector in the basis of the modes.
        C: the output vectors in that basis, the only parameter.
        dt: the steps :math:`\Delta`, one a channel.
        length: how many values of the kernels are wanted.
    """

    def __init__(
        self,
        modes: Complex[Tensor, " n"],
        B: Complex[Tensor, " n"],
        C: Complex[Tensor, "H n"],
        dt: Float[Tensor, " H"],
        length: int,
    ):
        super().__init__()
        log_A = dt.double()[:, None] * modes
        powers = torch.exp(log_A[..., None] * torch.arange(length)) * (torch.expm1(log_A) / modes * B)[..., None]
        self.register_buffer("responses", torch.cat([powers.real, -powers.imag], dim=1).float())  # H 2n L
        self.register_buffer("dt", dt)
        self.C = nn.Parameter(torch.cat([C.real, C.imag], dim=1).float())  # optimizers handle real parameters best

    def forward(self) -> Float[Tensor, "H L"]:
        """Return the kernels."""
        return torch.einsum("hk,hkl->hl", self.C, self.responses)
