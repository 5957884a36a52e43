"""StableMax and ⊥Grad against torch's softmax, exact arithmetic, linear algebra and another package's optimizer."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from torch import nn

from reprolib.losses.stablemax import cross_entropy_in, log_stablemax, softmax_collapse, stablemax_cross_entropy
from reprolib.optim.orthograd import OrthoGrad, orthogonal_

HALF = {torch.float16: (Fraction(1, 2**11), np.float16), torch.float32: (Fraction(1, 2**24), np.float32)}


def draw(seed, *shape, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("scale", [1e-3, 1, 30, 1e4])
def test_stablemax_is_the_softmax_of_squeezed_logits(scale):
    x = scale * draw(0, 20, 11)
    expected = torch.log_softmax(x.sign() * x.abs().log1p(), dim=-1)
    torch.testing.assert_close(log_stablemax(x), expected, rtol=1e-12, atol=1e-12)


def test_stablemax_loss_is_the_exact_one_in_fractions():
    z, y = [Fraction(3), Fraction(-2), Fraction(0), Fraction(-1, 2)], 2
    s = [x + 1 if x >= 0 else 1 / (1 - x) for x in z]
    loss = stablemax_cross_entropy(torch.tensor([[float(x) for x in z]]), torch.tensor([y]))
    assert loss.item() == pytest.approx(-math.log(s[y] / sum(s)), rel=1e-14)


def test_stablemax_gradient_is_that_of_finite_differences():
    z, y = 3 * draw(1, 5, 4).requires_grad_(), torch.tensor([0, 1, 2, 3, 0])
    assert torch.autograd.gradcheck(lambda z: stablemax_cross_entropy(z, y), (z,))


@pytest.mark.parametrize("dtype", HALF)
def test_collapse_of_two_classes_is_what_rounding_to_even_says(dtype):
    """1 + d rounds to 1 iff d <= 2^-t; the exponential of the rounded gap is numpy's, rounded as torch rounds it."""
    half, numpy_type = HALF[dtype]
    gaps = np.linspace(0.5, 1.5, 801) * -math.log(half)
    terms = np.exp(-gaps.astype(numpy_type)).astype(numpy_type)
    near = np.abs(terms.astype(float) / float(half) - 1) < 1e-3  # exponentials may differ in their last bit
    expected = np.array([Fraction(float(term)) <= half for term in terms])
    logits = torch.tensor(np.stack([np.zeros_like(gaps), -gaps], axis=1))
    found = np.array([softmax_collapse(row[None], dtype).item() for row in logits])
    assert (found == expected)[~near].all() and 0 < expected.mean() < 1


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_gradient_before_the_collapse_is_the_exact_one_to_the_last_bits(dtype):
    z = torch.tensor([[0.0, -2.0, -3.0]], dtype=torch.float64, requires_grad=True)
    (found,) = torch.autograd.grad(cross_entropy_in(z, torch.tensor([0]), dtype), z)
    exact = torch.softmax(z.detach(), -1) - torch.tensor([[1.0, 0, 0]])
    torch.testing.assert_close(found, exact, rtol=8 * torch.finfo(dtype).eps, atol=2 * torch.finfo(dtype).eps)


@pytest.mark.parametrize("shape", [(7,), (3, 5)])
def test_projection_is_that_of_an_orthonormal_basis(shape):
    g, w = draw(2, *shape), draw(3, *shape)
    basis = np.linalg.svd(w.reshape(1, -1).numpy())[2][1:]  # of the space orthogonal to w
    expected = basis.T @ (basis @ g.flatten().numpy())
    np.testing.assert_allclose(orthogonal_(g.clone(), w, rescale=False).flatten(), expected, atol=1e-13)
    expected *= np.linalg.norm(g) / np.linalg.norm(expected)
    np.testing.assert_allclose(orthogonal_(g.clone(), w).flatten(), expected, atol=1e-13)


@pytest.mark.parametrize(
    "base, options",
    [
        (torch.optim.AdamW, dict(lr=0.01, weight_decay=0.1)),
        (torch.optim.AdamW, dict(lr=0.01, betas=(0.9, 0.99), eps=1e-25, weight_decay=0.0)),
        (torch.optim.SGD, dict(lr=0.1, momentum=0.8)),
    ],
)
def test_ten_steps_equal_those_of_another_package(base, options):
    package = pytest.importorskip("pytorch_optimizer")
    models = []
    for make in (OrthoGrad, lambda params, base, **kw: package.OrthoGrad(base(params, **kw), foreach=False)):
        model = nn.Sequential(nn.Linear(5, 8, bias=False), nn.ReLU(), nn.Linear(8, 3, bias=False)).double()
        for i, p in enumerate(model.parameters()):
            p.data = draw(10 + i, *p.shape)
        optimizer, x, y = make(model.parameters(), base, **options), draw(20, 30, 5), torch.arange(30) % 3
        for _ in range(10):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()
        models.append(model)
    for ours, theirs in zip(*(model.parameters() for model in models), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-9, atol=1e-12)
