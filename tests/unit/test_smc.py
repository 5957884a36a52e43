"""Sequential Monte Carlo: growth, weights, resampling and its limits."""

from __future__ import annotations

import numpy as np
import pytest

from reprolib.sampling.smc import smc

END = 0


def test_sequences_grow_to_their_end_and_weights_multiply():
    def step(sequence):
        return (1, 0.5) if len(sequence) < 2 else (END, 0.1)

    result = smc(step, 3, end=END, max_len=5, rng=np.random.default_rng(0))
    assert result.sequences == [(1, 1, END)] * 3
    assert result.mass == pytest.approx(0.025)
    assert result.probabilities.tolist() == pytest.approx([1 / 3] * 3)


def test_a_finished_sequence_is_left_alone():
    steps = []

    def step(sequence):
        steps.append(sequence)
        return END, 1.0

    smc(step, 4, end=END, max_len=10, rng=np.random.default_rng(0))
    assert steps == [()] * 4


def test_a_sequence_that_does_not_end_has_weight_zero():
    result = smc(lambda sequence: (1, 1.0), 2, end=END, max_len=7, rng=np.random.default_rng(0))
    assert [len(s) for s in result.sequences] == [7, 7]
    assert result.mass == 0 and result.probabilities.tolist() == [0, 0]


def test_when_all_particles_are_dead_nothing_more_is_asked():
    calls = []

    def step(sequence):
        calls.append(sequence)
        return 1, 0.0

    assert smc(step, 3, end=END, max_len=50, rng=np.random.default_rng(0)).mass == 0
    assert len(calls) == 3


def uneven(threshold):
    """One of four particles keeps weight 1, the others get 1e-6."""
    tokens = iter([1, 2, 2, 2])

    def step(sequence):
        if sequence:
            return END, 1.0
        token = next(tokens)
        return token, 1.0 if token == 1 else 1e-6

    return smc(step, 4, end=END, max_len=3, rng=np.random.default_rng(0), ess_threshold=threshold)


def test_uneven_weights_are_resampled_and_the_mean_weight_is_kept():
    resampled, kept = uneven(0.5), uneven(0)
    assert resampled.sequences == [(1, END)] * 4
    assert [s[0] for s in kept.sequences] == [1, 2, 2, 2]
    assert np.ptp(resampled.log_weights) == 0
    assert resampled.mass == pytest.approx(kept.mass)


def test_weights_far_below_the_smallest_float_do_not_vanish():
    result = smc(
        lambda s: (1 if len(s) < 9 else END, 1e-100), 2, end=END, max_len=20, rng=np.random.default_rng(0)
    )  # fmt: skip
    assert result.probabilities.tolist() == [0.5, 0.5]


@pytest.mark.parametrize(
    ("n", "max_len", "threshold", "message"),
    [(0, 5, 0.5, "at least 1, got 0 and 5"), (2, 0, 0.5, "got 2 and 0"), (2, 5, 1.5, "share from 0 to 1, got 1.5")],
)
def test_bad_settings_are_named(n, max_len, threshold, message):
    with pytest.raises(ValueError, match=message):
        smc(lambda s: (END, 1.0), n, end=END, max_len=max_len, rng=np.random.default_rng(0), ess_threshold=threshold)
