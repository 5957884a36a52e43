"""How much `sweep` gains from a second worker on trials of a second or more, and what it adds to a trial.

The gain has a yardstick beside it: two plain processes that share nothing reach what the machine can give.
"""

from __future__ import annotations

import multiprocessing
import os
import statistics
import time

import psutil
import torch

from reprolib import seed_all
from reprolib.scale import Run
from reprolib.sweep import sweep

RUN = Run("bench", "small", 0, torch.device("cpu"), False, None)
TRIALS, REPEATS, WANTED = 8, 3, 1.7


def work(config: dict, seed: int) -> dict:
    """A trial that only computes: small matrices on one thread, as in most chapters."""
    x, w = torch.randn(128, 128), torch.randn(128, 128) / 128**0.5
    for _ in range(config["steps"]):
        x = torch.tanh(x @ w)
    return {"norm": x.norm().item()}


def nothing(config: dict, seed: int) -> dict:
    return {"value": 0.0}


def seconds(call) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def sweep_seconds(trial, config: dict, trials: int, workers: int) -> float:
    os.environ["REPROLIB_JOBS"] = str(workers)
    return seconds(lambda: sweep(trial, config, range(trials), run=RUN))


def half(steps: int) -> None:
    for seed in range(TRIALS // 2):
        seed_all(seed)
        work({"steps": steps}, seed)


def two_processes(steps: int) -> None:
    """The same trials as two processes that never speak to each other."""
    processes = [multiprocessing.get_context("fork").Process(target=half, args=(steps,)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()


def main() -> None:
    busy = psutil.cpu_percent(interval=2)
    seed_all(0)
    probe = 2000
    work({"steps": probe}, 0)  # warm up
    steps = int(1.2 * probe / seconds(lambda: work({"steps": probe}, 0)))
    one_trial = seconds(lambda: work({"steps": steps}, 0))
    config = {"steps": steps}
    sweep_seconds(nothing, {}, 2, workers=2)  # starting the workers, torch's import included, is not a trial's cost

    alone, shared, apart = [], [], []
    for _ in range(REPEATS):  # interleaved: other load on the machine hits all three alike
        alone.append(sweep_seconds(work, config, TRIALS, workers=1))
        shared.append(sweep_seconds(work, config, TRIALS, workers=2))
        apart.append(seconds(lambda: two_processes(steps)))
    alone, shared, apart = map(statistics.median, (alone, shared, apart))

    many = 400
    overhead = [1e3 * sweep_seconds(nothing, {}, many, workers) / many for workers in (1, 2)]

    print(f"{TRIALS} trials of {one_trial:.2f} s, median of {REPEATS}:")
    print(f"  sweep, 1 worker    {alone:6.2f} s")
    print(f"  sweep, 2 workers   {shared:6.2f} s   {alone / shared:.2f}x (wanted: {WANTED}x)")
    print(f"  two bare processes {apart:6.2f} s   {alone / apart:.2f}x (what this machine can give)")
    if busy > 10 or alone / apart < WANTED:
        print(f"  no result: the machine was busy with other work ({busy:.0f} % before the start)")
    print(f"what sweep adds to a trial: {overhead[0]:.2f} ms with 1 worker, {overhead[1]:.2f} ms with 2")
    if alone / shared < WANTED <= alone / apart:
        raise SystemExit("The machine gives more than sweep takes: its second worker does not do its share.")


if __name__ == "__main__":
    main()
