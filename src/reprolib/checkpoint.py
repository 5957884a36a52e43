"""Training state of a long trial on disk: a run that is killed loses at most the epoch that was under way.

In a trial, write the loop over epochs as

    for epoch in resume(config["epochs"], model=model, optimizer=optimizer, losses=losses):

At full scale it goes on after the last finished epoch of the same trial (same code, configuration, seed and versions:
the file is keyed like a row of `reprolib.store`); elsewhere it is ``range(epochs)``. Each loop of a trial has a file of
its own, in the order in which the trial starts them. The sweep removes the files when the trial is stored.
"""

from __future__ import annotations

import itertools
import multiprocessing
import pickle
import random
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from reprolib.files import atomic
from reprolib.store import say, set_aside

_places: ContextVar[Iterator[Path] | None] = ContextVar("places", default=None)


@contextmanager
def at(path: str | None) -> Iterator[None]:
    """Let the loops of the trial that runs inside keep their states in ``<path>.0.pt``, ``<path>.1.pt`` and so on."""
    token = _places.set((Path(f"{path}.{i}.pt") for i in itertools.count()) if path else None)
    try:
        yield
    finally:
        _places.reset(token)


def clear(path: str) -> None:
    """Remove the states of a trial that is stored."""
    for file in Path(path).parent.glob(f"{Path(path).name}.*.pt"):
        file.unlink(missing_ok=True)


class Checkpoint:
    """Training state in one file, replaced as a whole, and read without running code.

    Args:
        path: the file; None keeps nothing.
    """

    def __init__(self, path: Path | None):
        self.path = path

    def load(self) -> dict[str, Any] | None:
        """Return the state that was saved, or None. A file that cannot be read is set aside and reported."""
        if not self.path or not self.path.exists():
            return None
        try:
            return torch.load(self.path, weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError):
            set_aside(self.path, "is no checkpoint that can be read")
            return None

    def save(self, state: dict[str, Any]) -> None:
        """Save tensors, numbers, text and containers of them. A full disk is reported, and training goes on.

        Raises:
            TypeError: the state holds other objects, which could not be read again.
        """
        if not self.path:
            return
        try:
            with atomic(self.path) as fresh:
                torch.save(state, fresh)
                torch.load(fresh, weights_only=True, mmap=True)  # what cannot be read must not replace what can
        except pickle.UnpicklingError as error:
            raise TypeError("a checkpoint holds tensors, numbers, text and containers of them only.") from error
        except (OSError, RuntimeError) as error:  # torch reports a full disk as a RuntimeError
            say(f"No checkpoint was written ({str(error).splitlines()[0]}): a kill would lose more than an epoch.")


def resume(epochs: int, *, every: int = 1, **parts) -> Iterator[int]:
    """Iterate over the epochs that are still to do; after each, the training state is saved where a trial is stored.

    The random state of python, numpy and torch belongs to it: a resumed trial gives the bits of one that ran through.

    Args:
        epochs: how many in all.
        every: save after every so many epochs, where an epoch takes no longer than its checkpoint.
        parts: all that an epoch changes, by name, restored in place: objects with ``state_dict`` (modules, optimizers,
            schedulers), ``torch.Generator``, and lists and dicts of plain numbers and tensors.

    Yields:
        The epoch's number, from 0.
    """
    places = _places.get()
    checkpoint = Checkpoint(next(places) if places else None)
    saved = checkpoint.load() or {"epoch": 0}
    if saved["epoch"]:
        for name, part in parts.items():
            _restore(part, saved["parts"][name])
        _restore_random(saved["random"])
    first = saved["epoch"]
    hidden = not checkpoint.path or multiprocessing.parent_process() is not None  # workers share one terminal
    bar = tqdm(range(first, epochs), "epochs", epochs, leave=False, mininterval=0.5, disable=hidden, initial=first)
    for epoch in bar:
        yield epoch
        if checkpoint.path and (epoch + 1) % every == 0:
            state = {name: _state(part) for name, part in parts.items()}
            checkpoint.save({"epoch": epoch + 1, "parts": state, "random": _random()})


def _state(part):
    if isinstance(part, torch.Generator):
        return part.get_state()
    return part if isinstance(part, list | dict) else part.state_dict()


def _restore(part, saved) -> None:
    if isinstance(part, torch.Generator):
        part.set_state(saved)
    elif isinstance(part, list):
        part[:] = saved
    elif isinstance(part, dict):
        part.clear()
        part.update(saved)
    else:
        part.load_state_dict(saved)


def _random() -> dict[str, Any]:
    kind, keys, *rest = np.random.get_state()
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    return {
        "python": random.getstate(),
        "numpy": (kind, keys.tolist(), *rest),
        "torch": torch.get_rng_state(),
        "cuda": cuda,
    }


def _restore_random(state: dict[str, Any]) -> None:
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])
    torch.set_rng_state(state["torch"])
    if state["cuda"]:
        torch.cuda.set_rng_state_all(state["cuda"])
