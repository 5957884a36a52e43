"""Linear attention against a loop over the formulas, a regression that finds the best preconditioner, and training."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.linear_model import LinearRegression

from reprolib.data.icl import linear_regression_prompts
from reprolib.init.lsa import largest_scale, lsa_balanced_
from reprolib.models.linear_attention import LinearSelfAttention, embed

COV = np.array([[1.5, 0.4], [0.4, 0.6]])


def gamma(cov, N):
    return (1 + 1 / N) * cov + np.trace(cov) / N * np.eye(len(cov))


def draw(batch, N, seed, cov=COV):
    return linear_regression_prompts(
        batch, N, len(cov), torch.tensor(cov), generator=torch.Generator().manual_seed(seed)
    )


def random_layer(d, seed):
    generator, layer = torch.Generator().manual_seed(seed), LinearSelfAttention(d).double()
    for W in layer.parameters():
        W.data = torch.randn(W.shape, generator=generator, dtype=W.dtype)
    return layer


def test_layer_equals_a_sum_over_pairs_of_columns():
    """f(E)_j = E_j + 1/N sum_i (key_i . query_j) value_i, one pair at a time."""
    x, y, xq, _ = draw(3, 4, 0)
    layer = random_layer(2, 1)
    found = layer(embed(x, y, xq)).detach().numpy()
    PV, KQ = (W.detach().numpy() for W in (layer.W_PV, layer.W_KQ))
    for b in range(3):
        columns = [np.append(v, t) for v, t in zip(x[b].numpy(), y[b].numpy(), strict=True)]
        columns.append(np.append(xq[b].numpy(), 0))
        for j, column in enumerate(columns):
            expected = column + sum((other @ KQ @ column) * (PV @ other) for other in columns) / 4
            np.testing.assert_allclose(found[b, :, j], expected, rtol=1e-10, atol=1e-12)


def test_both_ways_have_the_same_gradients():
    x, y, xq, yq = draw(6, 5, 2)
    layer = random_layer(2, 3)
    ways = [(answer - yq).square().sum() for answer in (layer.predict(x, y, xq), layer(embed(x, y, xq))[:, -1, -1])]
    short, literal = (torch.autograd.grad(way, list(layer.parameters())) for way in ways)
    for a, b in zip(short, literal, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def best_preconditioner(x, y, xq, yq):
    """The answer is linear in uU, so the minimum of the loss is a plain regression."""
    sums = (y[:, None] @ x)[:, 0] / x.shape[1]
    features = (xq[:, :, None] * sums[:, None, :]).flatten(1).numpy()
    return LinearRegression(fit_intercept=False).fit(features, yq.numpy()).coef_.reshape(2, 2)


@pytest.mark.parametrize("N", [5, 20])
def test_the_best_preconditioner_is_the_inverse_of_gamma(N):
    np.testing.assert_allclose(best_preconditioner(*draw(200_000, N, 4)), np.linalg.inv(gamma(COV, N)), atol=0.03)


def test_training_all_entries_from_the_balanced_start_finds_what_a_regression_on_the_same_prompts_finds():
    N = 10
    x, y, xq, yq = draw(4000, N, 5)
    # With each prompt comes the one of the opposite task, so that the gradients of the other blocks cancel exactly.
    x, y, xq, yq = torch.cat([x, x]), torch.cat([y, -y]), torch.cat([xq, xq]), torch.cat([yq, -yq])
    scale = 0.9 * largest_scale(torch.tensor(COV), N)
    layer = lsa_balanced_(LinearSelfAttention(2).double(), scale, torch.Generator().manual_seed(6))
    optimizer = torch.optim.SGD(layer.parameters(), 0.04)
    for _ in range(1000):
        optimizer.zero_grad()
        ((layer.predict(x, y, xq) - yq).square().mean() / 2).backward()
        optimizer.step()
    PV, KQ = layer.W_PV.detach(), layer.W_KQ.detach()
    assert max(PV[:, :2].abs().max(), PV[:2].abs().max(), KQ[2].abs().max(), KQ[:, 2].abs().max()) < 1e-12
    found = (PV[2, 2] * KQ[:2, :2]).T.numpy()
    np.testing.assert_allclose(found, best_preconditioner(x, y, xq, yq), atol=0.01)
    assert PV[2, 2].item() == pytest.approx(np.linalg.norm(found) ** 0.5, rel=0.02)  # the balance is kept


def test_largest_scale_solves_the_condition_of_the_theorem():
    scale = largest_scale(torch.tensor(COV), 7)
    assert scale**2 * np.linalg.norm(gamma(COV, 7), 2) * 2**0.5 == pytest.approx(2)
