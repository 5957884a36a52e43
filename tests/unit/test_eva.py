"""EVA: which inputs are seen, when the SVD stops, how ranks are shared out, and what ends up in the adapters."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from reprolib.init.eva import component_scores, eva_, explain, layer_inputs, redistribute_ranks
from reprolib.linalg.incremental import IncrementalSVD


class Net(nn.Module):
    """Two layers that share an input, one behind them, and dropout, which must be off."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(8, 6), nn.Linear(8, 6), nn.Linear(6, 4)
        self.drop = nn.Dropout(0.5)

    def forward(self, x, attention_mask=None):
        return self.c(self.drop(self.a(x).relu() + self.b(x)))


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net()


def data(rows=120, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return 0.3 + torch.randn(rows, 8, generator=generator) * torch.logspace(0, -1, 8)


def test_the_budget_goes_to_the_best_scores_and_the_first_layer_wins_a_tie():
    scores = {"a": torch.tensor([0.9, 0.3]), "b": torch.tensor([0.5, 0.3]), "c": torch.tensor([0.1, 0.0])}
    assert redistribute_ranks(scores, 3) == {"a": 2, "b": 1, "c": 0}
    assert redistribute_ranks(scores, 0) == {"a": 0, "b": 0, "c": 0}
    assert redistribute_ranks(scores, 6) == {"a": 2, "b": 2, "c": 2}
    for budget in (-1, 7):
        with pytest.raises(ValueError, match="from 0 to 6"):
            redistribute_ranks(scores, budget)


def test_the_share_ignores_the_scale_of_the_inputs_and_equation_6_is_proportional_to_it():
    X = data()
    small, large = (IncrementalSVD(4).partial_fit(scale * X) for scale in (1, 10))
    assert torch.allclose(component_scores(small), component_scores(large))
    assert torch.allclose(10 * component_scores(small, "paper"), component_scores(large, "paper"), rtol=1e-5)
    S = torch.linalg.svdvals(X.double())[:4]
    assert torch.allclose(component_scores(small, "paper"), S**2 / (119 * S.sum()), rtol=1e-6)
    with pytest.raises(ValueError, match="'ratio', 'paper'"):
        component_scores(small, "max")


def test_inputs_are_those_of_evaluation_without_padding_and_the_model_stays_as_it_was(net):
    net.train()
    x, mask = data(12).view(3, 4, 8), torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]])
    found = layer_inputs(net, ["a", "c"], {"x": x, "attention_mask": mask})
    assert torch.equal(found["a"], x[mask.bool()])
    assert torch.allclose(found["c"], net.a(x[mask.bool()]).relu() + net.b(x[mask.bool()]))
    assert net.training and not any(m._forward_pre_hooks for m in net.modules())
    called = []
    layer_inputs(net, ["a"], x, lambda model, inputs: called.append(model(inputs)))
    assert len(called) == 1


def test_only_the_first_call_of_a_layer_counts():
    layer = nn.Linear(3, 3)

    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = layer

        def forward(self, x):
            return self.layer(x) + self.layer(torch.zeros_like(x))

    assert torch.equal(layer_inputs(Twice(), ["layer"], torch.ones(2, 3))["layer"], torch.ones(2, 3))


def test_equal_inputs_share_one_svd_and_tau_decides_how_long_it_runs(net):
    batches = data(400).split(20)
    whole = explain(net, ["a", "b", "c"], batches, 2, tau=None)
    assert whole.svds["a"] is whole.svds["b"] and whole.svds["a"] is not whole.svds["c"]
    assert set(whole.updates.values()) == {20} and whole.svds["a"].n_samples_seen_ == 400
    early = explain(net, ["a", "b", "c"], batches, 2, tau=0.9)
    late = explain(net, ["a", "b", "c"], batches, 2, tau=0.9999)
    assert 2 <= early.updates["a"] < late.updates["a"] <= 20
    assert early.svds["a"].n_samples_seen_ == 20 * early.updates["a"]


def test_a_shared_svd_runs_until_the_layer_with_more_ranks_stands_still(net):
    for layer in (net.a, net.b):  # nothing reaches c, so of three ranks two go to a
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    unit = torch.eye(8)
    batches = [torch.stack([1000 * unit[0], 3**t * unit[t]]) for t in range(1, 6)]  # always a new second direction
    found = explain(net, ["a", "b", "c"], batches, 1)
    assert found.ranks == {"a": 2, "b": 1, "c": 0} and found.updates["a"] == 5
    assert explain(net, ["a"], batches, 1).updates == {"a": 2}  # the second direction is not needed


def test_a_direction_may_fade_out_when_much_larger_ones_come():
    layer, generator = nn.Sequential(nn.Linear(8, 6)), torch.Generator().manual_seed(0)
    small = torch.randn(20, 8, generator=generator, dtype=torch.float64)
    large = 1e9 * torch.eye(2, 8, dtype=torch.float64)
    found = explain(layer.double(), ["0"], [small, large, large], 1, rho=3)
    assert found.ranks == {"0": 1} and len(found.svds["0"].components_) == 2


@pytest.mark.parametrize("rho", [1, 1.5, 2, 3])
def test_ranks_fill_the_budget_and_stay_below_their_limit(net, rho):
    ranks = explain(net, ["a", "b", "c"], data().split(30), 2, rho=rho).ranks
    assert sum(ranks.values()) == 6 and max(ranks.values()) <= round(2 * rho)
    if rho == 1:
        assert set(ranks.values()) == {2}


def test_bad_arguments_are_named(net):
    with pytest.raises(ValueError, match="rho must be at least 1"):
        explain(net, ["a"], [data()], 2, rho=0.5)
    for names, batches, missing in (([], [data()], "layer"), (["a"], [], "batch")):
        with pytest.raises(ValueError, match=f"at least one {missing}"):
            explain(net, names, batches, 2)


@pytest.mark.parametrize("center", [False, True])
def test_adapters_start_with_the_directions_and_change_nothing(net, center):
    peft = pytest.importorskip("peft")
    config = peft.LoraConfig(r=2, lora_alpha=6, target_modules=["a", "b", "c"])
    model = peft.get_peft_model(copy.deepcopy(net), config)
    for layer in (model.base_model.model.a, model.base_model.model.c):
        nn.init.normal_(layer.lora_B["default"].weight)  # eva_ must neither see it nor leave it
    x = data()
    ranks = eva_(model, x.split(30), rho=2, center=center)
    found = explain(net, ["a", "b", "c"], x.split(30), 2, rho=2, center=center)
    assert ranks == found.ranks
    assert torch.allclose(model.eval()(x), net.eval()(x), atol=1e-6)
    for name, rank in ranks.items():
        layer = model.base_model.model.get_submodule(name)
        A, B = layer.lora_A["default"].weight, layer.lora_B["default"].weight
        assert torch.allclose(A.double(), found.svds[name].components_[:rank], atol=1e-6)
        assert B.shape[1] == rank and not B.any() and A.requires_grad and B.requires_grad
        assert layer.scaling["default"] == pytest.approx(3)


def test_a_layer_without_ranks_loses_its_adapter_and_the_rest_can_be_saved_and_loaded(net, tmp_path):
    peft = pytest.importorskip("peft")
    for layer in (net.a, net.b):  # nothing reaches c, so nothing explains its inputs
        nn.init.zeros_(layer.weight)
        nn.init.zeros_(layer.bias)
    model = peft.get_peft_model(copy.deepcopy(net), peft.LoraConfig(r=1, lora_alpha=1, target_modules=["a", "b", "c"]))
    ranks = eva_(model, data().split(30), rho=3)
    assert ranks["c"] == 0 and sum(ranks.values()) == 3
    assert isinstance(model.base_model.model.c, nn.Linear)
    model.save_pretrained(tmp_path)
    loaded = peft.PeftModel.from_pretrained(copy.deepcopy(net), tmp_path)
    ours = {k: v for k, v in model.state_dict().items() if "lora_" in k}
    theirs = {k: v for k, v in loaded.state_dict().items() if "lora_" in k}
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[k], theirs[k]) for k in ours)
