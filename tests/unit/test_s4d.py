"""The S4D initializations, kernel and layer: what a user relies on, and how mistakes are answered."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reprolib.init.s4d import KINDS, hippo_legs, legs_normal_spectrum, s4d_, s4d_input
from reprolib.models.s4d import S4D, DenseLegSKernel, S4DKernel, fft_conv, parameter_groups

few = settings(max_examples=25)
sizes = st.integers(1, 24).map(lambda half: 2 * half)


@few
@given(N=sizes)
def test_removing_the_low_rank_part_leaves_minus_one_half_plus_skew(N):
    A, B, P = hippo_legs(N)
    rest = A + torch.outer(P, P) + 0.5 * torch.eye(N)
    torch.testing.assert_close(rest, -rest.T)
    torch.testing.assert_close(P * math.sqrt(2), B)


@few
@given(N=sizes)
def test_half_of_the_modes_carries_half_of_the_input(N):
    eigenvalues, B = legs_normal_spectrum(N)
    assert len(eigenvalues) == N // 2 and (eigenvalues.imag > 0).all() and (eigenvalues.imag.diff() < 0).all()
    assert B.abs().square().sum().item() == pytest.approx(N**2 / 2)  # |B|^2 = sum of 2n+1 = N^2


@few
@given(kind=st.sampled_from(KINDS), N=sizes, seed=st.integers(0, 99), disc=st.sampled_from(["zoh", "bilinear"]))
def test_every_start_is_stable_and_its_kernel_finite(kind, N, seed, disc):
    generator = torch.Generator().manual_seed(seed)
    kernel = S4DKernel(3, N, init=kind, disc=disc, generator=generator).double()
    log_A, _, _ = kernel.discrete()
    assert (log_A.real < 0).all()
    assert torch.isfinite(kernel(33)).all()


@few
@given(seed=st.integers(0, 99), shift=st.integers(0, 12), scale=st.floats(-3, 3))
def test_layer_before_its_nonlinearity_is_linear_causal_and_shift_invariant(seed, shift, scale):
    torch.manual_seed(seed)
    kernel = S4DKernel(2, 6).double()(20).detach()
    u, v = torch.randn(2, 2, 20, dtype=torch.float64)
    torch.testing.assert_close(fft_conv(u + scale * v, kernel), fft_conv(u, kernel) + scale * fft_conv(v, kernel))
    late = torch.nn.functional.pad(u, (shift, 0))[..., :20]
    expected = torch.nn.functional.pad(fft_conv(u, kernel), (shift, 0))[..., :20]
    torch.testing.assert_close(fft_conv(late, kernel), expected)


@few
@given(N=sizes, seed=st.integers(0, 99), disc=st.sampled_from(["zoh", "bilinear"]))
def test_conjugate_eigenvalues_and_outputs_give_the_same_kernel(N, seed, disc):
    torch.manual_seed(seed)
    kernel = S4DKernel(2, N, init="rand", disc=disc).double()
    before = kernel(16)
    with torch.no_grad():
        kernel.A_imag.neg_()
        kernel.C[..., 1].neg_()
    torch.testing.assert_close(kernel(16), before)


@pytest.mark.parametrize("kind", ["inv", "lin"])
def test_a_kernel_half_as_fine_in_time_is_every_second_value_of_the_fine_one(kind):
    """Zero-order hold samples the continuous kernel: K(2 dt) at l is the sum of K(dt) at 2l and 2l+1."""
    torch.manual_seed(0)
    kernel = S4DKernel(2, 8, init=kind).double()
    fine = kernel(32)
    with torch.no_grad():
        kernel.log_dt.add_(math.log(2))
    torch.testing.assert_close(kernel(16), fine[:, ::2] + fine[:, 1::2])


def test_both_discretizations_agree_for_small_steps_to_second_order():
    errors = []
    for dt in (1e-2, 5e-3):
        kernels = []
        for disc in ("zoh", "bilinear"):
            kernel = S4DKernel(1, 4, init="lin", disc=disc, generator=torch.Generator().manual_seed(0)).double()
            with torch.no_grad():
                kernel.log_dt.fill_(math.log(dt))
            kernels.append(kernel(round(1 / dt)))
        constant = torch.ones(1, round(1 / dt), dtype=torch.float64)
        errors.append((fft_conv(constant, kernels[0]) - fft_conv(constant, kernels[1])).abs().max().item())
    assert errors[1] < errors[0] / 1.8


def test_gradients_of_the_convolution_are_those_of_finite_differences():
    torch.manual_seed(0)
    u = torch.randn(3, 2, 7, dtype=torch.float64, requires_grad=True)
    k = torch.randn(2, 7, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(fft_conv, (u, k))
    assert torch.autograd.gradcheck(lambda k: fft_conv(u.detach(), k), (k,))


def test_a_second_derivative_of_the_convolution_is_refused_not_wrong():
    u, k = (
        torch.randn(2, 8, dtype=torch.float64).requires_grad_(),
        torch.randn(2, 8, dtype=torch.float64).requires_grad_(),
    )
    (first,) = torch.autograd.grad(fft_conv(u, k).square().sum(), u, create_graph=True)
    with pytest.raises(RuntimeError):
        torch.autograd.grad(first.sum(), k)


@pytest.mark.parametrize("make", [lambda: S4DKernel(2, 4).double(), lambda: DenseLegSKernel(2, 4).double()])
def test_all_parameters_of_a_kernel_get_the_gradient_of_finite_differences(make):
    torch.manual_seed(0)
    kernel = make()
    names, values = zip(*kernel.named_parameters(), strict=True)
    values = [v.detach().requires_grad_() for v in values]

    def call(*values):
        return torch.func.functional_call(kernel, dict(zip(names, values, strict=True)), (9,))

    assert torch.autograd.gradcheck(call, values)


def test_kernels_with_equal_seeds_share_steps_and_outputs_whatever_the_start():
    kernels = {kind: S4DKernel(4, 8, init=kind, generator=torch.Generator().manual_seed(5)) for kind in KINDS}
    dense = DenseLegSKernel(4, 8, generator=torch.Generator().manual_seed(5))
    for kind, kernel in kernels.items():
        assert torch.equal(kernel.log_dt, dense.log_dt)
        expected = torch.view_as_complex(kernels["inv"].C) * s4d_input(8, kind).to(torch.complex64)
        torch.testing.assert_close(torch.view_as_complex(kernel.C), expected)


def test_start_lies_in_the_papers_ranges():
    kernel = S4DKernel(4000, 64, generator=torch.Generator().manual_seed(0))
    dt = kernel.log_dt.exp()
    assert 1e-3 <= dt.min() < 1.1e-3 and 0.09 < dt.max() <= 0.1
    assert abs(kernel.log_dt.mean().item() - math.log(1e-2)) < 0.1
    assert torch.view_as_real(torch.view_as_complex(kernel.C)).var().item() == pytest.approx(0.5, rel=0.02)


def test_dense_reference_trains_steps_and_outputs_of_unit_variance():
    kernel = DenseLegSKernel(1000, 16, generator=torch.Generator().manual_seed(0))
    assert {name for name, _ in kernel.named_parameters()} == {"log_dt", "C"}
    assert kernel.C.var().item() == pytest.approx(1, rel=0.05)
    assert S4D(4000, 2).D.var().item() == pytest.approx(1, rel=0.1)


def test_random_frequencies_are_log_normal_and_decay_at_one_half():
    log_real, imag = s4d_(*torch.empty(2, 1000, 8), "rand", generator=torch.Generator().manual_seed(0))
    assert torch.allclose(log_real, torch.tensor(0.5).log())
    assert imag.log().mean().item() == pytest.approx(0, abs=0.05)
    assert imag.log().std().item() == pytest.approx(1, rel=0.05)


def test_random_start_is_drawn_anew_for_each_channel_and_repeats_with_its_generator():
    draws = [
        s4d_(*torch.empty(2, 3, 4), "rand", generator=torch.Generator().manual_seed(seed))[1] for seed in (0, 0, 1)
    ]
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])
    assert not torch.equal(draws[0][0], draws[0][1])


def test_frozen_kernel_trains_its_output_only():
    assert [name for name, _ in S4DKernel(2, 4, trainable=False).named_parameters()] == ["C"]
    assert set(S4DKernel(2, 4, trainable=False).state_dict()) == {"C", "log_dt", "A_log_real", "A_imag"}


def test_parameter_groups_split_all_parameters_and_spare_the_dynamics_from_decay():
    layer = S4D(4, 8, bidirectional=True)
    slow, rest = parameter_groups(layer, lr=0.01, ssm_lr=0.001, weight_decay=0.1)
    assert (slow["lr"], slow["weight_decay"], rest["lr"], rest["weight_decay"]) == (0.001, 0.0, 0.01, 0.1)
    assert {id(p) for p in slow["params"]} == {
        id(getattr(k, n)) for k in (layer.kernel, layer.backward_kernel) for n in ("log_dt", "A_log_real", "A_imag")
    }
    assert len(slow["params"]) + len(rest["params"]) == len(list(layer.parameters()))


@pytest.mark.parametrize("N", [0, -2, 3, 7, 4.0, True])
@pytest.mark.parametrize("call", [legs_normal_spectrum, s4d_input, lambda N: S4DKernel(2, N), lambda N: S4D(2, N)])
def test_odd_or_non_positive_state_size_is_one_clear_error(call, N):
    with pytest.raises(ValueError, match=r"^the state size must be a positive even integer .*\.$"):
        call(N)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: S4DKernel(2, 4, init="hippo"), "the initialization must be one of 'legs', .*got 'hippo'"),
        (lambda: s4d_(torch.empty(2), torch.empty(2), "Inv"), "the initialization must be one of 'legs'"),
        (lambda: s4d_(torch.empty(2), torch.empty(3)), r"one shape \(..., N/2\)"),
        (lambda: S4DKernel(2, 4, disc="euler"), "the discretization must be 'zoh' or 'bilinear', got 'euler'"),
        (lambda: S4DKernel(2, 4, dt_min=0.1, dt_max=0.1), "0 < dt_min < dt_max"),
        (lambda: S4DKernel(2, 4, dt_min=0.2, dt_max=0.1), "0 < dt_min < dt_max"),
        (lambda: S4DKernel(2, 4, dt_min=0.0), "0 < dt_min < dt_max"),
        (lambda: DenseLegSKernel(2, 4, dt_min=1.0), "0 < dt_min < dt_max"),
        (lambda: S4DKernel(0, 4), "number of channels"),
        (lambda: hippo_legs(0), "state size"),
        (lambda: fft_conv(torch.zeros(3), torch.zeros(4)), "one length, got 3 and 4"),
        (lambda: S4D(2, kernel=S4DKernel(2, 4), bidirectional=True), "kernel of your own"),
        (lambda: S4D(2, 4, bidirectional=True).step(torch.zeros(1, 2)), "step by step"),
        (lambda: S4D(2, kernel=DenseLegSKernel(2, 4)).step(torch.zeros(1, 2)), "step by step"),
    ],
)
def test_mistakes_are_one_sentence(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert str(error.value).endswith(".") and "\n" not in str(error.value)


def test_a_wrong_start_changes_nothing():
    a, b = torch.ones(4), torch.ones(4)
    with pytest.raises(ValueError):
        s4d_(a, b, "hippo")
    assert torch.equal(a, torch.ones(4)) and torch.equal(b, torch.ones(4))
