"""Virgo, the GCN and its propagation matrix against independent implementations and the closed form."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

from reprolib.data.graphs import dcsbm
from reprolib.init.virgo import graph_factors, virgo_, virgo_variances
from reprolib.models.gcn import GCN, FixedSparse, normalized_adjacency

pyg = pytest.importorskip("torch_geometric.nn")


@pytest.fixture(scope="module")
def graph():
    return dcsbm(3, num_nodes=60, num_words=20, num_train=10, num_val=10)


def naive_variances(P, x, widths, mode, mean):
    """The dossier's formulas, index for index (layers from 1), with explicit matrix powers."""
    N, L, m, C = len(P), len(widths) - 1, widths[1], widths[-1]
    power = [np.linalg.matrix_power(P, k) for k in range(L + 1)]
    f = [np.sum((p @ x.mean(axis=1)) ** 2) for p in power]
    g = [np.sum((p @ np.ones(N)) ** 2) for p in power]
    forward = {1: 2 / widths[0]} | {k: 2 / m * f[k - 1] / f[k] for k in range(2, L + 1)}
    backward = {L: N / ((C - 1) * g[1])} | {k: 2 / m * g[L - k] / g[L - k + 1] for k in range(1, L)}
    if mode != "virgo":
        return [(forward if mode == "forward" else backward)[k] for k in range(1, L + 1)]
    if mean == "harmonic":
        return [2 / (1 / forward[k] + 1 / backward[k]) for k in range(1, L + 1)]
    return [(forward[k] + backward[k]) / 2 for k in range(1, L + 1)]


@pytest.mark.parametrize("layers", [1, 2, 5])
@pytest.mark.parametrize("mode", ["virgo", "forward", "backward"])
@pytest.mark.parametrize("mean", ["harmonic", "arithmetic"])
def test_variances_equal_the_formulas_with_explicit_matrix_powers(graph, layers, mode, mean):
    widths = [20] + [16] * (layers - 1) + [5]
    P = graph.propagation
    uneven = torch.rand(60, 20, generator=torch.Generator().manual_seed(0), dtype=torch.float64) ** 4
    for x in (graph.x, uneven):  # the graph's own rows all have the same mean
        expected = naive_variances(P.to_dense().double().numpy(), x.double().numpy(), widths, mode, mean)
        assert virgo_variances(P, x, widths, mode, mean) == pytest.approx(expected, rel=1e-6)
        sparse = virgo_variances(P.to_dense(), x.to_sparse_csr(), widths, mode, mean)
        assert sparse == pytest.approx(expected, rel=1e-6)


def test_propagation_matrix_equals_pyg_normalization(graph):
    from torch_geometric.nn.conv.gcn_conv import gcn_norm

    index, weight = gcn_norm(graph.edge_index, num_nodes=60, add_self_loops=True)
    expected = torch.sparse_coo_tensor(index, weight, (60, 60)).to_dense()
    torch.testing.assert_close(graph.propagation.to_dense(), expected)


def test_gcn_equals_a_stack_of_pyg_layers_in_output_and_gradient(graph):
    torch.manual_seed(0)
    ours = GCN(20, 8, 5, 3)
    theirs = [pyg.GCNConv(i, o, normalize=True, add_self_loops=True) for i, o in [(20, 8), (8, 8), (8, 5)]]
    with torch.no_grad():
        for bias in ours.biases:
            bias.normal_()
        for conv, weight, bias in zip(theirs, ours.weights, ours.biases, strict=True):
            conv.lin.weight.copy_(weight.T)
            conv.bias.copy_(bias)
    logits = ours(FixedSparse(graph.propagation), FixedSparse(graph.x))
    h = graph.x
    for i, conv in enumerate(theirs):
        h = conv(h if i == 0 else h.relu(), graph.edge_index)
    torch.testing.assert_close(logits, h)
    loss = nn.functional.cross_entropy
    loss(logits, graph.y).backward()
    loss(h, graph.y).backward()
    for conv, weight in zip(theirs, ours.weights, strict=True):
        torch.testing.assert_close(weight.grad, conv.lin.weight.grad.T)


def test_dense_csr_and_fixed_sparse_give_the_same_network(graph):
    torch.manual_seed(0)
    net, P = GCN(20, 8, 5, 4), graph.propagation
    dense = net.pre_activations(P.to_dense(), graph.x)
    for other in (net.pre_activations(P, graph.x), net.pre_activations(FixedSparse(P), FixedSparse(graph.x))):
        for a, b in zip(dense, other, strict=True):
            torch.testing.assert_close(a, b)


def test_virgo_fills_pyg_layers_through_transposed_views(graph):
    convs = [pyg.GCNConv(20, 400), pyg.GCNConv(400, 400), pyg.GCNConv(400, 5)]
    P = graph.propagation
    virgo_([conv.lin.weight.T for conv in convs], P, graph.x)
    variances = virgo_variances(P, graph.x, [20, 400, 400, 5])
    for conv, variance in zip(convs, variances, strict=True):
        assert conv.lin.weight.var().item() == pytest.approx(variance, rel=0.1)


def rank_one_moments(variances, factors, widths):
    """E[mean Y^2] / (f_l / N) of every layer for rank-one features, from the closed form."""
    s, moments = widths[0] * variances[0], []
    for layer, factor in enumerate(factors):
        if layer:
            s *= widths[layer] * variances[layer] / 2
        moments.append(s * factor)
    return moments


def test_forward_variances_keep_the_closed_form_moment_constant(graph):
    """Inverting the graph factor, or dropping it, breaks this by more than a factor of two."""
    P, signal, widths = graph.propagation, torch.zeros(60), [20, 16, 16, 16, 5]
    signal[:3] = 1
    x = signal[:, None].expand(-1, 20)
    f = graph_factors(P.double(), signal[:, None].double(), 4).flatten().tolist()
    assert f[0] / f[-1] > 2
    moments = rank_one_moments(virgo_variances(P, x, widths, "forward"), f, widths)
    assert moments == pytest.approx([2 * f[0]] * 4, rel=1e-6)
    assert rank_one_moments([2 / m for m in widths[:-1]], f, widths) == pytest.approx([2 * k for k in f])


def test_backward_variances_keep_the_closed_form_gradient_at_c_over_c_minus_1(graph):
    P, widths, C = graph.propagation, [20, 16, 16, 16, 5], 5
    variances = virgo_variances(P, torch.ones(60, 20), widths, "backward")
    g = graph_factors(P.double(), torch.ones(60, 1, dtype=torch.float64), 4).flatten().tolist()
    gradient = C * variances[-1]
    for steps in (1, 2, 3):  # hidden layer L - steps
        if steps > 1:
            gradient *= widths[1] * variances[-steps] / 2
        assert g[steps - 1] / 60 * gradient == pytest.approx(C / (C - 1), rel=1e-6)


def test_monte_carlo_network_agrees_with_the_closed_form():
    """The layer code itself, not only the formula: rank-one features, 4000 networks, every layer within 5 %."""
    from reprolib.models.gcn import gcn

    torch.manual_seed(0)
    edges = (torch.rand(30, 30) < 0.15).triu(1)
    P = normalized_adjacency((edges | edges.T).nonzero().T, 30, torch.float64)
    signal = torch.zeros(30, dtype=torch.float64)
    signal[:2] = 1
    x, widths = signal[:, None].expand(-1, 10), [10, 16, 16, 4]
    weights = [torch.empty(4000, i, o, dtype=torch.float64) for i, o in pairwise(widths)]
    for w, v in zip(weights, virgo_variances(P, x, widths, "forward"), strict=True):
        w.uniform_(-((3 * v) ** 0.5), (3 * v) ** 0.5)
    f1 = graph_factors(P, signal[:, None], 1).item()
    for y in gcn(P.to_dense(), x, weights):
        assert y.square().mean().item() == pytest.approx(2 * f1 / 30, rel=0.05)
