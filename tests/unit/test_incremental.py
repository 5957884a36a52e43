"""The incremental SVD: exact while nothing is cut, any batches, rows that span little, and its errors."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reprolib.linalg.incremental import IncrementalSVD


def matrix(rows: int, features: int, seed: int = 0, mean: float = 0.0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    scale = torch.logspace(0, -2, features, dtype=torch.float64)
    return mean + torch.randn(rows, features, generator=generator, dtype=torch.float64) * scale


def fitted(X, sizes, k, center=False) -> IncrementalSVD:
    svd = IncrementalSVD(k, center)
    for part in X.split(sizes):
        svd.partial_fit(part)
    return svd


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 40), st.booleans(), st.integers(0, 1000))
def test_the_batches_do_not_matter_when_all_directions_are_kept(size, center, seed):
    X = matrix(40, 6, seed, mean=0.5)
    svd = fitted(X, size, 6, center)
    exact = X - X.mean(dim=0) if center else X
    _, S, V = torch.linalg.svd(exact, full_matrices=False)
    assert torch.allclose(svd.singular_values_, S, rtol=1e-9)
    assert torch.allclose((svd.components_ * V).sum(dim=1).abs(), torch.ones(6, dtype=torch.float64), atol=1e-8)
    assert torch.allclose(svd.explained_variance_ratio_, S.square() / S.square().sum(), rtol=1e-9)
    assert svd.n_samples_seen_ == 40


@pytest.mark.parametrize("center", [False, True])
def test_the_shares_count_what_was_cut_off(center):
    X = matrix(60, 8, mean=1.0)
    exact = X - X.mean(dim=0) if center else X
    svd = fitted(X, 20, 3, center)
    share = (exact @ svd.components_.T).square().sum() / exact.square().sum()
    assert svd.explained_variance_ratio_.sum() <= share + 1e-9
    assert svd.explained_variance_ratio_.sum() == pytest.approx(share.item(), rel=0.01)


def test_the_first_direction_of_shifted_rows_is_their_mean_unless_they_are_centered():
    X = matrix(200, 10, mean=3.0)
    mean = X.mean(dim=0) / X.mean(dim=0).norm()
    assert (fitted(X, 50, 2).components_[0] @ mean).abs() > 0.999
    assert (fitted(X, 50, 2, center=True).components_[0] @ mean).abs() < 0.6


@pytest.mark.parametrize("rows", [3, 20])
def test_rows_that_span_one_dimension_give_one_direction(rows):
    X = torch.outer(torch.arange(1.0, rows + 1), torch.arange(1.0, 6.0))
    svd = IncrementalSVD(4).partial_fit(X)
    assert svd.components_.shape == (1, 5)
    assert torch.allclose(svd.explained_variance_ratio_, torch.ones(1, dtype=torch.float64))
    assert IncrementalSVD(4).partial_fit(torch.zeros(rows, 5)).components_.shape == (0, 5)


def test_a_batch_may_have_fewer_rows_than_directions_are_kept():
    X = matrix(12, 9)
    assert torch.allclose(fitted(X, 1, 9).singular_values_, torch.linalg.svdvals(X), rtol=1e-7)


def test_signs_are_fixed_by_the_largest_entry():
    V = fitted(-matrix(30, 5), 10, 5).components_
    assert (V.gather(1, V.abs().argmax(dim=1, keepdim=True)) > 0).all()


def test_bad_input_is_named():
    with pytest.raises(ValueError, match="n_components"):
        IncrementalSVD(0)
    svd = IncrementalSVD(2)
    for X in (torch.zeros(0, 3), torch.zeros(3)):
        with pytest.raises(ValueError, match="at least one row"):
            svd.partial_fit(X)
    with pytest.raises(ValueError, match="not finite"):
        svd.partial_fit(torch.tensor([[1.0, float("nan")]]))
    svd.partial_fit(torch.eye(3))
    with pytest.raises(ValueError, match="those before had 3"):
        svd.partial_fit(torch.eye(4))
