"""The ambient loss against the authors' package, and against their training step written out in numpy."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from reprolib.losses.ambient import ambient_edm_loss, x0_to_xn


@pytest.fixture
def theirs(monkeypatch):
    """Their loss.py alone: the package as a whole imports torchvision."""
    spec = importlib.util.find_spec("ambient_utils")
    if spec is None:
        pytest.skip("ambient_utils is not installed")
    utils = ModuleType("ambient_utils.utils")
    utils.broadcast_batch_tensor = lambda level: level.view(-1, 1, 1, 1)
    utils.ambient_sqrt = torch.sqrt  # used by other functions of the file
    monkeypatch.setitem(sys.modules, "ambient_utils", ModuleType("ambient_utils"))
    monkeypatch.setitem(sys.modules, "ambient_utils.utils", utils)
    file = Path(spec.origin).with_name("loss.py")
    spec = importlib.util.spec_from_file_location("their_loss", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_x0_to_xn_agrees_with_ambient_utils(theirs):
    generator = torch.Generator().manual_seed(0)
    x0, x_t = torch.randn(2, 16, 3, 4, 4, generator=generator, dtype=torch.float64)
    sigma_t = 0.1 + torch.rand(16, generator=generator, dtype=torch.float64)
    sigma_n = sigma_t * torch.rand(16, generator=generator, dtype=torch.float64)
    expected = theirs.from_x0_pred_to_xnature_pred_ve_to_ve(x0, x_t, sigma_t, sigma_n)
    ours = x0_to_xn(x0.flatten(1), x_t.flatten(1), sigma_t[:, None], sigma_n[:, None])
    torch.testing.assert_close(ours.view_as(expected), expected)


def training_step(net, y, level, normal, noise, s=0.5):
    """A step of the released training, one sample after the other, in numpy."""
    loss = np.empty_like(y)
    for i in range(len(y)):
        sigma = max(np.exp(1.2 * normal[i] - 1.2), level[i])
        x = y[i] + noise[i] * np.sqrt(sigma**2 - level[i] ** 2)
        kept = level[i] ** 2 / sigma**2
        prediction = kept * x + (1 - kept) * net(x, sigma)
        loss[i] = (prediction - y[i]) ** 2 * (sigma**2 + s**2) / (sigma * s) ** 2
    return loss


@pytest.mark.parametrize("s", [0.5, 0.8])
def test_the_loss_is_the_released_training_step(s):
    rng = np.random.default_rng(0)
    y, noise = rng.standard_normal((2, 200, 5))
    normal, level = rng.standard_normal(200), np.where(rng.random(200) < 0.3, 0, 0.4)

    def net(x, sigma):
        return np.tanh(x) / (1 + sigma)

    expected = training_step(net, y, level, normal, noise, s)
    tensors = [torch.tensor(a) for a in (y, level[:, None], normal[:, None], noise)]
    ours = ambient_edm_loss(lambda x, sigma: torch.tanh(x) / (1 + sigma), *tensors, sigma_data=s)
    torch.testing.assert_close(ours, torch.tensor(expected))
    assert (expected == 0).all(axis=1).sum() > 50  # the step wastes draws
