"""Data sets of the Hugging Face hub, by id and at a pinned revision; a local mirror comes first.

The mirror is the folder that ``REPROLIB_DATA`` names. A data set ``owner/name`` lies in its subfolder ``name``, with
the files as on the hub: ``glue/sst2/train-00000-of-00001.parquet``. The hub's own variables hold too:
with ``HF_HUB_OFFLINE=1`` or ``HF_DATASETS_OFFLINE=1``, set before Python starts, only what is cached is read.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from reprolib.data.sources import DataNotFound, find_local, pinned, read_parquet, require, unreachable


@dataclass(frozen=True)
class Card:
    """What the book knows about a data set of the hub.

    Attributes:
        revision: the commit that is read.
        config: the configuration that is read where none is named; None where one must be.
        text: columns of text and number of classes (0: a score, None: no label), by configuration, for stand-ins.
        streamed: so large that only the rows asked for are ever downloaded.
        also: one more way to get it, for the error.
    """

    revision: str | None = None
    config: str | None = None
    text: Mapping[str, tuple[list[str], int | None]] = field(default_factory=dict)
    streamed: bool = False
    also: str = ""


_GLUE = dict.fromkeys(["cola", "sst2"], (["sentence"], 2))
_GLUE |= dict.fromkeys(["mrpc", "rte", "wnli"], (["sentence1", "sentence2"], 2))
_GLUE |= {"stsb": (["sentence1", "sentence2"], 0), "mnli": (["premise", "hypothesis"], 3)}
_GLUE |= {"qqp": (["question1", "question2"], 2), "qnli": (["question", "sentence"], 2)}
_FINEWEB = {"sample-10BT": (["text"], None)}

# Every commit was found in several independent public projects that pin it, or whose caches name it, for this id.
# Another data set, or another commit: pass `revision`, or add a line.
CARDS = {
    "uoft-cs/cifar10": Card("0b2714987fa478483af9968de7c934580d0bb9a2", "plain_text"),
    "ylecun/mnist": Card("77f3279092a1c1579b2250db8eafed0ad422088c", "mnist"),
    "zalando-datasets/fashion_mnist": Card(
        "531be5e2ccc9dba0c201ad3ae567a4f3d16ecdd2",
        "fashion_mnist",
        also=", or install Debian's package dataset-fashion-mnist",
    ),
    "nyu-mll/glue": Card("bcdcba79d07bc864c1c254ccfcedcce55bcc9a8c", text=_GLUE),
    "stanfordnlp/imdb": Card(
        "e6281661ce1c48d982bc483cf8a173c1bbeb5d31", "plain_text", text={"plain_text": (["text"], 2)}
    ),
    "HuggingFaceFW/fineweb": Card(
        "9bb295ddab0e05d785b879661af7260fed5140fc", "sample-10BT", text=_FINEWEB, streamed=True
    ),
    "HuggingFaceFW/fineweb-edu": Card(
        "87f09149ef4734204d70ed1d046ddc9ca3f2b8f9", "sample-10BT", text=_FINEWEB, streamed=True
    ),
}


def load(
    name: str,
    config: str | None = None,
    split: str = "train",
    *,
    rows: int | None = None,
    revision: str | None = None,
    stand_in: bool = False,
) -> pd.DataFrame:
    """Return a split of a data set of the hub, in the hub's order and with the hub's columns.

    Looks in the mirror, then asks `datasets`, which downloads once. Images stay encoded:
    ``{"bytes": ..., "path": ...}`` (`reprolib.data.vision` decodes them).

    Args:
        name: its id on the hub, such as ``"nyu-mll/glue"``.
        config: its configuration, such as ``"sst2"``; None for the one in `CARDS`.
        split: such as ``"train"``.
        rows: at most so many, from the start; None for all.
        revision: the commit to download, 40 hex digits; None for the one in `CARDS`. A mirror is read as it is.
        stand_in: where the mirror lacks it, say so and make up text and labels with the same columns
            (`rows` rows, else 1,000); download nothing.

    Raises:
        ValueError: an argument is not allowed, or a file is cut short.
        DataNotFound: neither in the mirror nor to be downloaded, or the mirror holds it in part.
        ModuleNotFoundError: a library is missing; the sentence names the extra.
    """
    card = CARDS.get(name, Card())
    config = config or card.config
    if rows is not None and rows < 1:
        raise ValueError(f"rows must be at least 1, got {rows}.")
    if card.streamed and rows is None:
        raise ValueError(f"{name} is too large to read whole: say how many rows.")
    if config is None and card.text:
        raise ValueError(f"config of {name} must be one of {', '.join(map(repr, card.text))}.")
    files = mirrored(name, config, split)
    if files:
        return _read(files, rows)
    if stand_in:
        return _stand_in(name, config, split, card, rows or 1000)
    return _download(name, config, split, card, rows, revision)


def mirrored(name: str, config: str | None, split: str) -> list[Path]:
    """Return the parquet files of a split in the local mirror, in order; none where it is not there.

    Raises:
        DataNotFound: the mirror holds only some of the files that their names count.
    """
    folder = find_local(name.split("/")[-1], *_folder(config).split("/"))
    if folder is None:
        return []
    files = sorted(folder.glob(f"{split}-*.parquet"))
    if not files and split == "train":  # FineWeb has no other split and leaves it out of its names
        files = sorted(folder.glob("[0-9]*.parquet"))
    total = re.search(r"-of-(\d+)", files[0].name) if files else None
    if total and len(files) != int(total[1]):
        raise DataNotFound(
            f"{name} has {len(files)} of {int(total[1])} files of {split!r} in the mirror: add the others."
        )
    return files


def _folder(config: str | None) -> str:
    return config.replace("sample-", "sample/") if config else "data"  # FineWeb's sample-10BT lies in sample/10BT


def _read(files: list[Path], rows: int | None) -> pd.DataFrame:
    frames, left = [], rows
    for file in files:
        frames.append(read_parquet(file, left))
        left = None if left is None else left - len(frames[-1])
        if left == 0:
            break
    return pd.concat(frames, ignore_index=True)


def _download(
    name: str, config: str | None, split: str, card: Card, rows: int | None, revision: str | None
) -> pd.DataFrame:
    revision = pinned(name, revision or card.revision)
    datasets = require("datasets", "hub")
    try:
        found = datasets.load_dataset(name, config, split=split, revision=revision, streaming=card.streamed)
        if card.streamed:
            return pd.DataFrame(list(found.take(rows)))
        return found.select(range(min(rows or len(found), len(found)))).to_pandas()
    except Exception as error:  # no network has as many faces as the libraries below have layers
        layout = f"{name.split('/')[-1]}/{_folder(config)}/{split}-*.parquet"
        raise unreachable(name, revision, layout, error, also=card.also) from error


def _stand_in(name: str, config: str | None, split: str, card: Card, rows: int) -> pd.DataFrame:
    if config not in card.text:
        raise ValueError(f"{name} ({config}) has no stand-in: put the data into the mirror, or leave stand_in out.")
    columns, classes = card.text[config]
    print(f"{name} ({config}, {split}) is not on disk: {rows} rows of random words stand in for it.")
    rng = np.random.default_rng(0)
    lengths = rng.integers(5, 30, size=(rows, len(columns)))
    text = [[" ".join(f"word{w}" for w in rng.integers(1000, size=n)) for n in row] for row in lengths]
    frame = pd.DataFrame(text, columns=columns)
    if classes is not None:
        frame["label"] = rng.integers(classes, size=rows) if classes else rng.uniform(0, 5, size=rows)
    return frame
