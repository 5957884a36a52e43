"""An audit draws anew each time, stays in its time, and finds a number that was changed in a record."""

import json

import numpy as np
import pandas as pd
import pytest

from reprolib.book import run as engine
from reprolib.book.audit import START, audit, draw
from reprolib.book.chapter import chapters

CHAPTER = """# ---
# jupyter:
#   kernelspec: {display_name: Python 3, language: python, name: python3}
#   chapter: {slug: demo, part: variance}
# ---

# %% tags=["parameters"]
scale: str = "small"  # small | full
seed: int = 0
device: str = "auto"
dry_run: bool = False

# %%
import os
from dataclasses import dataclass

import torch

from reprolib.data.sources import not_found
from reprolib.scale import start
from reprolib.sweep import sweep


@dataclass(frozen=True)
class Settings:
    seeds: int


run = start("demo", {"small": Settings(1), "full": Settings(4)}, dry={}, scale=scale, seed=seed, dry_run=dry_run)


# %%
def trial(config, seed):
    if os.environ.get("DEMO_IS_GONE"):
        raise not_found("Demo", ["its place"], "bring it back.")
    return {"loss": config["lr"] + torch.rand(()).item()}


table = sweep(trial, {"lr": [1, 2]}, run.seeds(run.settings.seeds), run=run)
print(len(table))
"""


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    """A book with one chapter whose full run was recorded."""
    root = tmp_path_factory.mktemp("book")
    path = root / "chapters" / "variance" / "demo.py"
    path.parent.mkdir(parents=True)
    (root / "book").mkdir()
    path.write_text(CHAPTER)
    [result] = engine.run(engine.plan(chapters(root), {"scale": "full"}), 1)
    assert not result.error, result.traceback
    return root


def record(root):
    return root / "book" / "full" / "variance" / "demo.parquet"


def test_an_audit_of_a_true_record_agrees_and_prints_its_seed_and_its_odds(book, capsys):
    found = audit(chapters(book), minutes=1)
    assert (found.trials, found.agreed, found.worst, found.failures, found.notices) == (8, 8, 0.0, [], [])
    printed = capsys.readouterr().out
    assert f"seed {found.seed}: 8 of 8" in printed and "100%" in printed
    assert not list((book / "book").rglob("*.agreed"))


def test_an_audit_finds_one_cell_that_was_changed_by_five_percent(book):
    true = record(book).read_bytes()
    table = pd.read_parquet(record(book))
    metrics = json.loads(table.loc[5, "metrics"])
    table.loc[5, "metrics"] = json.dumps({"loss": metrics["loss"] * 1.05})
    table.to_parquet(record(book), index=False)
    try:
        found = audit(chapters(book), minutes=1)
    finally:
        record(book).write_bytes(true)
    assert len(found.failures) == 1
    assert all(text in found.failures[0] for text in ("demo: trial", '{"lr": 2}', "seed 1", "loss", "AuditError"))


def test_trials_of_another_processor_are_drawn_where_there_are_seeds_enough_to_tell_chance(book):
    true = record(book).read_bytes()
    table = pd.read_parquet(record(book)).assign(host="Linux, another CPU")
    try:
        table.to_parquet(record(book), index=False)
        four = audit(chapters(book), minutes=1)
        table.drop(0).to_parquet(record(book), index=False)
        three = audit(chapters(book), minutes=1, seed=0)
    finally:
        record(book).write_bytes(true)
    assert (four.agreed, four.failures, four.notices) == (8, [], [])
    assert three.trials == 7 and three.notices[0].startswith("3 trials were not drawn: another processor")


def test_data_that_are_not_on_this_machine_are_a_notice(book, monkeypatch):
    monkeypatch.setenv("DEMO_IS_GONE", "1")
    found = audit(chapters(book), minutes=1)
    assert (found.agreed, found.failures) == (0, [])
    [notice] = found.notices
    assert notice.startswith("demo could not be audited on this machine: DataNotFound: Demo was not found in its place")


def test_a_record_of_other_code_is_a_notice_and_a_trial_of_no_sweep_a_failure(book):
    true = record(book).read_bytes()
    table = pd.read_parquet(record(book))
    try:
        table.assign(science="0" * 16).to_parquet(record(book), index=False)
        old = audit(chapters(book), minutes=1)
        stray = table.assign(config='{"lr": 3}', seed=9).head(1)
        pd.concat([table, stray]).to_parquet(record(book), index=False)
        more = audit(chapters(book), minutes=1)
    finally:
        record(book).write_bytes(true)
    assert old.trials == 0 and not old.failures and "recorded before" in old.notices[0]
    assert more.agreed == 8 and "1 recorded trials are of no sweep" in more.failures[0]


def trials(chapters=5, each=40, seconds=2.0):
    return pd.DataFrame({"slug": np.repeat([f"c{i}" for i in range(chapters)], each), "seconds": seconds})


def cost(drawn):
    return drawn["seconds"].sum() + START * drawn["slug"].nunique()


def test_a_draw_fills_its_time_and_never_more():
    assert 198 <= cost(draw(trials(each=200), 200, 1, seed=1)) <= 200
    both = draw(trials(chapters=2, each=200), 200, 2, seed=1).groupby("slug")["seconds"].sum()
    assert (both + START <= 200).all() and both.sum() + 2 * START >= 396
    assert draw(trials(seconds=1000.0), 200, 1, seed=1).empty


def test_a_draw_spends_most_of_its_time_on_trials_however_many_chapters_there_are():
    drawn = draw(trials(chapters=56), 600, 2, seed=1)
    assert drawn["seconds"].sum() >= 0.75 * 1200


def test_a_draw_is_anew_for_every_seed_and_gives_every_trial_the_same_chance():
    table = trials()
    assert draw(table, 200, 1, 1).equals(draw(table, 200, 1, 1)) and not draw(table, 200, 1, 1).equals(
        draw(table, 200, 1, 2)
    )
    counts = np.zeros(len(table))
    for seed in range(400):
        counts[draw(table, 100, 1, seed).index] += 1
    share = counts / 400
    assert share.mean() > 0.1 and abs(share - share.mean()).max() < 5 * np.sqrt(share.mean() / 400)
