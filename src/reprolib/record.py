"""The table of trials that is committed beside a full run's notebook: written, read back and audited.

Three variables tell a full-scale sweep what to do with such tables (parquet files):

- ``REPROLIB_RECORD``: add this run's trials to that table.
- ``REPROLIB_RECORDED``: trials in that table are done, where code, configuration and seed are the same.
- ``REPROLIB_AUDIT``: a JSON list of ``[trial, configuration, seed]`` to compute in spite of the record and compare
  with it; all others must be in the record. Those that agree are noted in ``<that file>.agreed``, a JSON list a line.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from reprolib.files import atomic
from reprolib.store import Row, Task, config_json, say

# (relative, absolute) tolerances. The same processor, instructions and torch give the same bits, but for sums that
# follow the alignment of memory. Elsewhere the last bits differ. Most numbers keep to 2 % then, but training can
# amplify them until a trial is like one with another seed, so there the range of the other seeds is allowed as well,
# three times: two draws of one law differ by more than the range of three or four others too often for a false alarm.
# A tuning trial has one other seed or none, which show no range: what all configurations of the trial have in the
# median counts too.
SAME_HOST, OTHER_HOST, RANGES = (1e-6, 1e-12), (2e-2, 1e-6), 3


class AuditError(AssertionError):
    """A recorded number is not what its trial gives when it is computed again."""


class NotRecorded(LookupError):
    """An audit met a trial that the record lacks: the chapter has changed since."""


class Record:
    """What the committed table knows about one sweep.

    Args:
        slug: the chapter.
        trial: name of the trial function.
        science: digest of its code.
        tasks: configurations and seeds of the sweep, in order.

    Attributes:
        known: {(configuration, seed): row} of all that this trial has in the table, in this sweep or another.
        rows: {task number: row} of the tasks that are recorded.
        audit: path of the audit's list, None in a usual run.
        audited: numbers of the tasks to compute again.

    Raises:
        NotRecorded: in an audit, a task is not in the record.
    """

    def __init__(self, slug: str, trial: str, science: str, tasks: Sequence[Task]):
        self.name, self.trial, self.science = f"{slug}: {trial}", trial, science
        self.keys = [(config_json(config), int(seed)) for config, seed in tasks]
        self.known, others = self._read(os.environ.get("REPROLIB_RECORDED"))
        self.rows = {i: self.known[key] for i, key in enumerate(self.keys) if key in self.known}
        self.audit = Path(os.environ["REPROLIB_AUDIT"]) if os.environ.get("REPROLIB_AUDIT") else None
        wanted = json.loads(self.audit.read_text()) if self.audit else []
        self.audited = [i for i, key in enumerate(self.keys) if [trial, *key] in wanted]
        missing = len(tasks) - len(self.rows)
        if missing and self.audit:
            raise NotRecorded(f"{missing} of {len(tasks)} trials of {self.name} are not in the record.")
        if missing and others:
            say(f"{self.name} was recorded with other code ({others} trials): {missing} trials are computed now.")

    def check(self, i: int, row: Row) -> None:
        """Compare task `i`, computed again, with the record.

        On the host that recorded it, number by number; elsewhere a curve counts by its mean, and three times the range
        from seed to seed is allowed besides the tolerance: of the other seeds of its configuration, or where it has
        one or none, of all configurations of its trial in the median.

        Raises:
            AuditError: a metric is beyond the tolerance.
        """
        old, (config, seed) = self.rows[i], self.keys[i]
        same, worst = old.host == row.host, 0.0
        relative, absolute = SAME_HOST if same else OTHER_HOST
        for metric in sorted(old.metrics.keys() | row.metrics.keys()):
            a, b = (np.asarray(r.metrics.get(metric, np.nan), dtype=float) for r in (old, row))
            spread = 0.0
            if not same:
                a, b, spread = a.mean(), b.mean(), RANGES * self._range(metric, i)
            if a.shape != b.shape or not np.allclose(b, a, relative, absolute + spread, equal_nan=True):
                raise AuditError(
                    f"{self.name} with {config}, seed {seed}: {metric} was recorded as {_short(a)} ({old.host}) and is "
                    f"{_short(b)} now ({row.host}); the relative tolerance is {relative:g}."
                )
            worst = max(worst, (np.abs(a - b) / np.maximum(np.abs(a), absolute)).max(initial=0, where=~np.isnan(a - b)))
        with self.audit.with_name(self.audit.name + ".agreed").open("a") as file:
            file.write(json.dumps([self.trial, config, seed, float(worst)]) + "\n")

    def write(self, done: Mapping[int, Row]) -> None:
        """Add all tasks of the sweep to the run's table (``REPROLIB_RECORD``), if one is asked for."""
        if not os.environ.get("REPROLIB_RECORD"):
            return
        path = Path(os.environ["REPROLIB_RECORD"])
        rows = [(self.trial, *key, json.dumps(done[i][0]), *done[i][1:]) for i, key in enumerate(self.keys)]
        table = pd.DataFrame(rows, columns="trial config seed metrics seconds host".split()).assign(
            science=self.science
        )
        try:
            if path.exists():
                table = pd.concat([pd.read_parquet(path), table])
            with atomic(path) as fresh:
                table.drop_duplicates(["trial", "config", "seed"], keep="last").to_parquet(
                    fresh, index=False, compression="zstd"
                )
        except OSError as error:
            say(f"The trials of {self.name} could not be recorded ({error}): the table lacks them.")

    def _range(self, metric: str, i: int) -> float:
        """Range of a metric's mean over the other seeds of task `i`; of one or none, the median over configurations."""
        means = {}
        for (config, seed), row in self.known.items():
            mean = np.mean(row.metrics.get(metric, np.nan))
            if (config, seed) != self.keys[i] and np.isfinite(mean):
                means.setdefault(config, []).append(mean)
        own = means.get(self.keys[i][0], [])
        return np.ptp(own) if len(own) > 1 else np.median([np.ptp(m) for m in means.values() if len(m) > 1] or [0.0])

    def _read(self, path: str | None) -> tuple[dict[tuple[str, int], Row], int]:
        """Rows by configuration and seed, and how many rows other code made."""
        if not path:
            return {}, 0
        table = pd.read_parquet(path).query("trial == @self.trial")
        mine = table[table["science"] == self.science]
        rows = {(r.config, r.seed): Row(json.loads(r.metrics), r.seconds, r.host) for r in mine.itertuples()}
        return rows, len(table) - len(mine)


def _short(metric: np.ndarray) -> str:
    """A number in full, a curve by its ends."""
    numbers = [repr(x) for x in np.atleast_1d(metric).tolist()]
    return ", ".join(numbers if len(numbers) < 7 else [*numbers[:3], "...", *numbers[-3:]])
