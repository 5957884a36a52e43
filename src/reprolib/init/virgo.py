"""Virgo: weight variances that take the graph into account (Li et al., ICML 2023, arXiv 2312.02622).

A graph layer multiplies by a propagation matrix ``P`` before the weights act, and ``P`` changes the
variance of what passes through it. Virgo measures that change once, without weights, and divides it out.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

MODES = ("virgo", "forward", "backward")
MEANS = ("harmonic", "arithmetic")


def graph_factors(
    P: Float[Tensor, "nodes nodes"], signals: Float[Tensor, "nodes k"], steps: int
) -> Float[Tensor, "steps k"]:
    r"""Return :math:`\|P^s v\|_2^2` for every column `v` of `signals` and `s = 1 .. steps`.

    Args:
        P: propagation matrix, dense or CSR.
        signals: one signal on the nodes in each column.
        steps: how often `P` is applied.
    """
    factors = []
    for _ in range(steps):
        signals = P @ signals
        factors.append(signals.square().sum(dim=0))
    return torch.stack(factors)


def virgo_variances(
    P: Float[Tensor, "nodes nodes"],
    x: Float[Tensor, "nodes features"],
    widths: Sequence[int],
    mode: str = "virgo",
    mean: str = "harmonic",
) -> list[float]:
    r"""Return Virgo's weight variance of every layer of a graph network.

    With :math:`f_k=\|P^k\bar x\|^2` (:math:`\bar x`: mean of `x` over features), :math:`g_k=\|P^k\mathbf 1\|^2`,
    N nodes, C classes and L layers::

        forward:  2 / fan_in,      times f[l-1] / f[l]      for l >= 2
        backward: 2 / fan_out,     times g[L-l] / g[L-l+1]  for l < L;   N / ((C - 1) g[1]) for l = L

    and ``virgo`` is the mean of the two. The paper has one hidden width, which is then the fan of both.

    Signals with both signs shrink under `P` much faster than the activations they stand for: center neither
    `x` nor its rows, or the forward variances come out too large.

    Args:
        P: symmetric propagation matrix, dense or sparse, e.g. `reprolib.models.gcn.normalized_adjacency`.
        x: node features as the first layer sees them, dense or CSR.
        widths: layer widths from features to classes, ``[features, hidden, ..., classes]``.
        mode: ``"virgo"``, or one parent alone: ``"forward"`` or ``"backward"``.
        mean: ``"harmonic"`` or ``"arithmetic"``; only for mode ``"virgo"``.

    Returns:
        ``len(widths) - 1`` variances, first layer first.

    Raises:
        ValueError: a bad `mode` or `mean`, sizes that do not fit together, fewer than two classes, a directed or
            edgeless graph, features that are not finite, or whose mean over features is 0 on every node.
    """
    if mode not in MODES:
        raise ValueError(f"mode must be one of {', '.join(map(repr, MODES))}, got {mode!r}.")
    if mean not in MEANS:
        raise ValueError(f"mean must be one of {', '.join(map(repr, MEANS))}, got {mean!r}.")
    num_layers, num_classes = len(widths) - 1, widths[-1] if len(widths) else 0
    if num_layers < 1 or min(widths) < 1:
        raise ValueError(f"widths must hold at least two positive numbers, got {list(widths)}.")
    if num_classes < 2:
        raise ValueError(f"the last width is the number of classes and must be at least 2, got {num_classes}.")
    P = _check_propagation(P)
    x_mean = _mean_feature(x, P.shape[0], widths[0])

    f, g = graph_factors(P, torch.stack([x_mean, torch.ones_like(x_mean)], dim=1), num_layers).T.tolist()
    if not f[-1] > 0:
        raise ValueError("P averages x away (does it sum to zero over neighborhoods?), so the forward factors vanish.")
    forward = [2 / fan_in for fan_in in widths[:-1]]
    backward = [2 / fan_out for fan_out in widths[1:]]
    for layer in range(1, num_layers):  # 0-based here, so f[layer] is f_{l} of layer l = layer + 1
        forward[layer] *= f[layer - 1] / f[layer]
        backward[-layer - 1] *= g[layer - 1] / g[layer]
    backward[-1] = P.shape[0] / ((num_classes - 1) * g[0])

    if mode == "forward":
        return forward
    if mode == "backward":
        return backward
    if mean == "harmonic":
        return [2 / (1 / a + 1 / b) for a, b in zip(forward, backward, strict=True)]
    return [(a + b) / 2 for a, b in zip(forward, backward, strict=True)]


@torch.no_grad()
def virgo_(
    weights: Sequence[Float[Tensor, "fan_in fan_out"]],
    P: Float[Tensor, "nodes nodes"],
    x: Float[Tensor, "nodes features"],
    mode: str = "virgo",
    mean: str = "harmonic",
    generator: torch.Generator | None = None,
) -> Sequence[Tensor]:
    """Fill the weights of a graph network in place from zero-mean uniform distributions with Virgo's variances.

    Args:
        weights: first layer first, each stored (in, out). A `torch.nn.Linear` or PyG layer stores (out, in): pass
            the transposed view, ``[conv.lin.weight.T for conv in convs]``, and the layer itself is filled.
        P, x, mode, mean: as in `virgo_variances`.
        generator: source of randomness; torch's own when None.

    Returns:
        `weights`.

    Raises:
        ValueError: as `virgo_variances`, or the weights' shapes do not chain. No weight is changed then.
    """
    shapes = [tuple(w.shape) for w in weights]
    chained = all(len(s) == 2 for s in shapes) and all(a[1] == b[0] for a, b in pairwise(shapes))
    if not shapes or not chained:
        raise ValueError(f"weights must be matrices (in, out) that chain from layer to layer, got shapes {shapes}.")
    widths = [shapes[0][0], *(out for _, out in shapes)]
    for w, variance in zip(weights, virgo_variances(P, x, widths, mode, mean), strict=True):
        bound = (3 * variance) ** 0.5  # U(-b, b) has variance b^2 / 3
        w.uniform_(-bound, bound, generator=generator)
    return weights


def _check_propagation(P: Tensor) -> Tensor:
    """Return `P` in float64, dense or CSR, after checking that it is square, symmetric and has an edge."""
    if P.ndim != 2 or P.shape[0] != P.shape[1] or not P.is_floating_point():
        raise ValueError(f"P must be a square matrix of floats, got shape {tuple(P.shape)} of {P.dtype}.")
    P = P.detach().double() if P.layout == torch.strided else P.detach().to_sparse_csr().double()
    # Two random signals decide both questions in one product. With a = (Pu) v and b = (Pv) u, a symmetric P
    # has sum(a) = sum(b), and a diagonal one even a = b; any other P misses this with probability one.
    angle = torch.rand(P.shape[0], generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2 * torch.pi
    u, v = angle.cos().to(P.device), angle.sin().to(P.device)
    Pu, Pv = (P @ torch.stack([u, v], dim=1)).T
    if not (torch.isfinite(Pu).all() and torch.isfinite(Pv).all()):
        raise ValueError("P has entries that are not finite.")
    gap = Pu * v - Pv * u
    scale = gap.norm()
    if scale <= 1e-12 * Pu.norm():
        raise ValueError("the graph has no edge between different nodes, so there is no graph factor to correct.")
    if gap.sum().abs() > 1e-6 * scale:  # float32 rounding of P stays ten times below
        raise ValueError("P is not symmetric: Virgo is derived for undirected graphs, so add the reverse edges.")
    return P


def _mean_feature(x: Tensor, num_nodes: int, num_features: int) -> Float[Tensor, " nodes"]:
    if x.ndim != 2 or tuple(x.shape) != (num_nodes, num_features):
        raise ValueError(
            f"x must have a row for each of P's {num_nodes} nodes and a column for each of the first layer's "
            f"{num_features} inputs, got shape {tuple(x.shape)}."
        )
    x = x.detach()
    total = x.sum(dim=1) if x.layout == torch.strided else x @ x.new_ones(num_features, layout=torch.strided)
    x_mean = total.double() / num_features
    if not torch.isfinite(x_mean).all():
        raise ValueError("x has entries that are not finite.")
    if not x_mean.any():
        raise ValueError("x averages to zero on every node (all-zero features?), so the forward factors vanish.")
    return x_mean
