"""Counting, corner cases and numerics of the samplers; their laws are tested in tests/oracle/test_awrs.py."""

from __future__ import annotations

import numpy as np
import pytest

from reprolib.sampling.rejection import DEAD, PICKED, ars, awrs, awrs_many, awrs_recursive, mask, race, wrs

SAMPLERS = [mask, ars, awrs, awrs_recursive, wrs]


def counted(legal):
    calls = []

    def accept(token):
        calls.append(token)
        return token in legal

    return accept, calls


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_evaluations_are_the_calls_of_the_constraint_and_no_token_is_asked_about_twice(sampler):
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(60))
    for _ in range(50):
        accept, calls = counted(set(range(0, 60, 3)))
        draw = sampler(p, accept, rng)
        assert draw.evaluations == len(calls) == len(set(calls))
        assert draw.token in range(0, 60, 3) and draw.first <= draw.evaluations


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_tokens_of_probability_zero_are_never_asked_about(sampler):
    rng = np.random.default_rng(1)
    for _ in range(20):
        accept, calls = counted({0, 2})
        assert sampler(np.array([0.0, 0.7, 0.3, 0.0]), accept, rng).token == 2
        assert set(calls) <= {1, 2}


@pytest.mark.parametrize("sampler", [awrs, awrs_recursive, wrs, mask])
def test_probabilities_need_not_sum_to_one(sampler):
    """What a pruned vocabulary lacks is missing from the weight as well."""
    rng, p = np.random.default_rng(2), np.array([0.1, 0.2, 0.1])
    weights = [sampler(p, lambda token: token != 1, rng).weight for _ in range(3000)]
    assert np.mean(weights) == pytest.approx(0.2, abs=4 * np.std(weights) / 3000**0.5 + 1e-12)


def test_a_tiny_legal_mass_keeps_its_digits():
    """1 - 0.999.. as a difference would be wrong by a fifth."""
    p = np.array([1.0, 3e-16])
    draw = awrs(p / p.sum(), lambda token: token == 1, np.random.default_rng(0))
    assert draw.weight == pytest.approx(3e-16 / 2, rel=1e-9)


def test_race_gives_every_possible_token_once_also_beyond_those_picked_one_by_one():
    p = np.ones(3 * PICKED)
    p[::2] = 0
    assert sorted(race(p, np.random.default_rng(0))) == list(range(1, 3 * PICKED, 2))
    assert sorted(race(np.ones(5 * PICKED), np.random.default_rng(0))) == list(range(5 * PICKED))


def test_samplers_leave_the_probabilities_alone():
    p = np.array([0.5, 0.25, 0.25])
    for sampler in SAMPLERS:
        sampler(p, lambda token: token == 2, np.random.default_rng(0))
    assert p.tolist() == [0.5, 0.25, 0.25]


def test_the_same_generator_gives_the_same_draw():
    p = np.random.default_rng(0).dirichlet(np.ones(100))
    for sampler in SAMPLERS:
        a, b = (sampler(p, lambda token: token % 7 == 0, np.random.default_rng(5)) for _ in range(2))
        assert a == b


def test_many_draws_handle_rows_of_their_own_and_dead_ends():
    p = np.array([[0.5, 0.5, 0.0], [0.1, 0.2, 0.7], [0.3, 0.3, 0.4]])
    legal = np.array([[False, False, True], [False, True, False], [True, True, True]])
    draws = awrs_many(p, legal, np.random.default_rng(0))
    assert draws.token[:2].tolist() == [DEAD, 1]
    assert draws.weight[0] == 0 and draws.weight[2] == pytest.approx(1)
    assert draws.evaluations[0] == draws.first[0] == 2
    assert draws.evaluations[2] in (1, 2) and draws.first[2] == 1


def test_wrs_needs_a_loop():
    with pytest.raises(ValueError, match="loops must be at least 1, got 0"):
        wrs(np.array([1.0]), bool, np.random.default_rng(0), loops=0)
