"""Steps that do not scale the weights: descent orthogonal to them (Prieto et al., ICLR 2025, arXiv 2501.04697)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.optim import AdamW, Optimizer

TINY = 1e-30  # in both denominators of the authors' code: a tensor of zeros gives 0, not NaN


@torch.no_grad()
def orthogonal_(grad: Tensor, weight: Tensor, rescale: bool = True) -> Tensor:
    r"""Remove from `grad`, in place, its part along `weight`; both are taken as vectors.

    .. math:: g_\perp=g-\frac{w^\top g}{w^\top w}w,\qquad \hat g=g_\perp\frac{\|g\|}{\|g_\perp\|}

    Args:
        grad: any shape.
        weight: the same shape.
        rescale: give :math:`\hat g`, which keeps the length of the gradient, and not :math:`g_\perp`.
    """
    length = grad.norm() if rescale else None
    grad.sub_(weight * ((weight * grad).sum() / (weight.square().sum() + TINY)))
    return grad.mul_(length / (grad.norm() + TINY)) if rescale else grad


class OrthoGrad(Optimizer):
    r""":math:`\perp`\ Grad: before each step of another optimizer, make every gradient orthogonal to its parameter.

    With plain SGD the step is then orthogonal to the weights. With Adam, which rescales every coordinate, or with
    momentum, it is so only approximately.

    Args:
        params: parameters or groups, as for the base optimizer. Each tensor is projected by itself.
        base: class of the optimizer that takes the steps.
        rescale: keep the length of every gradient, as the authors' code does.
        options: for `base`, such as ``lr``.

    """

    def __init__(self, params, base: type[Optimizer] = AdamW, *, rescale: bool = True, **options):
        self.base, self.rescale = base(params, **options), rescale
        super().__init__(self.base.param_groups, self.base.defaults)
        self.param_groups, self.state = self.base.param_groups, self.base.state  # one state, so that it can be saved

    def step(self, closure=None):
        """Take one step; `closure` as for every optimizer of torch."""
        with torch.enable_grad():
            loss = closure() if closure else None
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    orthogonal_(p.grad, p.detach(), self.rescale)
        self.base.step()
        return loss

    def load_state_dict(self, state_dict: dict) -> None:
        """Restore the state of the base optimizer."""
        self.base.load_state_dict(state_dict)
        self.param_groups, self.state = self.base.param_groups, self.base.state
