"""Where data comes from: a local mirror first, then a package, then the public hub."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path


class DataNotFound(FileNotFoundError):
    """A data set is nowhere to be had; the message says where it was looked for and how to get it."""


def mirror() -> Path | None:
    """Return the folder that ``REPROLIB_DATA`` names, laid out as on the public hubs, or None.

    Raises:
        DataNotFound: the variable names a folder that is not there.
    """
    named = os.environ.get("REPROLIB_DATA", "").strip()
    if not named:
        return None
    folder = Path(named).expanduser()
    if not folder.is_dir():
        raise DataNotFound(f"REPROLIB_DATA names {named!r}, which is no folder: correct it or unset it.")
    return folder


def find_local(*parts: str) -> Path | None:
    """Return the path of a file or folder in the mirror, or None where there is no mirror or no such entry."""
    folder = mirror()
    path = folder.joinpath(*parts) if folder else None
    return path if path and path.exists() else None


def not_found(name: str, looked: Sequence[str], fix: str) -> DataNotFound:
    """Return the one clear error for a data set that is nowhere.

    Args:
        name: the data set, as people call it.
        looked: the places that were tried.
        fix: what the reader can do.
    """
    return DataNotFound(f"{name} was not found in {', '.join(looked)}: {fix}")


def read_parquet(path: Path):
    """Read a parquet file of the mirror as a DataFrame.

    Raises:
        ValueError: the file is truncated or no parquet file; the message names it.
    """
    import pandas as pd  # with pyarrow, which only readers of parquet mirrors need
    from pyarrow import ArrowException

    try:
        return pd.read_parquet(path)
    except (ArrowException, OSError) as error:
        raise ValueError(f"{path.name} is truncated or no parquet file: download it again ({error}).") from error
