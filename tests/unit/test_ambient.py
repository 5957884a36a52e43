"""The ambient loss: special cases, wasted draws, shared draws, and that its minimizer is the clean posterior mean."""

from __future__ import annotations

import pytest
import torch

from reprolib.losses.ambient import ambient_edm_loss, x0_to_xn


def draws(n=64, dim=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(n, d, generator=generator, dtype=torch.float64) for d in (dim, 1, dim)]


def test_a_prediction_at_its_own_level_is_the_sample_and_at_level_0_stays():
    x0, _, x_t = draws()
    torch.testing.assert_close(x0_to_xn(x0, x_t, 0.7, 0.7), x_t)
    torch.testing.assert_close(x0_to_xn(x0, x_t, 0.7, 0.0), x0)


def test_between_the_levels_it_is_a_weighted_mean():
    x0, _, x_t = draws()
    torch.testing.assert_close(x0_to_xn(x0, x_t, 2.0, 1.0), 0.75 * x0 + 0.25 * x_t)


def test_a_clean_sample_has_the_loss_of_edm():
    y, u, noise = draws()
    sigma = (1.2 * u - 1.2).exp()
    expected = (1 / 0.25 + 1 / sigma**2) * (0.3 * (y + sigma * noise) - y) ** 2
    loss = ambient_edm_loss(lambda x, sigma: 0.3 * x, y, torch.zeros_like(u), u, noise)
    torch.testing.assert_close(loss, expected)


def test_a_draw_below_the_samples_own_noise_is_wasted():
    y, u, noise = draws()
    prediction, level = y.clone().requires_grad_(), 0.4
    loss = ambient_edm_loss(lambda x, sigma: prediction, y, torch.full_like(u, level), u, noise)
    loss.sum().backward()
    below = ((1.2 * u - 1.2).exp() <= level)[:, 0]
    assert 10 < below.sum() < 54
    assert (loss[below] == 0).all() and (prediction.grad[below] == 0).all()


def test_the_network_sees_the_level_and_a_sample_at_that_level():
    y, u, noise = draws(n=20_000, dim=2)
    seen = {}

    def denoise(x, sigma):
        seen.update(x=x, sigma=sigma)
        return x

    ambient_edm_loss(denoise, 0 * y, torch.full_like(u, 0.4), u, noise)
    assert seen["sigma"].min() == pytest.approx(0.4)
    added = (seen["x"] / (seen["sigma"] ** 2 - 0.16).sqrt().clamp(min=1e-9))[seen["sigma"][:, 0] > 0.41]
    assert added.std().item() == pytest.approx(1, abs=0.03)


def test_arms_share_draws():
    y, u, noise = draws()
    sigma_y = torch.tensor([0.0, 0.5], dtype=torch.float64)[:, None, None].expand(2, len(y), 1)
    together = ambient_edm_loss(lambda x, sigma: 0.3 * x, torch.stack([y, 2 * y]), sigma_y, u, noise)
    for i in range(2):
        alone = ambient_edm_loss(lambda x, sigma: 0.3 * x, (i + 1) * y, sigma_y[i], u, noise)
        torch.testing.assert_close(together[i], alone)


def test_noisy_samples_alone_teach_the_clean_denoiser():
    """Of the linear denoisers of a Gaussian, s^2 / (s^2 + sigma^2) has the lowest loss."""
    y, u, noise = draws(n=200_000, dim=1)
    s, level = 0.8, 0.4
    sigma_y = torch.full_like(u, level)
    stored = (s**2 + level**2) ** 0.5 * y

    def loss(a):
        return ambient_edm_loss(lambda x, sigma: a(sigma) * x, stored, sigma_y, u, noise).mean()

    best = loss(lambda sigma: s**2 / (s**2 + sigma**2))
    for scale in (0.9, 1.1):
        assert loss(lambda sigma, scale=scale: scale * s**2 / (s**2 + sigma**2)) > best
    assert loss(lambda sigma: (s**2 + level**2) / (s**2 + sigma**2)) > best
