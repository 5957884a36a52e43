"""First weights of a given rank and one norm."""

import pytest
import torch

from reprolib.init.low_rank import low_rank_
from reprolib.streams import stream


def test_all_ranks_share_matrix_and_norm():
    A = low_rank_(torch.empty(40, 40), 40, 1.5, stream(0, 0))
    plain = torch.empty(40, 40).normal_(0, 1.5 / 40**0.5, generator=stream(0, 0))
    torch.testing.assert_close(A, plain)
    for rank in (1, 7, 40):
        W = low_rank_(torch.empty(40, 40), rank, 1.5, stream(0, 0))
        assert torch.linalg.matrix_rank(W, rtol=1e-5) == rank
        torch.testing.assert_close(W.norm(), A.norm())


def test_deviation_is_gain_over_root_of_columns():
    W = low_rank_(torch.empty(300, 200), 200, 0.8, stream(1, 0))
    assert W.std().item() == pytest.approx(0.8 / 200**0.5, rel=0.02)


@pytest.mark.parametrize(
    "shape, rank, gain", [((4, 4), 0, 1.0), ((4, 3), 4, 1.0), ((4, 4), 2, 0.0), ((2, 4, 4), 2, 1.0)]
)
def test_a_bad_argument_changes_nothing(shape, rank, gain):
    W = torch.ones(shape)
    with pytest.raises(ValueError):
        low_rank_(W, rank, gain)
    assert (W == 1).all()
