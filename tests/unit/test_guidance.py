"""Guidance: the split, the order of the three steps, state and errors."""

from __future__ import annotations

import pytest
import torch

from reprolib.diffusion.guidance import APGuidance, gain, project


def predictions(n=2, shape=(5, 3, 4, 4), dtype=torch.float64, seed=0):
    return torch.randn(n, *shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def test_project_splits_into_parallel_and_orthogonal_parts():
    v, onto = predictions()
    parallel, orthogonal = project(v, onto)
    torch.testing.assert_close(parallel + orthogonal, v)
    torch.testing.assert_close(parallel, gain(v, onto) * onto)
    assert (orthogonal * onto).sum(dim=(1, 2, 3)).abs().max() < 1e-12


def test_a_large_sample_is_summed_in_blocks():
    v, onto = predictions(shape=(2, 3, 150, 160), dtype=torch.float32)
    whole = (v.double() * onto).sum(dim=(1, 2, 3)) / onto.double().square().sum(dim=(1, 2, 3))
    torch.testing.assert_close(gain(v, onto).flatten(), whole, atol=1e-12, rtol=0)


def test_samples_do_not_mix():
    v, onto = predictions()
    alone = project(v[2:3], onto[2:3])
    for part, whole in zip(alone, project(v, onto), strict=True):
        torch.testing.assert_close(part, whole[2:3])


def test_a_prediction_of_zero_leaves_all_to_the_orthogonal_part():
    v = predictions(1)[0]
    parallel, orthogonal = project(v, torch.zeros_like(v))
    assert parallel.abs().max() == 0 and torch.equal(orthogonal, v)
    assert torch.isfinite(APGuidance(4.0)(torch.zeros_like(v), v)).all()


def test_in_numbers():
    cond, uncond = torch.tensor([[2.0, 0.0]]), torch.tensor([[1.0, -1.0]])  # delta (1, 1), half of it along cond
    assert APGuidance(3.0)(cond, uncond).tolist() == [[2.0, 2.0]]
    assert APGuidance(3.0, eta=0.5)(cond, uncond).tolist() == [[3.0, 2.0]]
    assert APGuidance(3.0, eta=1.0)(cond, uncond).tolist() == [[4.0, 2.0]]
    assert APGuidance(3.0, norm_threshold=2**0.5 / 2)(cond, uncond).tolist() == [pytest.approx([2.0, 1.0])]
    damped = APGuidance(3.0, momentum=-0.5)
    assert [damped(cond, uncond)[0, 1].item() for _ in range(3)] == [2.0, 1.0, 1.5]


def test_momentum_keeps_what_rescaling_has_not_touched():
    cond, uncond = predictions()
    apg = APGuidance(2.0, norm_threshold=0.1, momentum=-0.5)
    apg(cond, uncond)
    torch.testing.assert_close(apg.delta, cond - uncond)
    apg(cond, uncond)
    torch.testing.assert_close(apg.delta, (cond - uncond) / 2)


def test_a_radius_beyond_every_difference_changes_nothing():
    cond, uncond = predictions()
    torch.testing.assert_close(APGuidance(5.0, norm_threshold=1e6)(cond, uncond), APGuidance(5.0)(cond, uncond))


@pytest.mark.parametrize("r", [None, 1.0])
def test_equal_predictions_need_no_guidance(r):
    cond = predictions(1)[0]
    torch.testing.assert_close(APGuidance(9.0, norm_threshold=r, momentum=-0.5)(cond, cond), cond)


@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_the_type_of_the_predictions_is_kept(dtype, eta):
    cond, uncond = predictions(dtype=torch.float64)
    low = APGuidance(4.0, eta, norm_threshold=5.0)(cond.to(dtype), uncond.to(dtype))
    assert low.dtype == dtype
    exact = APGuidance(4.0, eta, norm_threshold=5.0)(cond.to(dtype).double(), uncond.to(dtype).double())
    tolerance = {torch.float64: 1e-12, torch.float32: 1e-6, torch.bfloat16: 0.02}[dtype]
    torch.testing.assert_close(low.double(), exact, atol=tolerance * 4, rtol=tolerance)


def test_a_new_batch_needs_a_reset():
    apg = APGuidance(2.0, momentum=-0.5)
    apg(*predictions())
    with pytest.raises(ValueError, match=r"call reset\(\)"):
        apg(*predictions(shape=(4, 3, 4, 4)))
    apg.reset()
    cond, uncond = predictions(shape=(4, 3, 4, 4))
    torch.testing.assert_close(apg(cond, uncond), APGuidance(2.0)(cond, uncond))


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        (dict(scale=0.5), "scale must be at least 1"),
        (dict(scale=float("nan")), "scale must be at least 1"),
        (dict(scale=2, norm_threshold=0), "norm_threshold must be above 0"),
        (dict(scale=2, momentum=-1), "momentum must lie between"),
    ],
)
def test_parameters_outside_their_range(parameters, sentence):
    with pytest.raises(ValueError, match=sentence):
        APGuidance(**parameters)
