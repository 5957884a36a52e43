"""CIFAR-10, MNIST and Fashion-MNIST as tensors: from a local mirror, Debian's package or the hub, in this order."""

from __future__ import annotations

import gzip
import io
import os
import zlib
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int, UInt8
from PIL import Image
from torch import Tensor

from reprolib.data import hub

CLASSES = 10  # of each of the three


@dataclass(frozen=True)
class ImageSet:
    """How a set of small images looks on the hub.

    Attributes:
        title: as people write it.
        hub: its id on the hub.
        column: where its images are.
        shape: (channels, height, width).
        train, test: how many images there are.
    """

    title: str
    hub: str
    column: str
    shape: tuple[int, int, int]
    train: int
    test: int


SETS = {
    "cifar10": ImageSet("CIFAR-10", "uoft-cs/cifar10", "img", (3, 32, 32), 50_000, 10_000),
    "mnist": ImageSet("MNIST", "ylecun/mnist", "image", (1, 28, 28), 60_000, 10_000),
    "fashion_mnist": ImageSet("Fashion-MNIST", "zalando-datasets/fashion_mnist", "image", (1, 28, 28), 60_000, 10_000),
}

Images = tuple[UInt8[Tensor, "images channels height width"], Int[Tensor, " images"]]


def cifar10(split: str = "train", stand_in: bool = False) -> Images:
    """Return CIFAR-10 (Krizhevsky, 2009); arguments, result and errors as `load`, images of shape (n, 3, 32, 32).

    Note:
        The hub has the original pixels (PNG). A mirror may hold **JPEG copies**, which lose a little: accuracies
        come out slightly below those on the original, so say so wherever such a number is shown. Loading
        them prints a line.
    """
    return load("cifar10", split, stand_in)


def mnist(split: str = "train", stand_in: bool = False) -> Images:
    """Return MNIST (LeCun et al., 1998); arguments, result and errors as `load`, images of shape (n, 1, 28, 28)."""
    return load("mnist", split, stand_in)


def fashion_mnist(split: str = "train", stand_in: bool = False) -> Images:
    """Return Fashion-MNIST (Xiao et al., 2017); arguments, result and errors as `load`, shape (n, 1, 28, 28)."""
    return load("fashion_mnist", split, stand_in)


@lru_cache(maxsize=4)
def load(name: str, split: str = "train", stand_in: bool = False) -> Images:
    """Return the images and labels of a split. They are decoded once a process: do not change them in place.

    Args:
        name: a key of `SETS`.
        split: ``"train"`` or ``"test"``.
        stand_in: where the set is not on disk, say so and return random images and labels of the real shapes;
            download nothing.

    Returns:
        Images, uint8 from 0 to 255, and labels, int64 from 0 to 9, in the order of the hub.

    Raises:
        ValueError: an argument is not allowed, or a file is cut short or holds something else.
        DataNotFound: neither on disk nor to be downloaded.
        ModuleNotFoundError: a library is missing; the sentence names the extra.
    """
    if name not in SETS:
        raise ValueError(f"name must be one of {', '.join(map(repr, SETS))}, got {name!r}.")
    if split not in ("train", "test"):
        raise ValueError(f"split must be 'train' or 'test', got {split!r}.")
    images = SETS[name]
    if not hub.mirrored(images.hub, hub.CARDS[images.hub].config, split):
        folder = _debian() if name == "fashion_mnist" else None
        if folder:
            return _read_idx(folder, split)
        if stand_in:
            return _stand_in(images, split)
    frame = hub.load(images.hub, split=split)
    labels = torch.tensor(frame["label"].to_numpy(dtype=np.int64))
    if not 0 <= labels.min() <= labels.max() < CLASSES:
        raise ValueError(f"{images.title} {split} has labels outside 0 to {CLASSES - 1}.")
    return _decode(frame[images.column], images, split), labels


def _decode(encoded, images: ImageSet, split: str) -> UInt8[Tensor, "images channels height width"]:
    channels, height, width = images.shape
    pixels = np.empty((len(encoded), height, width, channels), dtype=np.uint8)
    lossy = 0
    for i, item in enumerate(encoded):
        try:
            with Image.open(io.BytesIO(item["bytes"])) as image:
                lossy += image.format == "JPEG"
                if image.size != (width, height):
                    raise ValueError(f"{image.width} x {image.height} pixels")
                pixels[i] = np.asarray(image.convert("RGB" if channels == 3 else "L")).reshape(pixels.shape[1:])
        except (OSError, SyntaxError, ValueError, TypeError) as error:  # Pillow's, for bytes that are no image
            sentence = f"is no image of {width} x {height} pixels: download the file again."
            raise ValueError(f"image {i} of {images.title} {split} {sentence}") from error
    if lossy:
        print(f"{images.title} {split} comes as JPEG copies here: accuracies are slightly below those on the original.")
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()


def _stand_in(images: ImageSet, split: str) -> Images:
    print(f"{images.title} {split} is not on disk: random images of the same shape stand in for it.")
    n, generator = getattr(images, split), torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (n, *images.shape), dtype=torch.uint8, generator=generator)
    return pixels, torch.randint(CLASSES, (n,), generator=generator)


def _debian() -> Path | None:
    """Return the folder of Debian's package dataset-fashion-mnist, or None."""
    shares = os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share"
    folders = (Path(share) / "datasets" / "fashion-mnist" for share in shares.split(":"))
    return next((folder for folder in folders if folder.is_dir()), None)


def _read_idx(folder: Path, split: str) -> Images:
    """Read the pair of idx files of a split: big-endian header (type and rank, sizes), then bytes."""
    arrays = []
    for kind in ("images-idx3", "labels-idx1"):
        path = folder / f"{'train' if split == 'train' else 't10k'}-{kind}-ubyte.gz"
        try:
            raw = gzip.decompress(path.read_bytes())
            rank = raw[3]
            sizes = np.frombuffer(raw, dtype=">i4", count=rank, offset=4)
            arrays.append(torch.from_numpy(np.frombuffer(raw, np.uint8, offset=4 + 4 * rank).reshape(sizes).copy()))
        except (OSError, EOFError, zlib.error, IndexError, ValueError) as error:
            raise ValueError(f"{path.name} is truncated or no idx file: install it again.") from error
    pixels, labels = arrays
    return pixels[:, None], labels.long()
