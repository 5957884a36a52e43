"""EDM's denoiser: its preconditioning, its loss, and that it learns."""

from __future__ import annotations

import math

import pytest
import torch

from reprolib.diffusion.edm import EDMDenoiser


def model(**settings):
    torch.manual_seed(0)
    return EDMDenoiser(4, 3, sigma_data=0.5, hidden_dim=32, **settings)


def test_skip_and_scale_of_a_network_that_is_constant():
    denoiser, x = model(), torch.randn(6, 4)
    for parameter in denoiser.net.parameters():
        torch.nn.init.zeros_(parameter)
    for sigma in (0.01, 0.5, 20.0):
        skip = 0.25 / (0.25 + sigma**2)
        torch.testing.assert_close(denoiser.uncond(x, sigma), skip * x)
    torch.nn.init.ones_(denoiser.net[-1].bias)  # F is 1: what is added is c_out
    c_out = 2.0 * 0.5 / math.sqrt(4 + 0.25)
    torch.testing.assert_close(denoiser.uncond(x, 2.0), 0.25 / 4.25 * x + c_out)


def test_the_network_sees_unit_variance_and_a_quarter_of_log_sigma():
    denoiser, seen = model(), []
    denoiser.net.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x = torch.randn(10_000, 4, generator=torch.Generator().manual_seed(1)) * math.sqrt(0.25 + 4)
    denoiser.cond(x, 2.0, torch.zeros(10_000, dtype=torch.long))
    assert seen[0][:, :4].std().item() == pytest.approx(1, abs=0.02)
    torch.testing.assert_close(seen[0][:, 4], torch.full((10_000,), math.log(2) / 4))


def test_no_class_is_a_class_of_its_own():
    denoiser, x = model(), torch.randn(3, 4)
    no_class = denoiser(x, torch.full((3, 1), 1.0), torch.full((3,), 3))
    assert torch.equal(denoiser.uncond(x, 1.0), no_class)
    assert not torch.allclose(denoiser.cond(x, 1.0, torch.tensor([0, 1, 2])), no_class)


@pytest.mark.parametrize(("dropout", "touched"), [(0.0, {0, 1, 2}), (1.0, {3})])
def test_label_dropout_decides_which_embeddings_learn(dropout, touched):
    denoiser, generator = model(), torch.Generator().manual_seed(0)
    y = torch.tensor([0, 1, 2] * 10)
    denoiser.loss(torch.randn(30, 4), y, label_dropout=dropout, generator=generator).backward()
    learning = denoiser.embed.weight.grad.abs().sum(dim=1) > 0
    assert set(learning.nonzero().flatten().tolist()) == touched


def test_the_loss_of_the_skip_alone_is_about_one():
    """E (s^2 + v^2) / (s v)^2 (c_skip (x + s e) - x)^2 = 1 for data of standard deviation v, whatever the noise."""
    denoiser, generator = model(), torch.Generator().manual_seed(0)
    for parameter in denoiser.net.parameters():
        torch.nn.init.zeros_(parameter)
    x = 0.5 * torch.randn(50_000, 4, generator=generator)
    loss = denoiser.loss(x, torch.zeros(50_000, dtype=torch.long), label_dropout=0.1, generator=generator)
    assert loss.item() == pytest.approx(1, abs=0.02)


def test_it_learns_where_the_classes_are():
    denoiser, generator = model(), torch.Generator().manual_seed(0)
    centers = torch.eye(4)[:3]
    optimizer = torch.optim.Adam(denoiser.parameters(), lr=3e-3)
    for _ in range(300):
        y = torch.randint(3, (128,), generator=generator)
        loss = denoiser.loss(centers[y], y, label_dropout=0.1, generator=generator)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    y = torch.arange(3).repeat(100)
    with torch.no_grad():
        x = centers[y] + 2 * torch.randn(300, 4, generator=generator)
        knowing, guessing = (d - centers[y] for d in (denoiser.cond(x, 2.0, y), denoiser.uncond(x, 2.0)))
    assert knowing.square().mean() < 0.5 * guessing.square().mean()
