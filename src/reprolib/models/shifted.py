"""A network that knows small images, and the same images as a new task: turned, with their labels permuted."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from reprolib.data import images, vision
from reprolib.models.digits import MLP
from reprolib.streams import stream
from reprolib.train import fit


class Shifted(NamedTuple):
    """A pre-trained network and its new task. It is shared, so copy the network before a change.

    Attributes:
        net: an `MLP` that knows the upright images of the training part.
        train, fresh, test: inputs and classes of the new task, no image in two of them.
    """

    net: nn.Module
    train: tuple[Float[Tensor, "train pixels"], Int[Tensor, " train"]]
    fresh: tuple[Float[Tensor, "fresh pixels"], Int[Tensor, " fresh"]]
    test: tuple[Float[Tensor, "test pixels"], Int[Tensor, " test"]]


@lru_cache(maxsize=64)  # above the seeds of any run: trials come back to a seed many times; MNIST has 16 MB a seed
def shifted(
    name: str,
    seed: int,
    *,
    hidden_dim: int,
    batch_size: int,
    sizes: tuple[int, int, int],
    steps: int = 300,
    stand_in: bool = False,
) -> Shifted:
    """Train an `MLP` on upright images, and return it with the images rotated by 90 degrees and relabeled.

    Args:
        name: ``"digits"`` (scikit-learn, 8x8 pixels) or ``"mnist"`` (28x28).
        seed: decides the split, the weights, the order of the batches and the permutation of the classes.
        hidden_dim: width of the three hidden layers.
        batch_size, steps: of the pre-training, Adam at 1e-3; the steps are rounded up to whole epochs.
        sizes: images of ``train``, ``fresh`` and ``test``.
        stand_in: random images where MNIST is not there.

    Raises:
        ValueError: another name, or more images than there are.
        DataNotFound: MNIST is nowhere to be had.
    """
    if name not in ("digits", "mnist"):
        raise ValueError(f"name must be 'digits' or 'mnist', got {name!r}.")
    if name == "digits":
        data = images.digits(seed, test_size=sizes[2])
        x, y = torch.cat([data.x_train, data.x_test]), torch.cat([data.y_train, data.y_test])
    else:
        x, y = vision.mnist("train", stand_in=stand_in)
        chosen = torch.randperm(len(y), generator=stream(seed, 0))[: sum(sizes)]
        x, y = x[chosen].flatten(1).float() / 255, y[chosen]
    if sum(sizes) > len(y):
        raise ValueError(f"{name} has {len(y)} images to offer, asked for {sum(sizes)}.")
    train, fresh = slice(sizes[0]), slice(sizes[0], sizes[0] + sizes[1])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream(seed, 1).initial_seed())
        net = MLP(x.shape[1], hidden_dim)
    epochs = -(-steps // (sizes[0] // batch_size))
    fit(net, x[train], y[train], epochs=epochs, batch_size=batch_size, lr=1e-3, generator=stream(seed, 2))
    side = round(x.shape[1] ** 0.5)
    x = x.view(-1, side, side).rot90(1, (1, 2)).flatten(1)
    y = torch.randperm(10, generator=stream(seed, 3))[y]
    parts = [(x[part], y[part]) for part in (train, fresh, slice(-sizes[2], None))]
    return Shifted(net.eval().requires_grad_(False), *parts)
