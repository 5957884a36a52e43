"""The exact denoiser of a mixture: limits, classes, moments and errors."""

from __future__ import annotations

import pytest
import torch

from reprolib.diffusion.mixture import GaussianMixtureDenoiser

MEANS = torch.tensor([[2.0, 0.0], [-2.0, 0.0], [0.0, 3.0]], dtype=torch.float64)
MIXTURE = GaussianMixtureDenoiser(MEANS, 0.3, torch.tensor([0, 0, 1]))


def test_without_noise_a_sample_is_its_own_prediction_and_with_much_it_is_the_mean():
    x, y = MEANS + 0.1, torch.tensor([0, 0, 1])
    torch.testing.assert_close(MIXTURE.uncond(x, 1e-4), x, atol=1e-5, rtol=0)
    torch.testing.assert_close(MIXTURE.uncond(x, 1e4), MEANS.mean(dim=0).expand(3, 2), atol=1e-3, rtol=0)
    means = torch.stack([MEANS[:2].mean(dim=0), MEANS[2]])[y]
    torch.testing.assert_close(MIXTURE.cond(x, 1e4, y), means, atol=1e-3, rtol=0)


def test_conditions_leave_out_other_classes():
    x = torch.tensor([[1.9, 0.1]], dtype=torch.float64)  # in the first component, and asked to be of class 1
    shrink = 0.09 / (0.09 + 0.25)
    expected = shrink * x + (1 - shrink) * MEANS[2]
    torch.testing.assert_close(MIXTURE.cond(x, 0.5, torch.tensor([1])), expected)


def test_samples_have_the_moments_and_the_classes():
    y = torch.tensor([0, 0, 1]).repeat(20_000)
    x = MIXTURE.sample(y, torch.Generator().manual_seed(0))
    mean, cov = MIXTURE.moments()
    torch.testing.assert_close(x.mean(dim=0), mean, atol=0.03, rtol=0)
    torch.testing.assert_close(torch.cov(x.T), cov, atol=0.05, rtol=0)
    assert (MIXTURE.classify(x) == y).double().mean() > 0.999
    assert abs((x[y == 0, 0] > 0).double().mean().item() - 0.5) < 0.02


def test_large_noise_levels_and_far_points_stay_finite():
    x = torch.full((2, 2), 1e3)
    mixture = GaussianMixtureDenoiser(MEANS.float(), 0.2, torch.tensor([0, 1, 2]))
    for sigma in (1e-2, 1.0, 80.0):
        assert torch.isfinite(mixture.cond(x, sigma, torch.tensor([0, 2]))).all()
        assert torch.isfinite(mixture.uncond(x, sigma)).all()


@pytest.mark.parametrize(
    ("labels", "tau", "sentence"),
    [([0, 1], 0.2, "3 means, but 2 labels"), ([0, 0, 2], 0.2, "from 0 on"), ([0, 1, 2], -0.1, "tau must be")],
)
def test_what_is_no_mixture(labels, tau, sentence):
    with pytest.raises(ValueError, match=sentence):
        GaussianMixtureDenoiser(MEANS, tau, torch.tensor(labels))
