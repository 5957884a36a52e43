"""What the trials of the EVA chapter measure: its own functions against peft, one plain SVD, and each other."""

from __future__ import annotations

import ast
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from reprolib.models.digits import PRETRAIN, pretrained
from reprolib.train import accuracy, fit

peft = pytest.importorskip("peft")
CHAPTER = Path(__file__).parents[2] / "chapters" / "adaptation" / "eva.py"
CONSTANTS = ("HEAD", "BATCHES", "METHODS")
CONFIG = dict(task="inverted", model="MLP", epochs=25, batch=64, svd=64, look=300, tokens=0, tune=300, val=100)
CONFIG |= dict(test=797, r=4, rho=2.0, rate=0.02, kept=4, orders=1, score="ratio", draws=50)


def rule(target, **names):
    """Run the chapter's one assignment to `target`, on given numbers."""
    nodes = ast.walk(ast.parse(CHAPTER.read_text(encoding="utf-8")))
    (node,) = (n for n in nodes if isinstance(n, ast.Assign) and ast.unparse(n.targets[0]) == target)
    exec(compile(ast.Module([node], []), str(CHAPTER), "exec"), names)
    return names


def exact(X, r):
    return torch.linalg.svd(X.double(), full_matrices=False).Vh[:r]


def test_each_task_is_what_the_text_says_and_parts_share_no_image(chapter):
    images = pretrained(0)[1]
    x = torch.cat([images.x_train[PRETRAIN:], images.x_test])
    y = torch.cat([images.y_train[PRETRAIN:], images.y_test])
    expected = {"inverted": 1 - x, "rotated": x.view(-1, 8, 8).rot90(1, (1, 2)).flatten(1), "relabeled": x}
    for name in ("rotated", "inverted", "noisy", "relabeled"):
        task = chapter["prepare"](CONFIG | {"task": name}, 0)
        xs, ys = (torch.cat([task.parts[part][k] for part in ("tune", "val", "test")]) for k in (0, 1))
        assert [len(task.parts[part][1]) for part in ("tune", "val", "test")] == [300, 100, 797]
        if name == "noisy":
            assert (xs - x).std() == pytest.approx(0.3, rel=0.02)
        else:
            assert torch.equal(xs, expected[name])
        if name == "relabeled":
            assert len(set(zip(y.tolist(), ys.tolist(), strict=True))) == 10 and not torch.equal(ys, y)
        else:
            assert torch.equal(ys, y)
        assert task.layers == ["body.0", "body.2", "body.4"]
        assert torch.equal(task.parts["look"][0], xs[:300]) and torch.equal(task.parts["unseen"][0], xs[400:700])


def test_the_trace_is_that_of_an_svd_and_random_rows_catch_their_share(chapter, monkeypatch):
    rows = chapter["orthonormal"](4, 64, torch.Generator().manual_seed(0), (500,))
    assert torch.allclose(rows @ rows.mT, torch.eye(4).double())
    X = chapter["prepare"](CONFIG, 0).inputs()["body.0"].double()
    share = (X @ rows.mT).square().sum(dim=(1, 2)).mean() / X.square().sum()
    assert share == pytest.approx(4 / 64, rel=0.1)
    rival = chapter["optimum"](CONFIG, 0)["rival"]
    assert 0.02 < min(rival) and max(rival) < 1
    worst = SimpleNamespace(partial_fit=lambda X: SimpleNamespace(components_=torch.eye(X.shape[1])[:4].double()))
    monkeypatch.setitem(chapter, "IncrementalSVD", lambda keep: worst)
    assert min(chapter["optimum"](CONFIG, 0)["error"]) > 0.1, "the sum of eigenvalues is found in another way"


def test_gradients_are_those_of_B_in_peft_and_the_prediction_that_of_theorem_3_2(chapter):
    config = CONFIG | {"svd": 300}  # one batch, so the directions are exact
    found, task = chapter["gradients"](config, 0), chapter["prepare"](config, 0)
    inputs = task.inputs()
    norms = {}
    for key in ("EVA", "top of W"):
        lora = peft.LoraConfig(r=4, lora_alpha=4, target_modules=task.layers)
        net = peft.get_peft_model(chapter["deepcopy"](task.net), lora).get_base_model()
        for name in task.layers:
            of = inputs[name] if key == "EVA" else task.net.get_submodule(name).weight.detach()
            net.get_submodule(name).lora_A["default"].weight.data = exact(of, 4).float()
        x, y = task.parts["test"]
        nn.functional.cross_entropy(net(x[:300]), y[:300]).backward()
        norms[key] = [net.get_submodule(n).lora_B["default"].weight.grad.norm().item() for n in task.layers]
    ours = np.subtract(found["EVA"], found["top of W"])
    np.testing.assert_allclose(ours, np.log(np.divide(norms["EVA"], norms["top of W"])), atol=1e-3)
    for i, X in enumerate(inputs.values()):
        S = torch.linalg.svdvals(X.double()).square()
        predicted = (S[:4].sum() / S.sum() * X.shape[1] / 4).sqrt().log().item()
        assert found["predicted"][i] == pytest.approx(predicted, abs=1e-4)
        assert found["best possible"][i] >= max(found[key][i] for key in ("orthonormal", "EVA", "smallest"))
    alone = chapter["gradients"](config | {"r": 1}, 0)
    for i, (X, G) in enumerate(zip(inputs.values(), chapter["weight_gradients"](task).values(), strict=True)):
        mean = X.double().mean(dim=0)
        for key, row in (("mean + random", mean / mean.norm()), ("EVA, centered", exact(X - X.mean(dim=0), 1)[0])):
            over = ((G @ row).norm() / (G @ exact(X, 1)[0]).norm()).log().item()
            assert alone[key][i] - alone["EVA"][i] == pytest.approx(over, abs=1e-3)
    assert np.mean(found["LoRA"]) == pytest.approx(-np.log(3) / 2, abs=0.15)
    assert found["orthonormal"] == [0, 0, 0] and max(found["smallest"]) < 0


ALL = ["LoRA", "orthonormal", "PiSSA", "EVA", "EVA, rho = 1", "EVA, centered"]


def test_all_methods_train_alike_from_the_same_function(chapter, monkeypatch):
    seen, asked, read, eva_ = [], [], [], chapter["eva_"]
    curves = torch.arange(30.0)[:, None] + 100 * torch.arange(len(ALL))

    def side_by_side(model, *given):
        seen.append((model, *given))
        return curves.tolist()

    monkeypatch.setitem(chapter, "fit_side_by_side", side_by_side)
    monkeypatch.setitem(chapter, "accuracies", lambda *given: asked.append(given) or [len(asked) + k for k in range(6)])
    monkeypatch.setitem(chapter, "eva_", lambda net, batches, **how: read.append(batches) or eva_(net, batches, **how))
    task, config = chapter["prepare"](CONFIG, 1), CONFIG | {"methods": ALL}
    X, x = task.inputs(), task.parts["tune"][0]
    result = chapter["fine_tune"](config, 1)
    ((model, *given, used, seed),) = seen
    for parts, part in zip([given, *(some[1:] for some in asked)], ("tune", "val", "test"), strict=True):
        assert all(map(torch.equal, parts, task.parts[part]))
    assert used == config and seed == 1 and asked[0][0] is asked[1][0] is model
    assert torch.allclose(model(x), task.net(x).expand(len(ALL), -1, -1), atol=1e-3)
    for k, method in enumerate(ALL):
        net, ranks = chapter["adapt"](task, config | {"method": method}, 1)
        assert torch.equal(model.layers[0].A[k, : ranks[0]], net.body[0].lora_A["default"].weight)
        assert all(net.get_submodule(name).scaling["default"] == 1 for name in task.layers)
        found = {key.partition(", ")[0]: value for key, value in result.items() if key.partition(", ")[2] == method}
        assert found["losses"] == curves[:, k].tolist() and found["early"] == pytest.approx(4.5 + 100 * k)
        assert (found["validation"], found["accuracy"]) == (1 + k, 2 + k) and sum(found["ranks"]) == 12
        widths = zip(found["ranks"], X.values(), strict=True)
        assert found["parameters"] == sum(rank * (rows.shape[1] + 128) for rank, rows in widths)
        assert method == "EVA, centered" or (found["ranks"] != [4, 4, 4]) == (method == "EVA")
        for i, (name, rank) in enumerate(zip(task.layers, found["ranks"], strict=True)):
            A = model.layers[i].A[k].detach().double()
            assert A[rank:].abs().sum() == 0 and A[:rank].norm(dim=1).min() > 0
            if method == "orthonormal" or method.startswith("EVA"):
                assert torch.allclose(A[:rank] @ A[:rank].T, torch.eye(rank).double(), atol=1e-5)
            if method.startswith("EVA"):
                rows = X[name] - X[name].mean(dim=0) if "centered" in method else X[name]
                assert (exact(rows, rank) @ A.T).square().sum() > 0.9 * rank
    for batches in read:
        assert sorted(torch.cat(batches).tolist()) == sorted(x.tolist())


def test_networks_side_by_side_train_as_each_alone(chapter):
    config, seed = CONFIG | {"epochs": 5}, 1
    task = chapter["prepare"](config, seed)
    nets = [chapter["adapt"](task, config | {"method": method}, seed)[0] for method in ALL]
    model = chapter["SideBySide"](nets)
    frozen = [(name, p.clone()) for name, p in model.named_parameters() if not p.requires_grad]
    assert len(frozen) == 6
    losses = torch.tensor(chapter["fit_side_by_side"](model, *task.parts["tune"], config, seed))
    x, y = task.parts["test"]
    for k, net in enumerate(nets):
        alone = fit(
            net, *task.parts["tune"], groups=[{"params": [p for p in net.parameters() if p.requires_grad]}],
            lr=config["rate"], epochs=5, batch_size=64, generator=chapter["stream"](seed, 5),
        )  # fmt: skip
        assert torch.allclose(losses[:, k], torch.tensor(alone), atol=1e-3)
        assert torch.allclose(model(x)[k], net.eval()(x), atol=0.02)
        assert chapter["accuracies"](model, x, y)[k] == pytest.approx(accuracy(net, x, y), abs=0.3)
        for name, (A, B) in zip(task.layers, [(layer.A, layer.B) for layer in model.layers[:-1]], strict=True):
            rank = len(net.get_submodule(name).lora_A["default"].weight)
            assert A[k, :rank].any() and B[k, :rank].any() and not A[k, rank:].any() and not B[k, rank:].any()
    assert all(torch.equal(value, model.get_parameter(name)) for name, value in frozen)
    for layer in ("body.0", "body.4"):  # as where EVA gives a layer no ranks
        nets[0].set_submodule(layer, nets[0].get_submodule(layer).base_layer)
    assert torch.allclose(chapter["SideBySide"](nets)(x)[0], nets[0](x), atol=1e-4)
    assert torch.allclose(chapter["SideBySide"](nets[:1])(x)[0], nets[0](x), atol=1e-4)


def test_a_transformer_is_trained_alone_and_alike(chapter, monkeypatch):
    seen, task = [], chapter["prepare"](CONFIG, 0)
    monkeypatch.setitem(chapter, "prepare", lambda config, seed: task)
    monkeypatch.setitem(chapter, "fit", lambda *given, **how: seen.append((*given, how)) or [2.0] * 10 + [1.0] * 20)
    result = chapter["fine_tune"](CONFIG | {"tokens": 8, "methods": ["EVA"]}, 0)
    ((net, x, y, how),) = seen
    (group,), generator = how.pop("groups"), how.pop("generator")
    assert how == {"lr": 0.02, "epochs": 25, "batch_size": 64} and group.keys() == {"params"}
    assert torch.equal(generator.get_state(), chapter["stream"](0, 5).get_state())
    trained = {name for name, p in net.named_parameters() if any(p is q for q in group["params"])}
    assert trained == {n for n, _ in net.named_parameters() if "lora_" in n or n.startswith("head.")}
    assert torch.equal(x, task.parts["tune"][0]) and torch.equal(y, task.parts["tune"][1])
    assert all(net.get_submodule(name).scaling["default"] == 1 for name in task.layers)
    assert result["early, EVA"] == 2 and result["accuracy, EVA"] == accuracy(net, *task.parts["test"])
    assert result["validation, EVA"] == accuracy(net, *task.parts["val"])


def test_stability_compares_with_one_svd_and_ranks_follow_the_shares(chapter, monkeypatch):
    noisy = CONFIG | {"task": "noisy"}
    found = chapter["stability"](noisy | {"orders": 2}, 0)["16 rows"]
    assert min(found) < 0.99 and found[:4] != found[4:8]
    monkeypatch.setitem(chapter, "BATCHES", (300,))
    whole = chapter["stability"](noisy, 0)["300 rows"]
    assert len(whole) == 12 and np.allclose(whole, 1, atol=1e-6)
    S = [torch.linalg.svdvals(X.double()).square() for X in chapter["prepare"](CONFIG, 0).inputs().values()]
    for rho in (1, 2, 4):
        shares = torch.cat([s[: 4 * rho] / s.sum() for s in S])
        expected = (shares.argsort(descending=True)[:12] // (4 * rho)).bincount(minlength=3)
        found = chapter["allocate"](CONFIG | {"rho": float(rho)}, 0)
        assert np.abs(np.subtract(found["ranks"], expected.numpy())).sum() <= 2 and found["change"] < 1e-4
        assert sum(found["ranks"]) == 12 and max(found["ranks"]) <= 4 * rho
    assert chapter["allocate"](CONFIG | {"score": "paper"}, 0)["ranks"] != chapter["allocate"](CONFIG, 0)["ranks"]


def test_rules_average_over_tasks_and_choose_rates_without_the_test_part(chapter, monkeypatch):
    rows = [
        dict(task=t, seed=s, method=m, rate=rate, accuracy=a + 10 * i + s - rate, validation=rate if m == "EVA" else 0)
        for i, t in enumerate("ab")
        for s in (0, 1, 2)
        for m, a in (("LoRA", 0), ("EVA", 5 + s))
        for rate in (0.1, 0.2)
    ]
    rows = pd.DataFrame(rows)
    monkeypatch.setitem(chapter, "chosen", {"digits": rows})
    assert chapter["paired"]("digits", "accuracy", "LoRA").tolist() == pytest.approx([5, 6, 7])
    by_seed = chapter["by_seed"](rows.assign(layers=[[a, 2 * a] for a in rows["accuracy"]]), "layers")
    assert by_seed.shape == (3, 2) and np.allclose(by_seed[:, 1], 2 * by_seed[:, 0])
    assert rule("best[place]", best={}, place="digits", rows=rows)["best"]["digits"]["EVA"] == 0.2
