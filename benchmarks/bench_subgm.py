"""The sub-gradient method against the straightforward ways to the same numbers, side by side in one process.

- numpy, one run at a time, with the formulas as the paper writes them;
- torch with automatic differentiation of the loss, one run at a time.

A run here has 8 arms on one problem: `subgm` moves them as one batch. Times are the best of several rounds in which
the implementations take turns.
"""

from __future__ import annotations

import time

import numpy as np
import torch
from torch import Tensor

from reprolib.data.recovery import gaussian_measurements, low_rank_psd
from reprolib.init.spectral import spectral_init_
from reprolib.optim.subgm import subgm

ARMS, STEPS, ROUNDS = 8, 100, 5
CASES = ((20, 500), (20, 4000), (50, 2000))  # dimension, measurements
ETA, RHO = 0.2, 0.99


def with_numpy(U: Tensor, A: Tensor, y: Tensor) -> Tensor:
    rows, ends = A.flatten(1).numpy(), []
    for V, values in zip(U.numpy(), y.numpy(), strict=True):
        for t in range(STEPS):
            votes = np.sign(rows @ (V @ V.T).ravel() - values)
            Q = (votes @ rows / len(values)).reshape(len(V), len(V))
            V = V - ETA * RHO**t / np.linalg.norm(Q, 2) * (Q + Q.T) @ V
        ends.append(V)
    return torch.from_numpy(np.stack(ends))


def with_autograd(U: Tensor, A: Tensor, y: Tensor) -> Tensor:
    rows, ends = A.flatten(1), []
    for V, values in zip(U, y, strict=True):
        for t in range(STEPS):
            X = (V @ V.T).requires_grad_()
            (Q,) = torch.autograd.grad((rows @ X.flatten() - values).abs().mean(), X)
            V = V - ETA * RHO**t / torch.linalg.matrix_norm(Q, ord=2) * (Q + Q.T) @ V
        ends.append(V)
    return torch.stack(ends)


def batched(U: Tensor, A: Tensor, y: Tensor) -> Tensor:
    return subgm(U, A, y, eta=ETA, rho=RHO, steps=STEPS)


def main() -> None:
    torch.set_num_threads(1)
    print(f"seconds for {ARMS} arms of {STEPS} steps, one thread")
    print(f"{'d':>4} {'m':>6} {'reprolib':>10} {'numpy':>10} {'autograd':>10} {'speed-up':>9} {'difference':>11}")
    for d, m in CASES:
        generator = torch.Generator().manual_seed(0)
        X, _ = low_rank_psd(d, 3, generator=generator)
        A, y, _ = gaussian_measurements(X, m, "outlier", 0.1, 10.0, generator)
        U = torch.stack([spectral_init_(torch.empty(d, d).double(), A, y, 10.0**-k) for k in range(1, ARMS + 1)])
        y = y.expand(ARMS, -1).contiguous()
        ways = (batched, with_numpy, with_autograd)
        best, ends = dict.fromkeys(ways, float("inf")), {}
        for _ in range(ROUNDS):
            for way in ways:
                begin = time.perf_counter()
                ends[way] = way(U, A, y)
                best[way] = min(best[way], time.perf_counter() - begin)
        ours = ends[batched]
        difference = max(float((ours - ends[way]).norm() / ours.norm()) for way in ways)
        rest = min(best[with_numpy], best[with_autograd])
        times = " ".join(f"{best[way]:10.3f}" for way in ways)
        print(f"{d:4} {m:6} {times} {rest / best[batched]:8.2f}x {difference:11.1e}")


if __name__ == "__main__":
    main()
