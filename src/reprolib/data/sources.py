"""Where data comes from: a local mirror first, then a package, then the public hub."""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType


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


def unreachable(
    name: str, revision: str, layout: str, error: Exception, *, dataset: bool = True, also: str = ""
) -> DataNotFound:
    """Return the one sentence for something of the hub that is neither in the mirror nor to be downloaded.

    Args:
        name: its id on the hub, ``owner/name``.
        revision: the commit that was asked for.
        layout: where the mirror would hold it, below `mirror`.
        error: why the hub did not give it.
        dataset: a data set, else a model.
        also: one more way to get it.
    """
    command = f"hf download {name} --revision {revision} --local-dir $REPROLIB_DATA/{name.split('/')[-1]}"
    if dataset:
        command += f" --repo-type dataset --include '{layout.split('/', 1)[1].rpartition('/')[0]}/*'"
    fix = f"connect to the network, or set REPROLIB_DATA to a folder and fill it once with `{command}`{also}"
    return not_found(name, [f"$REPROLIB_DATA/{layout}", "the hub"], f"{fix} ({gist(error)}).")


def gist(error: Exception) -> str:
    """Return the first line of an error without its full stop: libraries of the hub write whole paragraphs."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(". ")


def pinned(name: str, revision: str | None) -> str:
    """Return the commit at which something of the hub is read, after making sure that it is one.

    Raises:
        ValueError: there is none, or `revision` is a branch or tag, which moves.
    """
    if revision is None:
        raise ValueError(f"no revision of {name!r} is pinned: pass revision= with a commit of 40 hex digits.")
    if not re.fullmatch("[0-9a-f]{40}", revision):
        raise ValueError(f"revision must be a commit of 40 hex digits, since branches move, got {revision!r}.")
    return revision


def require(module: str, extra: str) -> ModuleType:
    """Import a library that only some data sets or models need.

    Raises:
        ModuleNotFoundError: it is not installed; the sentence names the extra that brings it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        library = module.split(".")[0]
        if error.name != library:  # it is there, but something that it needs is not
            raise
        sentence = f"{library} is not installed: run `pip install 'reprolib[{extra}]'`."
        raise ModuleNotFoundError(sentence, name=library) from error


def read_parquet(path: Path, rows: int | None = None):
    """Read a parquet file of the mirror as a DataFrame.

    Args:
        path: the file.
        rows: how many rows to read from its start; None for all.

    Raises:
        ValueError: the file is truncated or no parquet file; the message names it.
        ModuleNotFoundError: pyarrow, which only readers of parquet mirrors need, is not installed.
    """
    arrow = require("pyarrow.dataset", "hub")
    try:
        table = arrow.dataset(path, format="parquet")
        return (table.to_table() if rows is None else table.head(rows)).to_pandas()
    except (require("pyarrow", "hub").ArrowException, OSError) as error:
        raise ValueError(f"{path.name} is truncated or no parquet file: download it again ({gist(error)}).") from error
