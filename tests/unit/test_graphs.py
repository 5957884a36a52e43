"""The random citation-like graph is what its docstring says; real graphs load or say how to get them."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import scipy.sparse
import torch

from reprolib.data.graphs import dcsbm, load, planetoid, row_normalized
from reprolib.data.sources import DataNotFound


@pytest.fixture(autouse=True)
def fresh_cache():
    for cached in (planetoid, load):
        cached.cache_clear()
    yield
    for cached in (planetoid, load):
        cached.cache_clear()


def test_block_model_repeats_with_its_seed_and_differs_without():
    a, b, c = dcsbm(1), dcsbm(1), dcsbm(2)
    assert torch.equal(a.edge_index, b.edge_index) and torch.equal(a.x, b.x) and torch.equal(a.test, b.test)
    assert not torch.equal(a.y, c.y)


def test_block_model_has_the_degrees_and_classes_it_promises():
    graphs = [dcsbm(seed) for seed in range(10)]
    degree = np.concatenate([np.bincount(g.edge_index[0], minlength=800) for g in graphs])
    assert 3.3 < degree.mean() < 4.1  # 4 before probabilities are cut at 1
    assert 0.07 < (degree == 0).mean() < 0.14
    assert degree.max() > 20 * degree.mean()  # heavy tail
    inside = np.mean([(g.y[g.edge_index[0]] == g.y[g.edge_index[1]]).float().mean() for g in graphs])
    assert inside == pytest.approx(8 / (8 + 4), abs=0.06)  # 8 : 1 inside against four other classes


def test_block_model_is_undirected_without_loops_and_its_split_covers_every_node_once():
    g = dcsbm(0)
    assert g.propagation.to_dense().count_nonzero() == g.edge_index.shape[1] + g.num_nodes
    assert (g.edge_index[0] != g.edge_index[1]).all()
    assert [len(part) for part in (g.train, g.val, g.test)] == [100, 200, 500]
    assert torch.equal(torch.cat([g.train, g.val, g.test]).sort().values, torch.arange(800))


def test_block_model_words_tell_the_class():
    g = dcsbm(0)
    own = torch.stack([(g.x[g.y == k] > 0)[:, k::5].float().mean() for k in range(5)])
    other = torch.stack([(g.x[g.y == k] > 0)[:, (k + 1) % 5 :: 5].float().mean() for k in range(5)])
    assert torch.allclose(own, torch.full((5,), 0.12), atol=0.015)
    assert torch.allclose(other, torch.full((5,), 0.02), atol=0.01)
    sums = g.x.sum(dim=1)
    assert ((sums - 1).abs() < 1e-5).logical_or(sums == 0).all()


def test_rows_are_normalized_and_empty_rows_stay_empty():
    x = row_normalized(torch.tensor([[1.0, 1, 2], [0, 0, 0]]))
    assert torch.equal(x, torch.tensor([[0.25, 0.25, 0.5], [0, 0, 0]]))


def test_a_split_larger_than_the_graph_is_refused():
    with pytest.raises(ValueError, match="below num_nodes"):
        dcsbm(0, num_nodes=300)


def write_planetoid(folder, num_nodes=800, classes=3, words=5):
    """Write raw files in the Planetoid layout: a ring of nodes."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    x = scipy.sparse.csr_matrix((rng.random((num_nodes, words)) < 0.5).astype(np.float32))
    y = np.eye(classes)[np.arange(num_nodes) % classes]
    train, known = 20 * classes, num_nodes - 100
    ring = {i: [(i - 1) % num_nodes, (i + 1) % num_nodes] for i in range(num_nodes)}
    parts = dict(x=x[:train], y=y[:train], allx=x[:known], ally=y[:known], tx=x[known:], ty=y[known:], graph=ring)
    for name, value in parts.items():
        (folder / f"ind.cora.{name}").write_bytes(pickle.dumps(value))
    (folder / "ind.cora.test.index").write_text("".join(f"{i}\n" for i in range(known, num_nodes)))


@pytest.mark.parametrize("folder", ["Cora", "cora"])
def test_a_citation_graph_is_read_from_a_read_only_mirror(tmp_path, monkeypatch, folder):
    pytest.importorskip("torch_geometric")
    raw = tmp_path / "planetoid" / folder / "raw"
    write_planetoid(raw)
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.setenv("REPROLIB_DATA", str(tmp_path))
    g = planetoid("Cora")
    assert (g.num_nodes, g.num_classes, g.edge_index.shape[1]) == (800, 3, 1600)
    assert [part.tolist() for part in (g.train, g.val, g.test)] == [
        list(range(60)), list(range(60, 560)), list(range(700, 800)),
    ]  # fmt: skip
    sums = g.x.sum(dim=1)
    assert ((sums - 1).abs() < 1e-5).logical_or(sums == 0).all()
    assert sorted(tmp_path.rglob("*")) == before  # nothing is written beside the raw files


def test_a_file_cut_short_is_named(tmp_path, monkeypatch):
    pytest.importorskip("torch_geometric")
    raw = tmp_path / "planetoid" / "Cora" / "raw"
    write_planetoid(raw)
    allx = raw / "ind.cora.allx"
    allx.write_bytes(allx.read_bytes()[:100])
    monkeypatch.setenv("REPROLIB_DATA", str(tmp_path))
    with pytest.raises(ValueError, match="Cora in the mirror cannot be read"):
        planetoid("Cora")


def test_a_graph_that_is_nowhere_says_where_it_was_sought_and_how_to_get_it(monkeypatch):
    datasets = pytest.importorskip("torch_geometric.datasets")

    def no_network(root, name):
        raise OSError("no network")

    monkeypatch.setattr(datasets, "Planetoid", no_network)
    monkeypatch.delenv("REPROLIB_DATA", raising=False)
    with pytest.raises(DataNotFound, match=r"Cora was not found in \$REPROLIB_DATA/planetoid.*connect"):
        planetoid("Cora")


def test_an_unknown_graph_is_refused_with_the_known_names():
    with pytest.raises(ValueError, match="'Cora', 'Citeseer', 'Pubmed'"):
        planetoid("cora")


def test_a_stand_in_has_the_size_of_the_graph_it_stands_for_and_says_so():
    g = load("Cora stand-in", 0)
    assert (g.name, *g.x.shape, g.num_classes, len(g.train), len(g.val)) == ("Cora stand-in", 2708, 1433, 7, 140, 500)
    with pytest.raises(ValueError, match="'Cora'"):
        load("Reddit stand-in", 0)


def test_moving_a_graph_keeps_its_content():
    g = dcsbm(0)
    moved = g.to("cpu")
    assert torch.equal(moved.x, g.x) and moved.name == g.name and moved.num_nodes == 800
