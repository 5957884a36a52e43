"""Starting points for the state matrix of a diagonal state space model (S4D; Gu, Gupta, Goel and Ré, 2022)."""

from __future__ import annotations

import math

import torch
from jaxtyping import Complex, Float
from torch import Tensor

KINDS = ("legs", "inv", "lin", "quad", "real", "rand")


def hippo_legs(
    N: int, dtype: torch.dtype = torch.float64
) -> tuple[Float[Tensor, "N N"], Float[Tensor, " N"], Float[Tensor, " N"]]:
    r"""Return the HiPPO-LegS system A, B and the vector P that makes :math:`A+PP^\top` normal.

    :math:`A_{nk}=-\sqrt{(2n+1)(2k+1)}` below the diagonal, :math:`-(n+1)` on it, 0 above;
    :math:`B_n=\sqrt{2n+1}`; :math:`P=B/\sqrt2`.

    Args:
        N: state size, at least 1.
        dtype: of the result.

    Raises:
        ValueError: `N` is not a positive integer.
    """
    if isinstance(N, bool) or not isinstance(N, int) or N < 1:
        raise ValueError(f"the state size must be a positive integer, got {N!r}.")
    B = torch.arange(1, 2 * N, 2, dtype=torch.float64).sqrt()
    A = -torch.outer(B, B).tril(-1) - torch.arange(1.0, N + 1, dtype=torch.float64).diag()
    return A.to(dtype), B.to(dtype), (B / math.sqrt(2)).to(dtype)


def legs_normal_spectrum(N: int) -> tuple[Complex[Tensor, " N/2"], Complex[Tensor, " N/2"]]:
    r"""Diagonalize the normal part of HiPPO-LegS, :math:`A+PP^\top=V\,\mathrm{diag}(-\tfrac12+i\omega)\,V^*`.

    :math:`A+PP^\top+\tfrac12I` is skew-symmetric, so a Hermitian solver finds :math:`\omega` and a unitary V to full
    accuracy. (HiPPO-LegS itself has eigenvectors that no solver can find.)

    Args:
        N: state size, even.

    Returns:
        The eigenvalues with positive imaginary part, largest first, and their entries of :math:`V^*B`, in complex128.
        The other half are their conjugates.

    Raises:
        ValueError: `N` is not a positive even integer.
    """
    check_state_size(N)
    A, B, P = hippo_legs(N)
    skew = A + torch.outer(P, P) + 0.5 * torch.eye(N, dtype=A.dtype)
    omega, V = torch.linalg.eigh(-1j * skew)  # ascending
    top = torch.arange(N - 1, N // 2 - 1, -1)
    return -0.5 + 1j * omega[top], V[:, top].mH @ B.to(V.dtype)


@torch.no_grad()
def s4d_(
    A_log_real: Float[Tensor, "... N/2"],
    A_imag: Float[Tensor, "... N/2"],
    kind: str = "inv",
    generator: torch.Generator | None = None,
) -> tuple[Tensor, Tensor]:
    r"""Fill the parameters of :math:`A_n=-e^{a_n}+ib_n`, one eigenvalue of each conjugate pair, in place.

    =====  ==============================================================================================
    kind   :math:`A_n`, n = 0 .. N/2-1
    =====  ==============================================================================================
    legs   eigenvalues of the normal part of HiPPO-LegS
    inv    :math:`-\frac12+i\frac N\pi\big(\frac N{2n+1}-1\big)`, with N the full state size
    lin    :math:`-\frac12+i\pi n`
    quad   :math:`-\frac12+\frac i\pi(1+2n)^2` (authors' library)
    real   :math:`-(n+1)`; the imaginary part starts at 0
    rand   :math:`-\frac12+ie^\xi`, :math:`\xi` standard normal, one draw an entry (authors' library)
    =====  ==============================================================================================

    Args:
        A_log_real, A_imag: a and b, of equal shape; leading dimensions (channels) get equal values, except in "rand".
        kind: one of `KINDS`.
        generator: source of randomness for "rand"; torch's own when None.

    Returns:
        `A_log_real` and `A_imag`.

    Raises:
        ValueError: unknown kind, or shapes that differ or are empty. Nothing is changed then.
    """
    check_kind(kind)
    if A_log_real.shape != A_imag.shape or A_log_real.ndim == 0 or A_log_real.numel() == 0:
        raise ValueError(
            f"A_log_real and A_imag must have one shape (..., N/2) that is not empty, got {tuple(A_log_real.shape)} "
            f"and {tuple(A_imag.shape)}."
        )
    half = A_imag.shape[-1]
    N = 2 * half
    n = torch.arange(half, dtype=torch.float64)
    A_log_real.copy_((n + 1).log() if kind == "real" else torch.full_like(n, math.log(0.5)))
    if kind == "rand":
        xi = torch.randn(A_imag.shape, generator=generator, dtype=A_imag.dtype)
        A_imag.copy_(xi.exp())
        return A_log_real, A_imag
    A_imag.copy_(
        {
            "legs": lambda: legs_normal_spectrum(N)[0].imag,
            "inv": lambda: N / math.pi * (N / (2 * n + 1) - 1),
            "lin": lambda: math.pi * n,
            "quad": lambda: (1 + 2 * n) ** 2 / math.pi,
            "real": lambda: 0 * n,
        }[kind]()
    )
    return A_log_real, A_imag


def s4d_input(N: int, kind: str = "inv") -> Complex[Tensor, " N/2"]:
    r"""Return the input vector B that belongs to `kind`: ones, or :math:`\frac12V^*B` for "legs".

    The half makes the diagonal system tend to HiPPO-LegS; the authors' library drops it and clips instead.

    Raises:
        ValueError: `N` is not a positive even integer, or an unknown kind.
    """
    check_state_size(N)
    check_kind(kind)
    return legs_normal_spectrum(N)[1] / 2 if kind == "legs" else torch.ones(N // 2, dtype=torch.complex128)


def check_state_size(N: int) -> None:
    """Raise a ValueError if `N` modes do not come in conjugate pairs."""
    if isinstance(N, bool) or not isinstance(N, int) or N < 2 or N % 2:
        raise ValueError(f"the state size must be a positive even integer (conjugate pairs), got {N!r}.")


def check_kind(kind: str) -> None:
    """Raise a ValueError if `kind` is no known initialization."""
    if kind not in KINDS:
        raise ValueError(f"the initialization must be one of {', '.join(map(repr, KINDS))}, got {kind!r}.")
