"""Rational activations: derivatives, groups, both denominators; the block reduces to a plain one."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from reprolib.models.rational import COEFFICIENTS, DENOMINATORS, ActivatedBlock, GroupRational, rational
from reprolib.models.vit import Block


def by_powers(x, a, b, denom):
    """The formula as it is written, for autograd."""
    groups = x.unflatten(-1, (len(b), -1))[..., None]
    p = (a[:, None] * groups ** torch.arange(6)).sum(dim=-1)
    j = torch.arange(1, 5)
    if denom == "sum_abs":
        q = 1 + (b[:, None].abs() * groups.abs() ** j).sum(dim=-1)
    else:
        q = 1 + (b[:, None] * groups**j).sum(dim=-1).abs()
    return (p / q).flatten(-2)


def drawn(rows: int, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    shapes = ((3, 5, 8), (rows, 6), (4, 4))
    return [torch.randn(s, generator=generator, dtype=dtype).requires_grad_() for s in shapes]


@pytest.mark.parametrize("denom", DENOMINATORS)
@pytest.mark.parametrize("rows", [1, 4])
def test_gradients_are_those_of_finite_differences(denom, rows):
    assert torch.autograd.gradcheck(lambda *args: rational(*args, denom), drawn(rows))


@pytest.mark.parametrize("denom", DENOMINATORS)
@pytest.mark.parametrize("rows", [1, 4])
def test_value_and_gradients_are_those_of_autograd_on_the_formula(denom, rows):
    args = drawn(rows)
    upstream = torch.randn(args[0].shape, dtype=torch.float64)
    by_hand, plain = rational(*args, denom), by_powers(*args, denom)
    torch.testing.assert_close(by_hand, plain)
    ours, theirs = (torch.autograd.grad((y * upstream).sum(), args) for y in (by_hand, plain))
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("denom", DENOMINATORS)
def test_gradient_at_zero_and_of_a_zero_coefficient_is_autograds(denom):
    a = torch.tensor([[0.5, 1.0, 0, 0, 0, 0]])
    b = torch.tensor([[0.0, 0.3, 0, 0]])
    args = [t.double().requires_grad_() for t in (torch.tensor([[0.0, 1.0, -2.0]]), a, b)]
    ours, theirs = (torch.autograd.grad(f(*args, denom).sum(), args) for f in (rational, by_powers))
    torch.testing.assert_close(ours, theirs)


def test_strided_input_has_the_gradient_of_its_copy():
    args = drawn(1)
    strided = torch.randn(5, 3, 8, dtype=torch.float64).transpose(0, 1).requires_grad_()
    copy = strided.detach().contiguous().requires_grad_()
    for x in (strided, copy):
        rational(x, *args[1:]).square().sum().backward()
    torch.testing.assert_close(strided.grad, copy.grad)


def test_groups_are_contiguous_and_independent():
    act = GroupRational(num_groups=2, init="identity")
    with torch.no_grad():
        act.denominator[1, 0] = 1.0
    x = torch.tensor([[1.0, -2.0, 1.0, -2.0]])
    torch.testing.assert_close(act(x), torch.tensor([[1.0, -2.0, 1 / 2, -2 / 3]]))


@pytest.mark.parametrize(
    "init, denom, error",
    [
        ("identity", "sum_abs", 0),
        ("identity", "abs_sum", 0),
        ("swish", "sum_abs", 1e-5),
        ("swish", "abs_sum", 2e-4),
        ("gelu", "abs_sum", 3e-3),
        ("relu", "sum_abs", 0.031),
    ],
)
def test_coefficients_are_what_they_are_called_with_the_right_denominator(init, denom, error):
    x = torch.linspace(-3, 3, 1001, dtype=torch.float64)[:, None]
    target = {"identity": nn.Identity(), "swish": nn.SiLU(), "gelu": nn.GELU(), "relu": nn.ReLU()}[init]
    assert (GroupRational(1, init, denom).double()(x) - target(x)).abs().max() <= error


def test_number_of_parameters_is_that_of_the_code_or_of_the_paper():
    def count(module):
        return sum(p.numel() for p in module.parameters())

    assert count(GroupRational()) == 6 + 8 * 4
    assert count(GroupRational(share_numerator=False)) == 8 * (6 + 4)
    assert set(COEFFICIENTS) == {"identity", "swish", "gelu", "relu"}


def test_block_with_gelu_is_the_plain_block():
    args = dict(dim=16, num_heads=2)
    plain = Block(**args, generator=torch.Generator().manual_seed(3))
    ours = ActivatedBlock(nn.Identity(), nn.GELU(), **args, generator=torch.Generator().manual_seed(3))
    x = torch.randn(2, 4, 16)
    torch.testing.assert_close(ours(x), plain(x), rtol=0, atol=0)


def test_block_applies_its_activations_in_order():
    block = ActivatedBlock(GroupRational(2, "identity"), GroupRational(4), dim=16, num_heads=2)
    x = torch.randn(2, 4, 16)
    y = x + block.attend(x)
    y = y + block.fc2(nn.functional.silu(block.fc1(block.norm2(y))))
    torch.testing.assert_close(block(x), y, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda: GroupRational(0), "num_groups"),
        (lambda: GroupRational(init="tanh"), "'swish'"),
        (lambda: GroupRational(denom="abs")(torch.ones(2, 8)), "'sum_abs'"),
        (lambda: GroupRational(8)(torch.ones(2, 12)), "12 channels"),
    ],
)
def test_mistakes_are_named(call, said):
    with pytest.raises(ValueError, match=said):
        call()
