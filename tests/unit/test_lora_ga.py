"""What `lora_ga_`, `estimate_gradients` and the networks that LoRA-GA's chapter starts from promise and refuse."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from reprolib.init.lora_ga import DIRECTIONS, SCALES, estimate_gradients, lora_ga_
from reprolib.models.shifted import shifted

peft = pytest.importorskip("peft")


def adapted(base, r=2, **more):
    lora = peft.LoraConfig(r=r, lora_alpha=16, use_rslora=True, target_modules=["0"], **more)
    return peft.get_peft_model(copy.deepcopy(base), lora).get_base_model()


@pytest.fixture
def base():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(12, 10), nn.Tanh()).double()


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize("scale", SCALES)
def test_the_function_stays_as_it_was(base, direction, scale):
    net = adapted(base).double()
    assert lora_ga_(net[0], torch.randn(10, 12), gamma=4, direction=direction, scale=scale) is net[0]
    x = torch.randn(5, 12, dtype=torch.float64)
    torch.testing.assert_close(net(x), base(x))
    assert net[0].lora_B["default"].weight.norm() > 0.1
    assert [n for n, p in net.named_parameters() if p.requires_grad] == [
        "0.lora_A.default.weight",
        "0.lora_B.default.weight",
    ]


def test_the_scale_of_the_gradient_does_not_matter(base):
    G = torch.randn(10, 12)
    one, other = (lora_ga_(adapted(base).double()[0], factor * G) for factor in (1.0, 1e-4))
    for part in ("lora_A", "lora_B"):
        a, b = (getattr(layer, part)["default"].weight for layer in (one, other))
        torch.testing.assert_close(
            a.T @ a if part == "lora_A" else a @ a.T, b.T @ b if part == "lora_A" else b @ b.T, rtol=1e-4, atol=1e-5
        )


def test_gradients_are_means_and_leave_the_model_alone(base):
    net = nn.Sequential(base, nn.Dropout(0.5), nn.Linear(10, 3).double()).train()
    net[2].weight.requires_grad_(False)
    net[0].eval()
    x, y = torch.randn(8, 12, dtype=torch.float64), torch.arange(8) % 3
    net(x).sum().backward()
    before = net[0][0].weight.grad.clone()

    def loss(model, x, y):
        assert not model.training
        return nn.functional.cross_entropy(model(x), y)

    found = estimate_gradients(net, ["0.0", "2"], loss, [(x[:4], y[:4]), (x[4:], y[4:])])
    assert [part.training for part in (net, net[0], net[0][0], net[1])] == [True, False, False, True]
    weights = [net[0][0].weight, net[2].weight.requires_grad_()]
    whole = torch.autograd.grad(loss(net.eval(), x, y), weights)
    for name, grad in zip(("0.0", "2"), whole, strict=True):
        torch.testing.assert_close(found[name], grad)
    net[2].weight.requires_grad_(False)
    torch.testing.assert_close(net[0][0].weight.grad, before)
    assert net[0][0].weight.requires_grad and net[2].weight.grad is None


def test_the_model_trains_again_after_an_error(base):
    net = base.train()
    with pytest.raises(RuntimeError):
        estimate_gradients(net, ["0"], lambda model, x: model(x).sum(), [(torch.randn(2, 5, dtype=torch.float64),)])
    assert net.training and all(p.requires_grad for p in net.parameters())
    assert not net[0].weight._post_accumulate_grad_hooks


@pytest.mark.parametrize(
    "change, message",
    [
        (dict(direction="A"), "direction must be"),
        (dict(scale="weightS"), "scale must be"),
        (dict(gamma=0), "gamma must be above 0"),
        (dict(grad=torch.randn(12, 10)), "gradient of the weight's shape"),
        (dict(r=6), "2r = 12"),
    ],
)
def test_bad_arguments(base, change, message):
    layer = adapted(base, change.pop("r", 2))[0]
    with pytest.raises(ValueError, match=message):
        lora_ga_(layer, **{"grad": torch.randn(10, 12), **change})


def test_no_batches_and_unused_layers(base):
    with pytest.raises(ValueError, match="at least one batch"):
        estimate_gradients(base, ["0"], lambda model, x: model(x).sum(), [])
    net = nn.ModuleList([base, nn.Linear(2, 2)])
    with pytest.raises(ValueError, match="depend on 1"):
        estimate_gradients(net, ["0.0", "1"], lambda model, x: model[0](x).sum(), [(torch.ones(1, 12).double(),)])


def test_shifted_digits_repeat_and_share_no_image():
    sizes = dict(hidden_dim=64, batch_size=50, sizes=(200, 50, 60))
    one, other = shifted("digits", 3, **sizes), shifted.__wrapped__("digits", 3, **sizes)
    for a, b in zip(one[1:], other[1:], strict=True):
        assert torch.equal(a[0], b[0]) and torch.equal(a[1], b[1])
    assert all(torch.equal(p, q) for p, q in zip(one.net.parameters(), other.net.parameters(), strict=True))
    rows = torch.cat([part[0] for part in one[1:]])
    assert rows.shape == (310, 64) and len(rows.unique(dim=0)) == 310
    upright = one.train[0].view(-1, 8, 8).rot90(-1, (1, 2)).flatten(1)
    old, new = (
        torch.zeros(len(one.train[1]), 10).scatter_(1, c[:, None], 1)
        for c in (one.net(upright).argmax(1), one.train[1])
    )
    known = old.T @ new
    assert known.max(dim=1).values.sum() > 0.95 * len(old)  # it knows the upright images, up to the permutation
    assert sorted(known.argmax(dim=1).tolist()) == list(range(10)) != known.argmax(dim=1).tolist()
    unseen = one.net(one.fresh[0].view(-1, 8, 8).rot90(-1, (1, 2)).flatten(1)).argmax(1)
    assert 0.8 < (known.argmax(dim=1)[unseen] == one.fresh[1]).float().mean() < 1  # it has seen the training part only
    turned = one.net(one.train[0]).argmax(1)
    assert (torch.zeros(len(old), 10).scatter_(1, turned[:, None], 1).T @ new).max(dim=1).values.sum() < 0.8 * len(old)
    with pytest.raises(ValueError, match="'digits' or 'mnist'"):
        shifted("letters", 0, **sizes)
    with pytest.raises(ValueError, match="images to offer"):
        shifted("digits", 0, hidden_dim=4, batch_size=8, sizes=(1700, 50, 60))
