"""Minibatch training: it learns, repeats, follows its schedule and groups, and refuses nonsense."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from reprolib.checkpoint import at
from reprolib.train import accuracy, fit


@pytest.fixture
def blobs():
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(90) % 3
    return torch.eye(3)[y] * 3 + torch.randn(90, 3, generator=generator), y


def linear():
    torch.manual_seed(0)
    return nn.Linear(3, 3)


def test_training_separates_blobs(blobs):
    model = linear()
    before = accuracy(model, *blobs)
    losses = fit(model, *blobs, epochs=20, batch_size=10, lr=0.1)
    assert len(losses) == 20 * 9 and losses[-1] < losses[0] / 3
    assert accuracy(model, *blobs) > max(before, 90)


def test_equal_generators_give_equal_weights_and_others_do_not(blobs):
    def weights(seed):
        model = linear()
        fit(model, *blobs, epochs=2, batch_size=20, lr=0.1, generator=torch.Generator().manual_seed(seed))
        return model.weight.detach()

    assert torch.equal(weights(1), weights(1)) and not torch.equal(weights(1), weights(2))


def test_an_epoch_visits_each_sample_once_and_the_next_in_another_order():
    seen = []

    class Recorder(nn.Linear):
        def forward(self, x):
            seen.append(x[:, 0].long())
            return super().forward(x)

    x = torch.arange(12.0)[:, None]
    fit(Recorder(1, 2), x, torch.zeros(12, dtype=torch.int64), epochs=2, batch_size=4, lr=0.1)
    first, second = torch.cat(seen[:3]), torch.cat(seen[3:])
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(12))
    assert first.tolist() != second.tolist()


def test_training_that_was_killed_goes_on_after_its_last_epoch_with_the_same_bits(blobs, tmp_path):
    class Mortal(nn.Linear):
        steps, last = 0, None

        def forward(self, x):
            type(self).steps += 1
            if type(self).steps == type(self).last:
                raise KeyboardInterrupt
            return super().forward(x)

    def train():
        torch.manual_seed(0)
        model = Mortal(3, 3)
        generator = torch.Generator().manual_seed(1)
        losses = fit(model, *blobs, epochs=5, batch_size=30, lr=0.1, generator=generator)
        return losses, model.weight.detach()

    whole = train()
    Mortal.steps, Mortal.last = 0, 3 * 3 + 2  # in the fourth epoch
    with at(str(tmp_path / "trial")), pytest.raises(KeyboardInterrupt):
        train()
    Mortal.steps, Mortal.last = 0, None
    with at(str(tmp_path / "trial")):
        resumed = train()
    assert Mortal.steps == 2 * 3, "three of five epochs were not trained again"
    assert resumed[0] == whole[0] and torch.equal(resumed[1], whole[1])


def test_incomplete_last_batch_is_dropped(blobs):
    assert len(fit(linear(), *blobs, epochs=3, batch_size=40, lr=0.1)) == 3 * 2


def test_max_steps_stops_early_on_the_same_path(blobs):
    runs = [
        fit(
            linear(),
            *blobs,
            epochs=4,
            batch_size=30,
            lr=0.1,
            max_steps=stop,
            generator=torch.Generator().manual_seed(0),
        )
        for stop in (None, 5)
    ]
    assert runs[1] == runs[0][:5]


def test_learning_rate_falls_to_zero_along_a_cosine():
    """With constant gradients AdamW moves by the learning rate, so the path shows the schedule."""
    model = nn.Linear(1, 2, bias=False)
    positions = []
    model.register_forward_pre_hook(lambda module, _: positions.append(module.weight[0, 0].item()))
    x, y = torch.full((64, 1), 1e-3), torch.zeros(64, dtype=torch.int64)
    fit(model, x, y, epochs=100, batch_size=64, lr=0.01)
    moved = torch.tensor(positions).diff() / 0.01
    expected = (1 + torch.cos(torch.arange(99) * torch.pi / 100)) / 2
    torch.testing.assert_close(moved, expected, atol=0.01, rtol=0)


def test_groups_have_their_own_rate_and_decay(blobs):
    model = nn.Sequential(linear(), linear())
    frozen = model[0].weight.detach().clone()
    groups = [{"params": model[0].parameters(), "lr": 0.0}, {"params": model[1].parameters()}]
    fit(model, *blobs, epochs=1, batch_size=10, lr=0.1, groups=groups)
    assert torch.equal(model[0].weight, frozen) and not torch.equal(model[1].weight, linear().weight)


def test_training_uses_dropout_even_after_an_evaluation(blobs):
    model = nn.Sequential(nn.Dropout(0.5), linear())
    accuracy(model, *blobs)
    fit(model, *blobs, epochs=1, batch_size=10, lr=0.1)
    assert model.training


def test_weight_decay_shrinks_only_the_group_that_asks_for_it():
    decayed, free = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2))
    model = nn.Module()
    model.forward = lambda x: x * (1 + 0 * (decayed + free))  # no gradient, so only decay can move a weight
    model.decayed, model.free = decayed, free
    groups = [{"params": [decayed], "weight_decay": 0.5}, {"params": [free]}]
    fit(model, torch.randn(8, 2), torch.zeros(8, dtype=torch.int64), epochs=1, batch_size=4, lr=0.1, groups=groups)
    assert (decayed < 1).all() and torch.equal(free, torch.ones(2))


def test_accuracy_is_a_percentage_and_does_not_depend_on_the_batch(blobs):
    x, y = torch.eye(4), torch.tensor([0, 1, 2, 0])
    assert accuracy(nn.Identity(), x, y) == 75
    assert accuracy(nn.Identity(), x, y, batch_size=3) == 75


def test_accuracy_evaluates_without_dropout(blobs):
    model = nn.Sequential(nn.Dropout(0.9), linear())
    assert accuracy(model, *blobs) == accuracy(model[1], *blobs)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"epochs": 0}, "epochs must be at least 1, got 0."),
        ({"batch_size": 0}, "batch_size must be from 1 to the number of samples, 90, got 0."),
        ({"batch_size": 91}, "batch_size must be from 1 to the number of samples, 90, got 91."),
    ],
)
def test_mistakes_are_one_sentence(blobs, change, message):
    with pytest.raises(ValueError) as error:
        fit(linear(), *blobs, **{"epochs": 1, "batch_size": 10, "lr": 0.1, **change})
    assert str(error.value) == message


def test_inputs_and_labels_of_different_length_are_refused(blobs):
    x, y = blobs
    with pytest.raises(ValueError, match="x has 90 samples, but y has 89"):
        fit(linear(), x, y[1:], epochs=1, batch_size=10, lr=0.1)
    with pytest.raises(ValueError, match="as many labels as samples"):
        accuracy(linear(), x, y[1:])
    with pytest.raises(ValueError, match="at least one"):
        accuracy(linear(), x[:0], y[:0])
