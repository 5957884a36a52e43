"""The network against torch's, kernels against loops, weights and theory against scipy, trials against neurogym."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from scipy import linalg
from scipy.integrate import solve_ivp
from torch.func import jacrev

from reprolib.data.two_alternative_choice import COHERENCES, NOISE, two_alternative_choice
from reprolib.init.low_rank import low_rank_
from reprolib.metrics.kernels import effective_rank, jacobian_gram, kernel_alignment
from reprolib.models.ctrnn import ctrnn, ctrnn_errors
from reprolib.streams import stream


def network(hidden=12, seed=0):
    draw = stream(seed, 0)
    sizes = ((hidden, 3), (hidden, hidden), (3, hidden))
    return [0.4 * torch.randn(*size, dtype=torch.float64, generator=draw) for size in sizes]


def test_states_and_gradients_are_those_of_torch():
    w_in, w_h, w_out = (w.requires_grad_() for w in network())
    theirs = torch.nn.RNN(3, 12, nonlinearity="relu", bias=False).double()
    with torch.no_grad():
        theirs.weight_ih_l0.copy_(w_in)
        theirs.weight_hh_l0.copy_(w_h)
    x = torch.randn(8, 5, 3, dtype=torch.float64, generator=stream(0, 1))
    outputs, hidden = ctrnn(x, w_in, w_h, w_out)
    expected, _ = theirs(x)
    torch.testing.assert_close(hidden, expected)
    torch.testing.assert_close(outputs, expected @ w_out.T)
    ours = torch.autograd.grad(outputs.square().sum(), [w_in, w_h])
    both = torch.autograd.grad((expected @ w_out.T).square().sum(), [theirs.weight_ih_l0, theirs.weight_hh_l0])
    for mine, other in zip(ours, both, strict=True):
        torch.testing.assert_close(mine, other)


@pytest.mark.parametrize("alpha", [1.0, 0.6])
def test_errors_sent_back_give_the_gradients_of_autograd(alpha):
    w_in, w_h, w_out = (torch.stack([w, 2 * w.flip(0)]).requires_grad_() for w in network())
    x = torch.randn(8, 5, 3, dtype=torch.float64, generator=stream(0, 3))
    outward = torch.randn(2, 8, 5, 3, dtype=torch.float64, generator=stream(0, 4))
    outputs, hidden = ctrnn(x, w_in, w_h, w_out, alpha)
    expected = torch.autograd.grad((outward * outputs).sum(), [w_in, w_h])
    errors = ctrnn_errors(outward, hidden, w_h, w_out, alpha)
    torch.testing.assert_close(torch.einsum("ktbn,tbi->kni", errors, x), expected[0])
    torch.testing.assert_close(torch.einsum("ktbn,ktbm->knm", errors[:, 1:], hidden[:, :-1]), expected[1])


def test_tangent_kernel_is_that_of_jacrev_and_of_a_loop():
    w_in, w_h, w_out = network()
    trials = torch.randn(8, 4, 3, dtype=torch.float64, generator=stream(0, 2))
    _, hidden = ctrnn(trials, w_in, w_h, w_out)
    kernels = []
    for answer in range(3):
        outward = torch.zeros(8, 4, 3, dtype=torch.float64)
        outward[-1, :, answer] = 1
        kernels.append(ctrnn_errors(outward, hidden, w_h, w_out))
    errors, activity = torch.cat(kernels, 1)[1:].transpose(0, 1), hidden.repeat(1, 3, 1)[:-1].transpose(0, 1)
    K = jacobian_gram(errors, activity)

    def last(w):
        return ctrnn(trials, w_in, w, w_out)[0][-1].T.flatten()  # all trials of an answer side by side

    J = jacrev(last)(w_h).flatten(1)
    torch.testing.assert_close(K, J @ J.T)
    w_h.requires_grad_()
    loop = torch.stack([torch.autograd.grad(y, w_h, retain_graph=True)[0].flatten() for y in last(w_h)])
    torch.testing.assert_close(K, loop @ loop.T)


@pytest.mark.parametrize("rank", [1, 5, 20])
def test_truncation_is_that_of_scipy_and_loses_what_eckart_and_young_say(rank):
    A = torch.empty(20, 20, dtype=torch.float64).normal_(0, 1.25 / 20**0.5, generator=stream(1, 0)).numpy()
    W = low_rank_(torch.empty(20, 20, dtype=torch.float64), rank, 1.25, stream(1, 0)).numpy()
    U, s, Vh = linalg.svd(A)
    cut = (U[:, :rank] * s[:rank]) @ Vh[:rank]
    np.testing.assert_allclose(W, cut * linalg.norm(A) / linalg.norm(cut), rtol=1e-9, atol=1e-12)
    shrunk = W * linalg.norm(cut) / linalg.norm(A)
    assert linalg.norm(A - shrunk) ** 2 == pytest.approx((s[rank:] ** 2).sum(), abs=1e-9)


def test_effective_rank_is_the_participation_ratio_of_singular_values():
    W = torch.randn(3, 9, 14, dtype=torch.float64, generator=stream(2, 0))
    s = np.array([linalg.svdvals(w) for w in W.numpy()])
    np.testing.assert_allclose(effective_rank(W), (s**2).sum(1) ** 2 / (s**4).sum(1), rtol=1e-9)


def test_trials_have_the_distribution_of_neurogym():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ngym = pytest.importorskip("neurogym")
        timing = {"fixation": 0, "stimulus": 700, "delay": 0, "decision": 100}
        settings = {"dt": 100, "timing": timing}
        data = ngym.Dataset("PerceptualDecisionMaking-v0", env_kwargs=settings, batch_size=4000, seq_len=8)
        theirs_x, theirs_y = data()
    x, y = (t.numpy() for t in two_alternative_choice(4000, generator=stream(3, 0)))
    assert theirs_x.shape == x.shape and (theirs_y[:-1] == 0).all() and (theirs_x[-1] == 0).all()

    def statistics(x, y):  # of the signal that is the answer, and of the other one
        asked = np.take_along_axis(x[:-1], y[None, -1, :, None], axis=2)[..., 0]
        other = np.take_along_axis(x[:-1], 3 - y[None, -1, :, None], axis=2)[..., 0]
        means = asked.mean(), other.mean(), asked.mean(0).std(), other.mean(0).std()
        return np.array([*means, asked.std(0, ddof=1).mean(), (y[-1] == 1).mean()])

    np.testing.assert_allclose(statistics(x, y), statistics(theirs_x, theirs_y.astype(int)), atol=0.04)
    np.testing.assert_allclose(statistics(x, y)[:5], statistics(theirs_x, theirs_y.astype(int))[:5], atol=0.005)
    assert data.env.unwrapped.cohs == list(COHERENCES) and data.env.unwrapped.sigma == pytest.approx(NOISE)


@pytest.mark.parametrize("spectrum", [[1, 0, 0, 0, 0], [1, 1, 1, 0, 0], [1, 0.5, 0.25, 0.125, 0.0625]])
def test_alignment_after_gradient_flow_is_the_closed_form(spectrum):
    d, h, sigma = 5, 7, 1e-3
    rng = np.random.default_rng(4)
    U, V = (np.linalg.qr(rng.standard_normal((n, d)))[0] for n in (h, d))
    W0 = (U * spectrum) @ V.T
    W0 *= sigma / linalg.norm(W0)
    beta = rng.standard_normal(d)

    def velocity(t, flat):
        W1, W2 = flat[: h * d].reshape(h, d), flat[h * d :]
        error = beta - W2 @ W1
        return np.concatenate([np.outer(W2, error).ravel(), W1 @ error])

    end = solve_ivp(velocity, (0, 40), np.concatenate([W0.ravel(), np.zeros(h)]), rtol=1e-8, atol=1e-10).y[:, -1]
    W1, W2 = end[: h * d].reshape(h, d), end[h * d :]
    first, last = W0.T @ W0, W1.T @ W1 + W2 @ W2 * np.eye(d)
    unit = beta / linalg.norm(beta)
    formula = (unit @ first @ unit + np.trace(first)) / np.sqrt(d + 3) / linalg.norm(first)
    assert kernel_alignment(torch.tensor(first), torch.tensor(last)).item() == pytest.approx(formula, abs=1e-4)
