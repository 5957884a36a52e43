"""Early-learning regularization (Liu, Niles-Weed, Razavian and Fernandez-Granda, NeurIPS 2020, arXiv 2007.00151)."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


class ELRLoss(nn.Module):
    r"""Cross-entropy plus a reward for agreeing with a running average of the network's own outputs.

    .. math:: -\frac1B\sum_i\log p^{[i]}_{y^{[i]}}+\frac\lambda B\sum_i\log\big(1-\langle p^{[i]},t^{[i]}\rangle\big)

    (equation 7), with p the softmax of the logits and t a constant for back-propagation. In training mode every
    call first moves the targets of its examples, :math:`t\leftarrow\beta t+(1-\beta)p` (equation 10); in evaluation
    mode targets stay. They begin at zero, where the loss is cross-entropy. The loss can be negative.

    Args:
        num_examples: size of the training set; the targets, the buffer ``target``, have a row for each example.
        num_classes: number of classes.
        lam: the weight :math:`\lambda\ge0`; 0 is cross-entropy.
        beta: how much of the old target stays, in [0, 1).
        eps: outside cross-entropy p is clamped to [eps, 1 - eps], as in the authors' code, so that the logarithm
            stays finite; what is clamped has no gradient there. What enters the target is normalized again. 0 gives
            the formula as it stands.

    Raises:
        ValueError: an argument outside its range.
    """

    target: Float[Tensor, "num_examples num_classes"]

    def __init__(
        self, num_examples: int, num_classes: int, *, lam: float = 3.0, beta: float = 0.7, eps: float = 1e-4
    ) -> None:
        super().__init__()
        if num_examples < 1 or num_classes < 2:
            raise ValueError(f"the loss needs an example and two classes, got {num_examples} and {num_classes}.")
        if not 0 <= lam < float("inf"):
            raise ValueError(f"lam must be a number of at least 0, got {lam}.")
        if not 0 <= beta < 1:
            raise ValueError(f"beta must be at least 0 and below 1, got {beta}.")
        if not 0 <= eps < 0.5:
            raise ValueError(f"eps must be at least 0 and below 0.5, got {eps}.")
        self.lam, self.beta, self.eps = lam, beta, eps
        self.register_buffer("target", torch.zeros(num_examples, num_classes))

    def forward(
        self, logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"], index: Int[Tensor, " batch"]
    ) -> Float[Tensor, ""]:
        """Return the mean loss of a batch.

        Args:
            logits: outputs of the network.
            labels: the given labels, which may be wrong.
            index: the examples' places in the training set, not in the batch; none twice.
        """
        log_p = logits.log_softmax(dim=-1)
        p = log_p.exp().clamp(self.eps, 1 - self.eps)
        target = self.target[index]
        if self.training:
            with torch.no_grad():
                target = self.beta * target + (1 - self.beta) * p / p.sum(dim=-1, keepdim=True)
                self.target[index] = target.to(self.target)
        agreement = (p * target).sum(dim=-1)
        return nn.functional.nll_loss(log_p, labels) + self.lam * torch.log1p(-agreement).mean()
