"""APG against diffusers where it is installed, a mixture's denoiser against quadrature, Tweedie and scipy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import integrate, stats

from reprolib.diffusion.guidance import APGuidance
from reprolib.diffusion.mixture import GaussianMixtureDenoiser


@pytest.fixture(scope="module")
def diffusers():
    return pytest.importorskip("diffusers.guiders.adaptive_projected_guidance")


def steps(n, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(2, 3, 4, 8, 8, generator=generator) for _ in range(n)]


@pytest.mark.parametrize("w", [1.0, 4.0, 15.0])
@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
@pytest.mark.parametrize("r", [None, 15.0])
@pytest.mark.parametrize("momentum", [0.0, -0.75])
def test_every_step_agrees_with_diffusers(diffusers, w, eta, r, momentum):
    ours = APGuidance(w, eta, norm_threshold=r, momentum=momentum)
    buffer = diffusers.MomentumBuffer(momentum) if momentum else None
    for cond, uncond in steps(6):
        theirs = diffusers.normalized_guidance(
            cond, uncond, w - 1, buffer, eta, r or 0.0, use_original_formulation=True
        )
        guided = ours(cond, uncond)
        assert (guided - theirs).abs().max() <= 1e-6 * theirs.abs().max()


def test_the_default_formulation_of_diffusers_is_another_rule(diffusers):
    """It adds w times the modified difference to the unconditional prediction: equal to the paper's for CFG alone."""
    cond, uncond = steps(1)[0]
    cfg = diffusers.normalized_guidance(cond, uncond, 4.0, eta=1.0)
    torch.testing.assert_close(cfg, APGuidance(4.0, eta=1.0)(cond, uncond), atol=1e-5, rtol=1e-5)
    projected = diffusers.normalized_guidance(cond, uncond, 4.0, eta=0.0)
    assert (projected - APGuidance(4.0)(cond, uncond)).abs().max() > 0.1


def test_the_guider_of_diffusers_does_not_project_by_default(diffusers):
    guider = diffusers.AdaptiveProjectedGuidance()
    assert guider.eta == 1.0 and not guider.use_original_formulation


MEANS, TAU = np.array([-1.5, 0.4, 2.0]), 0.3
LINE = GaussianMixtureDenoiser(torch.tensor(MEANS)[:, None], TAU, torch.tensor([0, 1, 0]))


def posterior_mean(x, sigma, means):
    """E[x0 | x] by numerical integration over x0."""

    def integral(power):
        def density(x0):
            prior = stats.norm.pdf(x0, means, TAU).mean()
            return x0**power * prior * stats.norm.pdf(x, x0, sigma)

        return integrate.quad(density, -6, 6, points=[*means, x], limit=400, epsabs=1e-13)[0]

    return integral(1) / integral(0)


@pytest.mark.parametrize("sigma", [0.2, 1.0, 3.0])
@pytest.mark.parametrize("x", [-2.0, 0.1, 1.2])
def test_the_denoiser_is_the_integral(x, sigma):
    at = torch.tensor([[x]], dtype=torch.float64)
    assert LINE.uncond(at, sigma).item() == pytest.approx(posterior_mean(x, sigma, MEANS), abs=1e-8)
    first = LINE.cond(at, sigma, torch.tensor([0])).item()
    assert first == pytest.approx(posterior_mean(x, sigma, MEANS[[0, 2]]), abs=1e-8)


def test_tweedie():
    """D(x) = x + sigma^2 times the gradient of log p_sigma, which autograd takes of torch's own mixture."""
    generator = torch.Generator().manual_seed(0)
    means = torch.randn(6, 4, generator=generator, dtype=torch.float64)
    mixture = GaussianMixtureDenoiser(means, TAU, torch.arange(6) // 2)
    x, sigma = torch.randn(5, 4, generator=generator, dtype=torch.float64, requires_grad=True), 0.8
    parts = torch.distributions.Independent(torch.distributions.Normal(means, (TAU**2 + sigma**2) ** 0.5), 1)
    weights = torch.distributions.Categorical(torch.ones(6))
    density = torch.distributions.MixtureSameFamily(weights, parts).log_prob(x)
    (score,) = torch.autograd.grad(density.sum(), x)
    torch.testing.assert_close(mixture.uncond(x.detach(), sigma), x.detach() + sigma**2 * score)
