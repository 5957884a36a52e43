"""Files that are written as a whole or not at all, whatever kills the writer."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path`; what is written there replaces `path` as a whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = temporary(path)
    try:
        yield fresh
        with fresh.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)


def temporary(path: Path) -> Path:
    """Return a hidden name beside `path` that says which process it belongs to."""
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")
