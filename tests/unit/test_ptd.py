"""The optimized perturbation, the random one, and the kernels of fixed modes."""

from __future__ import annotations

import pytest
import torch

from reprolib.init.ptd import ptd, random_perturbation
from reprolib.init.s4d import hippo_legs
from reprolib.models.ptd import FrozenModesKernel
from reprolib.streams import stream


def condition(A):
    return torch.linalg.cond(torch.linalg.eig(A)[1]).item()


def relative(E, A):
    return (torch.linalg.matrix_norm(E, 2) / torch.linalg.matrix_norm(A, 2)).item()


@pytest.mark.parametrize("n", [8, 16])
def test_a_small_stable_perturbation_makes_the_eigenvectors_well_conditioned(n):
    A = hippo_legs(n)[0]
    E = ptd(A, generator=stream(0, 0))
    assert E.dtype == A.dtype and not E.requires_grad
    assert condition(A) > 1e4 and condition(A + E) < 30
    assert relative(E, A) < 0.06
    assert torch.linalg.eigvals(A + E).real.max() < 0


def test_a_higher_price_buys_a_smaller_perturbation_and_a_larger_condition_number():
    A = hippo_legs(8)[0]
    cheap, dear = (ptd(A, gamma, generator=stream(0, 0)) for gamma in (10.0, 100.0))
    assert relative(dear, A) < 0.5 * relative(cheap, A)
    assert condition(A + dear) > 2 * condition(A + cheap)


def test_ptd_follows_its_generator_and_leaves_the_matrix_and_torch_alone():
    A = hippo_legs(6)[0]
    before, state = A.clone(), torch.get_rng_state()
    first, again, other = (ptd(A, steps=3, generator=stream(seed, 0)) for seed in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert torch.equal(A, before) and torch.equal(torch.get_rng_state(), state)


def test_ptd_works_where_gradients_are_off():
    with torch.no_grad():
        assert ptd(hippo_legs(4)[0], steps=2, generator=stream(0, 0)).shape == (4, 4)


def test_a_random_perturbation_has_the_size_that_was_asked_for():
    A = hippo_legs(12)[0]
    E = random_perturbation(A, 0.01, stream(3, 0))
    assert relative(E, A) == pytest.approx(0.01, rel=1e-12)
    assert E.mean().abs() < E.std()


@pytest.mark.parametrize("bad", [dict(gamma=0.0), dict(gamma=-1.0), dict(steps=0)])
def test_ptd_refuses_what_makes_no_sense(bad):
    with pytest.raises(ValueError, match="positive"):
        ptd(hippo_legs(4)[0], **bad)
    with pytest.raises(ValueError, match="square"):
        ptd(torch.zeros(3, 4))
    with pytest.raises(ValueError, match="positive"):
        random_perturbation(hippo_legs(4)[0], 0.0)


def kernel(length=20):
    A, B, _ = hippo_legs(6)
    A = A + random_perturbation(A, 0.01, stream(0, 0))
    modes, V = torch.linalg.eig(A)
    C = torch.randn(3, 6, generator=stream(0, 1), dtype=torch.float64)
    dt = torch.tensor([0.01, 0.05, 0.1])
    return FrozenModesKernel(modes, torch.linalg.solve(V, B.to(V.dtype)), C.to(V.dtype) @ V, dt, length), A, B, C, dt


def test_kernels_of_fixed_modes_are_those_of_the_dense_system():
    module, A, B, C, dt = kernel()
    K = module()
    assert K.shape == (3, 20)
    for h in range(3):
        step = torch.matrix_exp(dt[h].double() * A)
        x = torch.linalg.solve(A, step @ B - B)
        for k in range(20):
            torch.testing.assert_close(K[h, k].double(), C[h] @ x, atol=1e-4, rtol=1e-4)
            x = step @ x


def test_only_the_outputs_are_trained_and_the_kernels_are_linear_in_them():
    module, *_ = kernel()
    assert [name for name, _ in module.named_parameters()] == ["C"]
    before = module().detach()
    with torch.no_grad():
        module.C.mul_(2)
    torch.testing.assert_close(module(), 2 * before)
    module().sum().backward()
    assert torch.isfinite(module.C.grad).all() and module.C.grad.abs().max() > 0
