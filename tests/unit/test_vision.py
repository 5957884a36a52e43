"""Images come whole, in the hub's order, from the nearest place that has them."""

import gzip
import io
import os
import struct
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from reprolib.data import hub, vision
from reprolib.data.sources import DataNotFound

pytest.importorskip("pyarrow")
FOLDERS = {"cifar10": "cifar10/plain_text", "mnist": "mnist/mnist", "fashion_mnist": "fashion_mnist/fashion_mnist"}
SHAPES = {name: images.shape for name, images in vision.SETS.items()}


@pytest.fixture(autouse=True)
def alone(tmp_path, monkeypatch, request):
    """No data but that of the test: an empty mirror, no Debian package, no hub."""
    if "the_real_mirror" in request.node.name:
        yield
        return

    def no_hub(name, config, split, card, *_):
        raise DataNotFound(f"asked the hub for {name} ({config}, {split})")

    (tmp_path / "data").mkdir()
    monkeypatch.setenv("REPROLIB_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_DATA_DIRS", str(tmp_path / "share"))
    monkeypatch.setattr(hub, "_download", no_hub)
    vision.load.cache_clear()
    yield
    vision.load.cache_clear()


def draw(name, n=6):
    """Return random pixels, (images, height, width) or with channels last."""
    channels, height, width = SHAPES[name]
    shape = (n, height, width, 3) if channels == 3 else (n, height, width)
    return np.random.default_rng(0).integers(256, size=shape, dtype=np.uint8)


def encoded(pixels, kind="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def write(root, name, images, labels, split="test"):
    """Write a split as the hub lays it out."""
    folder = root / "data" / FOLDERS[name]
    folder.mkdir(parents=True, exist_ok=True)
    column = vision.SETS[name].column
    frame = pd.DataFrame({column: [{"bytes": image, "path": None} for image in images], "label": labels})
    frame.to_parquet(folder / f"{split}-00000-of-00001.parquet")


def write_idx(root, pixels, labels):
    """Write the test split of Fashion-MNIST as Debian's package does."""
    folder = root / "share" / "datasets" / "fashion-mnist"
    folder.mkdir(parents=True)
    head = struct.pack(">4i", 0x803, *pixels.shape)
    (folder / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(head + pixels.tobytes()))
    labels = np.array(labels, dtype=np.uint8)
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(
        gzip.compress(struct.pack(">2i", 0x801, len(labels)) + labels.tobytes())
    )
    return folder


@pytest.mark.parametrize("name", vision.SETS)
def test_pixels_and_labels_of_the_mirror_arrive_unchanged(tmp_path, capsys, name):
    pixels, labels = draw(name), [9, 0, 3, 3, 1, 7]
    write(tmp_path, name, [encoded(p) for p in pixels], labels)
    images, y = getattr(vision, name)("test")
    assert images.dtype == torch.uint8 and images.shape == (6, *SHAPES[name]) and images.is_contiguous()
    channels_first = pixels.transpose(0, 3, 1, 2) if pixels.ndim == 4 else pixels[:, None]
    assert np.array_equal(images.numpy(), channels_first)
    assert y.dtype == torch.int64 and y.tolist() == labels
    assert capsys.readouterr().out == ""


def test_jpeg_copies_are_announced(tmp_path, capsys):
    pixels = draw("cifar10")
    write(tmp_path, "cifar10", [encoded(p, "JPEG") for p in pixels], [0] * 6)
    images, _ = vision.cifar10("test")
    assert images.shape == (6, 3, 32, 32)
    assert "CIFAR-10 test comes as JPEG copies here" in capsys.readouterr().out


def test_a_split_is_decoded_once(tmp_path):
    write(tmp_path, "mnist", [encoded(p) for p in draw("mnist")], [0] * 6)
    assert vision.mnist("test")[0] is vision.mnist("test")[0]


BROKEN = dict(
    text=b"no image", cut=encoded(draw("mnist")[0])[:200], small=encoded(draw("mnist")[0][:7, :9]), missing=None
)


@pytest.mark.parametrize("image", BROKEN.values(), ids=BROKEN)
def test_an_image_that_is_none_is_named_in_one_sentence(tmp_path, image):
    write(tmp_path, "mnist", [encoded(draw("mnist")[0]), image], [0, 1])
    with pytest.raises(ValueError) as caught:
        vision.mnist("test")
    assert str(caught.value) == "image 1 of MNIST test is no image of 28 x 28 pixels: download the file again."


def test_labels_that_are_no_class_are_refused(tmp_path):
    write(tmp_path, "mnist", [encoded(p) for p in draw("mnist")], [0, 1, 2, 3, 4, -1])
    with pytest.raises(ValueError, match="labels outside 0 to 9"):
        vision.mnist("test")


def test_fashion_mnist_is_read_from_the_mirror_then_from_debian_then_from_the_hub(tmp_path):
    with pytest.raises(DataNotFound, match=r"asked the hub for zalando-datasets/fashion_mnist \(fashion_mnist, test\)"):
        vision.fashion_mnist("test")
    pixels = draw("fashion_mnist")
    write_idx(tmp_path, pixels, range(6))
    images, labels = vision.fashion_mnist("test")
    assert np.array_equal(images.numpy(), pixels[:, None]) and labels.tolist() == list(range(6))
    assert (images.dtype, labels.dtype) == (torch.uint8, torch.int64)
    vision.load.cache_clear()
    write(tmp_path, "fashion_mnist", [encoded(pixels[0])], [8])
    assert vision.fashion_mnist("test")[1].tolist() == [8]


@pytest.mark.parametrize("keep", [0, 3, 40, -20])
def test_an_idx_file_cut_short_is_named(tmp_path, keep):
    folder = write_idx(tmp_path, draw("fashion_mnist"), range(6))
    path = folder / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(ValueError, match="t10k-images-idx3-ubyte.gz is truncated"):
        vision.fashion_mnist("test")


@pytest.mark.parametrize("name", ["cifar10", "mnist"])
def test_other_sets_go_from_the_mirror_to_the_hub(tmp_path, name):
    write_idx(tmp_path, draw("fashion_mnist"), range(6))
    with pytest.raises(DataNotFound, match=f"asked the hub for {vision.SETS[name].hub}"):
        vision.load(name, "test")


@pytest.mark.parametrize("name", vision.SETS)
def test_a_stand_in_has_the_shapes_of_the_set_and_says_so(capsys, name):
    images, labels = vision.load(name, "test", stand_in=True)
    assert images.shape == (10_000, *SHAPES[name]) and images.dtype == torch.uint8
    assert labels.shape == (10_000,) and labels.dtype == torch.int64 and labels.unique().tolist() == list(range(10))
    out = capsys.readouterr().out
    assert out == f"{vision.SETS[name].title} test is not on disk: random images of the same shape stand in for it.\n"


def test_no_stand_in_is_taken_where_the_data_is_there(tmp_path, capsys):
    write(tmp_path, "mnist", [encoded(p) for p in draw("mnist")], [5] * 6)
    assert vision.mnist("test", stand_in=True)[1].tolist() == [5] * 6
    assert capsys.readouterr().out == ""


def test_other_names_and_splits_are_refused():
    with pytest.raises(ValueError, match="'cifar10', 'mnist', 'fashion_mnist', got 'MNIST'"):
        vision.load("MNIST")
    with pytest.raises(ValueError, match="'train' or 'test', got 'validation'"):
        vision.mnist("validation")


REAL = os.environ.get("REPROLIB_DATA", "")


@pytest.mark.parametrize(
    ("name", "counts", "mean"),
    [
        ("cifar10", [1000] * 10, [0.4942, 0.4851, 0.4504]),
        ("mnist", [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009], [0.1325]),
    ],
)
def test_the_real_mirror_holds_the_known_test_sets(name, counts, mean):
    if not REAL or not (Path(REAL) / FOLDERS[name]).is_dir():
        pytest.skip("REPROLIB_DATA has no such set")
    images, labels = vision.load(name, "test")
    assert images.shape == (10_000, *SHAPES[name])
    assert labels.bincount().tolist() == counts
    measured = images.float().mean(dim=(0, 2, 3)) / 255
    torch.testing.assert_close(measured, torch.tensor(mean), atol=1e-3, rtol=0)
