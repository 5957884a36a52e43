"""What breaks costs the trial that was running and nothing else, and is said in one sentence.

Children are forked, so that a kill -9 costs milliseconds and not another import of torch.
"""

import json
import multiprocessing
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import time
from contextlib import suppress
from pathlib import Path

import pandas as pd
import psutil
import pytest
import torch

from reprolib.checkpoint import Checkpoint, resume
from reprolib.scale import Run
from reprolib.store import Row, Store, StoreError, runs
from reprolib.sweep import sweep

FORK = multiprocessing.get_context("fork")
FULL, SMALL = (Run("demo", scale, 0, torch.device("cpu"), False, None) for scale in ("full", "small"))


def trial(config, seed):
    """Notes each call in a file; `hang`, `die` and `epochs` make trouble, once."""
    home = Path(config["home"])
    with (home / "calls").open("a") as calls:
        calls.write(f"{seed}\n")
    trouble = home / f"trouble-{seed}"
    if seed == config.get("trouble") and not trouble.exists():
        trouble.touch()
        if config.get("die"):
            time.sleep(0.5)
            os.kill(os.getpid(), signal.SIGKILL)  # what the kernel does to a process that takes too much memory
        time.sleep(60)
    time.sleep(config.get("sleep", 0))
    return {"x": torch.rand(()).item(), "curve": torch.rand(config.get("size", 3)).tolist()}


def epochs(config, seed):
    losses = []
    for epoch in resume(6, losses=losses):
        with (Path(config["home"]) / "epochs").open("a") as file:
            file.write(f"{epoch}\n")
        losses.append(torch.rand(()).item())
        if epoch == 3 and not (Path(config["home"]) / "killed").exists():
            (Path(config["home"]) / "killed").touch()
            os.kill(os.getpid(), signal.SIGKILL)
    return {"losses": losses}


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("REPROLIB_STORE", str(tmp_path / "store"))
    for name in ("REPROLIB_JOBS", "REPROLIB_BACKEND", "REPROLIB_RECORD", "REPROLIB_RECORDED", "REPROLIB_AUDIT"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def listening(target, args, kwargs):
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs start with it ignored
    target(*args, **kwargs)


def child(target, *args, **kwargs):
    process = FORK.Process(target=listening, args=(target, args, kwargs))
    process.start()
    return process


def wait_for(path, seconds=30):
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, f"{path.name} never came"
        time.sleep(0.01)


def called(home):
    return [int(line) for line in (home / "calls").read_text().split()]


def same(a, b):
    pd.testing.assert_frame_equal(a.drop(columns="seconds"), b.drop(columns="seconds"))


@pytest.mark.parametrize("kind", [signal.SIGKILL, signal.SIGINT])
def test_a_kill_or_an_interrupt_during_a_trial_loses_that_trial_only(home, kind):
    config = {"home": str(home), "trouble": 3}
    process = child(sweep, trial, config, [1, 2, 3, 4], run=FULL)
    wait_for(home / "trouble-3")
    os.kill(process.pid, kind)
    process.join(10)
    assert process.exitcode not in (0, None)
    assert runs().loc[0, ["done", "total"]].tolist() == [2, 4]
    table = sweep(trial, config, [1, 2, 3, 4], run=FULL)
    assert called(home) == [1, 2, 3, 3, 4]
    same(table, sweep(trial, config, [1, 2, 3, 4], run=SMALL))


def sleepy(config, seed):
    (Path(config["home"]) / f"worker-{os.getpid()}").touch()
    time.sleep(60)
    return {"x": 0.0}


def test_workers_end_when_the_run_that_started_them_is_killed(home, monkeypatch):
    monkeypatch.setenv("REPROLIB_JOBS", "2")
    process = child(sweep, sleepy, {"home": str(home)}, [1, 2], run=FULL)
    end = time.monotonic() + 60
    while len(workers := [int(path.name.split("-")[1]) for path in home.glob("worker-*")]) < 2:
        assert time.monotonic() < end, "two workers never came"
        time.sleep(0.05)
    process.kill()
    end = time.monotonic() + 10
    while any(psutil.pid_exists(pid) for pid in workers):
        assert time.monotonic() < end, "a worker outlived its run"
        time.sleep(0.05)


def test_a_kill_during_training_loses_the_epoch_under_way_only_and_changes_no_bit(home):
    process = child(sweep, epochs, {"home": str(home)}, [7], run=FULL)
    process.join(30)
    assert process.exitcode == -signal.SIGKILL
    assert len(list((home / "store" / "checkpoints").glob("*.pt"))) == 1
    table = sweep(epochs, {"home": str(home)}, [7], run=FULL)
    assert (home / "epochs").read_text().split() == list("0123345")
    assert not list((home / "store" / "checkpoints").iterdir()), "a finished trial keeps no checkpoint"
    same(table, sweep(epochs, {"home": str(home)}, [7], run=SMALL))


def save_rows(home):
    with Store("demo", "trial", "abc") as store, (home / "saved").open("a", buffering=1) as saved:
        for seed in range(10**6):
            store.save({"lr": 1}, seed, Row({"curve": [float(seed)] * 500}, 1.0, "here"))
            saved.write(f"{seed}\n")


def save_states(home):
    checkpoint = Checkpoint(home / "state.pt")
    with (home / "saved").open("a", buffering=1) as saved:
        for epoch in range(10**6):
            checkpoint.save({"epoch": epoch, "weight": torch.full((200, 200), float(epoch))})
            saved.write(f"{epoch}\n")


@pytest.mark.parametrize("writer", [save_rows, save_states])
def test_a_kill_during_a_write_leaves_everything_that_was_written_before(home, writer):
    for _ in range(6):
        (home / "saved").unlink(missing_ok=True)
        process = child(writer, home)
        wait_for(home / "saved")
        time.sleep(random.uniform(0.02, 0.12))
        process.kill()
        process.join(10)
        reported = [int(line) for line in (home / "saved").read_text().split()]
        if writer is save_rows:
            with Store("demo", "trial", "abc") as store:
                assert len(store.plan([({"lr": 1}, seed) for seed in reported])) == len(reported)
        elif reported:
            state = Checkpoint(home / "state.pt").load()
            assert state["epoch"] >= reported[-1] and (state["weight"] == state["epoch"]).all()
    assert not list((home / "store").glob("*.aside-*")) if writer is save_rows else not list(home.glob("*.aside-*"))


@pytest.fixture
def small_disk(home):
    """A file system of 512 kB, and a file on it that takes most of them."""
    disk = home / "disk"
    disk.mkdir()
    if (
        not shutil.which("mount")
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", disk], capture_output=True).returncode
    ):
        pytest.skip("a small file system cannot be mounted here")
    yield disk
    subprocess.run(["umount", "-l", disk], check=True)


def fill(disk):
    with suppress(OSError), (disk / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))


def test_a_disk_that_fills_up_costs_no_result_and_is_said_once(home, small_disk, monkeypatch, capfd):
    monkeypatch.setenv("REPROLIB_STORE", str(small_disk / "store"))
    config = {"home": str(home), "size": 2000}  # some 40 kB a row
    table = sweep(trial, config, range(20), run=FULL)
    said = capfd.readouterr().err
    assert said.count("takes no more trials (database or disk is full)") == 1
    assert said.count("finished trials of demo are not stored") == 1
    same(table, sweep(trial, config, range(20), run=SMALL))
    kept = int(runs().loc[0, "done"])
    assert 0 < kept < 20
    monkeypatch.setenv("REPROLIB_RECORD", str(small_disk / "demo.parquet"))
    fill(small_disk)
    sweep(trial, config, range(kept), run=FULL)
    assert "could not be recorded" in capfd.readouterr().err


def test_rows_that_found_no_room_are_written_when_there_is_room_again(small_disk, capfd):
    with Store("demo", "trial", "abc", small_disk / "store") as store:
        fill(small_disk)
        row = Row({"curve": [0.123456789] * 3000}, 1.0, "here")
        assert [store.save({}, seed, row) for seed in (1, 2)] == [False, False]
        (small_disk / "filler").unlink()
        assert store.save({}, 3, row)
        assert len(store.plan([({}, seed) for seed in (1, 2, 3)])) == 3
    assert capfd.readouterr().err.count("takes no more trials") == 1


def test_a_full_disk_stops_a_sweep_before_it_starts_and_training_not_at_all(small_disk, capfd):
    fill(small_disk)
    with pytest.raises(StoreError, match="make room there, or name another folder"):
        Store("demo", "trial", "abc", small_disk / "store")
    Checkpoint(small_disk / "state.pt").save({"weight": torch.zeros(500, 500)})
    assert capfd.readouterr().err.count("No checkpoint was written") == 1
    assert [path.name for path in small_disk.iterdir() if path.is_file()] == ["filler"]


def table_to(path, config):
    sweep(trial, config, range(6), run=FULL).to_pickle(path)


def test_two_runs_of_a_chapter_at_once_agree_and_store_each_trial_once(home):
    config = {"home": str(home), "sleep": 0.02, "size": 2000}
    processes = [child(table_to, home / name, config) for name in ("a", "b")]
    for process in processes:
        process.join(30)
    assert [process.exitcode for process in processes] == [0, 0]
    same(pd.read_pickle(home / "a"), pd.read_pickle(home / "b"))
    assert runs()["done"].tolist() == [6]


def newer(path):
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE trials (key TEXT, more TEXT)")
        db.execute("INSERT INTO trials VALUES ('precious', 'row')")
        db.execute("PRAGMA user_version = 2")


def foreign(path):
    with sqlite3.connect(path) as db:
        db.execute("CREATE TABLE photographs (name TEXT)")
        db.execute("INSERT INTO photographs VALUES ('precious')")


def text(path):
    path.write_text("precious letters, no database" * 100)


def damaged(path):
    with Store("demo", "trial", "abc", path.parent) as store:
        for seed in range(50):
            store.save({}, seed, Row({"curve": [1.0 + seed] * 300}, 1.0, "precious"))
    with path.open("r+b") as file:
        file.seek(8192)
        file.write(b"\xff" * 20000)


def cut_off(path):
    damaged(path)
    os.truncate(path, 9000)


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (newer, "newer reprolib"),
        (foreign, "not a store of this reprolib"),
        (text, "is damaged (file is not a database)"),
        (damaged, "is damaged"),
        (cut_off, "is damaged"),
    ],
)
def test_a_file_that_is_no_store_of_ours_is_set_aside_with_one_sentence(home, capfd, make, why):
    path = home / "store" / "demo.sqlite"
    path.parent.mkdir()
    make(path)
    content = path.read_bytes()
    assert b"precious" in content or make is cut_off
    processes = [child(table_to, home / name, {"home": str(home)}) for name in ("a", "b")]  # both find it
    for process in processes:
        process.join(30)
    said = capfd.readouterr().err
    assert said.count("set aside") == 1 and why in said
    assert (path.parent / "demo.sqlite.aside-1").read_bytes() == content
    assert runs()["done"].tolist() == [6] and not list(path.parent.glob("*aside-2*"))


def test_a_store_that_is_set_aside_takes_its_log_along(home):
    with sqlite3.connect(home / "demo.sqlite") as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("CREATE TABLE photographs (name TEXT)")
        db.execute("INSERT INTO photographs VALUES ('precious')")
        db.commit()
        for end in ("", "-wal"):  # as a kill leaves it: the rows are in the log only
            (home / "store").mkdir(exist_ok=True)
            shutil.copy(home / f"demo.sqlite{end}", home / "store" / f"demo.sqlite{end}")
    Store("demo", "trial", "abc").db.close()
    with sqlite3.connect(home / "store" / "demo.sqlite.aside-1") as db:
        assert db.execute("SELECT name FROM photographs").fetchall() == [("precious",)]


def test_a_worker_that_is_killed_for_its_memory_is_said_and_the_same_command_goes_on(home, monkeypatch):
    monkeypatch.setenv("REPROLIB_JOBS", "2")
    config = {"home": str(home), "trouble": 3, "die": True}
    with pytest.raises(RuntimeError, match="a worker of demo was killed.*the same command goes on.*REPROLIB_JOBS"):
        sweep(trial, config, range(6), run=FULL)
    before = called(home)
    monkeypatch.setenv("REPROLIB_JOBS", "1")
    table = sweep(trial, config, range(6), run=FULL)
    again = called(home)[len(before) :]
    assert 3 in again and len(again) <= 4, "what was finished is not computed again"
    same(table, sweep(trial, config, range(6), run=SMALL))


def test_a_dry_run_never_touches_the_store(home):
    sweep(trial, {"home": str(home)}, [1], run=Run("demo", "full", 0, torch.device("cpu"), True, None))
    assert not (home / "store").exists()


def test_stored_metrics_are_plain_json(home):
    sweep(trial, {"home": str(home)}, [1], run=FULL)
    with sqlite3.connect(home / "store" / "demo.sqlite") as db:
        assert set(json.loads(db.execute("SELECT metrics FROM trials").fetchone()[0])) == {"x", "curve"}
