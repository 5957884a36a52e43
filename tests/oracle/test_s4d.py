"""S4D against scipy's discretization and Legendre polynomials, against loops, and recurrence against convolution."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.linalg import expm
from scipy.signal import cont2discrete
from scipy.special import eval_legendre

from reprolib.init.s4d import KINDS, hippo_legs, legs_normal_spectrum, s4d_, s4d_input
from reprolib.models.s4d import DISCRETIZATIONS, S4D, DenseLegSKernel, S4DKernel, fft_conv


def real_block_form(A, B, C):
    """The real system of twice the size with the modes of `A` and their conjugates: x -> (Re x, Im x)."""
    blocks = [np.array([[a.real, -a.imag], [a.imag, a.real]]) for a in A]
    system = np.zeros((2 * len(A), 2 * len(A)))
    for i, block in enumerate(blocks):
        system[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = block
    inputs = np.stack([B.real, B.imag], axis=1).reshape(-1, 1)
    outputs = np.stack([2 * C.real, -2 * C.imag], axis=1).reshape(1, -1)
    return system, inputs, outputs


@pytest.mark.parametrize("disc", DISCRETIZATIONS)
@pytest.mark.parametrize("init", [kind for kind in KINDS if kind != "real"])
def test_kernel_equals_scipys_discretization_of_the_real_system(disc, init):
    torch.manual_seed(0)
    kernel = S4DKernel(3, 4, init=init, disc=disc).double()
    ours = kernel(40).detach().numpy()
    A = torch.complex(-kernel.A_log_real.exp(), kernel.A_imag).detach().numpy()
    C = torch.view_as_complex(kernel.C).detach().numpy()
    for h, dt in enumerate(kernel.log_dt.exp().tolist()):
        system, inputs, outputs = real_block_form(A[h], np.ones(2, complex), C[h])
        Ab, Bb, *_ = cont2discrete((system, inputs, outputs, np.zeros((1, 1))), dt, method=disc)
        expected = [(outputs @ np.linalg.matrix_power(Ab, k) @ Bb).item() for k in range(40)]
        np.testing.assert_allclose(ours[h], expected, atol=1e-10 * np.abs(expected).max(), rtol=0)


def test_dense_kernel_equals_scipys_discretization_of_hippo_legs():
    torch.manual_seed(1)
    kernel = DenseLegSKernel(2, 8).double()
    A, B, _ = (x.numpy() for x in hippo_legs(8))
    kernel.A, kernel.B = hippo_legs(8)[:2]
    ours = kernel(37).detach().numpy()
    for h, dt in enumerate(kernel.log_dt.exp().tolist()):
        C = kernel.C[h].detach().numpy()[None]
        Ab, Bb, *_ = cont2discrete((A, B[:, None], C, np.zeros((1, 1))), dt, method="zoh")
        expected = [(C @ np.linalg.matrix_power(Ab, k) @ Bb).item() for k in range(37)]
        np.testing.assert_allclose(ours[h], expected, atol=1e-10 * np.abs(expected).max(), rtol=0)


def test_hippo_legs_state_equals_scaled_legendre_polynomials():
    A, B, _ = (x.numpy() for x in hippo_legs(8))
    for t in (0.01, 0.3, 1.0, 4.0):
        state = expm(t * A) @ B
        n = np.arange(8)
        expected = np.exp(-t) * np.sqrt(2 * n + 1) * eval_legendre(n, 2 * np.exp(-t) - 1)
        np.testing.assert_allclose(state, expected, atol=1e-12)


def test_diagonal_legs_tends_to_hippo_legs_like_one_over_n():
    """Seen through the output B at frequency 1. Without the half of B the two would differ by a factor of two."""
    s, errors = 1j, []
    for N in (32, 64, 128):
        A, B, _ = hippo_legs(N)
        B = B.to(torch.complex128)
        full = B @ torch.linalg.solve(s * torch.eye(N) - A, B)
        eigenvalues, half = legs_normal_spectrum(N)[0], s4d_input(N, "legs")
        modes = 1 / (s - eigenvalues) + 1 / (s - eigenvalues.conj())
        diagonal = (2 * half.abs() ** 2 * modes).sum()
        errors.append(((diagonal - full) / full).abs().item() * N)
    assert errors == pytest.approx([1, 1, 1], abs=0.05)  # |r_N(i)| = 1 / sqrt(1 + N^2)


@pytest.mark.parametrize("N", [4, 16, 64])
def test_legs_spectrum_equals_a_general_eigensolver_and_its_asymptote(N):
    A, _, P = hippo_legs(N)
    general = np.linalg.eigvals((A + torch.outer(P, P)).numpy())
    expected = sorted(general.imag[general.imag > 0], reverse=True)
    eigenvalues, _ = legs_normal_spectrum(N)
    np.testing.assert_allclose(eigenvalues.imag.numpy(), expected, rtol=1e-9)
    np.testing.assert_allclose(general.real, -0.5, atol=1e-9)
    if N == 64:  # N^2 / pi - pi / 6 + o(1)
        assert abs(eigenvalues.imag[0].item() - (64**2 / math.pi - math.pi / 6)) < 1e-3


def test_legs_modes_reproduce_the_transfer_function_of_the_normal_system():
    N, s = 16, 1j * torch.logspace(-2, 2, 9, dtype=torch.float64)
    A, B, P = hippo_legs(N)
    eigenvalues, modal_B = legs_normal_spectrum(N)
    normal = (A + torch.outer(P, P)).to(torch.complex128)
    resolvent = torch.linalg.inv(s[:, None, None] * torch.eye(N) - normal)
    ours = (modal_B.abs() ** 2 * (1 / (s[:, None] - eigenvalues) + 1 / (s[:, None] - eigenvalues.conj()))).sum(1)
    torch.testing.assert_close(ours, B.to(ours) @ (resolvent @ B.to(ours)).mT)


@pytest.mark.parametrize("disc", DISCRETIZATIONS)
@pytest.mark.parametrize("init", KINDS)
@pytest.mark.parametrize("dtype, tolerance", [(torch.float64, 1e-12), (torch.float32, 2e-5)])
def test_recurrence_equals_convolution(disc, init, dtype, tolerance):
    torch.manual_seed(2)
    layer = S4D(4, 8, init=init, disc=disc).to(dtype).eval()
    u = torch.randn(2, 4, 60, dtype=dtype)
    state, outputs = None, []
    with torch.no_grad():
        whole = layer(u)
        for k in range(60):
            y, state = layer.step(u[..., k], state)
            outputs.append(y)
    assert (torch.stack(outputs, -1) - whole).abs().max() <= tolerance * whole.abs().max()


def test_fft_convolution_equals_a_loop():
    torch.manual_seed(3)
    u, k = torch.randn(2, 3, 17, dtype=torch.float64), torch.randn(3, 17, dtype=torch.float64)
    expected = torch.zeros_like(u)
    for t in range(17):
        for lag in range(t + 1):
            expected[..., t] += k[:, lag] * u[..., t - lag]
    torch.testing.assert_close(fft_conv(u, k), expected)


def test_bidirectional_layer_equals_two_kernels_on_the_sequence_and_its_reverse():
    torch.manual_seed(4)
    layer = S4D(3, 4, bidirectional=True).double()
    u, L = torch.randn(2, 3, 11, dtype=torch.float64), 11
    forward, backward = layer.kernel(L), layer.backward_kernel(L)
    y = layer.D[:, None] * u
    for t in range(L):
        y[..., t] += sum(forward[:, lag] * u[..., t - lag] for lag in range(t + 1))
        y[..., t] += sum(backward[:, lag] * u[..., t + lag] for lag in range(L - t))
    gate = torch.nn.functional.gelu(y).mT @ layer.mix.weight.T + layer.mix.bias
    expected = (gate[..., :3] * gate[..., 3:].sigmoid()).mT
    torch.testing.assert_close(layer(u), expected)


@pytest.mark.parametrize(
    "kind, expected",
    [
        ("inv", [-0.5 + 8 / math.pi * (8 / odd - 1) * 1j for odd in (1, 3, 5, 7)]),
        ("lin", [-0.5 + math.pi * n * 1j for n in range(4)]),
        ("quad", [-0.5 + odd**2 / math.pi * 1j for odd in (1, 3, 5, 7)]),
        ("real", [-1, -2, -3, -4]),
    ],
)
def test_closed_forms_equal_the_papers_table_entry_by_entry(kind, expected):
    A_log_real, A_imag = s4d_(*torch.empty(2, 3, 4, dtype=torch.float64), kind)
    A = torch.complex(-A_log_real.exp(), A_imag)
    torch.testing.assert_close(A, torch.tensor(expected, dtype=torch.complex128).expand(3, 4))
