"""Steps orthogonal to the weights, whatever optimizer takes them."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from reprolib.optim.orthograd import OrthoGrad, orthogonal_


def draw(seed, *shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def model_and_batch(seed=0):
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3)).double()
    for i, p in enumerate(model.parameters()):
        p.data = draw(seed + i, *p.shape)
    return model, draw(seed + 9, 8, 4)


def backward(model, x):
    model.zero_grad()
    model(x).square().mean().backward()


@given(st.integers(0, 1000), st.sampled_from([(5,), (3, 4), (2, 3, 2)]), st.floats(1e-3, 1e3))
def test_the_result_is_orthogonal_keeps_its_length_and_lies_in_the_plane_of_both(seed, shape, size):
    g, w = size * draw(seed, *shape), draw(seed + 1, *shape)
    found = orthogonal_(g.clone(), w)
    assert abs((found * w).sum()) < 1e-9 * size * w.norm()
    torch.testing.assert_close(found.norm(), g.norm())
    assert (found * g).sum() > 0
    expected = g - w * (w * g).sum() / w.square().sum()
    torch.testing.assert_close(orthogonal_(g.clone(), w, rescale=False), expected)
    torch.testing.assert_close(found / found.norm(), expected / expected.norm())


def test_zeros_stay_zeros_and_weights_of_zero_change_nothing():
    g = draw(0, 3)
    assert torch.equal(orthogonal_(torch.zeros(3), torch.ones(3)), torch.zeros(3))
    torch.testing.assert_close(orthogonal_(g.clone(), torch.zeros(3).double()), g)


def test_every_tensor_is_projected_by_itself():
    model, x = model_and_batch()
    backward(model, x)
    OrthoGrad(model.parameters(), torch.optim.SGD, lr=0.0).step()
    for p in model.parameters():
        assert abs((p.grad * p).sum()) < 1e-12 * p.grad.norm() * p.norm() + 1e-15


def test_without_rescaling_the_gradient_loses_the_length_of_its_part_along_the_weights():
    model, x = model_and_batch()
    backward(model, x)
    before = [(p.grad.clone(), p.detach().clone()) for p in model.parameters()]
    OrthoGrad(model.parameters(), torch.optim.SGD, rescale=False, lr=0.1).step()
    for p, (g, w) in zip(model.parameters(), before, strict=True):
        torch.testing.assert_close(p.detach(), w - 0.1 * orthogonal_(g, w, rescale=False))


def test_sgd_lengthens_the_weights_by_pythagoras_only():
    model, x = model_and_batch()
    backward(model, x)
    before = [p.detach().clone() for p in model.parameters()]
    lengths = [p.grad.norm() for p in model.parameters()]
    OrthoGrad(model.parameters(), torch.optim.SGD, lr=0.3).step()
    for old, new, length in zip(before, model.parameters(), lengths, strict=True):
        torch.testing.assert_close(new.square().sum(), old.square().sum() + (0.3 * length) ** 2)
        torch.testing.assert_close((new - old).norm(), 0.3 * length)


def test_groups_options_and_frozen_parameters():
    model, x = model_and_batch()
    groups = [{"params": model[0].parameters()}, {"params": model[2].parameters(), "lr": 0.0}]
    model[0].bias.requires_grad_(False)
    backward(model, x)
    before = copy.deepcopy(model.state_dict())
    optimizer = OrthoGrad(groups, lr=0.1, weight_decay=0.0)
    assert isinstance(optimizer.base, torch.optim.AdamW) and optimizer.param_groups[0]["weight_decay"] == 0
    optimizer.step()
    same = [torch.equal(before[name], value) for name, value in model.state_dict().items()]
    assert same == [False, True, True, True]


def test_learning_rate_schedules_reach_the_base():
    model, x = model_and_batch()
    optimizer = OrthoGrad(model.parameters(), torch.optim.SGD, lr=1.0)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1, gamma=0.0)
    backward(model, x)
    optimizer.step()
    schedule.step()
    before = copy.deepcopy(model.state_dict())
    backward(model, x)
    optimizer.step()
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize("base", [torch.optim.AdamW, torch.optim.SGD])
def test_training_that_is_saved_and_restored_goes_on_with_the_same_bits(base):
    options = dict(lr=0.05) | (dict(momentum=0.8) if base is torch.optim.SGD else {})
    model, x = model_and_batch()
    optimizer = OrthoGrad(model.parameters(), base, **options)
    for step in range(6):
        if step == 3:
            saved = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
        backward(model, x)
        optimizer.step()
    other, _ = model_and_batch(50)
    restored = OrthoGrad(other.parameters(), base, **options)
    other.load_state_dict(saved[0])
    restored.load_state_dict(saved[1])
    for _ in range(3):
        backward(other, x)
        restored.step()
    for a, b in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(a, b)


def test_a_closure_is_called_once_before_the_projection():
    model, x = model_and_batch()
    optimizer, calls = OrthoGrad(model.parameters(), torch.optim.SGD, lr=0.1), []

    def closure():
        calls.append(1)
        backward(model, x)
        return model(x).square().mean()

    assert optimizer.step(closure) > 0 and len(calls) == 1
