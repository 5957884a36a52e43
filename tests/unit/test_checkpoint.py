"""A resumed trial gives the same bits as one that ran through."""

import numpy as np
import pytest
import torch

from reprolib import seed_all
from reprolib.checkpoint import Checkpoint, at, clear, resume


class Stop(Exception):
    pass


def train(epochs, stop=None):
    """Noisy training that uses every random state and every kind of part; `stop` ends it in that epoch."""
    seed_all(5)
    model = torch.nn.Linear(4, 4)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
    generator = torch.Generator().manual_seed(1)
    losses, best = [], {}
    parts = dict(model=model, optimizer=optimizer, schedule=schedule, generator=generator, losses=losses, best=best)
    for epoch in resume(epochs, **parts):
        if epoch == stop:
            raise Stop
        x = torch.randn(8, 4) + torch.randn(8, 4, generator=generator) + float(np.random.normal())
        loss = torch.nn.functional.dropout(model(x), 0.5).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        best["weight"] = model.weight.detach().clone()
    return losses, best["weight"], model.weight


def test_training_that_was_stopped_goes_on_with_the_same_bits(tmp_path):
    whole = train(6)
    for stop in (2, 3, 5):
        with at(str(tmp_path / "train")), pytest.raises(Stop):
            train(6, stop)
        assert Checkpoint(tmp_path / "train.0.pt").load()["epoch"] == stop
    with at(str(tmp_path / "train")):
        resumed = train(6)
    assert resumed[0] == whole[0]
    assert torch.equal(resumed[1], whole[1]) and torch.equal(resumed[2], whole[2])


def test_a_trial_that_trains_twice_resumes_in_its_second_training(tmp_path):
    def twice(stop=None):
        with at(str(tmp_path / "train")):
            return train(3), train(4, stop)

    whole = train(3), train(4)
    with pytest.raises(Stop):
        twice(stop=2)
    assert [Checkpoint(tmp_path / f"train.{i}.pt").load()["epoch"] for i in (0, 1)] == [3, 2]
    assert [losses for losses, *_ in twice()] == [losses for losses, *_ in whole]
    clear(str(tmp_path / "train"))
    assert not list(tmp_path.iterdir())


def test_outside_a_stored_trial_resume_is_range_and_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert list(resume(3, losses=[])) == [0, 1, 2]
    Checkpoint(None).save({"epoch": 1})
    assert Checkpoint(None).load() is None and not list(tmp_path.iterdir())


def test_every_few_epochs_saves_less_often(tmp_path):
    path = tmp_path / "train.0.pt"
    with at(str(tmp_path / "train")):
        seen = [(epoch, path.exists()) for epoch in resume(4, every=2, losses=[])]
    assert seen == [(0, False), (1, False), (2, True), (3, True)]


def test_what_could_not_be_read_again_is_refused_and_the_last_good_state_stays(tmp_path):
    checkpoint = Checkpoint(tmp_path / "train.pt")
    checkpoint.save({"epoch": 1})
    with pytest.raises(TypeError, match="tensors, numbers, text"):
        checkpoint.save({"epoch": Stop()})
    assert checkpoint.load() == {"epoch": 1} and [p.name for p in tmp_path.iterdir()] == ["train.pt"]


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"PK\x03\x04 cut off"])
def test_a_damaged_checkpoint_is_set_aside_and_training_starts_again(tmp_path, capfd, content):
    (tmp_path / "train.0.pt").write_bytes(content)
    with at(str(tmp_path / "train")):
        assert next(iter(resume(3, losses=[]))) == 0
    assert (tmp_path / "train.0.pt.aside-1").read_bytes() == content
    assert capfd.readouterr().err.count("set aside") == 1


def test_a_checkpoint_that_would_run_code_is_not_opened(tmp_path, capfd):
    torch.save({"epoch": Stop()}, tmp_path / "train.pt")
    assert Checkpoint(tmp_path / "train.pt").load() is None
    assert "is no checkpoint" in capfd.readouterr().err
