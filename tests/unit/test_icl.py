"""Prompts of linear regression and their tokens: what a user relies on, and how mistakes are answered."""

from __future__ import annotations

import pytest
import torch

from reprolib.data.icl import interleave, linear_regression_prompts


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("n, d", [(1, 1), (5, 3)])
def test_shapes_and_precision(n, d):
    x, y, xq, yq = linear_regression_prompts(7, n, d, generator=generator())
    assert (x.shape, y.shape, xq.shape, yq.shape) == ((7, n, d), (7, n), (7, d), (7,))
    assert {t.dtype for t in (x, y, xq, yq)} == {torch.float64}


def test_every_prompt_has_a_task_of_its_own_that_also_answers_the_query():
    x, y, xq, yq = linear_regression_prompts(20, 6, 3, generator=generator())
    w = torch.linalg.lstsq(x, y[..., None]).solution[..., 0]
    torch.testing.assert_close((w * xq).sum(1), yq)
    assert torch.pdist(w).min() > 1e-3


def test_a_given_task_is_used_for_all_prompts_or_one_by_one():
    w = torch.tensor([1.0, -2.0], dtype=torch.float64)
    x, y, xq, yq = linear_regression_prompts(4, 3, 2, w=w, generator=generator())
    torch.testing.assert_close(y, x @ w)
    same = linear_regression_prompts(4, 3, 2, w=w.expand(4, 2), generator=generator())
    torch.testing.assert_close(torch.cat([y.ravel(), yq]), torch.cat([same.y.ravel(), same.yq]))


def test_inputs_and_query_have_the_covariance_asked_for():
    cov = torch.tensor([[2.0, 0.9], [0.9, 0.5]], dtype=torch.float64)
    x, _, xq, _ = linear_regression_prompts(20_000, 2, 2, cov, generator=generator())
    torch.testing.assert_close(torch.cov(x.reshape(-1, 2).T), cov, atol=0.05, rtol=0)
    torch.testing.assert_close(torch.cov(xq.T), cov, atol=0.06, rtol=0)
    assert torch.cov(torch.stack([x[:, 0, 0], xq[:, 0]]))[0, 1].abs() < 0.06


def test_every_prompt_can_have_a_covariance_of_its_own():
    cov = torch.diag_embed(torch.tensor([[1.0, 100.0], [100.0, 1.0]], dtype=torch.float64))
    x = linear_regression_prompts(2, 4000, 2, cov, generator=generator()).x
    torch.testing.assert_close(x.square().mean(1), cov.diagonal(dim1=1, dim2=2), rtol=0.1, atol=0)


def test_noise_is_a_standard_deviation_and_touches_the_query_too():
    w = torch.ones(2, dtype=torch.float64)
    x, y, xq, yq = linear_regression_prompts(20_000, 2, 2, noise=3.0, w=w, generator=generator())
    for miss in ((y - x @ w).ravel(), yq - xq @ w):
        assert miss.std().item() == pytest.approx(3, rel=0.03)
    every = torch.column_stack([y - x @ w, yq - xq @ w])  # each label has noise of its own
    torch.testing.assert_close(torch.corrcoef(every.T), torch.eye(3, dtype=torch.float64), atol=0.04, rtol=0)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ((0, 1, 1), "at least 1"),
        ((2, 3, 2, torch.eye(3)), "cov must have shape"),
        ((2, 3, 2, None, -1.0), "noise must be at least 0"),
        ((2, 3, 2, None, 0.0, torch.ones(3)), "w must have shape"),
    ],
)
def test_mistakes_are_named(arguments, message):
    with pytest.raises(ValueError, match=message):
        linear_regression_prompts(*arguments)


def test_tokens_alternate_between_inputs_and_padded_labels():
    x, y = torch.arange(12.0).reshape(1, 3, 4), torch.tensor([[10.0, 20.0, 30.0]])
    tokens = interleave(x, y)
    assert torch.equal(tokens[:, ::2], x)
    assert torch.equal(tokens[0, 1::2], torch.tensor([[10.0, 0, 0, 0], [20.0, 0, 0, 0], [30.0, 0, 0, 0]]))
    with pytest.raises(ValueError, match="do not fit"):
        interleave(x, y[:, :2])
