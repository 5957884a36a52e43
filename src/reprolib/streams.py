"""Random streams of a trial: one seed, many uses, none of which shares its numbers with another."""

import numpy as np
import torch


def stream(seed: int, i: int) -> torch.Generator:
    """The i-th random stream of a trial, independent of the others and of torch's own.

    A new use changes nothing that others draw, and arms of one seed can share a stream, say that of their data.
    A seed in place of a generator: `stream(seed, i).initial_seed()`; for numpy: `np.random.default_rng([seed, i])`.

    Args:
        seed: the trial's seed, 0 or more.
        i: the number of the stream, 0 or more.

    Raises:
        ValueError: if either is negative.
    """
    return torch.Generator().manual_seed(int(np.random.SeedSequence([seed, i]).generate_state(1)[0]))
