"""The two simulated functions."""

from __future__ import annotations

import numpy as np
import pytest

from reprolib.data.mars import make_mars, mars


def test_values_by_hand():
    corner = np.array([[0, 0.5, 0, 0, 0], [0.5, 1, 1, 1, 1]], dtype=float)
    add = [0.1 + 2, 0.1 * np.e**2 + 4 / (1 + np.exp(-10)) + 6]
    mult = [20 * 0.05**2, 10 * np.sin(np.pi / 2) + 20 * 0.95**2 + 15]
    assert np.allclose(mars(corner, "MARSadd"), add) and np.allclose(mars(corner, "MARSmult"), mult)


def test_inputs_and_noise_are_the_same_for_every_sigma_and_further_inputs_are_idle():
    draws = {s: make_mars(50, 7, kind="MARSadd", sigma=s, generator=np.random.default_rng(3)) for s in (0.0, 1.0, 2.0)}
    X, clean = draws[0.0]
    assert X.shape == (50, 7) and (X >= 0).all() and (X <= 1).all()
    assert np.array_equal(clean, mars(X[:, :5], "MARSadd"))
    assert all(np.array_equal(X, other) for other, _ in draws.values())
    assert np.allclose(draws[2.0][1] - clean, 2 * (draws[1.0][1] - clean))
    assert 0.7 < (draws[1.0][1] - clean).std() < 1.3


def test_what_is_not_there_is_named():
    with pytest.raises(ValueError, match="got 'friedman', 5"):
        mars(np.zeros((1, 5)), "friedman")
    with pytest.raises(ValueError, match="5 columns"):
        mars(np.zeros((1, 4)), "MARSadd")
