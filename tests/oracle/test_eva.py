"""EVA against scikit-learn's and peft's incremental PCA, peft's own EVA, and a plain SVD."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from sklearn.decomposition import IncrementalPCA
from torch import nn

from reprolib.init.eva import eva_, explain
from reprolib.linalg.incremental import IncrementalSVD


def rows(n=240, d=20, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(0.4, 1, (n, d)) * np.geomspace(1, 0.1, d) @ np.linalg.qr(rng.normal(size=(d, d)))[0]


@pytest.mark.parametrize("size", [30, 80])
def test_centered_updates_equal_scikit_learns(size):
    X = rows()
    ours, theirs = IncrementalSVD(6, center=True), IncrementalPCA(6)
    for part in np.array_split(X, len(X) // size):
        ours.partial_fit(torch.tensor(part))
        theirs.partial_fit(part)
    np.testing.assert_allclose(ours.singular_values_, theirs.singular_values_, rtol=1e-9)
    np.testing.assert_allclose(ours.explained_variance_ratio_, theirs.explained_variance_ratio_, rtol=1e-9)
    cosine = (ours.components_.numpy() * theirs.components_).sum(axis=1)
    np.testing.assert_allclose(np.abs(cosine), 1, atol=1e-9)


def test_uncentered_updates_of_all_directions_equal_numpys_svd():
    X = rows()
    svd = IncrementalSVD(20)
    for part in np.array_split(X, 7):
        svd.partial_fit(torch.tensor(part))
    _, S, V = np.linalg.svd(X, full_matrices=False)
    np.testing.assert_allclose(svd.singular_values_, S, rtol=1e-9)
    np.testing.assert_allclose(np.abs((svd.components_.numpy() * V).sum(axis=1)), 1, atol=1e-8)


def test_no_orthonormal_rows_catch_more():
    X = torch.tensor(rows())
    A = IncrementalSVD(5).partial_fit(X).components_
    best = np.linalg.eigvalsh(X.T.numpy() @ X.numpy())[-5:].sum()
    assert (X @ A.T).square().sum().item() == pytest.approx(best, rel=1e-10)
    others = torch.linalg.qr(
        torch.randn(1000, 20, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    ).Q
    assert ((X @ others).square().sum(dim=(1, 2)) <= best).all()


class Net(nn.Module):
    """A layer pair with equal inputs, and two behind it."""

    def __init__(self):
        super().__init__()
        self.query, self.key = nn.Linear(24, 24), nn.Linear(24, 24)
        self.up, self.down = nn.Linear(24, 48), nn.Linear(48, 24)

    def forward(self, x):
        return self.down(self.up(self.query(x).tanh() + self.key(x)).relu())


@pytest.fixture(scope="module")
def problem():
    torch.manual_seed(0)
    x = torch.tensor(rows(512, 24), dtype=torch.float32)
    return Net().eval(), x.split(64)


def test_components_equal_those_of_pefts_exact_pca(problem):
    peft = pytest.importorskip("peft.utils.incremental_pca")
    net, batches = problem
    ours = explain(net, ["query"], batches, 4, center=True, tau=None).svds["query"]
    theirs = peft.IncrementalPCA(n_components=8, lowrank=False)
    for batch in batches:
        theirs.partial_fit(batch.double())
    assert torch.allclose(ours.singular_values_, theirs.singular_values_.double(), rtol=1e-6)
    assert (ours.components_ * theirs.components_).sum(dim=1).abs().min() > 1 - 1e-8


@pytest.mark.filterwarnings("ignore")
def test_ranks_and_directions_agree_with_pefts_eva(problem):
    """peft stops early and uses a randomized SVD, so directions agree only roughly."""
    peft = pytest.importorskip("peft")
    net, batches = problem
    config = peft.LoraConfig(r=4, lora_alpha=4, target_modules=["query", "key", "up", "down"])
    ours = peft.get_peft_model(copy.deepcopy(net), config)
    ranks = eva_(ours, batches, center=True)
    theirs = peft.get_peft_model(
        copy.deepcopy(net),
        peft.LoraConfig(
            r=4, lora_alpha=4, target_modules=["query", "key", "up", "down"], init_lora_weights="eva",
            eva_config=peft.EvaConfig(rho=2.0, tau=0.99),
        ),
    )  # fmt: skip
    peft.initialize_lora_eva_weights(
        theirs, batches, forward_fn=lambda model, x: model(x), prepare_model_inputs_fn=None,
        prepare_layer_inputs_fn=None, show_progress_bar=False,
    )  # fmt: skip
    for name, rank in ranks.items():
        mine, other = (m.base_model.model.get_submodule(name) for m in (ours, theirs))
        assert other.r["default"] == rank and other.scaling == mine.scaling
        A, B = mine.lora_A["default"].weight, other.lora_A["default"].weight
        assert torch.linalg.svdvals(A @ B.T).min() > 0.95, name
