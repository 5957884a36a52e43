"""A dask cluster gives the bits of a serial run, also when one of its workers is killed."""

import multiprocessing
import os
import signal
import socket
import threading
import time
from pathlib import Path

import joblib
import pandas as pd
import pytest
import torch

from reprolib.scale import Run
from reprolib.store import runs
from reprolib.sweep import parallel_from, sweep

distributed = pytest.importorskip("distributed")
FULL, SMALL = (Run("demo", scale, 0, torch.device("cpu"), False, None) for scale in ("full", "small"))
GRID, SEEDS = {"size": [5, 50]}, range(4)


def trial(config, seed):
    """Kills its worker once where `home` is given; else only computes, with a pause in which others run."""
    if seed == 2 and config.get("home") and multiprocessing.parent_process():
        marker = Path(config["home"]) / "killed"
        if not marker.exists():
            marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
    first = torch.rand(())
    time.sleep(0.05)
    x = torch.randn(config["size"], config["size"])
    return {"first": first.item(), "norm": torch.linalg.matrix_norm(x @ x, 2).item(), "curve": x[0].tolist()}


def where(config, seed):
    time.sleep(0.1)
    return {"pid": os.getpid()}


@pytest.fixture(scope="module")
def address():
    """A scheduler on a port of its own with two worker processes, each with two threads that share random states."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=2, scheduler_port=port, dashboard_address=None, silence_logs=50
    ) as cluster:
        assert cluster.scheduler_address.endswith(f":{port}") and port != 8786
        yield cluster.scheduler_address


@pytest.fixture(autouse=True)
def store(tmp_path, monkeypatch):
    monkeypatch.setenv("REPROLIB_STORE", str(tmp_path / "store"))
    for name in ("REPROLIB_JOBS", "REPROLIB_BACKEND", "REPROLIB_ADDRESS", "REPROLIB_RECORDED", "REPROLIB_RECORD"):
        monkeypatch.delenv(name, raising=False)


def same(a, b):
    pd.testing.assert_frame_equal(a.drop(columns="seconds"), b.drop(columns="seconds"))


def test_a_cluster_gives_the_bits_of_a_serial_run(address):
    with parallel_from("dask", address):
        spread = sweep(trial, GRID, SEEDS, run=SMALL)
    same(spread, sweep(trial, GRID, SEEDS, run=SMALL))


def test_a_notebook_finds_the_cluster_through_its_environment(address, monkeypatch):
    monkeypatch.setenv("REPROLIB_BACKEND", "dask")
    monkeypatch.setenv("REPROLIB_ADDRESS", address)
    pids = set(sweep(where, {}, range(8), run=SMALL)["pid"])
    assert len(pids) == 2 and os.getpid() not in pids
    with joblib.parallel_config(backend="threading", n_jobs=2):  # what the notebook itself says goes first
        assert set(sweep(where, {}, range(2), run=SMALL)["pid"]) == {os.getpid()}


def test_a_trial_defined_in_a_notebook_reaches_the_workers(address):
    offset = 0.5

    def local(config, seed):  # no module to import it from, as in a notebook
        return {"x": torch.rand(()).item() + offset}

    with parallel_from("dask", address):
        spread = sweep(local, {}, SEEDS, run=SMALL)
    same(spread, sweep(local, {}, SEEDS, run=SMALL))


def test_two_sweeps_share_a_cluster(address):
    tables = {}

    def one(name):
        with parallel_from("dask", address):
            tables[name] = sweep(trial, GRID, SEEDS, run=SMALL)

    threads = [threading.Thread(target=one, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    same(tables["a"], tables["b"])


def test_trials_of_a_worker_that_is_killed_are_retried_with_the_same_bits(address, tmp_path):
    grid = GRID | {"home": str(tmp_path)}
    with parallel_from("dask", address):
        spread = sweep(trial, grid, SEEDS, run=FULL)
    assert (tmp_path / "killed").exists() and runs()["done"].tolist() == [8]
    same(spread, sweep(trial, grid, SEEDS, run=SMALL))


def test_a_scheduler_without_an_address_is_one_sentence():
    with pytest.raises(ValueError, match="scheduler's address, such as tcp://"), parallel_from("dask"):
        pass
