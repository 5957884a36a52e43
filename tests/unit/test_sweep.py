"""A sweep is a tidy table that does not depend on the workers, and at full scale resumes."""

import os
import sqlite3
import time

import joblib
import numpy as np
import pandas as pd
import pytest
import torch

from reprolib.scale import Run
from reprolib.sweep import by_arm, sweep

CALLS = []


def trial(config, seed):
    CALLS.append((config["lr"], seed))
    return {"loss": torch.rand(()).item() * config["lr"], "curve": np.arange(3) * config["lr"]}


def where(config, seed):
    time.sleep(0.05)
    return {"pid": os.getpid()}


def other_trial(config, seed):
    return {"loss": 1.0 + seed}


def run(scale="small"):
    return Run("demo", scale, 0, torch.device("cpu"), False, None)


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    CALLS.clear()
    monkeypatch.setenv("REPROLIB_STORE", str(tmp_path / "store"))
    monkeypatch.delenv("REPROLIB_JOBS", raising=False)
    return tmp_path / "store"


def test_the_table_has_a_row_a_trial_in_order():
    table = sweep(trial, {"lr": [0.1, 0.2], "width": 8}, [3, 4], run=run())
    assert table[["lr", "width", "seed"]].values.tolist() == [
        [0.1, 8, 3],
        [0.1, 8, 4],
        [0.2, 8, 3],
        [0.2, 8, 4],
    ]
    assert table.curve[3] == [0, 0.2, 0.4] and (table.seconds > 0).all()


def test_two_workers_give_the_same_bits_as_one(monkeypatch):
    alone = sweep(trial, {"lr": [0.1, 0.2]}, [1, 2], run=run())
    monkeypatch.setenv("REPROLIB_JOBS", "2")
    shared = sweep(trial, {"lr": [0.1, 0.2]}, [1, 2], run=run())
    assert os.getpid() not in set(sweep(where, {}, range(4), run=run())["pid"])
    with joblib.parallel_config(backend="threading", n_jobs=1):
        configured = sweep(trial, [{"lr": 0.1}, {"lr": 0.2}], [1, 2], run=run())
    with joblib.parallel_config(backend="threading", n_jobs=4):  # threads share the random state that trials seed
        threads = sweep(trial, {"lr": [0.1, 0.2]}, [1, 2], run=run())
    with joblib.parallel_config(backend="multiprocessing", n_jobs=2):  # gives no results as they come
        rounds = sweep(trial, {"lr": [0.1, 0.2]}, [1, 2], run=run("full"))
    for table in (shared, configured, threads, rounds):
        pd.testing.assert_frame_equal(alone.drop(columns="seconds"), table.drop(columns="seconds"))


def test_small_scale_computes_every_time_and_stores_nothing(store):
    for _ in range(2):
        sweep(trial, {"lr": [0.1]}, [1], run=run())
    assert len(CALLS) == 2 and not store.exists()


def test_full_scale_resumes_and_a_changed_trial_starts_anew():
    first = sweep(trial, {"lr": [0.1]}, [1, 2], run=run("full"))
    again = sweep(trial, {"lr": [0.1]}, [1, 2, 3], run=run("full"))
    assert CALLS == [(0.1, 1), (0.1, 2), (0.1, 3)]
    pd.testing.assert_frame_equal(first, again.head(2))
    assert sweep(other_trial, {"lr": [0.1]}, [1], run=run("full")).loss[0] == 2.0


def test_what_was_finished_before_a_failure_is_kept():
    def fails(config, seed):
        if seed == 2:
            raise RuntimeError("killed")
        CALLS.append(seed)
        return {"loss": 0.0}

    for _ in range(2):
        with pytest.raises(RuntimeError, match="killed"):
            sweep(fails, {"lr": [0.1]}, [1, 2], run=run("full"))
    assert CALLS == [1]


def test_the_record_has_every_trial_once(tmp_path, monkeypatch, store):
    record = tmp_path / "record" / "demo.parquet"
    monkeypatch.setenv("REPROLIB_RECORD", str(record))
    for _ in range(2):
        sweep(trial, {"lr": [0.1, 0.2]}, [1], run=run("full"))
    table = pd.read_parquet(record)
    assert len(table) == 2 and set(table.columns) >= {
        "trial",
        "config",
        "seed",
        "metrics",
        "seconds",
        "science",
        "host",
    }
    with sqlite3.connect(store / "demo.sqlite") as db:
        assert db.execute("SELECT count(*) FROM trials").fetchone() == (2,)


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_the_environment_can_name_the_backend(monkeypatch, n_jobs):
    monkeypatch.setenv("REPROLIB_BACKEND", "threading")
    monkeypatch.setenv("REPROLIB_JOBS", str(n_jobs))
    assert sweep(where, {}, range(4), run=run())["pid"].tolist() == [os.getpid()] * 4


def test_the_progress_bar_counts_what_was_stored_and_goes_to_stderr(capfd):
    sweep(where, {}, [1, 2], run=run("full"))
    sweep(where, {}, [1, 2, 3], run=run("full"))
    seen = capfd.readouterr()
    assert "demo: where:  67%" in seen.err and "2/3" in seen.err and seen.out == ""


@pytest.mark.parametrize(
    ("grid", "seeds", "sentence"),
    [
        ({"lr": []}, [1], "at least one configuration"),
        ({"lr": 1}, [], "one seed"),
        ({"lr": 1}, [1, 1], "seed twice"),
    ],
)
def test_an_empty_or_doubled_sweep_is_an_error(grid, seeds, sentence):
    with pytest.raises(ValueError, match=sentence):
        sweep(trial, grid, seeds, run=run())


def test_a_metric_that_is_no_number_is_named():
    with pytest.raises(ValueError, match="metric 'note'"):
        sweep(lambda config, seed: {"note": "fine"}, {"lr": 1}, [1], run=run())


def arms(config, seed):
    return {f"{name}, {arm}": seed + 10 * k + len(name) for k, arm in enumerate(config["arms"]) for name in ("a", "bc")}


def test_each_arm_of_a_trial_gets_a_row_of_its_own():
    grid = [{"lr": 0.1, "arms": ["old", "new"]}, {"lr": 0.2, "arms": ["new, twice", "new"]}]
    table = by_arm(sweep(arms, grid, [3, 4], run=run()), "arms", "arm")
    assert "arms" not in table and (table.seconds > 0).all()
    assert table[["lr", "seed", "arm", "a", "bc"]].values.tolist() == [
        [0.1, 3, "old", 4, 5],
        [0.1, 3, "new", 14, 15],
        [0.1, 4, "old", 5, 6],
        [0.1, 4, "new", 15, 16],
        [0.2, 3, "new, twice", 4, 5],
        [0.2, 3, "new", 14, 15],
        [0.2, 4, "new, twice", 5, 6],
        [0.2, 4, "new", 15, 16],
    ]
