"""Finished trials of full-scale sweeps in SQLite, so that the same command goes on after a kill.

Why not a library: joblib.Memory keys on the source of one function, not on what it calls, and knows nothing of seconds,
hosts or what is left; diskcache has SQLite underneath but holds pickles, which run code when a foreign file is
opened. The standard library's SQLite with a write-ahead log is crash-safe, and a row here is plain JSON.
"""

from __future__ import annotations

import datetime
import hashlib
import importlib.metadata
import json
import os
import platform
import re
import sqlite3
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from functools import cache
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import pandas as pd
import torch
from filelock import FileLock
from tqdm import tqdm

VERSION = 1  # of the table, kept in PRAGMA user_version
COLUMNS = "key slug trial science versions config seed metrics seconds host finished".split()
LIBRARIES = ("torch", "numpy", "scipy", "scikit-learn", "transformers", "diffusers", "peft", "torch_geometric")
Task = tuple[dict, int]  # configuration and seed


class StoreError(RuntimeError):
    """The store cannot be opened; the message is one sentence with the fix."""


class Row(NamedTuple):
    """What one trial gave: its metrics, its seconds, and the `host` that computed it."""

    metrics: dict
    seconds: float
    host: str


class Store:
    """Finished trials of one trial function of a chapter; a context manager.

    A row's key is a digest of the trial's name and code (its own source, what it calls in the chapter, and the
    scientific modules of reprolib that it uses), its configuration, its seed and the minor versions of the libraries
    that compute: random streams and kernels may change between minor versions, not with a patch. The scale is not in
    the key: only full scale stores, and a trial sees nothing but its configuration.

    Args:
        slug: the chapter; the file is ``<folder>/<slug>.sqlite``. One that is damaged, foreign or of a newer reprolib
            is renamed and reported, never deleted.
        trial: name of the trial function.
        science: digest of its code.
        folder: by default ``REPROLIB_STORE``, else ``reprolib-runs`` in the working directory; on a local disk, for
            a write-ahead log needs memory that its users share.

    Raises:
        StoreError: the file cannot be opened.
    """

    def __init__(self, slug: str, trial: str, science: str, folder: Path | None = None):
        self.path = _folder(folder) / f"{slug}.sqlite"
        self.slug, self.trial, self.science = slug, trial, science
        self.waiting: list[tuple] = []  # finished, not written yet
        self.db = _open(self.path)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        if self.waiting and not self._write(self.waiting):
            say(f"{len(self.waiting)} finished trials of {self.slug} are not stored: a re-run computes them again.")
        self.db.close()

    def plan(self, tasks: Sequence[Task]) -> dict[int, Row]:
        """Note all tasks of a sweep, and return {task number: row} of those that are stored already."""
        found = self.db.execute("SELECT key, metrics, seconds, host FROM trials WHERE metrics IS NOT NULL")
        rows = {key: Row(json.loads(metrics), seconds, host) for key, metrics, seconds, host in found}
        done = {i: rows[key] for i, key in enumerate(self.key(*task) for task in tasks) if key in rows}
        self._write([self._values(*task) for i, task in enumerate(tasks) if i not in done], "IGNORE")
        return done

    def save(self, config: Mapping, seed: int, row: Row) -> bool:
        """Store a finished trial. Where that fails (disk full) say so once, keep it and try again with the next."""
        self.waiting.append(self._values(config, seed, row))
        written = self._write(self.waiting)
        self.waiting = [] if written else self.waiting
        return written

    def key(self, config: Mapping, seed: int) -> str:
        """Return what stands for a trial and all that its result depends on."""
        text = json.dumps([self.trial, self.science, versions(), config_json(config), int(seed)])
        return hashlib.sha256(text.encode()).hexdigest()[:32]

    def checkpoint(self, config: Mapping, seed: int) -> Path:
        """Return the name that this trial's training states begin with (see `reprolib.checkpoint`)."""
        return self.path.absolute().parent / "checkpoints" / f"{self.slug}-{self.key(config, seed)}"

    def _values(self, config: Mapping, seed: int, row: Row | None = None) -> tuple:
        identity = self.key(config, seed), self.slug, self.trial, self.science, versions()
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        made = (json.dumps(row.metrics), row.seconds, row.host, now) if row else [None] * 4
        return *identity, config_json(config), int(seed), *made

    def _write(self, rows: list[tuple], otherwise: str = "REPLACE") -> bool:
        try:
            with self.db:
                self.db.executemany(f"INSERT OR {otherwise} INTO trials VALUES ({', '.join('?' * 11)})", rows)
        except sqlite3.Error as error:
            if len(self.waiting) == 1:  # once for each time that it starts
                say(f"{self.path.name} takes no more trials ({error}): the sweep goes on with results in memory only.")
            return False
        return True


def runs(folder: Path | None = None) -> pd.DataFrame:
    """Return what is stored, a row for each chapter, trial function and state of its code.

    Columns: ``slug``, ``trial``, ``science``, ``done`` and ``total`` (trials), ``seconds`` (sum), ``host`` (all),
    ``finished`` (the last, UTC); the last two are empty where no trial is done.

    Args:
        folder: as for `Store`.
    """
    query = """SELECT slug, trial, science, count(metrics) AS done, count(*) AS total, total(seconds) AS seconds,
        ifnull(group_concat(DISTINCT host), '') AS host, ifnull(max(finished), '') AS finished
        FROM trials GROUP BY slug, trial, science"""
    tables = [pd.DataFrame(columns="slug trial science done total seconds host finished".split())]
    for path in sorted(_folder(folder).glob("*.sqlite")):
        with closing(_open(path)) as db:
            tables.append(pd.read_sql_query(query, db))
    return pd.concat([table for table in tables if len(table)] or tables, ignore_index=True)


def clear(slug: str, folder: Path | None = None) -> int:
    """Remove a chapter's stored trials and checkpoints; return how many finished trials that were.

    The file stays, so that a run under way goes on. What was set aside is not touched.
    """
    path = _folder(folder) / f"{slug}.sqlite"
    if not path.exists():
        return 0
    with closing(_open(path)) as db, db:
        done = db.execute("SELECT count(metrics) FROM trials").fetchone()[0]
        db.execute("DELETE FROM trials")
    for checkpoint in (path.parent / "checkpoints").glob(f"{slug}-{'[0-9a-f]' * 32}.*.pt"):
        checkpoint.unlink(missing_ok=True)
    return done


def config_json(config: Mapping) -> str:
    """Return a configuration as text, the same on every machine. Raises ValueError where it is no plain data."""

    def plain(value):
        if isinstance(value, np.generic | np.ndarray):
            return value.tolist()
        raise ValueError(f"a configuration holds plain data (numbers, text, lists), got {value!r}.")

    return json.dumps(config, sort_keys=True, default=plain)


@cache
def versions() -> str:
    """Return the minor versions of the libraries that compute, as far as they are installed (JSON)."""
    found = {}
    for name in LIBRARIES:
        with suppress(importlib.metadata.PackageNotFoundError):
            found[name] = ".".join(importlib.metadata.version(name).split(".")[:2])
    return json.dumps(found)


@cache
def host(gpu: bool = False) -> str:
    """Return what decides the last bits of a result: system, processor, its instructions, the GPU in use, torch."""
    cpu = platform.processor() or platform.machine()
    with suppress(OSError, TypeError):  # Linux has it here, most other systems above
        cpu = re.search(r"model name\s*: (.+)", Path("/proc/cpuinfo").read_text())[1].strip()
    parts = [platform.system(), cpu, torch.backends.cpu.get_cpu_capability()]
    return ", ".join([*parts, *([torch.cuda.get_device_name()] if gpu else []), f"torch {torch.__version__}"])


def set_aside(path: Path, why: str) -> None:
    """Rename a file that cannot be used (a database with its log) and say so in one sentence."""
    n = next(n for n in range(1, 10**6) if not path.with_name(f"{path.name}.aside-{n}").exists())
    for end in ("-wal", "-shm", ""):
        with suppress(FileNotFoundError):
            os.replace(path.with_name(path.name + end), path.with_name(f"{path.name}.aside-{n}{end}"))
    say(f"{path.name} {why}: it was set aside as {path.name}.aside-{n}, and a new one begins.")


def say(sentence: str) -> None:
    """Print a sentence on stderr without breaking a progress bar."""
    tqdm.write(sentence, file=sys.stderr)


def _folder(folder: Path | None) -> Path:
    return Path(folder or os.environ.get("REPROLIB_STORE") or "reprolib-runs")


def _open(path: Path) -> sqlite3.Connection:
    """Open a store, new where there is none; what is no store is set aside first."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(path.with_name(".lock"), timeout=60):  # two runs must not set aside one another's new file
            if why := _unusable(path):
                set_aside(path, why)
            db = sqlite3.connect(path, timeout=60)
            db.execute("PRAGMA journal_mode = WAL")
            with db:
                db.execute(f"CREATE TABLE IF NOT EXISTS trials ({', '.join(COLUMNS)}, PRIMARY KEY (key))")
                db.execute(f"PRAGMA user_version = {VERSION}")
            return db
    except (sqlite3.Error, OSError) as error:  # a lock's timeout is an OSError
        fix = "make room there, or name another folder in REPROLIB_STORE"
        raise StoreError(f"the store {path} cannot be opened ({error}): {fix}.") from error


def _unusable(path: Path) -> str:
    """Return why the file cannot serve as a store, or nothing."""
    with closing(sqlite3.connect(path, timeout=60)) as db:
        try:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            columns = [column[1] for column in db.execute("PRAGMA table_info(trials)")]
            if columns and version > VERSION:
                return f"was written by a newer reprolib (version {version}, this one knows {VERSION})"
            if columns != COLUMNS and db.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                return "is not a store of this reprolib"
            check = db.execute("PRAGMA quick_check(1)").fetchone()[0]
        except sqlite3.OperationalError:  # locked, full or not allowed: nothing is wrong with the file
            raise
        except sqlite3.DatabaseError as error:
            check = str(error)
    return "" if check == "ok" else f"is damaged ({check})"
