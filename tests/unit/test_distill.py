"""Distillation: the loss against closed forms, and a loop that obeys its arguments."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from reprolib import checkpoint
from reprolib.distill import distill, minimize, soft_distillation
from reprolib.train import fit

few = settings(max_examples=25, deadline=None)


@few
@given(seed=st.integers(0, 999), tau=st.floats(0.2, 8), shift=st.floats(-5, 5))
def test_loss_is_zero_for_equal_logits_up_to_a_shift_and_positive_else(seed, tau, shift):
    a, b = torch.randn(2, 6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    assert abs(soft_distillation(a + shift, a, tau).item()) < 1e-12
    assert soft_distillation(a, b, tau).item() > 0


@few
@given(seed=st.integers(0, 999), tau=st.floats(0.2, 8))
def test_numel_is_batchmean_over_classes(seed, tau):
    a, b = torch.randn(2, 6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(4 * soft_distillation(a, b, tau, "numel"), soft_distillation(a, b, tau))


def test_no_gradient_reaches_the_teacher():
    a, b = torch.randn(2, 6, 4, requires_grad=True).unbind()
    assert torch.autograd.grad(soft_distillation(a, b), b, allow_unused=True) == (None,)


def data():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(50, 3, generator=generator)
    return x, torch.randn(50, 4, generator=generator), torch.randint(4, (50,), generator=generator)


def model():
    torch.manual_seed(1)
    return nn.Linear(3, 4)


TRAINING = dict(epochs=3, batch_size=16, lr=0.01, weight_decay=0.1)


def test_labels_alone_are_train_fit_bit_for_bit():
    x, teacher, y = data()
    one, two = model(), model()
    losses = distill(one, x, teacher, y, alpha=0, **TRAINING, generator=torch.Generator().manual_seed(2))
    assert losses == fit(two, x, y, **TRAINING, generator=torch.Generator().manual_seed(2))
    assert torch.equal(one.weight, two.weight)


def test_a_student_that_can_follow_its_teacher_does():
    x, _, _ = data()
    student = model()
    teacher = nn.Linear(3, 4)(x).detach()
    losses = distill(student, x, teacher, epochs=200, batch_size=25, lr=0.05)
    assert losses[-1] < 1e-4 < losses[0]


def test_training_that_is_killed_goes_on_to_the_same_weights(tmp_path):
    x, teacher, _ = data()
    whole, half = model(), model()
    distill(whole, x, teacher, **TRAINING, generator=torch.Generator().manual_seed(2))
    with checkpoint.at(str(tmp_path / "trial")):
        calls = 0

        def loss(batch):
            nonlocal calls
            calls += 1
            if calls == 6:  # in the second epoch of three
                raise KeyboardInterrupt
            return soft_distillation(half(x[batch]), teacher[batch])

        with pytest.raises(KeyboardInterrupt):
            minimize(loss, half, len(x), **TRAINING, generator=torch.Generator().manual_seed(2))
    with checkpoint.at(str(tmp_path / "trial")):
        fresh = model()
        distill(fresh, x, teacher, **TRAINING, generator=torch.Generator().manual_seed(99))
    assert torch.equal(fresh.weight, whole.weight)


def test_a_dry_run_stops_after_its_steps():
    x, teacher, _ = data()
    assert len(distill(model(), x, teacher, **TRAINING, max_steps=2)) == 2


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"alpha": 2}, "alpha must be from 0 to 1"),
        ({"alpha": 0.5}, "needs the labels"),
        ({"tau": 0}, "temperature must be above 0"),
        ({"reduction": "sum"}, "reduction must be one of"),
        ({"epochs": 0}, "epochs must be at least 1"),
        ({"batch_size": 51}, "batch_size must be from 1"),
    ],
)
def test_mistakes_are_answered_by_name(changes, message):
    x, teacher, _ = data()
    with pytest.raises(ValueError, match=message):
        distill(model(), x, teacher, **(TRAINING | changes))


def test_lengths_and_shapes_must_agree():
    x, teacher, _ = data()
    with pytest.raises(ValueError, match="one length"):
        distill(model(), x[:-1], teacher, **TRAINING)
    with pytest.raises(ValueError, match="differ in shape"):
        soft_distillation(teacher, teacher[:, :3])
