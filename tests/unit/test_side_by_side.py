"""Networks side by side compute and learn what each does alone, with or without adapters of any rank and scale."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from torch import nn

from reprolib.models.digits import MLP
from reprolib.models.side_by_side import SideBySide

peft = pytest.importorskip("peft")
LAYERS = ["body.0", "body.2", "body.4", "head"]


def networks(*ranks, adapted=LAYERS):
    """One `MLP` a rank in double precision, with adapters that do something; rank 0 is left without."""
    nets = []
    for k, rank in enumerate(ranks):
        torch.manual_seed(k)
        net = MLP(12, 16, 5).requires_grad_(False)
        if rank:
            lora = peft.LoraConfig(r=rank, lora_alpha=3 * k + 1, target_modules=adapted, init_lora_weights=False)
            net = peft.get_peft_model(net, lora).get_base_model()
        nets.append(net.double())
    return nets


def data(samples=20):
    chance = torch.Generator().manual_seed(7)
    return torch.randn(samples, 12, generator=chance).double(), torch.randint(5, (samples,), generator=chance)


@pytest.mark.parametrize("ranks", [(2, 2, 2), (1, 0, 4), (3,), (0, 0)])
def test_each_output_is_that_of_its_own_network(ranks):
    nets, (x, _) = networks(*ranks), data()
    out = SideBySide(nets)(x)
    assert out.shape == (len(ranks), 20, 5)
    torch.testing.assert_close(out, torch.stack([net(x) for net in nets]))


@pytest.mark.parametrize("what", ["adapters", "adapters and head", "weights"])
def test_each_learns_as_if_alone_and_the_originals_stay(what):
    nets = networks(0, 0) if what == "weights" else networks(2, 3, 1, adapted=LAYERS[: 3 if "head" in what else 4])
    for net in nets:
        net.head.requires_grad_("head" in what) if "head" in what else None
        for name in LAYERS if what == "weights" else ():
            net.get_submodule(name).weight.requires_grad_()
    x, y = data()
    model, before = SideBySide(nets), deepcopy(nets)
    trained = [p for p in model.parameters() if p.requires_grad and p.numel()]
    assert len(trained) == {"adapters": 8, "adapters and head": 8, "weights": 4}[what]
    for one in (model, *nets):
        optimizer = torch.optim.AdamW([p for p in one.parameters() if p.requires_grad], lr=0.01)
        for _ in range(10):
            optimizer.zero_grad()
            for out in one(x) if one is model else [one(x)]:
                nn.functional.cross_entropy(out, y).backward(retain_graph=True)
            optimizer.step()
        if one is model:
            assert all(torch.equal(old(x), new(x)) for old, new in zip(before, nets, strict=True))
    torch.testing.assert_close(model(x), torch.stack([net(x) for net in nets]))
    assert (model(x)[0] - before[0](x)).abs().max() > 0.01
    for layer in model.layers if what == "adapters" else ():
        assert layer.A[0, :2].all() and not layer.A[0, 2:].any() and not layer.B[0, 2:].any()


def test_networks_that_train_different_weights_are_refused():
    nets = networks(2, 0)
    nets[1].head.weight.requires_grad_()
    with pytest.raises(ValueError, match="must train the same"):
        SideBySide(nets)
