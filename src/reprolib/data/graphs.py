"""Node classification: citation graphs, and a random graph that looks like one and needs no download."""

from __future__ import annotations

import os
from dataclasses import dataclass, fields, replace
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from reprolib.data.sources import find_local, not_found
from reprolib.models.gcn import FixedSparse, normalized_adjacency

PLANETOID = {  # sizes, for stand-ins
    "Cora": dict(num_nodes=2708, num_classes=7, num_words=1433, num_train=140, num_val=500),
    "Citeseer": dict(num_nodes=3327, num_classes=6, num_words=3703, num_train=120, num_val=500),
    "Pubmed": dict(num_nodes=19717, num_classes=3, num_words=500, num_train=60, num_val=500),
}


@dataclass(frozen=True)
class Graph:
    """One graph with a class for every node, and a split of its nodes.

    Attributes:
        name: for labels.
        edge_index: (2, edges), int64; every undirected edge in both directions, no self-loops.
        x: (nodes, features), rows that sum to 1 (or to 0, for a node without words).
        y: (nodes,), class numbers.
        train, val, test: node numbers of the three parts.
        num_classes: how many classes there are.
    """

    name: str
    edge_index: Int[Tensor, "2 edges"]
    x: Float[Tensor, "nodes features"]
    y: Int[Tensor, " nodes"]
    train: Int[Tensor, " train"]
    val: Int[Tensor, " val"]
    test: Int[Tensor, " test"]
    num_classes: int

    @property
    def num_nodes(self) -> int:
        return len(self.y)

    def to(self, device: torch.device | str) -> Graph:
        """Return the graph with its tensors on `device`."""
        if self.y.device == torch.device(device):
            return self
        tensors = {f.name: getattr(self, f.name) for f in fields(self)}
        return replace(self, **{k: v.to(device) for k, v in tensors.items() if isinstance(v, Tensor)})

    @cached_property
    def propagation(self) -> Float[Tensor, "nodes nodes"]:
        """The symmetrically normalized adjacency matrix with self-loops, as CSR."""
        return normalized_adjacency(self.edge_index, self.num_nodes)

    @cached_property
    def operators(self) -> tuple[FixedSparse, FixedSparse]:
        """The propagation matrix and the features, ready for fast training."""
        return FixedSparse(self.propagation), FixedSparse(self.x)


def row_normalized(x: Float[Tensor, "nodes features"]) -> Float[Tensor, "nodes features"]:
    """Return `x` with every non-negative row scaled to sum 1; a row of zeros stays as it is."""
    return x / x.sum(dim=1, keepdim=True).clamp(min=torch.finfo(x.dtype).tiny)


def dcsbm(
    seed: int,
    num_nodes: int = 800,
    num_classes: int = 5,
    num_words: int = 200,
    num_train: int = 100,
    num_val: int = 200,
) -> Graph:
    """Draw a degree-corrected stochastic block model with bag-of-words features (Karrer & Newman, 2011).

    Classes are uniform. Propensities are Pareto(1.6) with minimum 1, so degrees are heavy-tailed as in citation
    graphs. An edge is 8 times as likely inside a class as across, and the mean degree is 4 before
    probabilities are cut at 1; about a tenth of the nodes stay isolated. Word `w` belongs to class `w` modulo
    `num_classes` and is present with probability 0.12 in nodes of its class, else 0.02. The split is uniform.

    Args:
        seed: decides everything.

    Raises:
        ValueError: the split needs more nodes than there are, or a size is below 1.
    """
    if min(num_nodes, num_classes, num_words, num_train, num_val) < 1 or num_train + num_val >= num_nodes:
        raise ValueError(
            f"dcsbm needs sizes of at least 1 and num_train + num_val below num_nodes, got {num_train} + {num_val} "
            f"of {num_nodes}."
        )
    rng = np.random.default_rng(seed)
    y = rng.integers(num_classes, size=num_nodes)
    theta = 1 + rng.pareto(1.6, size=num_nodes)
    affinity = np.outer(theta, theta) * np.where(y[:, None] == y, 8.0, 1.0)
    np.fill_diagonal(affinity, 0)
    probability = np.minimum(1, 4 * num_nodes / affinity.sum() * affinity)
    upper = np.triu(rng.random((num_nodes, num_nodes)) < probability, k=1)
    edges = np.stack(np.nonzero(upper | upper.T))
    own = y[:, None] == np.arange(num_words) % num_classes
    words = rng.random((num_nodes, num_words)) < np.where(own, 0.12, 0.02)
    order = rng.permutation(num_nodes)
    train, val, test = np.split(order, [num_train, num_train + num_val])
    return Graph(
        name="block model",
        edge_index=torch.from_numpy(edges),
        x=row_normalized(torch.from_numpy(words).float()),
        y=torch.from_numpy(y),
        train=torch.from_numpy(train),
        val=torch.from_numpy(val),
        test=torch.from_numpy(test),
        num_classes=num_classes,
    )


@lru_cache(maxsize=32)
def load(name: str, seed: int) -> Graph:
    """Return a graph by name; the last few are kept, so that a sweep draws or reads each one once.

    Args:
        name: ``"block model"`` (`dcsbm`), a name that `planetoid` knows, or such a name followed by ``" stand-in"``:
            a block model of the same size, to walk a path where the real graph is not on disk.
        seed: decides a random graph; a real one has a fixed split and ignores it.

    Raises:
        ValueError: another name, or what `planetoid` raises.
    """
    if name == "block model":
        return dcsbm(seed)
    real = name.removesuffix(" stand-in")
    if real == name or real not in PLANETOID:
        return planetoid(name)
    return replace(dcsbm(seed, **PLANETOID[real]), name=name)


def available(name: str, stand_in: bool = False) -> str:
    """Return the name that `load` should use, after making sure that the graph is there.

    Args:
        name: as in `load`.
        stand_in: where a real graph is not in the local mirror, say so and name its stand-in; download nothing.

    Raises:
        DataNotFound, ValueError: as `planetoid`.
    """
    if stand_in and name in PLANETOID and not mirrored(name):
        print(f"{name} is not on disk: a random graph of the same size stands in for it.")
        return f"{name} stand-in"
    if name != "block model":
        planetoid(name)
    return name


@lru_cache(maxsize=len(PLANETOID))
def planetoid(name: str) -> Graph:
    """Load a citation graph with its public Planetoid split (Yang et al., 2016) and row-normalized words.

    Looks in the local mirror, then asks `torch_geometric.datasets.Planetoid`, which downloads once.

    Args:
        name: ``"Cora"``, ``"Citeseer"`` or ``"Pubmed"``.

    Raises:
        ValueError: another name, or files that are cut short.
        DataNotFound: neither in the mirror nor to be downloaded.
        ModuleNotFoundError: torch_geometric is not installed.
    """
    if name not in PLANETOID:
        raise ValueError(f"name must be one of {', '.join(map(repr, PLANETOID))}, got {name!r}.")
    raw = mirrored(name)
    data = _read(raw, name) if raw else _download(name)
    parts = {part: getattr(data, f"{part}_mask").nonzero().flatten() for part in ("train", "val", "test")}
    loops = data.edge_index[0] == data.edge_index[1]
    return Graph(
        name=name,
        edge_index=data.edge_index[:, ~loops],
        x=row_normalized(data.x.float()),
        y=data.y,
        num_classes=int(data.y.max()) + 1,
        **parts,
    )


def mirrored(name: str) -> Path | None:
    """Return the folder of raw Planetoid files in the local mirror, or None."""
    return find_local("planetoid", name, "raw") or find_local("planetoid", name.lower(), "raw")


def _read(raw: Path, name: str):
    """Read the mirror's raw files in memory: the mirror may be read-only, so PyG cannot cache beside them."""
    from torch_geometric.io import read_planetoid_data

    try:
        return read_planetoid_data(str(raw), name.lower())
    except Exception as error:  # pickle raises many types on a file that is cut short
        raise ValueError(f"the files of {name} in the mirror cannot be read, copy them again ({error}).") from error


def _download(name: str):
    from torch_geometric.datasets import Planetoid

    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "reprolib" / "planetoid"
    try:
        return Planetoid(str(cache), name)[0]
    except Exception as error:  # no network has as many faces as fsspec has back ends
        raise not_found(
            name,
            ["$REPROLIB_DATA/planetoid", "torch_geometric's download"],
            f"connect to the network, or put its raw files into $REPROLIB_DATA/planetoid/{name}/raw ({error}).",
        ) from error
