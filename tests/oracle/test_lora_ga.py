"""LoRA-GA against numpy's SVD, peft's own `lora_ga` and the closed forms of the paper's theorems."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import nn

from reprolib.init.lora_ga import DIRECTIONS, SCALES, estimate_gradients, lora_ga_
from reprolib.models.hub import transformer
from reprolib.models.label_words import LabelWords

peft = pytest.importorskip("peft", minversion="0.20")
ALPHA, GAMMA, R = 16, 9.0, 3


def network():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(20, 14), nn.Tanh(), nn.Linear(14, 9)).double()


def adapt(net, **more):
    config = dict(r=R, lora_alpha=ALPHA, use_rslora=True, target_modules=["0", "2"], **more)
    return peft.get_peft_model(copy.deepcopy(net), peft.LoraConfig(**config)).get_base_model()


def loss(net, x, y):
    return nn.functional.mse_loss(net(x), y)


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(2)
    return tuple(torch.randn(40, n, generator=generator, dtype=torch.float64) for n in (20, 9))


@pytest.mark.parametrize("direction, scale", [(d, "stable") for d in DIRECTIONS] + [("ArB2r", s) for s in SCALES[1:]])
def test_one_step_of_sgd_is_zeta_times_numpys_best_approximation(batch, direction, scale):
    net = network()
    G = estimate_gradients(net, ["0", "2"], loss, [batch])
    ours = adapt(net).double()
    for name in G:
        lora_ga_(ours.get_submodule(name), G[name], gamma=GAMMA, direction=direction, scale=scale)
    loss(ours, *batch).backward()
    for name, grad in G.items():
        layer, rate = ours.get_submodule(name), 1e-7
        A, B = layer.lora_A["default"].weight, layer.lora_B["default"].weight
        eta = ALPHA / R**0.5
        change = eta * ((B - rate * B.grad) @ (A - rate * A.grad) - B @ A).detach().numpy()
        U, S, Vh = np.linalg.svd(grad.numpy(), full_matrices=False)
        best = (U[:, : 2 * R] * S[: 2 * R]) @ Vh[: 2 * R]
        zeta = {"stable": ALPHA**2 * len(grad) ** 0.5 / (GAMMA * R), "unit": eta**2, "gd": 1}[scale]
        np.testing.assert_allclose(change / -rate, zeta * best, atol=1e-4 * zeta * S[0])


def test_subspaces_are_those_of_numpy_and_of_peft(batch):
    net = network()
    config = dict(init_lora_weights="lora_ga", lora_ga_config=peft.LoraGAConfig())
    theirs = copy.deepcopy(net).float()
    single = tuple(values.float() for values in batch)
    own = peft.LoraConfig(r=R, lora_alpha=ALPHA, use_rslora=True, target_modules=["0", "2"], **config)
    peft.preprocess_loraga(theirs, own, lambda: loss(theirs, *single).backward())
    gradients = {name: theirs.get_submodule(name)._peft_loraga_grad for name in ("0", "2")}
    ours = estimate_gradients(net, ["0", "2"], loss, [batch])
    theirs = peft.get_peft_model(theirs, own).get_base_model()
    for name, grad in ours.items():
        torch.testing.assert_close(gradients[name].double(), grad, rtol=1e-4, atol=1e-6)
        layer = lora_ga_(adapt(net).double().get_submodule(name), grad, gamma=GAMMA)
        U, S, Vh = np.linalg.svd(grad.numpy(), full_matrices=False)
        c2 = len(grad) ** 0.5 / GAMMA
        A, B = (getattr(layer, part)["default"].weight.detach().numpy() for part in ("lora_A", "lora_B"))
        np.testing.assert_allclose(A.T @ A / c2, Vh[:R].T @ Vh[:R], atol=1e-9)
        np.testing.assert_allclose(B @ B.T / c2, U[:, R : 2 * R] @ U[:, R : 2 * R].T, atol=1e-9)
        A, B = (
            getattr(theirs.get_submodule(name), p)["default"].weight.detach().double().numpy()
            for p in ("lora_A", "lora_B")
        )
        np.testing.assert_allclose(np.linalg.norm(A @ Vh[:R].T), R**0.5, rtol=1e-3)  # norm 1 and the same rows
        left = np.linalg.svd(B, full_matrices=False)[0]
        np.testing.assert_allclose(np.linalg.norm(left.T @ U[:, R : 2 * R]), R**0.5, rtol=1e-3)
        expected = S[R : 2 * R] * len(grad) ** 0.25 / 4  # not the paper's: singular values, and c on B alone
        np.testing.assert_allclose(np.linalg.norm(B, axis=0), expected, rtol=1e-3)


@pytest.mark.parametrize("m, r", [(16, 2), (64, 8), (100, 4)])
def test_the_outputs_have_the_size_alpha_over_gamma(m, r):
    config = peft.LoraConfig(r=r, lora_alpha=ALPHA, use_rslora=True, target_modules=["0"])
    layer = peft.get_peft_model(nn.Sequential(nn.Linear(30, m)), config).get_base_model().double()[0]
    lora_ga_(layer, torch.randn(m, 30), gamma=GAMMA)
    BA = layer.get_delta_weight("default")  # peft's own product, with its scale
    assert (BA.norm() / m**0.5).item() == pytest.approx(ALPHA / GAMMA, rel=1e-5)


def test_the_randomized_svd_finds_the_same_start(batch):
    net = network()
    for name, grad in estimate_gradients(net, ["0", "2"], loss, [batch]).items():
        exact, quick = (lora_ga_(adapt(net).double().get_submodule(name), grad, niter=n) for n in (None, 4))
        for part in ("lora_A", "lora_B"):
            a, b = (getattr(layer, part)["default"].weight.detach() for layer in (exact, quick))
            gram = (lambda w: w.T @ w) if part == "lora_A" else (lambda w: w @ w.T)
            torch.testing.assert_close(gram(a), gram(b), atol=1e-3, rtol=0)


def test_word_scores_are_the_losses_of_transformers():
    pytest.importorskip("transformers")
    model = transformer("google-t5/t5-base", "AutoModelForSeq2SeqLM", tiny=True)
    words = torch.tensor([[5, 6, 7, 1], [9, 1, 0, 0]])
    ids = torch.tensor([[10, 11, 12, 1, 0, 0], [20, 21, 1, 0, 0, 0]])
    scores = LabelWords(model, words)(ids)
    for i, text in enumerate(ids):
        for j, word in enumerate(words):
            text_, word_ = text[text != 0][None], word[word != 0][None]
            expected = -model(input_ids=text_, labels=word_).loss
            torch.testing.assert_close(scores[i, j], expected)
