"""The store keeps finished trials apart by all that they depend on, and never destroys a file that is not its own."""

import json
import sqlite3

import pytest

from reprolib import store as module
from reprolib.store import Row, Store, clear, config_json, runs

ROW = Row({"loss": 0.1 + 0.2, "curve": [1.0, float("nan")]}, 1.5, "here")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("REPROLIB_STORE", str(tmp_path))
    return tmp_path


def test_a_row_comes_back_with_the_same_bits_and_carries_what_identifies_it(folder):
    with Store("demo", "train", "abc") as store:
        assert store.plan([({"lr": 0.1}, 3)]) == {}
        store.save({"lr": 0.1}, 3, ROW)
    with Store("demo", "train", "abc") as store:
        back = store.plan([({"lr": 0.2}, 3), ({"lr": 0.1}, 3)])
    assert list(back) == [1] and repr(back[1]) == repr(ROW)
    with sqlite3.connect(folder / "demo.sqlite") as db:
        db.row_factory = sqlite3.Row
        row = dict(db.execute("SELECT * FROM trials WHERE metrics IS NOT NULL").fetchone())
        assert db.execute("PRAGMA user_version").fetchone()[0] == 1
        assert db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert (row["slug"], row["trial"], row["config"], row["seed"], row["seconds"], row["host"]) == (
        "demo", "train", '{"lr": 0.1}', 3, 1.5, "here",
    )  # fmt: skip
    assert json.loads(row["versions"])["torch"].count(".") == 1 and row["finished"].endswith("+00:00")


@pytest.mark.parametrize(
    "other", [("test", "abc", 0.1, 3), ("train", "abd", 0.1, 3), ("train", "abc", 0.2, 3), ("train", "abc", 0.1, 4)]
)
def test_another_trial_code_configuration_or_seed_is_another_row(other):
    with Store("demo", "train", "abc") as store:
        store.save({"lr": 0.1}, 3, ROW)
    trial, science, lr, seed = other
    with Store("demo", trial, science) as store:
        assert store.plan([({"lr": lr}, seed)]) == {}
        assert store.checkpoint({"lr": 0.1}, 3) != store.checkpoint({"lr": lr}, 4)


def test_a_new_minor_version_of_torch_is_another_row_and_another_checkpoint(monkeypatch):
    with Store("demo", "train", "abc") as store:
        store.save({"lr": 0.1}, 3, ROW)
        before = store.checkpoint({"lr": 0.1}, 3)
        monkeypatch.setattr(module, "versions", lambda: '{"torch": "9.9"}')
        assert store.plan([({"lr": 0.1}, 3)]) == {} and store.checkpoint({"lr": 0.1}, 3) != before


def test_runs_count_what_is_done_of_what_was_planned_and_clear_removes_it(folder):
    assert runs().empty and clear("demo") == 0 and not list(folder.iterdir())
    for slug in ("demo", "other"):
        with Store(slug, "train", "abc") as store:
            store.plan([({"lr": 0.1}, seed) for seed in range(3)])
            store.save({"lr": 0.1}, 1, ROW)
            store.save({"lr": 0.1}, 2, ROW)
            place = store.checkpoint({"lr": 0.1}, 0).with_suffix(".0.pt")
            place.parent.mkdir(exist_ok=True)
            place.touch()
    table = runs()
    assert table[["slug", "trial", "done", "total", "seconds", "host"]].values.tolist() == [
        ["demo", "train", 2, 3, 3.0, "here"],
        ["other", "train", 2, 3, 3.0, "here"],
    ]
    assert clear("demo") == 2
    assert runs()["slug"].tolist() == ["other"]
    assert [path.name.split("-")[0] for path in (folder / "checkpoints").iterdir()] == ["other"]


def test_a_configuration_that_is_no_plain_data_is_named():
    with pytest.raises(ValueError, match="plain data.*object"):
        config_json({"lr": object()})
