"""Rational activations against the package rational-activations, gains against scipy, the stack against theory."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.special import expit
from scipy.stats import norm

from reprolib.init.variance import activation_gain, second_moment, variance_preserving_
from reprolib.models.rational import COEFFICIENTS, GroupRational, rational


@pytest.mark.parametrize("denom, name", [("sum_abs", "Rational_PYTORCH_A_F"), ("abs_sum", "Rational_PYTORCH_B_F")])
@pytest.mark.parametrize("init", ["swish", "gelu", "relu"])
def test_values_and_gradients_are_those_of_the_package(denom, name, init):
    package = pytest.importorskip("rational.torch.rational_pytorch_functions")
    generator = torch.Generator().manual_seed(0)
    x, upstream = 2 * torch.randn(2, 40, 6, generator=generator)
    a, b = map(torch.tensor, COEFFICIENTS[init])
    inputs = [t.requires_grad_() for t in (x, a, b)]
    ours = rational(x, a[None], b[None], denom)
    theirs = getattr(package, name)(x, a, b, False)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    for mine, other in zip(*(torch.autograd.grad(y, inputs, upstream) for y in (ours, theirs)), strict=True):
        scale = other.abs().max()
        torch.testing.assert_close(mine / scale, other / scale, rtol=0, atol=1e-5)


def test_a_group_is_the_package_with_its_own_coefficients():
    package = pytest.importorskip("rational.torch.rational_pytorch_functions")
    generator = torch.Generator().manual_seed(1)
    act = GroupRational(4, share_numerator=False)
    with torch.no_grad():
        act.numerator += 0.1 * torch.randn(4, 6, generator=generator)
        act.denominator += 0.1 * torch.randn(4, 4, generator=generator)
    x = torch.randn(3, 7, 20, generator=generator)
    groups = zip(x.split(5, dim=-1), act.numerator, act.denominator, strict=True)
    theirs = torch.cat([package.Rational_PYTORCH_A_F(part.contiguous(), a, b, False) for part, a, b in groups], dim=-1)
    torch.testing.assert_close(act(x), theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("variance", [0.3, 1.0, 4.0])
def test_second_moment_of_swish_is_that_of_adaptive_quadrature(variance):
    def integrand(z):
        x = np.sqrt(variance) * z
        return (x * expit(x)) ** 2 * norm.pdf(z)

    exact, _ = quad(integrand, -np.inf, np.inf, epsabs=1e-12)
    assert second_moment(torch.nn.SiLU(), variance) == pytest.approx(exact, rel=1e-9)


def test_a_wide_layer_changes_the_variance_as_the_map_says():
    generator = torch.Generator().manual_seed(0)
    act, gain = GroupRational(), activation_gain(torch.nn.SiLU())
    for variance in (0.2, 1.0, 3.0):
        x = variance**0.5 * torch.randn(1000, 1024, generator=generator)
        weight = variance_preserving_(torch.empty(1024, 1024), gain, generator)
        after = (act(x) @ weight.T).square().mean().item()
        assert after == pytest.approx(gain * second_moment(torch.nn.SiLU(), variance), rel=0.03)
