"""The sub-gradient method for robust matrix recovery (Ma and Fattahi, JMLR 2023, arXiv 2202.08788)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from reprolib.data.recovery import adjoint, measure
from reprolib.init.spectral import check_problem

STEPS = ("geometric", "loss", "constant")
BLOCK = 250  # measurements in one matrix product


def l1_subgradient(
    U: Float[Tensor, "*batch d k"], A: Float[Tensor, "m d d"], y: Float[Tensor, "*batch m"]
) -> tuple[Float[Tensor, "*batch d d"], Float[Tensor, "*batch d k"]]:
    r"""Return Q and the sub-gradient :math:`D=(Q+Q^\top)U` of the loss.

    :math:`f(U)=\frac1m\sum_i|y_i-\langle A_i,UU^\top\rangle|` and
    :math:`Q=\frac1m\sum_i\mathrm{sign}(\langle A_i,UU^\top\rangle-y_i)A_i`, with sign(0) = 0.

    Args:
        U: one factor, or a batch of them that share the measurement matrices.
        A: measurement matrices.
        y: measured values.

    Raises:
        ValueError: shapes that do not fit together.
    """
    check_problem(U, A, y)
    Q = adjoint(A, (measure(A, U @ U.mT) - y).sign())
    return Q, (Q + Q.mT) @ U


@torch.no_grad()
def subgm(
    U: Float[Tensor, "*batch d k"],
    A: Float[Tensor, "m d d"],
    y: Float[Tensor, "*batch m"],
    *,
    eta: float,
    rho: float = 1.0,
    steps: int,
    step: str = "geometric",
    callback: Callable[[int, Tensor, Tensor], None] | None = None,
) -> Float[Tensor, "*batch d k"]:
    r"""Run the sub-gradient method :math:`U_{t+1}=U_t-\eta_tD_t` (Algorithm 1) and return the last iterate.

    A batch moves in lockstep, each member with step lengths of its own. A column of zeros stays zero, so factors
    of different rank share a batch when the narrow ones are padded with zeros. All tensors must be on the CPU.

    Args:
        U: the start, e.g. from `spectral_init_`; it is not changed.
        A: measurement matrices.
        y: measured values.
        eta: first step length, > 0.
        rho: decay of the step length, in (0, 1]; only for ``step="geometric"``.
        steps: number of steps.
        step: rule for :math:`\eta_t`. ``"geometric"``: :math:`\eta\rho^t/\|Q_t\|` with the spectral norm, which
            holds up under noise; ``"loss"``: :math:`\frac\eta2f(U_t)`, for values without noise; ``"constant"``:
            :math:`\eta`.
        callback: called as ``callback(t, U_t, f(U_t))`` for t = 0 .. steps; the loss has shape (\*batch).

    Raises:
        ValueError: shapes that do not fit together, `eta`, `rho` or `steps` out of range, or an unknown `step`.
    """
    check_problem(U, A, y)
    if not 0 < eta < float("inf"):
        raise ValueError(f"eta must be above 0, got {eta}.")
    if not 0 < rho <= 1:
        raise ValueError(f"rho, the decay of the step length, must be above 0 and at most 1, got {rho}.")
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}.")
    if step not in STEPS:
        raise ValueError(f"step must be one of {', '.join(map(repr, STEPS))}, got {step!r}.")
    # From here on in numpy, which multiplies matrices as small as these in half the time that torch takes.
    A, y, U = A.detach().numpy(), y.detach().numpy(), U.detach().numpy()
    # UU^T is symmetric, so its upper half decides <A_i, UU^T>: half the work of a step's first large product.
    # Both large products go fastest in blocks of a few hundred measurements.
    m, d, _ = A.shape
    i, j = np.triu_indices(d)
    upper, diagonal, cuts = i * d + j, np.eye(d, dtype=A.dtype), range(BLOCK, m, BLOCK)
    blocks = np.split(A, cuts)
    wholes = [B.reshape(len(B), -1) for B in blocks]
    halves = [((B + B.mT) / (1 + diagonal)).reshape(len(B), -1)[:, upper].T.copy() for B in blocks]
    for t in range(steps + 1):
        X = U @ U.mT
        x = X.reshape(*X.shape[:-2], -1).take(upper, axis=-1)
        residual = np.concatenate([x @ half for half in halves], axis=-1) - y
        loss = np.abs(residual).mean(axis=-1)
        if callback is not None:
            callback(t, torch.as_tensor(U), torch.as_tensor(loss))
        if t == steps:
            return torch.as_tensor(U)
        votes = np.split(np.sign(residual), cuts, axis=-1)
        Q = (sum(v @ whole for v, whole in zip(votes, wholes, strict=True)) / m).reshape(X.shape)
        if step == "geometric":
            norm = np.sqrt(np.linalg.eigvalsh(Q.mT @ Q)[..., -1])
            length = eta * rho**t / (norm + (norm == 0))  # Q = 0 at a perfect fit: stay there
        else:
            length = eta / 2 * loss if step == "loss" else np.full_like(loss, eta)
        U = U - length[..., None, None] * ((Q + Q.mT) @ U)


def signal_residual(U: Float[Tensor, "*batch d k"], V: Float[Tensor, "d r"]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    r"""Split `U` into the part along the true eigenvectors and the rest.

    Args:
        U: a factor, or a batch.
        V: orthonormal eigenvectors of the true matrix.

    Returns:
        Signal :math:`S=V^\top U` (\*batch, r, k); residual :math:`E=V_\perp^\top U` (\*batch, d - r, k); and its two
        parts of the same shape: F along the row space of S (it moves with the signal), and G = E - F across it.

    Raises:
        ValueError: `U` and `V` do not have the same number of rows.
    """
    if V.ndim != 2 or U.ndim < 2 or U.shape[-2] != V.shape[0]:
        raise ValueError(f"U and V must have the same number of rows, got {tuple(U.shape)} and {tuple(V.shape)}.")
    across = torch.linalg.qr(V, mode="complete").Q[:, V.shape[1] :]
    S, E = V.T @ U, across.T @ U
    F = E @ (torch.linalg.pinv(S) @ S)
    return S, E, F, E - F
