"""What must hold of Virgo and of the propagation matrix on any graph, and what a user's mistake says."""

from __future__ import annotations

from itertools import pairwise, product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reprolib.init.virgo import MODES, virgo_, virgo_variances
from reprolib.models.gcn import GCN, FixedSparse, gcn, normalized_adjacency

WIDTHS = [4, 8, 8, 8, 3]


@st.composite
def graphs(draw):
    """A connected-enough random graph with positive features: (edge_index, x)."""
    n = draw(st.integers(3, 25))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    upper = (torch.rand(n, n, generator=generator) < draw(st.floats(0.05, 0.9))).triu(1)
    upper[0, 1] = True
    x = torch.rand(n, 4, generator=generator, dtype=torch.float64) + 0.01
    return (upper | upper.T).nonzero().T, x


def propagation(edges, n):
    return normalized_adjacency(edges, n, torch.float64)


@pytest.fixture
def path():
    """A path of five nodes and its features."""
    edges = torch.tensor([[0, 1, 1, 2, 2, 3, 3, 4], [1, 0, 2, 1, 3, 2, 4, 3]])
    return propagation(edges, 5), torch.arange(20.0, dtype=torch.float64).reshape(5, 4)


@settings(max_examples=40)
@given(graphs(), st.sampled_from(MODES), st.randoms(use_true_random=False))
def test_relabelling_the_nodes_changes_nothing(graph, mode, random):
    edges, x = graph
    n = len(x)
    order = list(range(n))
    random.shuffle(order)
    label = torch.tensor(order)
    moved = torch.empty_like(x)
    moved[label] = x
    expected = virgo_variances(propagation(edges, n), x, WIDTHS, mode)
    assert virgo_variances(propagation(label[edges], n), moved, WIDTHS, mode) == pytest.approx(expected, rel=1e-9)


@settings(max_examples=40)
@given(graphs(), st.sampled_from(MODES), st.floats(1e-3, 1e3))
def test_scaling_the_features_changes_nothing(graph, mode, scale):
    edges, x = graph
    P = propagation(edges, len(x))
    expected = virgo_variances(P, x, WIDTHS, mode)
    assert virgo_variances(P, scale * x, WIDTHS, mode) == pytest.approx(expected, rel=1e-9)


@settings(max_examples=40)
@given(graphs(), st.sampled_from(MODES))
def test_a_second_copy_of_the_graph_changes_nothing(graph, mode):
    """Graph classification batches graphs into one block-diagonal graph."""
    edges, x = graph
    n = len(x)
    twice = torch.cat([edges, edges + n], dim=1)
    expected = virgo_variances(propagation(edges, n), x, WIDTHS, mode)
    both = virgo_variances(propagation(twice, 2 * n), torch.cat([x, x]), WIDTHS, mode)
    assert both == pytest.approx(expected, rel=1e-9)


@settings(max_examples=40)
@given(graphs())
def test_virgo_lies_between_its_parents_and_harmonic_below_arithmetic(graph):
    edges, x = graph
    P = propagation(edges, len(x))
    parents = [virgo_variances(P, x, WIDTHS, mode) for mode in ("forward", "backward")]
    means = zip(virgo_variances(P, x, WIDTHS), virgo_variances(P, x, WIDTHS, mean="arithmetic"), *parents, strict=True)
    for harmonic, arithmetic, f, b in means:
        assert min(f, b) * (1 - 1e-9) <= harmonic <= arithmetic * (1 + 1e-9)
        assert arithmetic <= max(f, b) * (1 + 1e-9)


@settings(max_examples=40)
@given(graphs())
def test_propagation_matrix_is_symmetric_with_spectral_radius_one(graph):
    edges, x = graph
    dense = propagation(edges, len(x)).to_dense()
    assert torch.equal(dense, dense.T)
    assert torch.linalg.eigvalsh(dense)[-1].item() == pytest.approx(1)
    assert (dense.diagonal() > 0).all()


def test_on_a_regular_graph_constant_features_give_kaiming():
    n = 6
    ring = torch.arange(n)
    edges = torch.stack([torch.cat([ring, (ring + 1) % n]), torch.cat([(ring + 1) % n, ring])])
    P, x = propagation(edges, n), torch.ones(n, 4, dtype=torch.float64)
    assert virgo_variances(P, x, WIDTHS, "forward") == pytest.approx([2 / 4, 2 / 8, 2 / 8, 2 / 8])
    assert virgo_variances(P, x, WIDTHS, "backward") == pytest.approx([2 / 8, 2 / 8, 2 / 8, 1 / 2])


def test_weights_are_uniform_with_the_promised_variance_and_repeat_with_the_generator(path):
    P, x = path
    widths = [4, 500, 500, 3]
    weights = [torch.empty(i, o, dtype=torch.float64) for i, o in pairwise(widths)]
    assert virgo_(weights, P, x, generator=torch.Generator().manual_seed(1)) is weights
    hidden, variance = weights[1], virgo_variances(P, x, widths)[1]
    assert hidden.mean().item() == pytest.approx(0, abs=4 * (variance / hidden.numel()) ** 0.5)
    assert hidden.var().item() == pytest.approx(variance, rel=0.02)
    assert hidden.abs().max().item() == pytest.approx((3 * variance) ** 0.5, rel=1e-3)
    again = [torch.empty_like(w) for w in weights]
    virgo_(again, P, x, generator=torch.Generator().manual_seed(1))
    assert all(torch.equal(a, b) for a, b in zip(weights, again, strict=True))


@pytest.mark.parametrize(
    "mode, mean", [("virgo", "harmonic"), ("virgo", "arithmetic"), *product(MODES[1:], ["harmonic"])]
)
def test_virgo_fills_weights_in_the_mode_and_mean_that_it_is_asked_for(path, mode, mean):
    P, x = path
    widths = [4, 400, 400, 3]
    weights = [torch.empty(shape, dtype=torch.float64) for shape in pairwise(widths)]
    virgo_(weights, P, x, mode, mean, generator=torch.Generator().manual_seed(0))
    bounds = [weight.abs().max().item() ** 2 / 3 for weight in weights]  # of U(-b, b), whose variance is b^2 / 3
    assert bounds == pytest.approx(virgo_variances(P, x, widths, mode, mean), rel=0.02)


def test_features_that_the_graph_averages_away_are_refused():
    P = torch.full((2, 2), 0.5, dtype=torch.float64)
    with pytest.raises(ValueError, match="averages x away"):
        virgo_variances(P, torch.tensor([[1.0], [-1.0]], dtype=torch.float64), [1, 8, 2])


def test_computing_variances_leaves_the_random_state_alone(path):
    before = torch.get_rng_state()
    virgo_variances(*path, WIDTHS)
    assert torch.equal(before, torch.get_rng_state())


def test_virgo_fills_parameters_without_recording_gradients(path):
    P, x = path
    net = GCN(4, 8, 3, 4)
    virgo_(net.weights, P, x)
    assert all(w.requires_grad and w.grad_fn is None for w in net.weights)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_one_missing_reverse_edge_in_ten_thousand_is_found(dtype):
    generator = torch.Generator().manual_seed(0)
    edges = torch.randint(0, 2000, (2, 5000), generator=generator)
    edges = torch.cat([edges, edges.flip(0)], dim=1).unique(dim=1)
    P = normalized_adjacency(edges, 2000, dtype)
    x = torch.ones(2000, 4, dtype=dtype)
    virgo_variances(P, x, WIDTHS)
    off_diagonal = (torch.repeat_interleave(torch.arange(2000), P.crow_indices().diff()) != P.col_indices()).nonzero()
    P.values()[off_diagonal[17]] = 0
    with pytest.raises(ValueError, match="not symmetric"):
        virgo_variances(P, x, WIDTHS)


def test_a_directed_edge_list_is_refused():
    with pytest.raises(ValueError, match="directed"):
        normalized_adjacency(torch.tensor([[0, 1], [1, 2]]), 3)


@pytest.mark.parametrize("edges", [torch.empty(2, 0, dtype=torch.int64), torch.tensor([[0, 1], [0, 1]])])
def test_an_edgeless_graph_is_refused_even_with_self_loops(edges):
    with pytest.raises(ValueError, match="no edge"):
        virgo_variances(propagation(edges, 3), torch.ones(3, 4), WIDTHS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(x=torch.zeros(5, 4)), "averages to zero"),
        (dict(x=torch.ones(4, 4)), "5 nodes"),
        (dict(x=torch.ones(5, 3)), "4 inputs"),
        (dict(x=torch.full((5, 4), torch.nan)), "not finite"),
        (dict(mode="both"), "'virgo', 'forward', 'backward'"),
        (dict(mean="geometric"), "'harmonic', 'arithmetic'"),
        (dict(widths=[4, 8, 1]), "at least 2"),
        (dict(widths=[4]), "at least two"),
        (dict(P=torch.ones(5, 4)), "square"),
        (dict(P=torch.full((5, 5), torch.inf)), "not finite"),
    ],
)
def test_a_mistake_is_answered_by_one_sentence_that_names_it(path, change, message):
    call = dict(P=path[0], x=path[1], widths=WIDTHS) | change
    with pytest.raises(ValueError, match=message) as error:
        virgo_variances(**call)
    assert "\n" not in str(error.value)


def test_a_refused_graph_leaves_every_weight_as_it_was(path):
    weights = [torch.ones(4, 8), torch.ones(8, 3)]
    with pytest.raises(ValueError):
        virgo_(weights, path[0], torch.zeros(5, 4))
    with pytest.raises(ValueError, match="chain"):
        virgo_([torch.ones(8, 4), torch.ones(3, 8)], *path)
    assert all((w == 1).all() for w in weights)


@pytest.mark.parametrize(
    "edges",
    [
        torch.tensor([[0, 3], [3, 0]]),
        torch.tensor([[0.0], [1.0]]),
        torch.tensor([0, 1]),
        torch.tensor([[-1, 0], [0, -1]]),
    ],
)
def test_a_bad_edge_list_is_refused(edges):
    with pytest.raises(ValueError, match="edge_index"):
        normalized_adjacency(edges, 3)


def test_a_network_without_layers_is_refused():
    with pytest.raises(ValueError, match="num_layers"):
        GCN(4, 8, 3, 0)


def test_fixed_sparse_has_the_gradient_of_a_matrix_that_is_not_symmetric():
    torch.manual_seed(0)
    matrix = torch.randn(5, 7, dtype=torch.float64) * (torch.rand(5, 7) < 0.5)
    dense = torch.randn(7, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda d: FixedSparse(matrix) @ d, (dense,))


def test_fixed_sparse_serves_a_batch_as_each_alone():
    torch.manual_seed(0)
    matrix = torch.randn(5, 7, dtype=torch.float64) * (torch.rand(5, 7) < 0.5)
    dense = torch.randn(2, 3, 7, 4, dtype=torch.float64, requires_grad=True)
    assert torch.allclose(FixedSparse(matrix) @ dense, matrix @ dense)
    assert torch.autograd.gradcheck(lambda d: FixedSparse(matrix) @ d, (dense,))


def test_stacked_networks_give_each_ones_outputs_and_gradients(path):
    P, x = (FixedSparse(matrix) for matrix in path)
    torch.manual_seed(0)
    weights = [torch.randn(3, *shape, dtype=torch.float64, requires_grad=True) for shape in pairwise(WIDTHS)]
    biases = [torch.randn(3, 1, width, dtype=torch.float64) for width in WIDTHS[1:]]
    stacked = gcn(P, x, weights, biases)
    gradients = torch.autograd.grad(stacked[-1].sin().sum(), weights)
    for k in range(3):
        own = [w[k].detach().requires_grad_() for w in weights]
        outputs = gcn(P, x, own, [bias[k, 0] for bias in biases])
        assert all(torch.allclose(all_of[k], one) for all_of, one in zip(stacked, outputs, strict=True))
        alone = torch.autograd.grad(outputs[-1].sin().sum(), own)
        assert all(torch.allclose(all_of[k], one) for all_of, one in zip(gradients, alone, strict=True))
