"""Networks that know upright digits: what they have seen, what they know, and that a seed decides all of it."""

from __future__ import annotations

import pytest
import torch

from reprolib.models.digits import PRETRAIN, pretrained, pretrained_vit
from reprolib.train import accuracy


def test_the_network_knows_upright_digits_and_not_inverted_ones():
    net, images = pretrained(3)
    assert images.x_train.shape == (1000, 64) and images.x_test.shape == (797, 64)
    assert accuracy(net, images.x_test, images.y_test) > 90
    assert accuracy(net, 1 - images.x_test, images.y_test) < 40
    assert not net.training


def test_it_learns_from_the_first_images_only(monkeypatch):
    seen = []
    monkeypatch.setattr("reprolib.models.digits.fit", lambda model, x, y, **rest: seen.append((x, y)))
    _, images = pretrained.__wrapped__(0)
    assert torch.equal(seen[0][0], images.x_train[:PRETRAIN]) and torch.equal(seen[0][1], images.y_train[:PRETRAIN])


def test_the_seed_decides_everything_and_the_random_state_is_left_alone():
    state = torch.get_rng_state()
    first, again, other = (pretrained.__wrapped__(seed, epochs=1) for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first[0].head.weight, again[0].head.weight)
    assert not torch.equal(first[0].head.weight, other[0].head.weight)
    assert not torch.equal(first[1].x_train, other[1].x_train)


def test_the_vision_transformer_learns_from_the_same_images(monkeypatch):
    pytest.importorskip("transformers")
    net, images = pretrained_vit.__wrapped__(0)
    assert torch.equal(images.x_train, pretrained.__wrapped__(0, epochs=1)[1].x_train)
    assert accuracy(net, images.x_test, images.y_test) > 30 > accuracy(net, 1 - images.x_test, images.y_test)
    seen = []
    monkeypatch.setattr("reprolib.models.digits.fit", lambda model, x, y, **rest: seen.append(x))
    pretrained_vit.__wrapped__(0)
    assert torch.equal(seen[0], images.x_train[:PRETRAIN])
