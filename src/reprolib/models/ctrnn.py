"""A recurrent network in continuous time, in steps, as neuroscience uses it."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def ctrnn(
    x: Float[Tensor, "time batch input"],
    w_in: Float[Tensor, "*networks hidden input"],
    w_h: Float[Tensor, "*networks hidden hidden"],
    w_out: Float[Tensor, "*networks output hidden"],
    alpha: float = 1.0,
) -> tuple[Float[Tensor, "*networks time batch output"], Float[Tensor, "*networks time batch hidden"]]:
    r"""Run :math:`h_t=\mathrm{ReLU}((1-\alpha)h_{t-1}+\alpha(W_{in}x_t+W_hh_{t-1}))` from :math:`h_0=0`; no biases.

    Several networks that see the same inputs run at once when their weights are stacked: one product a step serves
    all of them, and the gradient of their summed losses is each one's own.

    Args:
        x: inputs, time first.
        w_in, w_h, w_out: weights, of one network or stacked.
        alpha: step over time constant, above 0 and at most 1.

    Returns:
        outputs: :math:`W_{out}h_t`, no softmax.
        hidden: :math:`h_t`.

    Raises:
        ValueError: no time step, or `alpha` out of range.

    Source: Liu et al. (2024), released code, ``main.py``.
    """
    if len(x) == 0:
        raise ValueError("the network needs at least one time step.")
    if not 0 < alpha <= 1:
        raise ValueError(f"alpha must be above 0 and at most 1, got {alpha}.")
    driven = alpha * (x.flatten(0, 1) @ w_in.mT).unflatten(-2, x.shape[:2])
    first, *later = driven.unbind(-3)
    h = first.relu()  # nothing recurs at the first step
    hidden = [h]
    for drive in later:
        if alpha < 1:
            drive = drive + (1 - alpha) * h
        h = (drive + alpha * (h @ w_h.mT)).relu()
        hidden.append(h)
    hidden = torch.stack(hidden, dim=-3)
    return (hidden.flatten(-3, -2) @ w_out.mT).unflatten(-2, x.shape[:2]), hidden


def ctrnn_errors(
    outward: Float[Tensor, "*networks time batch output"],
    hidden: Float[Tensor, "*networks time batch hidden"],
    w_h: Float[Tensor, "*networks hidden hidden"],
    w_out: Float[Tensor, "*networks output hidden"],
    alpha: float = 1.0,
) -> Float[Tensor, "*networks time batch hidden"]:
    r"""Send errors at the outputs of `ctrnn` back through time, to the current into each unit.

    With :math:`u_t=W_{in}x_t+W_hh_{t-1}` the result is :math:`\delta_t=\partial L/\partial u_t`. Gradients follow:
    :math:`\sum_t\delta_th_{t-1}^\top` for :math:`W_h` and :math:`\sum_t\delta_tx_t^\top` for :math:`W_{in}`. All steps
    go into one product, where automatic differentiation makes and adds one matrix of the size of the weights a step.

    Args:
        outward: :math:`\partial L/\partial y_t`.
        hidden: states that `ctrnn` returned.
        w_h, w_out, alpha: as there.
    """
    arriving, active = (outward @ w_out[..., None, :, :]).unbind(-3), (hidden > 0).unbind(-3)
    error = arriving[-1] * active[-1]
    errors = [error]
    for here, on in zip(arriving[-2::-1], active[-2::-1], strict=True):
        back = alpha * (error @ w_h)
        if alpha < 1:
            back = back + (1 - alpha) * error
        error = (here + back) * on
        errors.append(error)
    return alpha * torch.stack(errors[::-1], dim=-3)
