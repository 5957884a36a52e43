"""Compute a fresh random sample of recorded trials again, inside their chapters, and compare it with the record."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from reprolib.book import digest, run
from reprolib.book.chapter import Chapter
from reprolib.record import OTHER_HOST
from reprolib.store import host

SEEDS = 4  # of a configuration, for a trial that another processor recorded: fewer say too little about chance
START = 15.0  # seconds that a chapter's notebook takes around its trials
SHARE = 0.2  # of the time may go into starting chapters; it decides how many are drawn


@dataclass
class Audit:
    """What an audit found.

    Attributes:
        seed: draws the same sample again.
        trials: recorded trials that the code of now has made.
        agreed: those that were computed again and agreed.
        worst: largest relative difference among them.
        failures: a sentence for each chapter whose record is wrong or whose notebook failed.
        notices: a sentence for each chapter that could not be audited: other code, or data that are not here.
    """

    seed: int
    trials: int = 0
    agreed: int = 0
    worst: float = 0.0
    failures: list[str] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)


def audit(chapters: Sequence[Chapter], minutes: float = 10, seed: int | None = None) -> Audit:
    """Draw recorded trials of all chapters at random, compute them again and compare.

    Args:
        chapters: those to draw from; the ones without a record are passed over.
        minutes: for all chapters together, by the seconds in the record.
        seed: of the draw; a fresh one where none is given. It is printed.
    """
    result = Audit(secrets.randbelow(2**32) if seed is None else seed)
    by_slug = {chapter.slug: chapter for chapter in chapters}
    recorded = [_recorded(chapter, result) for chapter in chapters]
    table = pd.concat([t for t in recorded if t is not None] or [pd.DataFrame()], ignore_index=True)
    result.trials = len(table)
    if len(table):
        few = table.groupby(["slug", "trial", "config"])["seed"].transform("size") < SEEDS
        far = few & (table["host"] != host())
        table = table[~far].reset_index(drop=True)
        if far.any():
            result.notices.append(
                f"{far.sum()} trials were not drawn: another processor or "
                f"other instructions recorded them, with fewer than {SEEDS} seeds."
            )
    workers = os.cpu_count() or 1
    drawn = draw(table, 60 * minutes, workers, result.seed) if len(table) else table
    print(
        f"Audit with seed {result.seed}: {len(drawn)} of {len(table)} recorded trials. "
        f"One false trial is found with a probability of {len(drawn) / max(len(table), 1):.0%}."
    )
    jobs = [_job(by_slug[slug], rows) for slug, rows in drawn.groupby("slug", sort=False)] if len(drawn) else []
    for done in run.run(jobs, min(workers, len(jobs)) or 1):
        _judge(done, drawn[drawn["slug"] == done.chapter.slug], result)
    return result


def draw(table: pd.DataFrame, seconds: float, workers: int, seed: int) -> pd.DataFrame:
    """Return random trials of random chapters, as many as fit.

    Args:
        table: recorded trials with the columns ``slug`` and ``seconds``.
        seconds: for all, when `workers` chapters run at once; a chapter's own trials run one after the other.
        workers: chapters at once.
        seed: of both orders.
    """
    rng = np.random.default_rng(seed)
    slugs = rng.permutation(sorted(set(table["slug"])))[: max(1, int(SHARE * seconds * workers / START))]
    chosen, spent = [], dict.fromkeys(slugs.tolist(), 0.0)
    trials = list(zip(table["slug"], table["seconds"], strict=True))
    for i in rng.permutation(len(trials)):
        slug, cost = trials[i]
        if slug not in spent:
            continue
        cost += 0 if spent[slug] else START
        if spent[slug] + cost <= seconds and sum(spent.values()) + cost <= seconds * workers:
            spent[slug] += cost
            chosen.append(i)
    longest_first = sorted(chosen, key=lambda i: -spent[trials[i][0]])
    return table.iloc[longest_first]


def _recorded(chapter: Chapter, result: Audit) -> pd.DataFrame | None:
    """The chapter's record, where there is one made by the code of now."""
    path = chapter.target("full").with_suffix(".parquet")
    if not path.exists():
        return None
    table = pd.read_parquet(path).assign(slug=chapter.slug)
    now = digest.sciences(chapter.source)
    same = table["science"] == table["trial"].map(now)
    if not same.all():
        result.notices.append(f"{chapter.slug} was recorded before its trials' code changed: nothing to compare.")
        return None
    return table


def _job(chapter: Chapter, rows: pd.DataFrame) -> run.Job:
    folder = chapter.root / "_build" / "audit" / chapter.slug
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    wanted = folder / "wanted.json"
    wanted.write_text(json.dumps([[r.trial, r.config, int(r.seed)] for r in rows.itertuples()]))
    record = chapter.target("full").with_suffix(".parquet")
    env = {"REPROLIB_RECORDED": str(record), "REPROLIB_AUDIT": str(wanted), "REPROLIB_JOBS": "1"}
    return run.Job(chapter, "full", {"scale": "full"}, folder / "notebook.ipynb", env=env)


def _judge(done: run.Result, wanted: pd.DataFrame, result: Audit) -> None:
    slug = done.chapter.slug
    agreed = list(_agreed(done.chapter.root / "_build" / "audit" / slug / "wanted.json.agreed"))
    result.agreed += len(agreed)
    result.worst = max([result.worst, *(difference for *_, difference in agreed)])
    if chaotic := sum(difference > OTHER_HOST[0] for *_, difference in agreed):
        result.notices.append(f"{slug}: on this processor {chaotic} trials differ, but no more than from seed to seed.")
    if done.error.startswith("NotRecorded"):
        result.notices.append(f"{slug} has changed since it was recorded: {done.error}")
    elif done.error.startswith("DataNotFound"):
        result.notices.append(f"{slug} could not be audited on this machine: {done.error}")
    elif done.error:
        result.failures.append(f"{slug}: {done.error}")
    elif len(agreed) < len(wanted):
        result.failures.append(f"{slug}: {len(wanted) - len(agreed)} recorded trials are of no sweep in the chapter.")


def _agreed(path: Path) -> Iterator[list]:
    if path.exists():
        yield from map(json.loads, path.read_text().splitlines())
