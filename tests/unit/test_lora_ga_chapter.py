"""Training in the LoRA-GA chapter: adapters that peft started end side by side as each of peft's networks alone."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from torch import nn

from reprolib.init.lora_ga import estimate_gradients
from reprolib.streams import stream
from reprolib.train import accuracy

pytest.importorskip("peft")
CHAPTER = Path(__file__).parents[2] / "chapters" / "adaptation" / "lora-ga.py"
CONSTANTS = ("ARMS", "ALPHA", "CEILING")
CONFIG = dict(place="digits", model="MLP", r=2, steps=20, batch=128, every=5, watch=10**6, look=128, hidden=32)
CONFIG |= dict(pretrain=40, tokens=0, niter=0, stand_in=False, train=1078, fresh=359, test=360, gamma=16.0)
CONFIG |= dict(device="cpu", rate=0.01)


def adapted(chapter, methods, dtype, seed=1):
    task = chapter["prepare"](CONFIG, seed, dtype)
    G = estimate_gradients(task.net, task.layers, chapter["loss"], task.batches("train", 128, 128))
    return task, [chapter["adapt"](task.net, task.layers, method, CONFIG, seed, G) for method in methods]


def train_alone(net, x, y, seed=1):
    """Train one network in place, step by step: the chapter's recipe, written out."""
    optimizer = torch.optim.AdamW([p for p in net.parameters() if p.requires_grad], weight_decay=0.0)
    chance = stream(seed, 11)
    order = torch.cat([torch.randperm(1078, generator=chance)[: 8 * 128] for _ in range(3)]).split(128)
    for t in range(20):
        optimizer.param_groups[0]["lr"] = 0.01 * min(t + 1, (1 + math.cos(math.pi * t / 20)) / 2)  # warm after a step
        optimizer.zero_grad()
        nn.functional.nll_loss(net(x[order[t]]), y[order[t]]).backward()
        optimizer.step()


def test_side_by_side_is_peft_at_the_start_and_after_training(chapter):
    methods = chapter["ARMS"][1:]
    task, nets = adapted(chapter, methods, torch.float64)
    model = nn.Sequential(chapter["SideBySide"]([net[0] for net in nets]), nn.LogSoftmax(dim=-1))
    x, y = task.test
    torch.testing.assert_close(model(x), torch.stack([net(x) for net in nets]))
    assert len(list(chapter["training"](model, task, CONFIG, 1))) == 21
    for net in nets:
        train_alone(net, *task.train)
    torch.testing.assert_close(model(x), torch.stack([net(x) for net in nets]), rtol=1e-6, atol=1e-6)
    losses = chapter["training_losses"](model, task, CONFIG | {"watch": 300})
    seen, classes = (part[:300] for part in task.train)
    assert losses == pytest.approx([nn.functional.nll_loss(net(seen), classes).item() for net in nets], abs=1e-6)
    assert chapter["accuracies"](model, x, y) == pytest.approx([accuracy(net, x, y) for net in nets])
    assert len(set(losses)) == len(methods), "no two methods are one"


def test_results_have_the_name_of_their_method(chapter):
    methods = chapter["ARMS"]
    together = chapter["fine_tune"](CONFIG | {"methods": methods[1:]}, 1)
    together |= chapter["fine_tune"](CONFIG | {"methods": methods[:1]}, 1)
    task, nets = adapted(chapter, methods, torch.float32)
    for method, net in zip(methods, nets, strict=True):
        start = nn.functional.nll_loss(net(task.train[0]), task.train[1]).item()
        train_alone(net, *task.train)
        last = nn.functional.nll_loss(net(task.train[0]), task.train[1]).item()
        curve = together[f"curve, {method}"]
        assert len(curve) == 5 and curve[-1] == together[f"last, {method}"] == pytest.approx(last, rel=1e-3)
        assert curve[0] == pytest.approx(start, rel=1e-4)
        assert together[f"accuracy, {method}"] == pytest.approx(accuracy(net, *task.test), abs=0.6)
    assert len(together) == 3 * len(methods)


def test_a_diverged_network_ends_at_the_ceiling_and_leaves_the_others_alone(chapter):
    ends = []
    for broken in (False, True):
        task, nets = adapted(chapter, ["LoRA", "PiSSA", "LoRA-GA"], torch.float32)
        if broken:
            nets[1][0].head.lora_A["default"].weight.data.fill_(math.nan)
        model = nn.Sequential(chapter["SideBySide"]([net[0] for net in nets]), nn.LogSoftmax(dim=-1))
        list(chapter["training"](model, task, CONFIG, 1))
        ends.append(chapter["training_losses"](model, task, CONFIG))
    assert ends[1] == [ends[0][0], chapter["CEILING"], ends[0][2]]


@pytest.mark.parametrize("tokens", [0, 128])
def test_adapters_of_images_go_together_and_all_else_alone(chapter, monkeypatch, tokens):
    asked = []

    def sweep(trial, grid, seeds, run):
        asked.append((grid["rate"], seeds, grid["every"]))
        rows = [(one, {f"last, {method}": len(method) for method in one}) for one in grid["methods"]]
        asked.append([one for one, _ in rows])
        return pd.DataFrame([{"methods": one, "seed": 3, **metrics} for one, metrics in rows])

    for name, value in dict(PLACES={"here": SimpleNamespace(tokens=tokens)}, run=None, sweep=sweep).items():
        monkeypatch.setitem(chapter, name, value)
    monkeypatch.setitem(chapter, "grid", lambda place, **more: more)
    rows = chapter["tune"]("here", ["LoRA", "full", "LoRA-GA"], [0.1], [3], every=9)
    groups = [["LoRA"], ["full"], ["LoRA-GA"]] if tokens else [["full"], ["LoRA", "LoRA-GA"]]
    assert asked == [([0.1], [3], 9), groups]
    assert dict(zip(rows["method"], rows["last"], strict=True)) == {"LoRA": 4, "full": 4, "LoRA-GA": 7}
    assert chapter["tune"]("here", ["full"], [0.1], [3], every=9)["method"].tolist() == ["full"]
    assert asked[-1] == [["full"]]
