"""How many labels are changed, into what, and that the caller's own stay as they were."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from reprolib.data.noise import asymmetric_noise, symmetric_noise

LABELS = torch.arange(5000) % 10


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@given(st.integers(0, 300), st.floats(0, 1), st.integers(0, 2**31))
def test_without_the_true_class_exactly_the_rate_is_wrong(n, rate, seed):
    noisy = symmetric_noise(LABELS[:n], rate, 10, generator(seed), include_true=False)
    assert (noisy != LABELS[:n]).sum() == math.ceil(rate * n)
    assert noisy.numel() == 0 or 0 <= noisy.min() <= noisy.max() < 10


def test_with_the_true_class_one_in_ten_of_the_redrawn_stays_right():
    wrong = torch.stack([symmetric_noise(LABELS, 0.4, 10, generator(s)) != LABELS for s in range(20)])
    assert abs(wrong.double().mean() - 0.36) < 0.003  # 7 standard errors
    assert (wrong.sum(dim=1) <= 2000).all()


@pytest.mark.parametrize("include_true", [True, False])
def test_new_labels_are_uniform(include_true):
    noisy = symmetric_noise(torch.full((20_000,), 3), 1.0, 10, generator(1), include_true)
    counts = noisy.bincount(minlength=10)
    assert include_true or counts[3] == 0
    assert chisquare(counts[counts > 0]).pvalue > 1e-4


def test_which_examples_are_hit_is_random_and_follows_the_generator():
    first, again, other = (symmetric_noise(LABELS, 0.3, 10, generator(s)) for s in (0, 0, 1))
    assert torch.equal(first, again) and not torch.equal(first, other)
    halves = (first != LABELS).view(2, -1).sum(dim=1)
    assert abs(halves[0] - halves[1]) < 150


def test_the_labels_that_came_in_are_not_changed():
    labels = LABELS.clone()
    symmetric_noise(labels, 0.9, 10, generator())
    asymmetric_noise(labels, 0.9, {1: 2}, generator())
    assert torch.equal(labels, LABELS)


def test_asymmetric_noise_renames_the_rate_of_each_class_from_the_clean_labels():
    noisy = asymmetric_noise(LABELS, 0.4, {3: 5, 5: 3, 9: 1}, generator())
    confusion = torch.zeros(10, 10, dtype=torch.long)
    confusion.index_put_((LABELS, noisy), torch.ones(5000, dtype=torch.long), accumulate=True)
    expected = torch.diag(torch.full((10,), 500))
    for old, new in ((3, 5), (5, 3), (9, 1)):  # 3 -> 5 -> 3 would put some back
        expected[old, old], expected[old, new] = 300, 200
    assert torch.equal(confusion, expected)


def test_asymmetric_noise_rounds_up():
    noisy = asymmetric_noise(torch.tensor([2, 2, 2, 1]), 0.4, {2: 0}, generator())
    assert (noisy == 0).sum() == 2 and noisy[3] == 1


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: symmetric_noise(LABELS, 1.1, 10), "rate must be"),
        (lambda: symmetric_noise(LABELS, 0.1, 9), "class numbers"),
        (lambda: symmetric_noise(LABELS * 0, 0.1, 1), "class numbers"),
        (lambda: symmetric_noise(LABELS.float(), 0.1, 10), "whole numbers"),
        (lambda: asymmetric_noise(LABELS, -0.1, {1: 2}), "rate must be"),
        (lambda: asymmetric_noise(LABELS, 0.1, {1: 1}), "mistaken for itself"),
    ],
)
def test_mistakes(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
