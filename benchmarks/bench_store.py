"""What storing adds to a trial, and what a sweep gains from two workers with loky and with dask.

The gain has a yardstick beside it: two plain processes that share nothing reach what the machine can give.
"""

from __future__ import annotations

import logging
import os
import statistics
import tempfile
import time
from contextlib import nullcontext

import joblib
import torch
from distributed import LocalCluster

from benchmarks.bench_sweep import seconds, two_processes, work
from reprolib import seed_all
from reprolib.scale import Run
from reprolib.sweep import parallel_from, sweep

SMALL, FULL = (Run("bench", scale, 0, torch.device("cpu"), False, None) for scale in ("small", "full"))
TRIALS, REPEATS, MANY, WANTED = 8, 3, 200, 0.01


def store_cost() -> float:
    """Seconds that a trial takes longer for being stored, a curve of a thousand numbers included; fsync counts."""
    times = {}
    for run in (SMALL, FULL):
        with tempfile.TemporaryDirectory(dir=".") as folder:  # a real disk: the system's folder may live in memory
            os.environ["REPROLIB_STORE"] = folder
            times[run.scale] = seconds(lambda run=run: sweep(curve, {}, range(MANY), run=run)) / MANY
    return times["full"] - times["small"]


def curve(config: dict, seed: int) -> dict:
    return {"curve": torch.rand(1000).tolist()}


def pause(config: dict, seed: int) -> dict:
    """A trial that takes no processor: what is lost with it, the engine loses, whatever else the machine does."""
    time.sleep(config["seconds"])
    return {"value": 0.0}


def compare(title: str, trial, config: dict, address: str, bare: dict) -> None:
    """Print a table of one kind of trial: each backend, the `bare` processes beside them."""

    def under(context) -> None:
        with context:
            sweep(trial, config, range(TRIALS), run=SMALL)

    ways = {
        "1 worker, this process": lambda: under(nullcontext()),
        "2 workers, loky": lambda: under(joblib.parallel_config(backend="loky", n_jobs=2)),
        "2 workers, dask": lambda: under(parallel_from("dask", address)),
    } | bare
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(REPEATS):  # interleaved: other load on the machine hits all alike
        for name, way in ways.items():
            times[name].append(seconds(way))
    alone = statistics.median(times["1 worker, this process"])
    print(f"\n{title}, {TRIALS} of them, median of {REPEATS}:")
    for name, took in ((name, statistics.median(taken)) for name, taken in times.items()):
        print(f"  {name:<23} {took:6.2f} s   efficiency {alone / took / int(name[0]):4.0%}", flush=True)


def main() -> None:
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    os.environ.pop("REPROLIB_JOBS", None)
    cost = statistics.median(store_cost() for _ in range(REPEATS))
    print(f"The store adds {1e3 * cost:.1f} ms to a trial: {cost:.2%} of one that takes a second.", flush=True)

    seed_all(0)
    work({"steps": 200}, 0)  # warm up
    steps = int(2000 / seconds(lambda: work({"steps": 2000}, 0)))
    with LocalCluster(n_workers=2, threads_per_worker=1, scheduler_port=0, dashboard_address=None) as cluster:
        address = cluster.scheduler_address
        for context in (joblib.parallel_config(backend="loky", n_jobs=2), parallel_from("dask", address)):
            with context:  # starting workers, torch's import included, is no trial's cost
                sweep(pause, {"seconds": 0.1}, range(16), run=SMALL)
        compare("Trials that wait a second", pause, {"seconds": 1.0}, address, {})
        bare = {"2 bare processes": lambda: two_processes(steps)}
        compare("Trials that compute for about a second", work, {"steps": steps}, address, bare)
    if cost >= WANTED:
        raise SystemExit(f"The store costs {cost:.2%} of a trial of one second, more than {WANTED:.0%}.")


if __name__ == "__main__":
    main()
