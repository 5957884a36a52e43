"""Scores of examples against closed forms and a loop of single backward passes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import softmax
from torch import nn

from reprolib.scores.gradients import el2n, per_sample_grad_norm
from reprolib.scores.prune import prune_by_score


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def one_by_one(model, x, y):
    """Norms from a backward pass for each example alone."""
    norms = []
    for one, label in zip(x, y, strict=True):
        loss = nn.functional.cross_entropy(model(one[None]), label[None])
        parts = torch.autograd.grad(loss, list(model.parameters()))
        norms.append(sum(float(part.square().sum()) for part in parts) ** 0.5)
    return torch.tensor(norms, dtype=x.dtype)


def test_el2n_equals_the_length_of_scipys_softmax_minus_one_hot(rng):
    logits, labels = 3 * rng.standard_normal((50, 7)), rng.integers(7, size=50)
    expected = np.linalg.norm(softmax(logits, axis=1) - np.eye(7)[labels], axis=1)
    found = el2n(torch.from_numpy(logits), torch.from_numpy(labels)).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_gradient_norms_equal_those_of_single_backward_passes(rng):
    torch.manual_seed(0)
    convolution = nn.Sequential(nn.Conv2d(1, 3, 3, 2), nn.ReLU(), nn.Flatten(-3), nn.Linear(27, 4))
    perceptron = nn.Sequential(nn.Linear(12, 9), nn.Tanh(), nn.Linear(9, 4))
    for model, shape in ((convolution, (1, 8, 8)), (perceptron, (12,))):
        model = model.double().eval()
        x, y = torch.from_numpy(rng.standard_normal((20, *shape))), torch.from_numpy(rng.integers(4, size=20))
        torch.testing.assert_close(per_sample_grad_norm(model, x, y), one_by_one(model, x, y), rtol=1e-6, atol=0)


def test_grand_of_softmax_regression_is_el2n_times_the_length_of_the_input(rng):
    x, y = torch.from_numpy(rng.standard_normal((30, 6))), torch.from_numpy(rng.integers(4, size=30))
    torch.manual_seed(0)
    model = nn.Linear(6, 4).double().eval()
    closed = el2n(model(x), y) * (x.square().sum(dim=1) + 1).sqrt()
    torch.testing.assert_close(per_sample_grad_norm(model, x, y), closed.detach(), rtol=1e-10, atol=0)


def test_squared_gradient_norm_is_the_sum_over_linear_layers_by_hand(rng):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 4)).double().eval()
    x, y = rng.standard_normal((30, 6)), rng.integers(4, size=30)
    w1, b1, w2, b2 = (p.detach().numpy() for p in model.parameters())
    hidden = np.maximum(x @ w1.T + b1, 0)
    top = softmax(hidden @ w2.T + b2, axis=1) - np.eye(4)[y]
    below = (top @ w2) * (hidden > 0)
    squares = (top**2).sum(1) * ((hidden**2).sum(1) + 1) + (below**2).sum(1) * ((x**2).sum(1) + 1)
    found = per_sample_grad_norm(model, torch.from_numpy(x), torch.from_numpy(y)).numpy()
    np.testing.assert_allclose(found, np.sqrt(squares), rtol=1e-10)


def test_kept_examples_equal_those_of_a_sorted_list(rng):
    scores = rng.standard_normal(25)
    by_rank = sorted(range(25), key=lambda i: -scores[i])
    for keep, skip in ((5, 0), (7, 4)):
        assert prune_by_score(torch.from_numpy(scores), keep, skip=skip).tolist() == by_rank[skip : skip + keep]
    assert prune_by_score(torch.from_numpy(scores), 6, largest=False).tolist() == by_rank[::-1][:6]
