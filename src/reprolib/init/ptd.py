"""Perturb, then diagonalize: a start for diagonal state space models (Yu et al., ICLR 2024, arXiv 2310.01698)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

LR = 0.3  # over n**2: about 1e-3 at n = 16, 3e-4 at n = 32
START = 1e-3  # relative size of the random matrix that the optimization starts from


def ptd(
    A: Float[Tensor, "n n"],
    gamma: float = 30.0,
    steps: int = 400,
    margin: float = 0.25,
    generator: torch.Generator | None = None,
) -> Float[Tensor, "n n"]:
    r"""Find a small matrix E such that :math:`A+E` has well-conditioned eigenvectors and is stable.

    With :math:`M=E/\|A\|_2` and :math:`A+E=V\Lambda V^{-1}`, Adam lowers

    .. math:: \ln\kappa(V)+\gamma\|M\|_F+\sum_k\max(0,\ \mathrm{Re}\,\Lambda_k+\mathrm{margin}),

    :math:`\kappa` the condition number in the spectral norm. The paper (Section 4.2) has :math:`\kappa` without the
    logarithm, which has the same stationary points for another :math:`\gamma`, and no term for stability.

    Args:
        A: real, on the CPU.
        gamma: price of the perturbation; a larger one gives a smaller E and a larger :math:`\kappa`.
        steps: of Adam; 400 suffice for HiPPO-LegS from n = 8 to 128.
        margin: asked-for distance of the eigenvalues from the imaginary axis; a wish, not a guarantee.
        generator: of the random start; torch's own when None.

    Returns:
        E, real, so that the eigenvalues of :math:`A+E` come in conjugate pairs.

    Raises:
        ValueError: A is not square, or `gamma` or `steps` is not positive.
    """
    if A.ndim != 2 or A.shape[0] != A.shape[1]:
        raise ValueError(f"the matrix must be square, got shape {tuple(A.shape)}.")
    if not gamma > 0 or steps < 1:
        raise ValueError(f"gamma and steps must be positive, got {gamma!r} and {steps!r}.")
    size = torch.linalg.matrix_norm(A, 2)
    # Not from 0: two close eigenvalues make the gradient of an eigenvector infinite.
    M = (random_perturbation(A, START, generator) / size).requires_grad_()
    optimizer = torch.optim.Adam([M], lr=LR / len(A) ** 2)
    with torch.enable_grad():
        for _ in range(steps):
            eigenvalues, V = torch.linalg.eig(A + size * M)
            loss = torch.linalg.cond(V, 2).log() + gamma * M.norm() + (eigenvalues.real + margin).relu().sum()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_([M], 1.0)
            optimizer.step()
    return size * M.detach()


def random_perturbation(
    A: Float[Tensor, "n n"], rel: float, generator: torch.Generator | None = None
) -> Float[Tensor, "n n"]:
    r"""Draw a real Gaussian matrix of spectral norm `rel` times :math:`\|A\|_2` (paper, Section 4.1).

    Raises:
        ValueError: `rel` is not positive.
    """
    if not rel > 0:
        raise ValueError(f"the relative size must be positive, got {rel!r}.")
    G = torch.randn(A.shape, generator=generator, dtype=A.dtype)
    return G * (rel * torch.linalg.matrix_norm(A, 2) / torch.linalg.matrix_norm(G, 2))
