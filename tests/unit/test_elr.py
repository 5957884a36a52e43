"""What must hold of early-learning regularization for any outputs, and what a user's mistake says."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from reprolib.losses.elr import ELRLoss


def batch(seed=0, examples=6, classes=4):
    draw = torch.Generator().manual_seed(seed)
    logits = torch.randn(examples, classes, generator=draw, dtype=torch.float64)
    return logits, torch.randint(classes, (examples,), generator=draw), torch.randperm(examples, generator=draw)


def test_without_a_target_it_is_cross_entropy():
    logits, labels, index = batch()
    loss = ELRLoss(6, 4, lam=5.0, eps=0).eval()
    assert loss(logits, labels, index) == cross_entropy(logits, labels)


def test_without_weight_it_has_the_gradient_of_cross_entropy():
    logits, labels, index = batch()
    logits.requires_grad_()
    (ours,) = torch.autograd.grad(ELRLoss(6, 4, lam=0).double()(logits, labels, index), logits)
    (plain,) = torch.autograd.grad(cross_entropy(logits, labels), logits)
    torch.testing.assert_close(ours, plain, rtol=0, atol=0)


@given(st.integers(0, 2**31), st.floats(0, 0.99), st.integers(1, 6))
def test_a_target_sums_to_one_minus_beta_to_the_number_of_visits(seed, beta, visits):
    loss = ELRLoss(6, 4, beta=beta).double()
    for visit in range(visits):
        loss(*batch(seed + visit))
    torch.testing.assert_close(loss.target.sum(dim=-1), torch.full((6,), 1 - beta**visits, dtype=torch.float64))


def test_the_average_weighs_the_last_output_with_one_minus_beta():
    loss = ELRLoss(1, 2, beta=0.9, eps=0).double()
    for p in (0.2, 0.7):
        loss(torch.tensor([[p, 1 - p]], dtype=torch.float64).log(), torch.tensor([0]), torch.tensor([0]))
    expected = torch.tensor([[0.9 * 0.1 * 0.2 + 0.1 * 0.7, 0.9 * 0.1 * 0.8 + 0.1 * 0.3]], dtype=torch.float64)
    torch.testing.assert_close(loss.target, expected)


@given(st.integers(0, 2**31))
def test_the_order_of_a_batch_does_not_matter(seed):
    logits, labels, index = batch(seed)
    losses, order = [ELRLoss(6, 4).double() for _ in range(2)], torch.randperm(6)
    for _ in range(2):
        values = losses[0](logits, labels, index), losses[1](logits[order], labels[order], index[order])
    torch.testing.assert_close(*values)
    torch.testing.assert_close(losses[0].target, losses[1].target)


def test_only_the_examples_of_the_batch_move_and_only_in_training():
    logits, labels, _ = batch()
    loss = ELRLoss(10, 4).double()
    loss(logits, labels, torch.tensor([9, 7, 5, 3, 1, 0]))
    moved = loss.target.sum(dim=-1) > 0
    assert moved.tolist() == [True, True, False, True, False, True, False, True, False, True]
    before = loss.target.clone()
    loss.eval()(-logits, labels, torch.arange(6))
    assert torch.equal(loss.target, before)


def test_the_target_is_a_constant_and_moves_before_the_loss():
    """With beta = 0 the first value is already that of t = p, and no gradient runs through t."""
    logits, labels, index = batch()
    logits.requires_grad_()
    loss = ELRLoss(6, 4, lam=2.0, beta=0.0, eps=0).double()
    value = loss(logits, labels, index)
    p = logits.softmax(dim=-1)
    expected = cross_entropy(logits, labels) + 2 * torch.log(1 - (p * p.detach()).sum(dim=-1)).mean()
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(*(torch.autograd.grad(v, logits, retain_graph=True)[0] for v in (value, expected)))


def test_saturated_outputs_stay_finite_and_feel_cross_entropy_only():
    logits = torch.tensor([[30.0, 0.0, 0.0]], requires_grad=True)
    loss = ELRLoss(1, 3, lam=3.0)
    for _ in range(50):
        value = loss(logits, torch.tensor([1]), torch.tensor([0]))
    (gradient,) = torch.autograd.grad(value, logits)
    assert value.isfinite()
    torch.testing.assert_close(gradient, torch.tensor([[1.0, -1.0, 0.0]]), atol=1e-6, rtol=0)


def test_the_target_is_saved_with_the_training_state():
    loss, copy = ELRLoss(6, 4), ELRLoss(6, 4)
    logits, labels, index = batch()
    loss(logits, labels, index)
    copy.load_state_dict(loss.state_dict())
    assert torch.equal(copy.target, loss.target) and copy.target.any()


@pytest.mark.parametrize(
    ("arguments", "keywords", "sentence"),
    [
        ((0, 4), {}, "an example and two classes"),
        ((5, 1), {}, "an example and two classes"),
        ((5, 4), {"lam": -1}, "lam must be"),
        ((5, 4), {"lam": float("nan")}, "lam must be"),
        ((5, 4), {"beta": 1.0}, "beta must be"),
        ((5, 4), {"eps": 0.5}, "eps must be"),
    ],
)
def test_mistakes(arguments, keywords, sentence):
    with pytest.raises(ValueError, match=sentence):
        ELRLoss(*arguments, **keywords)
