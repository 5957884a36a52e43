"""Trials of the decision task."""

import pytest
import torch

from reprolib.data.two_alternative_choice import two_alternative_choice
from reprolib.streams import stream


def test_a_trial_waits_and_then_asks_for_the_larger_signal():
    x, y = two_alternative_choice(5000, steps=9, generator=stream(0, 0))
    assert x.shape == (9, 5000, 3) and y.shape == (9, 5000)
    assert (x[:-1, :, 0] == 1).all() and (x[-1] == 0).all() and (y[:-1] == 0).all()
    assert set(y[-1].tolist()) == {1, 2}
    larger = 1 + x[:-1, :, 1:].mean(0).argmax(-1)
    assert 0.85 < (larger == y[-1]).double().mean() < 0.93  # coherence 0 is a coin


def test_one_stream_gives_the_same_trials():
    first, second = (two_alternative_choice(7, generator=stream(3, 1)) for _ in range(2))
    assert torch.equal(first.x, second.x) and torch.equal(first.y, second.y)


@pytest.mark.parametrize("batch, steps", [(0, 8), (4, 1)])
def test_no_trial_or_no_decision_is_an_error(batch, steps):
    with pytest.raises(ValueError):
        two_alternative_choice(batch, steps)
