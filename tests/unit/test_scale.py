"""A chapter's parameters are checked before anything is computed."""

from dataclasses import dataclass

import pytest
import torch

from reprolib import seed_all
from reprolib.scale import start


@dataclass(frozen=True)
class Settings:
    steps: int
    width: int


SCALES = {"small": Settings(10, 8), "full": Settings(1000, 64)}


def begin(**parameters):
    return start("demo", SCALES, dry={"steps": 2}, **parameters)


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"scale": "medium"}, "scale must be 'small' or 'full', got 'medium'"),
        ({"device": "tpu"}, "device must be 'auto', 'cpu' or 'cuda', got 'tpu'"),
        ({"seed": -1}, "seed must be an integer from 0"),
        ({"seed": 1.5}, "seed must be an integer from 0"),
        ({"seed": True}, "seed must be an integer from 0"),
        ({"dry_run": "yes"}, "dry_run must be True or False"),
    ],
)
def test_a_bad_parameter_is_one_sentence_with_the_allowed_values(parameters, sentence):
    with pytest.raises(ValueError, match=sentence):
        begin(**parameters)


def test_cuda_without_a_gpu_says_what_to_do(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ValueError, match="no GPU here: use device='cpu'"):
        begin(device="cuda")


def test_auto_uses_the_gpu_at_full_scale_only(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert begin().device.type == "cpu"
    assert begin(scale="full").device.type == "cuda"
    assert start("demo", SCALES, dry={}, scale="full", devices=("cpu",)).device.type == "cpu"


def test_dry_run_shortens_the_path_and_keeps_the_shapes():
    assert begin(scale="full", dry_run=True).settings == Settings(2, 64)


def test_base_seeds_share_no_trial_seed():
    assert not set(begin(seed=0).seeds(1000)) & set(begin(seed=1).seeds(1000))
    with pytest.raises(ValueError):
        begin().seeds(1001)


def test_seed_all_repeats_and_differs_by_seed():
    def draw(seed):
        seed_all(seed)
        return torch.rand(3).tolist()

    assert draw(1) == draw(1) != draw(2)
    assert torch.get_num_threads() == 1
    assert torch.are_deterministic_algorithms_enabled()
    with pytest.raises(ValueError, match="seed must be"):
        seed_all(-1)
