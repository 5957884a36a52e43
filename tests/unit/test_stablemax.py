"""The losses at the edge of floating point: values, gradients where a branch ends, and the edge itself."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from reprolib.losses.stablemax import (
    cross_entropy_in,
    linear_exp,
    log_stablemax,
    softmax_collapse,
    stablemax_cross_entropy,
)

numbers = st.floats(-1e6, 1e6, allow_nan=False)


def tensor(*values, dtype=torch.float64):
    return torch.tensor(values, dtype=dtype)


def slope(x, dtype=torch.float64):
    x = tensor(x, dtype=dtype).requires_grad_()
    return torch.autograd.grad(linear_exp(x), x)[0].item()


@given(numbers, numbers)
def test_the_stand_in_is_positive_and_increasing(a, b):
    low, high = linear_exp(tensor(*sorted((a, b))))
    assert 0 < low <= high


@pytest.mark.parametrize("x, value, derivative", [(-3.0, 1 / 4, 1 / 16), (0.0, 1, 1), (1.0, 2, 1), (5.0, 6, 1)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_value_and_slope_also_where_the_branches_meet_and_where_the_other_one_is_infinite(x, value, derivative, dtype):
    assert linear_exp(tensor(x, dtype=dtype)).item() == pytest.approx(value)
    assert slope(x, dtype) == pytest.approx(derivative)


def test_probabilities_sum_to_one_along_the_axis_that_is_named():
    x = 50 * torch.randn(4, 7, dtype=torch.float64)
    for dim in (0, 1):
        torch.testing.assert_close(log_stablemax(x, dim).exp().sum(dim), torch.ones(7 if dim == 0 else 4).double())


def test_cross_entropy_is_the_mean_over_samples_and_in_float64():
    logits, y = 20 * torch.randn(6, 5), torch.arange(6) % 5
    expected = -log_stablemax(logits.double())[torch.arange(6), y].mean()
    found = stablemax_cross_entropy(logits, y)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, expected)


def test_no_gap_that_a_network_reaches_stops_the_gradient():
    z = tensor([0.0, -1e9, 1e9]).requires_grad_()
    (gradient,) = torch.autograd.grad(stablemax_cross_entropy(z, torch.tensor([2])), z)
    assert gradient[0, 2] < 0


@pytest.mark.parametrize("dtype, bits", [(torch.float16, 11), (torch.float32, 24), (torch.float64, 53)])
def test_collapse_begins_where_the_mantissa_ends(dtype, bits):
    gap = bits * math.log(2)
    logits = tensor([5.0, 5 - gap - 0.02], [5.0, 5 - gap + 0.02], [5.0, 5.0])
    logits = logits - 5  # the largest is 0, so that float16 keeps the gap
    assert [softmax_collapse(row[None], dtype).item() for row in logits] == [1, 0, 0]
    assert softmax_collapse(logits, dtype).item() == pytest.approx(1 / 3)


def test_collapse_does_not_depend_on_a_shift_and_looks_at_every_class():
    z = tensor([0.0, -20, -20], [-20.0, 0, -1])
    assert softmax_collapse(z + 64, torch.float32) == softmax_collapse(z, torch.float32) == 0.5


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_a_collapsed_sample_has_loss_zero_and_a_one_sided_gradient(dtype):
    gap = 1.2 * (1 - math.log2(torch.finfo(dtype).eps)) * math.log(2)
    z = tensor([0.0, -gap, -gap - 1]).requires_grad_()
    loss = cross_entropy_in(z, torch.tensor([0]), dtype)
    (gradient,) = torch.autograd.grad(loss, z)
    assert loss == 0 and gradient[0, 0] == 0 and (gradient[0, 1:] > 0).all()


def test_the_loss_is_computed_in_the_precision_that_is_asked_for():
    z, y = tensor([0.0, -10.0], dtype=torch.float32), torch.tensor([0])
    losses = {dtype: cross_entropy_in(z, y, dtype) for dtype in (torch.float16, torch.float32, torch.float64)}
    assert all(loss.dtype == dtype for dtype, loss in losses.items())
    assert losses[torch.float16] == 0 < losses[torch.float32]
    assert losses[torch.float64].item() == pytest.approx(math.log1p(math.exp(-10)), rel=1e-12)
