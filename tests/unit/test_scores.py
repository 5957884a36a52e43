"""EL2N, GraNd, and the choice by a score."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from reprolib.scores.gradients import el2n, per_sample_grad_norm
from reprolib.scores.prune import prune_by_score


def test_el2n_lies_between_zero_and_the_root_of_two():
    logits = torch.tensor([[50.0, 0, 0], [0, 50, 0], [0, 0, 0]])
    right, wrong, uniform = el2n(logits, torch.tensor([0, 0, 2])).tolist()
    assert right == pytest.approx(0, abs=1e-6)
    assert wrong == pytest.approx(2**0.5)
    assert uniform == pytest.approx((1 - 1 / 3) ** 0.5)


def test_el2n_takes_several_networks():
    logits, labels = torch.randn(4, 5, 3), torch.tensor([0, 1, 2, 0, 1])
    assert torch.equal(el2n(logits, labels), torch.stack([el2n(one, labels) for one in logits]))


@pytest.fixture
def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)).eval()


def test_the_norm_does_not_depend_on_the_chunk(model):
    x, y = torch.randn(10, 6), torch.randint(3, (10,))
    assert torch.allclose(per_sample_grad_norm(model, x, y, chunk_size=3), per_sample_grad_norm(model, x, y))


def test_other_parameters_take_the_place_of_the_models_own(model):
    x, y = torch.randn(4, 6), torch.randint(3, (4,))
    doubled = {name: 2 * p for name, p in model.named_parameters()}
    mine = per_sample_grad_norm(model, x, y)
    with torch.no_grad():
        other = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)).eval()
        other.load_state_dict(doubled)
    assert torch.allclose(per_sample_grad_norm(model, x, y, doubled), per_sample_grad_norm(other, x, y))
    assert torch.equal(per_sample_grad_norm(model, x, y), mine)


def test_a_model_in_training_mode_is_refused(model):
    with pytest.raises(ValueError, match="eval"):
        per_sample_grad_norm(model.train(), torch.randn(2, 6), torch.tensor([0, 1]))


def test_windows_of_ranks():
    scores = torch.tensor([3.0, torch.inf, 1, 3, 2])
    assert prune_by_score(scores, 3).tolist() == [1, 0, 3]
    assert prune_by_score(scores, 2, largest=False).tolist() == [2, 4]
    assert prune_by_score(scores, 2, skip=1).tolist() == [0, 3]
    assert prune_by_score(scores, 2, largest=False, skip=1).tolist() == [4, 0]


def test_equal_scores_stay_in_the_order_of_the_examples():
    places = torch.arange(100_000)
    ones = places % 3 == 0
    assert torch.equal(prune_by_score(ones.float(), len(places)), torch.cat([places[ones], places[~ones]]))


@pytest.mark.parametrize(("keep", "skip"), [(0, 0), (6, 0), (5, 1), (1, -1)])
def test_a_window_that_does_not_fit_is_refused(keep, skip):
    with pytest.raises(ValueError, match="cannot keep"):
        prune_by_score(torch.arange(5.0), keep, skip=skip)


def test_nan_is_refused():
    with pytest.raises(ValueError, match="NaN"):
        prune_by_score(torch.tensor([1.0, torch.nan]), 1)
