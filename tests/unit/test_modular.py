"""Modular arithmetic as a data set."""

from __future__ import annotations

import pytest
import torch

from reprolib.data.modular import modular


def draw(seed=0, **options):
    return modular(generator=torch.Generator().manual_seed(seed), **({"p": 7, "fraction": 0.5} | options))


@pytest.mark.parametrize(
    "operation, result", [("+", lambda a, b: a + b), ("-", lambda a, b: a - b), ("*", lambda a, b: a * b)]
)
def test_every_pair_comes_once_with_the_right_result(operation, result):
    x_train, y_train, x_test, y_test = draw(operation=operation)
    x, y = torch.cat([x_train, x_test]).tolist(), torch.cat([y_train, y_test]).tolist()
    assert sorted(map(tuple, x)) == [(a, b) for a in range(7) for b in range(7)]
    assert y == [result(a, b) % 7 for a, b in x]


@pytest.mark.parametrize("p, fraction, train", [(113, 0.4, 5107), (7, 0.5, 24), (2, 0.25, 1)])
def test_the_number_of_training_pairs_is_rounded_down(p, fraction, train):
    pairs = draw(p=p, fraction=fraction)
    assert len(pairs.x_train) == len(pairs.y_train) == train and len(pairs.x_test) == len(pairs.y_test) == p * p - train


def test_the_generator_decides_the_split():
    a, b, other = draw(1), draw(1), draw(2)
    assert torch.equal(a.x_train, b.x_train) and not torch.equal(a.x_train, other.x_train)


def test_what_cannot_be_is_refused_in_one_sentence():
    with pytest.raises(ValueError, match="operation must be one of '\\+', '-', '\\*', got '/'"):
        draw(operation="/")
    for options in ({"fraction": 0.0}, {"fraction": 1.0}, {"p": 1}):
        with pytest.raises(ValueError, match="both sets need one"):
            draw(**options)
