"""Variance-preserving weights: gains against closed forms, weights against their variance."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from reprolib.init.variance import activation_gain, second_moment, variance_preserving_


@pytest.mark.parametrize(
    "fn, moment",
    [
        (nn.Identity(), 1.0),
        (nn.ReLU(), 0.5),
        (torch.sin, (1 - math.exp(-2)) / 2),
        (torch.square, 3.0),
        # Gaussian integrals of x^2 Phi(x)^2: 1/3 + 1/(2 pi sqrt 3)
        (nn.GELU(), 1 / 3 + 1 / (2 * math.pi * math.sqrt(3))),
    ],
)
def test_gain_is_the_inverse_of_the_closed_form(fn, moment):
    assert activation_gain(fn) == pytest.approx(1 / moment, rel=1e-7)


def test_second_moment_scales_with_the_variance():
    assert second_moment(nn.Identity(), 2.5) == pytest.approx(2.5)
    assert second_moment(nn.ReLU(), 0.3) == pytest.approx(0.15)
    assert second_moment(torch.exp, 0.5) == pytest.approx(math.exp(1.0))


def test_weights_keep_the_variance_of_relu():
    generator = torch.Generator().manual_seed(0)
    weight = variance_preserving_(torch.empty(2000, 500), 2.0, generator)
    assert weight.var().item() == pytest.approx(2 / 500, rel=0.01)
    x = torch.randn(1000, 500, generator=generator)
    assert (x.relu() @ weight.T).var().item() == pytest.approx(1, rel=0.03)


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda: variance_preserving_(torch.empty(3, 3), 0), "gain"),
        (lambda: variance_preserving_(torch.empty(3), 1), "fan_in"),
        (lambda: activation_gain(torch.zeros_like), "zero"),
        (lambda: second_moment(torch.sin, -1), "variance"),
    ],
)
def test_mistakes_are_named(call, said):
    with pytest.raises(ValueError, match=said):
        call()
