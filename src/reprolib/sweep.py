"""The one engine for experiments: a trial for every configuration and seed, on joblib, as a tidy table.

At full scale every finished trial is stored at once, so a run that was killed goes on where it stopped.
At small scale nothing is stored: what is verified was computed.
"""

from __future__ import annotations

import itertools
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor
from contextlib import closing, contextmanager, nullcontext
from functools import cache

import numpy as np
import pandas as pd
import torch
from joblib import Parallel, delayed, effective_n_jobs, parallel_config
from joblib.parallel import get_active_backend
from tqdm import tqdm

from reprolib import checkpoint
from reprolib.book.digest import science
from reprolib.determinism import seed_all
from reprolib.record import Record
from reprolib.scale import Run
from reprolib.store import Row, Store, host

Trial = Callable[[dict, int], Mapping[str, float | Sequence[float]]]
ONE_AT_A_TIME = threading.RLock()  # threads of a worker share the random state that `seed_all` sets


def sweep(
    trial: Trial,
    grid: Mapping[str, object] | Iterable[Mapping[str, object]],
    seeds: Sequence[int],
    *,
    run: Run,
) -> pd.DataFrame:
    """Run `trial(config, seed)` for every configuration of `grid` and every seed.

    Trials run on joblib: in this process by default, on more workers with ``REPROLIB_JOBS``, on a cluster inside
    `parallel_from` or ``joblib.parallel_config(...)``. Each starts from `seed_all(seed)`, so results do not depend on
    the workers.

    Args:
        trial: returns a dict of numbers, or of one-dimensional lists of numbers (curves). It depends on
            its two arguments only.
        grid: name -> list of values (their Cartesian product; a scalar is a constant), or a list of configurations.
        seeds: one trial a seed for each configuration.
        run: the run; decides whether finished trials are stored (see `reprolib.store`) and recorded.

    Returns:
        One row a trial, in the order of `grid` and `seeds`: configuration, ``seed``, metrics, ``seconds``.

    Raises:
        ValueError: no configuration or no seed, a seed given twice, or a metric that is no number.
        RuntimeError: a worker process was killed; StoreError or AuditError at full scale.
    """
    configs = _configs(grid)
    if not configs or not len(seeds):
        raise ValueError("a sweep needs at least one configuration and one seed.")
    if len(set(seeds)) != len(seeds):
        raise ValueError(f"a sweep was given a seed twice: {list(seeds)}.")
    tasks = list(itertools.product(configs, seeds))
    if run.scale != "full" or run.dry_run:
        done = {}
        _compute(run.slug, trial, tasks, done)
    else:
        done = _recorded(run.slug, trial, tasks)
    rows = [{**c, "seed": s, **done[i].metrics, "seconds": done[i].seconds} for i, (c, s) in enumerate(tasks)]
    return pd.DataFrame(rows)


def by_arm(rows: pd.DataFrame, arms: str, arm: str) -> pd.DataFrame:
    """Give each arm a row of its own where a trial trains several side by side.

    Args:
        rows: what `sweep` returned, with metrics named ``"<metric>, <arm>"``.
        arms: the column that lists the arms of a trial.
        arm: the column that names the arm of a row, in its place.

    Returns:
        One row an arm, with metrics named ``"<metric>"``; ``seconds`` are those of its whole trial.
    """
    names = {one for listed in rows[arms] for one in listed}
    split = {key: key.partition(", ")[::2] for key in rows}
    shared = [key for key, (_, owner) in split.items() if owner not in names and key != arms]
    return pd.DataFrame(
        {**{key: row[key] for key in shared}, arm: one}
        | {metric: row[key] for key, (metric, owner) in split.items() if owner == one}
        for row in rows.to_dict("records")
        for one in row[arms]
    )


@contextmanager
def parallel_from(backend: str | None = None, address: str | None = None) -> Iterator[None]:
    """Spread the sweeps inside over a joblib backend; with none named, change nothing.

    Args:
        backend: ``"dask"``, ``"loky"``, ``"threading"`` or another that joblib knows; by default ``REPROLIB_BACKEND``.
        address: the dask scheduler's, as in ``tcp://host:8786``; by default ``REPROLIB_ADDRESS``.

    Raises:
        ValueError: dask without an address.
        OSError: no scheduler answers at `address`.
    """
    backend = backend or os.environ.get("REPROLIB_BACKEND")
    address = address or os.environ.get("REPROLIB_ADDRESS")
    if backend == "dask":
        if not address:
            raise ValueError("the dask backend needs the scheduler's address, such as tcp://127.0.0.1:8786.")
        from distributed import Client  # the extra `cluster`

        with Client(address, set_as_default=False) as client, parallel_config(backend="dask", client=client):
            yield
    else:
        with parallel_config(backend=backend) if backend else nullcontext():
            yield


def _recorded(slug: str, trial: Trial, tasks: list) -> dict[int, Row]:
    """Compute what neither the record nor the store has."""
    identity = slug, trial.__name__, science(trial)
    record = Record(*identity, tasks)
    done = {i: row for i, row in record.rows.items() if i not in record.audited}
    if record.audit:
        _compute(slug, trial, tasks, done, finish=record.check)
        return record.rows  # the page shows what was recorded
    if len(done) < len(tasks):
        with Store(*identity) as store:
            done = store.plan(tasks) | done
            places = [str(store.checkpoint(*task)) for task in tasks]

            def finish(i: int, row: Row) -> None:
                if store.save(*tasks[i], row):
                    checkpoint.clear(places[i])

            _compute(slug, trial, tasks, done, finish, places)
    record.write(done)
    return done


def _compute(slug: str, trial: Trial, tasks: list, done: dict[int, Row], finish=None, places=None) -> None:
    """Run the tasks that are not in `done` and put each row there as it comes."""
    todo = [i for i in range(len(tasks)) if i not in done]
    calls = (delayed(_call)(i, trial, *tasks[i], places and places[i]) for i in todo)
    label = f"{slug}: {getattr(trial, '__name__', 'trial')}"
    with parallel_from() if _jobs() else nullcontext():  # an active `joblib.parallel_config` goes first
        bar = tqdm(total=len(tasks), initial=len(done), desc=label, unit="trial", leave=False, mininterval=0.5)
        try:
            # Trials worth storing go one by one: a batch would be lost as a whole.
            with bar, closing(_results(calls, batch_size=1 if finish else "auto")) as results:
                for i, row in results:
                    done[i] = row
                    if finish:
                        finish(i, row)
                    bar.update()
        except BrokenExecutor as error:
            if "serialize" in str(error):  # a trial that cannot travel is the chapter's fault, not the machine's
                raise
            kept = "what was finished is stored, the same command goes on" if places else "nothing is stored"
            raise RuntimeError(
                f"a worker of {slug} was killed, most likely for want of memory: {kept}. "
                "Fewer workers (REPROLIB_JOBS) need less."
            ) from error


def _results(calls: Iterable, batch_size: int | str) -> Iterator[tuple[int, Row]]:
    """Results as they come; in rounds where the backend (multiprocessing, ray) gives them all at once."""
    jobs = _jobs()
    if get_active_backend()[0].supports_return_generator or jobs == 1:
        with closing(Parallel(jobs, return_as="generator_unordered", batch_size=batch_size)(calls)) as results:
            yield from results
        return
    calls = iter(calls)
    while batch := list(itertools.islice(calls, 2 * effective_n_jobs(jobs))):
        yield from Parallel(jobs, batch_size=batch_size)(batch)


def _configs(grid) -> list[dict]:
    if not isinstance(grid, Mapping):
        return [dict(config) for config in grid]
    axes = [v if isinstance(v, list | tuple | range | np.ndarray) else [v] for v in grid.values()]
    return [dict(zip(grid, values, strict=True)) for values in itertools.product(*axes)]


def _jobs() -> int | None:
    """Workers: an active `joblib.parallel_config` decides; else REPROLIB_JOBS; else this process alone."""
    backend, active = get_active_backend()
    configured = active not in (None, 1) or backend.default_n_jobs != 1  # dask's is -1: all of the cluster
    return None if configured else int(os.environ.get("REPROLIB_JOBS", "1"))


def _call(i: int, trial: Trial, config: dict, seed: int, place: str | None) -> tuple[int, Row]:
    if multiprocessing.parent_process():
        _end_with(os.getppid())
    with ONE_AT_A_TIME, checkpoint.at(place):
        seed_all(seed)
        # Deterministic mode fills all new memory, a twelfth of the time of small networks. No trial reads such memory.
        torch.utils.deterministic.fill_uninitialized_memory = False
        begin = time.perf_counter()
        metrics = {name: _plain(name, value) for name, value in trial(dict(config), seed).items()}
        return i, Row(metrics, time.perf_counter() - begin, host(torch.cuda.is_initialized()))


@cache
def _end_with(parent: int) -> None:
    """Let this worker end when its parent is killed: nobody would take its result, and a new run needs its core."""

    def watch():
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _plain(name: str, value):
    """A metric as a Python number or list of numbers, which JSON and parquet keep exactly."""
    try:
        array = np.asarray(value, dtype=float)
    except (TypeError, ValueError) as error:
        raise ValueError(f"metric {name!r} must be a number or a list of numbers, got {value!r}.") from error
    if array.ndim > 1:
        raise ValueError(f"metric {name!r} must have at most one dimension, got shape {array.shape}.")
    return array.tolist()
