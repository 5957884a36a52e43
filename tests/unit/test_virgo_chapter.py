"""Training side by side in the Virgo chapter: every network ends as if it had been alone."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from reprolib.data.graphs import load
from reprolib.determinism import seed_all

pytest.importorskip("networkx")
CHAPTER = Path(__file__).parents[2] / "chapters" / "variance" / "virgo.py"
INITS = ["Xavier", "Virgo", "Kaiming fan-out"]
CONFIG = {"data": "block model", "num_layers": 3, "hidden_dim": 16, "lr": 0.02, "mean": "harmonic", "device": "cpu"}


def alone(network, config, seed):
    """Losses, best validation accuracy and the test accuracy of its epoch, of one network."""
    seed_all(seed)
    graph = load(config["data"], seed)
    net, P, x = network(config, graph)
    optimizer = torch.optim.Adam(net.parameters(), lr=config["lr"], weight_decay=5e-6)
    losses, scores = [], []
    while len(losses) < config["epochs"]:
        logits = net(P, x)
        loss = nn.functional.cross_entropy(logits[graph.train], graph.y[graph.train])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        right = (logits.argmax(dim=1) == graph.y).double()
        losses.append(loss.item())
        scores.append((right[graph.val].mean().item(), right[graph.test].mean().item()))
        best = max(range(len(scores)), key=lambda epoch: scores[epoch][0])
        if len(scores) - 1 - best >= config["patience"]:
            break
    return losses, *scores[best]


@pytest.mark.parametrize("patience", [4, 60])
def test_networks_side_by_side_train_and_stop_as_each_alone(chapter, patience):
    config = CONFIG | {"epochs": 60, "patience": patience}
    seed_all(1)
    found = chapter["train"](config | {"inits": INITS}, 1)
    lengths = set()
    for init in INITS:
        losses, validation, test = alone(chapter["network"], config | {"init": init}, 1)
        together = found[f"losses, {init}"]
        assert together == pytest.approx(losses, abs=2e-3)
        assert found[f"validation, {init}"] == pytest.approx(100 * validation, abs=0.5)
        assert found[f"test, {init}"] == pytest.approx(100 * test, abs=0.5)
        below = [epoch for epoch, loss in enumerate(together, 1) if loss < 0.5]
        assert found[f"epochs_to_half, {init}"] == (below[0] if below else 60)
        lengths.add(len(losses))
    assert (len(lengths) > 1) == (patience == 4), "the test is of no use if all stop together"
