import pytest
import torch

from reprolib.streams import stream


def draw(seed, i):
    return torch.rand(4, generator=stream(seed, i)).tolist()


def test_the_same_stream_again_gives_the_same_numbers_whatever_was_drawn_in_between():
    first = draw(3, 1)
    torch.manual_seed(0)
    torch.rand(7)
    assert draw(3, 1) == first


def test_no_two_streams_agree():
    seen = {tuple(draw(seed, i)) for seed in range(20) for i in range(20)}
    assert len(seen) == 400


def test_a_stream_leaves_torchs_own_alone():
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    stream(1, 2)
    assert torch.equal(torch.rand(3), expected)


def test_a_negative_number_is_refused():
    with pytest.raises(ValueError):
        stream(0, -1)
