"""One call that makes a trial repeatable."""

from __future__ import annotations

import os
import random

import numpy as np
import torch


def seed_all(seed: int) -> None:
    """Seed python, numpy and torch, and make torch deterministic on one thread.

    One thread because the order of a parallel sum changes its last bits, and because sweeps use
    the cores for whole trials. On a GPU an operation without a deterministic version warns.

    Args:
        seed: a non-negative integer below 2**32 (numpy's limit).

    Raises:
        ValueError: `seed` is not such an integer.
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or not 0 <= seed < 2**32:
        raise ValueError(f"seed must be an integer from 0 to 2**32 - 1, got {seed!r}.")
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS needs it to be deterministic
    random.seed(int(seed))
    np.random.seed(int(seed))
    torch.manual_seed(int(seed))
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True, warn_only=torch.cuda.is_available())
