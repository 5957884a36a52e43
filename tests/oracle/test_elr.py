"""ELR against Lemma 2, against finite differences, and against a transcription of the released code's arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax

from reprolib.losses.elr import ELRLoss


class Reference:
    """Clamp, renormalized average, un-normalized agreement: in numpy, example by example, with its own gradient."""

    def __init__(self, n, classes, lam, beta, eps=1e-4):
        self.target, self.lam, self.beta, self.eps = np.zeros((n, classes)), lam, beta, eps

    def __call__(self, logits, labels, index):
        total, gradient = 0.0, np.zeros_like(logits)
        for row, (z, y, i) in enumerate(zip(logits, labels, index, strict=True)):
            p = softmax(z)
            clamped = np.minimum(np.maximum(p, self.eps), 1 - self.eps)
            self.target[i] = self.beta * self.target[i] + (1 - self.beta) * clamped / clamped.sum()
            t, rest = self.target[i], 1 - clamped @ self.target[i]
            total += -log_softmax(z)[y] + self.lam * np.log(rest)
            free = (p > self.eps) & (p < 1 - self.eps)
            jacobian = (np.diag(p) - np.outer(p, p))[free]  # of the entries that are not clamped
            gradient[row] = p - np.eye(len(z))[y] - self.lam * t[free] @ jacobian / rest
        return total / len(labels), gradient / len(labels)


@pytest.mark.parametrize("spread", [1.0, 4.0, 12.0])  # the last one saturates many outputs
@pytest.mark.parametrize(("lam", "beta"), [(3.0, 0.7), (7.0, 0.9), (1.0, 0.0)])
def test_values_gradients_and_targets_equal_the_reference(spread, lam, beta):
    draw = torch.Generator().manual_seed(0)
    ours, reference = ELRLoss(20, 10, lam=lam, beta=beta).double(), Reference(20, 10, lam, beta)
    for _ in range(4):
        logits = (spread * torch.randn(8, 10, generator=draw, dtype=torch.float64)).requires_grad_()
        labels, index = torch.randint(10, (8,), generator=draw), torch.randperm(20, generator=draw)[:8]
        value = ours(logits, labels, index)
        (gradient,) = torch.autograd.grad(value, logits)
        expected, expected_gradient = reference(logits.detach().numpy(), labels.numpy(), index.numpy())
        assert value.item() == pytest.approx(expected, abs=1e-12)
        np.testing.assert_allclose(gradient, expected_gradient, atol=1e-12)
        np.testing.assert_allclose(ours.target, reference.target, atol=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_gradient_equals_lemma_2(seed):
    draw = torch.Generator().manual_seed(seed)
    logits = torch.randn(8, 7, generator=draw, dtype=torch.float64, requires_grad=True)
    labels = torch.randint(7, (8,), generator=draw)
    loss = ELRLoss(8, 7, lam=4.0, eps=0).double().eval()
    loss.target = torch.rand(8, 7, generator=draw, dtype=torch.float64) / 7
    (gradient,) = torch.autograd.grad(loss(logits, labels, torch.arange(8)), logits)
    p, t = softmax(logits.detach().numpy(), axis=-1), loss.target.numpy()
    for b in range(8):
        for c in range(7):
            g = p[b, c] / (1 - p[b] @ t[b]) * sum((t[b, k] - t[b, c]) * p[b, k] for k in range(7))
            assert 8 * gradient[b, c].item() == pytest.approx(p[b, c] - (labels[b] == c).item() + 4 * g, abs=1e-12)


def test_gradient_equals_finite_differences():
    draw = torch.Generator().manual_seed(1)
    logits = torch.randn(5, 4, generator=draw, dtype=torch.float64, requires_grad=True)
    labels, index = torch.randint(4, (5,), generator=draw), torch.randperm(5, generator=draw)
    loss = ELRLoss(5, 4, lam=6.0).double()
    loss(logits, labels, index)
    assert torch.autograd.gradcheck(lambda z: loss.eval()(z, labels, index), logits)


def test_the_true_class_wins_above_the_two_class_threshold():
    """The two-class fixed point of the chapter: with t = p the sign changes at q = lam / (2 (lam - 1))."""
    for lam in (3.0, 7.0):
        turn = lam / (2 * (lam - 1))
        q = torch.tensor([turn - 0.01, turn + 0.01], dtype=torch.float64)
        logits = torch.stack([q, 1 - q], dim=-1).log().requires_grad_()
        loss = ELRLoss(2, 2, lam=lam, eps=0).double().eval()
        loss.target = logits.detach().exp()
        (gradient,) = torch.autograd.grad(loss(logits, torch.tensor([1, 1]), torch.arange(2)), logits)
        assert gradient[0, 0] > 0 > gradient[1, 0]
