"""A recorded table stands in for the trials, and an audit finds a number in it that is false."""

import json

import numpy as np
import pandas as pd
import pytest
import torch

from reprolib import record
from reprolib.record import AuditError, NotRecorded
from reprolib.scale import Run
from reprolib.sweep import sweep

RUN = Run("demo", "full", 0, torch.device("cpu"), False, None)
GRID, SEEDS = {"lr": [0.1, 0.2]}, [1, 2, 3]
CALLS = []


def trial(config, seed):
    CALLS.append((config["lr"], seed))
    return {"loss": torch.rand(()).item() * config["lr"], "curve": np.arange(3) * config["lr"], "nothing": np.nan}


def changed_trial(config, seed):
    return {"loss": 1.0}


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    """A table of six trials, as a full run leaves it, and the DataFrame of that run."""
    monkeypatch.setenv("REPROLIB_STORE", str(tmp_path / "store"))
    monkeypatch.delenv("REPROLIB_JOBS", raising=False)
    path = tmp_path / "demo.parquet"
    monkeypatch.setenv("REPROLIB_RECORD", str(path))
    table = sweep(trial, GRID, SEEDS, run=RUN)
    monkeypatch.delenv("REPROLIB_RECORD")
    monkeypatch.setenv("REPROLIB_STORE", str(tmp_path / "none"))
    monkeypatch.setenv("REPROLIB_RECORDED", str(path))
    CALLS.clear()
    return path, table


@pytest.fixture
def audit(tmp_path, monkeypatch):
    def ask(*tasks):
        path = tmp_path / "wanted.json"
        path.write_text(json.dumps([["trial", json.dumps({"lr": lr}), seed] for lr, seed in tasks]))
        monkeypatch.setenv("REPROLIB_AUDIT", str(path))
        return path.with_name("wanted.json.agreed")

    return ask


def alter(path, change, row=4, **columns):
    table = pd.read_parquet(path)
    metrics = json.loads(table.loc[row, "metrics"])
    change(metrics)
    table.loc[row, "metrics"] = json.dumps(metrics)
    table.assign(**columns).to_parquet(path, index=False)


def scale_loss(factor):
    return lambda metrics: metrics.update(loss=metrics["loss"] * factor)


def scale_curve(factor):
    return lambda metrics: metrics.update(curve=[x * factor for x in metrics["curve"]])


def test_the_record_is_taken_as_done_bit_for_bit_and_needs_no_store(recorded, tmp_path):
    pd.testing.assert_frame_equal(sweep(trial, GRID, SEEDS, run=RUN), recorded[1])
    assert CALLS == [] and not (tmp_path / "none").exists()


def test_what_the_record_lacks_is_computed_and_recorded_again_as_a_whole(recorded, tmp_path, monkeypatch):
    monkeypatch.setenv("REPROLIB_RECORD", str(tmp_path / "new.parquet"))
    sweep(trial, GRID, [3, 4], run=RUN)
    assert CALLS == [(0.1, 4), (0.2, 4)]
    assert len(pd.read_parquet(tmp_path / "new.parquet")) == 4


def test_a_record_of_other_code_or_at_small_scale_is_not_used(recorded, capfd):
    path, _ = recorded
    pd.read_parquet(path).assign(trial="changed_trial").to_parquet(path)
    assert (sweep(changed_trial, GRID, SEEDS, run=RUN).loss == 1).all()
    assert "recorded with other code" in capfd.readouterr().err
    sweep(trial, GRID, [1], run=Run("demo", "small", 0, torch.device("cpu"), False, None))
    assert CALLS == [(0.1, 1), (0.2, 1)]


def test_an_audit_computes_its_trials_only_and_notes_those_that_agree(recorded, audit, tmp_path):
    agreed = audit((0.2, 2), (0.1, 3))
    pd.testing.assert_frame_equal(sweep(trial, GRID, SEEDS, run=RUN), recorded[1])
    assert sorted(CALLS) == [(0.1, 3), (0.2, 2)]
    assert [json.loads(line)[2:] for line in agreed.read_text().splitlines()] == [[3, 0.0], [2, 0.0]]
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("factor", [1.05, 0.95, 1 + 1e-5])
def test_one_false_cell_is_named_with_both_values(recorded, audit, factor):
    path, table = recorded
    alter(path, scale_loss(factor))
    audit((0.2, 2))
    true = table.loss[4]
    with pytest.raises(AuditError, match="demo: trial.*0.2.*seed 2.*loss") as error:
        sweep(trial, GRID, SEEDS, run=RUN)
    assert repr(float(true * factor)) in str(error.value) and repr(float(true)) in str(error.value)
    audit((0.1, 2))  # the others are as recorded
    sweep(trial, GRID, SEEDS, run=RUN)


@pytest.mark.parametrize(
    ("change", "caught"),
    [
        (scale_curve(1.05), True),  # the same for every seed, so five percent are found
        (scale_curve(0.95), True),
        (scale_curve(1.01), False),  # what rounding may grow into
        (scale_loss(1.05), False),  # less than from seed to seed: training could do that
        (scale_loss(10), True),
        (lambda metrics: metrics.pop("loss"), True),
    ],
)
def test_on_another_processor_a_change_is_found_that_another_seed_would_not_make(recorded, audit, change, caught):
    alter(recorded[0], change, host="Linux, another CPU")
    agreed = audit((0.2, 2))
    if caught:
        with pytest.raises(AuditError, match="another CPU"):
            sweep(trial, GRID, SEEDS, run=RUN)
    else:
        sweep(trial, GRID, SEEDS, run=RUN)
        assert json.loads(agreed.read_text())[3] > 1e-3  # how far apart is noted


def test_where_several_seeds_agree_another_configuration_that_varies_allows_nothing(recorded, audit):
    path, _ = recorded
    for row in (3, 5):
        alter(path, lambda metrics: metrics.update(loss=0.1), row)
    alter(path, lambda metrics: metrics.update(loss=0.11), 4, host="Linux, another CPU")
    for row in (0, 1):
        alter(path, lambda metrics: metrics.update(loss=1000.0), row)
    audit((0.2, 2))
    with pytest.raises(AuditError, match="loss was recorded as 0.11 "):
        sweep(trial, GRID, SEEDS, run=RUN)


@pytest.mark.parametrize(
    ("kept", "factor", "caught"),
    [
        ([0, 1, 2, 4, 5], 1.05, False),  # one other seed has no range, but the other configuration shows one
        ([0, 1, 2, 4], 1.05, False),  # no other seed
        ([0, 1, 2, 4], 10, True),
        ([0, 4], 1.05, True),  # no configuration shows a range
        ([0, 4], 1.01, False),
    ],
)
def test_where_two_seeds_or_one_were_run_the_range_is_that_of_all_configurations(recorded, audit, kept, factor, caught):
    path, _ = recorded
    alter(path, scale_loss(factor), host="Linux, another CPU")
    pd.read_parquet(path).loc[kept].to_parquet(path)
    audit((0.2, 2))
    only = {"lr": [0.2]}, [2]  # the other rows are another sweep's
    if caught:
        with pytest.raises(AuditError, match="another CPU"):
            sweep(trial, *only, run=RUN)
    else:
        sweep(trial, *only, run=RUN)


@pytest.mark.parametrize(
    "change",
    [
        lambda metrics: metrics["curve"].__setitem__(2, 0.42),
        lambda metrics: metrics["curve"].append(0.6),
        lambda metrics: metrics.update(nothing=0.0),
        lambda metrics: metrics.update(extra=1.0),
        lambda metrics: metrics.pop("loss"),
    ],
)
def test_a_false_point_length_nan_or_name_is_found(recorded, audit, change):
    alter(recorded[0], change)
    audit((0.2, 2))
    with pytest.raises(AuditError):
        sweep(trial, GRID, SEEDS, run=RUN)


def test_an_audit_computes_nothing_that_was_not_asked_for(recorded, audit):
    audit((0.2, 2))
    with pytest.raises(NotRecorded, match="2 of 8 trials"):
        sweep(trial, GRID, [1, 2, 3, 4], run=RUN)
    assert CALLS == []


def test_the_tolerances_stay_below_the_change_that_must_be_caught():
    assert record.SAME_HOST[0] < record.OTHER_HOST[0] < 0.05 / 1.05
