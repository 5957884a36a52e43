"""PTD against scipy: transfer functions, discretization, the gradient through eigenvectors, and the spikes of S4D."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import linalg, optimize, signal

from reprolib.init.ptd import LR, START, ptd, random_perturbation
from reprolib.init.s4d import hippo_legs
from reprolib.models.ptd import FrozenModesKernel
from reprolib.streams import stream


def perturbed(n, seed=0):
    """HiPPO-LegS with a random perturbation of one percent, and its B, in numpy."""
    A, B, _ = hippo_legs(n)
    return (A + random_perturbation(A, 0.01, stream(seed, 0))).numpy(), B.numpy()


def test_diagonalized_transfer_function_equals_scipys_for_the_dense_system():
    A, B = perturbed(8)
    C = np.random.default_rng([0, 1]).standard_normal(8)
    omega = np.geomspace(0.1, 200, 40)
    _, dense = signal.freqresp((A, B[:, None], C[None], np.zeros((1, 1))), omega)
    modes, V = np.linalg.eig(A)
    diagonal = (np.linalg.solve(V, B) / (1j * omega[:, None] - modes)) @ (C @ V)
    np.testing.assert_allclose(diagonal, dense, rtol=1e-7)


def test_kernel_equals_scipys_discretization():
    A, B = perturbed(8, seed=1)
    C, dt = np.random.default_rng([0, 2]).standard_normal(8), 0.03
    modes, V = torch.linalg.eig(torch.tensor(A))
    row = torch.tensor(C).to(V.dtype) @ V
    ours = FrozenModesKernel(
        modes, torch.linalg.solve(V, torch.tensor(B).to(V.dtype)), row[None], torch.tensor([dt]), 50
    )
    Ab, Bb, *_ = signal.cont2discrete((A, B[:, None], C[None], np.zeros((1, 1))), dt)
    expected = [(C @ np.linalg.matrix_power(Ab, k) @ Bb).item() for k in range(50)]
    np.testing.assert_allclose(ours().detach().numpy()[0], expected, atol=1e-5 * np.abs(expected).max(), rtol=1e-4)


def loss(M, A, gamma, margin=0.25):
    """The loss of PTD in numpy, for A + ||A|| M."""
    modes, V = np.linalg.eig(A + np.linalg.norm(A, 2) * M)
    return math.log(np.linalg.cond(V)) + gamma * np.linalg.norm(M) + np.maximum(modes.real + margin, 0).sum()


@pytest.mark.parametrize("shift", [0.0, 2.5])  # the second makes the term for stability count
def test_one_step_of_ptd_goes_down_the_gradient_found_by_finite_differences(shift):
    A = hippo_legs(4)[0] + shift * torch.eye(4, dtype=torch.float64)
    start = (random_perturbation(A, START, stream(0, 0)) / torch.linalg.matrix_norm(A, 2)).numpy()
    moved = (ptd(A, steps=1, generator=stream(0, 0)) / torch.linalg.matrix_norm(A, 2)).numpy() - start
    gradient = optimize.approx_fprime(start.ravel(), lambda m: loss(m.reshape(4, 4), A.numpy(), 30.0), 1e-9)
    # Adam's first step has the length lr in every entry and the sign of the gradient.
    np.testing.assert_allclose(moved.ravel(), -LR / 16 * np.sign(gradient), rtol=1e-4)


def test_no_quasi_newton_method_finds_a_much_better_perturbation():
    A = hippo_legs(4)[0]
    E = ptd(A, steps=800, generator=stream(0, 0))
    ours = loss((E / torch.linalg.matrix_norm(A, 2)).numpy(), A.numpy(), 30.0)
    rng = np.random.default_rng([0, 3])
    best = min(
        optimize.minimize(
            lambda m: loss(m.reshape(4, 4), A.numpy(), 30.0), 0.01 * rng.standard_normal(16), method="L-BFGS-B"
        ).fun
        for _ in range(2)
    )
    assert ours < best + 0.1 * abs(best)


@pytest.mark.parametrize("n", [16, 32])
def test_last_spike_is_the_largest_eigenfrequency_of_the_normal_part(n):
    A, B, _ = (x.numpy() for x in hippo_legs(n))
    omega = np.abs(linalg.eigvals(A + np.outer(B, B) / 2).imag).max()
    assert omega == pytest.approx(n**2 / math.pi - math.pi / 6, rel=1e-3)
    exact, diagonal = (
        linalg.solve(1j * omega * np.eye(n) - M, b) for M, b in ((A, B), (A + np.outer(B, B) / 2, B / 2))
    )
    assert np.abs(diagonal[0] / exact[0]) == pytest.approx(2 * n**2 / math.pi**2, rel=0.02)
