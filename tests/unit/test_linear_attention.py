"""Linear self-attention and its balanced start: invariances, and how mistakes are answered."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reprolib.data.icl import linear_regression_prompts
from reprolib.init.lsa import largest_scale, lsa_balanced_
from reprolib.models.linear_attention import LinearSelfAttention, embed

few = settings(max_examples=25)


def random_layer(d, seed):
    """A layer in which no entry is zero."""
    generator, layer = torch.Generator().manual_seed(seed), LinearSelfAttention(d).double().requires_grad_(False)
    for W in layer.parameters():
        W.copy_(torch.randn(W.shape, generator=generator, dtype=W.dtype))
    return layer


@few
@given(d=st.integers(1, 6), n=st.integers(1, 8), seed=st.integers(0, 99))
def test_the_short_way_equals_the_literal_layer(d, n, seed):
    x, y, xq, _ = linear_regression_prompts(5, n, d, generator=torch.Generator().manual_seed(seed))
    layer = random_layer(d, seed)
    torch.testing.assert_close(layer.predict(x, y, xq), layer(embed(x, y, xq))[:, -1, -1], rtol=1e-10, atol=1e-10)


@few
@given(d=st.integers(1, 5), seed=st.integers(0, 99))
def test_the_order_of_the_examples_does_not_matter(d, seed):
    x, y, xq, _ = linear_regression_prompts(3, 6, d, generator=torch.Generator().manual_seed(seed))
    order, layer = torch.randperm(6), random_layer(d, seed)
    torch.testing.assert_close(layer.predict(x[:, order], y[:, order], xq), layer.predict(x, y, xq))


def test_from_the_balanced_start_the_answer_is_linear_in_labels_and_in_the_query():
    x, y, xq, _ = linear_regression_prompts(4, 5, 3, generator=torch.Generator().manual_seed(0))
    layer = lsa_balanced_(LinearSelfAttention(3).double(), 0.7)
    torch.testing.assert_close(layer.predict(x, 3 * y, -2 * xq), -6 * layer.predict(x, y, xq))
    torch.testing.assert_close(layer.predict(2 * x, 2 * y, 2 * xq), 8 * layer.predict(x, y, xq))


def test_a_new_layer_changes_nothing():
    E = torch.randn(2, 4, 6)
    assert torch.equal(LinearSelfAttention(3)(E), E)


def test_embedding_has_a_zero_where_the_label_is_wanted():
    x, y, xq, _ = linear_regression_prompts(2, 3, 2)
    E = embed(x, y, xq)
    assert E.shape == (2, 3, 4) and (E[:, -1, -1] == 0).all()
    assert torch.equal(E[:, :2, -1], xq) and torch.equal(E[:, 2, :3], y) and torch.equal(E[0, :2, 1], x[0, 1])
    with pytest.raises(ValueError, match="do not fit"):
        embed(x, y[:, :1], xq)


@few
@given(d=st.integers(1, 8), scale=st.floats(0.01, 10), seed=st.integers(0, 99))
def test_the_start_is_balanced_symmetric_positive_and_repeatable(d, scale, seed):
    layer = LinearSelfAttention(d).double()
    for W in layer.parameters():
        torch.nn.init.ones_(W)  # what was there before must be gone
    assert lsa_balanced_(layer, scale, torch.Generator().manual_seed(seed)) is layer
    U = layer.W_KQ[:d, :d].detach()
    assert layer.W_PV[-1, -1].item() == scale and layer.W_PV.count_nonzero() == 1
    assert U.norm().item() == pytest.approx(scale) and layer.W_KQ.norm().item() == pytest.approx(scale)
    torch.testing.assert_close(U, U.T)
    assert torch.linalg.eigvalsh(U).min() > -1e-12 * scale
    again = lsa_balanced_(LinearSelfAttention(d).double(), scale, torch.Generator().manual_seed(seed))
    assert torch.equal(again.W_KQ, layer.W_KQ)


def test_largest_scale_for_white_inputs():
    assert largest_scale(torch.eye(4), 10) == pytest.approx((2 / (1.5 * 2)) ** 0.5)


@pytest.mark.parametrize("scale", [0, -1.0, float("nan"), float("inf")])
def test_a_bad_scale_is_named_and_changes_nothing(scale):
    layer = LinearSelfAttention(2)
    with pytest.raises(ValueError, match="scale must be above 0"):
        lsa_balanced_(layer, scale)
    assert not layer.W_PV.any()


def test_a_layer_needs_a_dimension():
    with pytest.raises(ValueError, match="at least 1"):
        LinearSelfAttention(0)
