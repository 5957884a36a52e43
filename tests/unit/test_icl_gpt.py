"""The small GPT-2 for regression: what a guess may know, and how mistakes are answered."""

from __future__ import annotations

import sys

import pytest
import torch

from reprolib.models.icl_gpt import InContextGPT, mean_squared_errors


@pytest.fixture(scope="module")
def model():
    pytest.importorskip("transformers")
    torch.manual_seed(0)
    return InContextGPT(3, points=6, width=16, layers=2, heads=2)


@pytest.fixture
def prompts():
    return torch.randn(4, 6, 3), torch.randn(4, 6)


@torch.no_grad()
@pytest.mark.parametrize("k", [0, 2, 5])
def test_a_guess_knows_earlier_labels_and_its_own_input_only(model, prompts, k):
    x, y = prompts
    before = model(x, y)
    other = y.clone()
    other[:, k] += 1
    change = (model(x, other) - before).abs().amax(0)
    assert (change[: k + 1] < 1e-6).all() and (change[k + 1 :] > 1e-6).all()
    moved = x.clone()
    moved[:, k] += 1
    change = (model(moved, y) - before).abs().amax(0)
    assert (change[:k] < 1e-6).all() and (change[k:] > 1e-6).all()


def test_all_parts_are_trained(model, prompts):
    model(*prompts).square().sum().backward()
    still = {name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()}
    assert still == {"backbone.wte.weight"}  # tokens are vectors, so there is nothing to look up


def test_mean_squared_errors_do_not_depend_on_the_chunk(model, prompts):
    x, y = prompts
    found = mean_squared_errors(model, x, y, chunk=3)
    torch.testing.assert_close(found, (model(x, y) - y).square().mean(0).detach())
    assert not found.requires_grad


def test_a_prompt_beyond_the_positions_is_refused(model):
    with pytest.raises(ValueError, match="at most 6 points, got 7"):
        model(torch.zeros(1, 7, 3), torch.zeros(1, 7))


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ModuleNotFoundError, match="pip install transformers"):
        InContextGPT(3, 6, 16, 1, 1)
