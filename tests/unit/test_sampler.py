"""Noise levels and Euler's method."""

from __future__ import annotations

import pytest
import torch

from reprolib.diffusion.mixture import GaussianMixtureDenoiser
from reprolib.diffusion.sampler import euler, karras_sigmas


def test_levels_fall_evenly_in_the_power_of_one_over_rho():
    sigmas = karras_sigmas(5, 80.0, 0.002, rho=7)
    roots = torch.tensor(sigmas[:-1], dtype=torch.float64) ** (1 / 7)
    assert sigmas[0] == pytest.approx(80) and sigmas[-2] == pytest.approx(0.002) and sigmas[-1] == 0
    torch.testing.assert_close(roots.diff(), roots.diff()[:1].expand(4))


def test_the_last_step_is_the_prediction_and_each_step_calls_once():
    calls = []

    def denoise(x, sigma):
        calls.append(sigma)
        return torch.full_like(x, 3.0)

    assert euler(denoise, torch.zeros(2, 2), [4.0, 2.0, 0.0]).tolist() == [[3.0, 3.0]] * 2
    assert calls == [4.0, 2.0]
    assert euler(denoise, torch.zeros(1, 1), [4.0, 1.0]).item() == pytest.approx(3 * 3 / 4)


def test_one_gaussian_is_sampled_as_the_closed_form_says():
    """For N(mu, tau^2) the flow is x = mu + (x_T - mu) sqrt((tau^2 + s^2) / (tau^2 + s_T^2))."""
    one = GaussianMixtureDenoiser(torch.tensor([[1.0, -2.0]], dtype=torch.float64), 0.5, torch.tensor([0]))
    start = torch.tensor([[10.0, 20.0], [-30.0, 5.0]], dtype=torch.float64)
    x = euler(one.uncond, start, karras_sigmas(2000, 20.0, 0.001))
    expected = one.means + (start - one.means) * (0.25 / (0.25 + 400)) ** 0.5
    torch.testing.assert_close(x, expected, atol=5e-3, rtol=0)


@pytest.mark.parametrize(("steps", "largest", "smallest"), [(1, 20, 0.1), (5, 0.1, 20), (5, 20, 0)])
def test_levels_that_do_not_fall(steps, largest, smallest):
    with pytest.raises(ValueError, match="at least 2 steps"):
        karras_sigmas(steps, largest, smallest)
