"""`virgo_` against a dense implementation and one on PyG's message passing, side by side in one process.

Run: python benchmarks/bench_virgo.py
Each implementation fills the weights of an 8-layer GCN on the same graph, and all must agree. Times are
the best of several rounds in which the implementations take turns.
"""

from __future__ import annotations

import time
from itertools import pairwise

import torch
from torch import Tensor
from torch_geometric.nn import MessagePassing
from torch_geometric.nn.conv.gcn_conv import gcn_norm

from reprolib.init.virgo import virgo_, virgo_variances
from reprolib.models.gcn import normalized_adjacency

FEATURES, HIDDEN, CLASSES, LAYERS = 128, 64, 10, 8
DENSE_LIMIT = 10_000  # nodes; 100k nodes would be 80 GB in float64


def random_graph(nodes: int, degree: int = 10) -> Tensor:
    """An undirected random graph, edges in both directions, without loops or repeats."""
    generator = torch.Generator().manual_seed(nodes)
    edges = torch.randint(nodes, (2, nodes * degree // 2), generator=generator)
    edges = edges[:, edges[0] != edges[1]]
    return torch.cat([edges, edges.flip(0)], dim=1).unique(dim=1)


def fill(weights: list[Tensor], forward: list[float], backward: list[float]) -> list[float]:
    """Draw uniform weights with the harmonic mean of the two variances."""
    variances = [2 / (1 / a + 1 / b) for a, b in zip(forward, backward, strict=True)]
    for weight, variance in zip(weights, variances, strict=True):
        weight.uniform_(-((3 * variance) ** 0.5), (3 * variance) ** 0.5)
    return variances


def virgo_with(propagate, weights: list[Tensor], x: Tensor) -> list[float]:
    """Virgo with any function that applies P to a signal of shape (nodes, 1)."""
    f, g = [], []
    signal, ones = x.mean(dim=1, keepdim=True).double(), torch.ones(len(x), 1, dtype=torch.float64)
    for _ in weights:
        signal, ones = propagate(signal), propagate(ones)
        f.append(signal.square().sum().item())
        g.append(ones.square().sum().item())
    L = len(weights)
    forward = [2 / FEATURES] + [2 / HIDDEN * f[k - 1] / f[k] for k in range(1, L)]
    backward = [2 / HIDDEN * g[k - 1] / g[k] for k in range(L - 1, 0, -1)] + [len(x) / ((CLASSES - 1) * g[0])]
    return fill(weights, forward, backward)


class Propagate(MessagePassing):
    """P as message passing: gather, weight, scatter-add."""

    def __init__(self):
        super().__init__(aggr="add")

    def forward(self, signal, index, weight):
        return self.propagate(index, x=signal, weight=weight)

    def message(self, x_j, weight):
        return weight[:, None] * x_j


def implementations(edges: Tensor, nodes: int, x: Tensor) -> dict:
    """Name -> function of the weights. The propagation matrix is prepared outside the clock for all."""
    P = normalized_adjacency(edges, nodes)
    index, weight = gcn_norm(edges, num_nodes=nodes, dtype=torch.float64)
    layer = Propagate()
    methods = {
        "reprolib": lambda weights: virgo_(weights, P, x),
        "PyG message passing": lambda weights: virgo_with(lambda s: layer(s, index, weight), weights, x),
    }
    if nodes <= DENSE_LIMIT:
        dense = P.to_dense().double()
        methods["dense"] = lambda weights: virgo_with(lambda s: dense @ s, weights, x)
    return methods


def seconds(methods: dict, weights: list[Tensor], rounds: int) -> dict[str, float]:
    """Best time of each method, taking turns."""
    best = dict.fromkeys(methods, float("inf"))
    for _ in range(rounds):
        for name, method in methods.items():
            begin = time.perf_counter()
            method(weights)
            best[name] = min(best[name], time.perf_counter() - begin)
    return best


def main() -> None:
    torch.set_num_threads(1)
    widths = [FEATURES] + [HIDDEN] * (LAYERS - 1) + [CLASSES]
    print(f"virgo_ for a GCN of {LAYERS} layers, one thread, torch {torch.__version__}\n")
    print(f"{'nodes':>8} {'edges':>9}  {'implementation':<20} {'ms':>9} {'relative':>9}")
    for nodes, rounds in ((3_000, 20), (100_000, 5)):
        edges = random_graph(nodes)
        x = torch.rand(nodes, FEATURES, generator=torch.Generator().manual_seed(0))
        weights = [torch.empty(i, o) for i, o in pairwise(widths)]
        methods = implementations(edges, nodes, x)
        expected = torch.tensor(virgo_variances(normalized_adjacency(edges, nodes), x, widths))
        filled = {}
        for name, method in methods.items():
            torch.manual_seed(0)
            method(weights)
            filled[name] = torch.cat([w.flatten() for w in weights])
            torch.testing.assert_close(filled[name], filled["reprolib"], rtol=1e-5, atol=1e-8)
        spread = torch.tensor([w.abs().max() ** 2 / 3 for w in weights])
        torch.testing.assert_close(spread, expected, rtol=0.05, atol=0)
        best = seconds(methods, weights, rounds)
        for name, time_ in best.items():
            print(f"{nodes:>8} {edges.shape[1]:>9}  {name:<20} {1e3 * time_:>9.2f} {time_ / best['reprolib']:>8.1f}x")
    print("\nAll implementations filled the weights with equal numbers.")


if __name__ == "__main__":
    main()
