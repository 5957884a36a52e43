"""What must hold of low-rank recovery on any problem, and what a user's mistake says."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reprolib.data.recovery import adjoint, gaussian_measurements, low_rank_psd, measure
from reprolib.init.spectral import spectral_init_
from reprolib.optim.subgm import l1_subgradient, signal_residual, subgm

problems = st.tuples(st.integers(0, 2**31), st.integers(2, 8), st.integers(1, 30))  # seed, d, m


def draw(seed, d, m, r=1, noise="outlier", p=0.2, scale=10.0):
    generator = torch.Generator().manual_seed(seed)
    X, V = low_rank_psd(d, r, generator=generator)
    return X, V, *gaussian_measurements(X, m, noise, p, scale, generator)


def start(A, y, rank, alpha=0.1):
    return spectral_init_(torch.empty(A.shape[1], rank, dtype=A.dtype), A, y, alpha)


@pytest.fixture
def problem():
    _, V, A, y, _ = draw(0, 6, 40, r=2)
    return start(A, y, 6), A, y, V


@given(problems)
def test_rotating_the_factor_rotates_the_subgradient(drawn):
    seed, d, m = drawn
    _, _, A, y, _ = draw(seed, d, m)
    U = torch.randn(d, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    R = torch.linalg.qr(torch.randn(d, d, dtype=torch.float64, generator=torch.Generator().manual_seed(1))).Q
    (Q, D), (Q_rotated, D_rotated) = l1_subgradient(U, A, y), l1_subgradient(U @ R, A, y)
    torch.testing.assert_close(Q_rotated, Q)
    torch.testing.assert_close(D_rotated, D @ R)


@given(problems)
def test_stretching_values_and_factor_together_keeps_Q(drawn):
    """Only signs enter Q: units of the problem do not."""
    seed, d, m = drawn
    _, _, A, y, _ = draw(seed, d, m)
    U = torch.randn(d, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(l1_subgradient(10 * U, A, 100 * y)[0], l1_subgradient(U, A, y)[0])


@given(problems, st.floats(1.5, 1e6))
def test_the_size_of_outliers_does_not_move_the_start(drawn, factor):
    seed, d, m = drawn
    _, _, A, y, _ = draw(seed, d, m)
    torch.testing.assert_close(start(A, y, d), start(A, factor * y, d), rtol=0, atol=0)


@given(problems, st.floats(1e-12, 1e2))
def test_start_scales_with_alpha_and_is_nested_in_its_rank(drawn, alpha):
    seed, d, m = drawn
    _, _, A, y, _ = draw(seed, d, m)
    U = start(A, y, d, alpha=1.0)
    torch.testing.assert_close(start(A, y, d, alpha=alpha), alpha * U)
    torch.testing.assert_close(start(A, y, 1, alpha=1.0), U[:, :1])


@given(problems)
def test_split_adds_up_and_its_parts_are_orthogonal(drawn):
    seed, d, _ = drawn
    _, V = low_rank_psd(d, 1 + seed % d, generator=torch.Generator().manual_seed(seed))
    U = torch.randn(3, d, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    S, E, F, G = signal_residual(U, V)
    torch.testing.assert_close(F + G, E)
    torch.testing.assert_close(G @ S.mT, torch.zeros_like(G @ S.mT))
    torch.testing.assert_close(S.square().sum((1, 2)) + E.square().sum((1, 2)), U.square().sum((1, 2)))


def test_split_stays_exact_at_a_start_near_zero(problem):
    """With alpha = 1e-15 the row space of S must still be found."""
    U, _, _, V = problem
    for large, small in zip(signal_residual(U, V), signal_residual(1e-15 * U, V), strict=True):
        torch.testing.assert_close(small, 1e-15 * large, rtol=1e-9, atol=1e-30)


@pytest.mark.parametrize("step", ["geometric", "loss", "constant"])
def test_a_batch_equals_its_members_run_alone(problem, step):
    U, A, y, _ = problem
    batch = torch.stack([U, 3 * U, 0.1 * U])
    values = torch.stack([y, -y, y + 1])
    schedule = dict(eta=0.1 if step == "geometric" else 0.01, rho=0.9, steps=20, step=step)
    losses = []
    together = subgm(batch, A, values, **schedule, callback=lambda t, U, loss: losses.append(loss))
    alone = torch.stack([subgm(u, A, v, **schedule) for u, v in zip(batch, values, strict=True)])
    assert losses[0].shape == (3,) and len(set(losses[0].tolist())) == 3
    torch.testing.assert_close(together, alone, rtol=1e-8, atol=1e-12)


def test_columns_of_zeros_stay_zero_so_ranks_can_share_a_batch(problem):
    U, A, y, _ = problem
    narrow = start(A, y, 2)
    padded = torch.cat([narrow, torch.zeros(6, 4, dtype=torch.float64)], dim=1)
    wide = subgm(padded, A, y, eta=0.1, rho=0.9, steps=20)
    assert not wide[:, 2:].any()
    torch.testing.assert_close(wide[:, :2], subgm(narrow, A, y, eta=0.1, rho=0.9, steps=20), rtol=1e-8, atol=1e-12)


def test_geometric_steps_decay(problem):
    """A step changes U by length * (Q + Q^T) U; dividing out leaves eta rho^t / ||Q||."""
    U, A, y, _ = problem
    path = []
    subgm(U, A, y, eta=0.3, rho=0.5, steps=4, callback=lambda t, U, loss: path.append(U))
    for t in range(4):
        Q, D = l1_subgradient(path[t], A, y)
        length = (path[t] - path[t + 1]).norm() / D.norm()
        assert float(length * torch.linalg.svdvals(Q)[0]) == pytest.approx(0.3 * 0.5**t)


def test_callback_sees_every_iterate_with_its_loss(problem):
    U, A, y, _ = problem
    seen = []
    last = subgm(U, A, y, eta=0.1, steps=3, callback=lambda t, U, loss: seen.append((t, U, loss)))
    assert [t for t, _, _ in seen] == [0, 1, 2, 3]
    torch.testing.assert_close(seen[0][1], U)
    assert torch.equal(seen[-1][1], last)
    for _, iterate, loss in seen:
        torch.testing.assert_close(loss, (measure(A, iterate @ iterate.T) - y).abs().mean())


def test_the_start_is_left_alone(problem):
    U, A, y, _ = problem
    before = U.clone()
    subgm(U, A, y, eta=0.1, steps=3)
    assert torch.equal(U, before)


def test_a_perfect_fit_stays_where_it_is():
    _, _, A, _, _ = draw(0, 3, 1)
    U = torch.ones(3, 1, dtype=torch.float64)
    y = measure(A, U @ U.T)
    for eta in (0.1, 10.0):
        assert torch.equal(subgm(U, A, y, eta=eta, steps=2), U)


@settings(max_examples=25)
@given(st.integers(0, 2**31), st.floats(0, 0.9), st.floats(0, 1000))
def test_every_kind_of_noise_meets_the_same_matrices(seed, p, scale):
    _, _, A, y, s = draw(seed, 4, 50, p=p, scale=scale)
    for noise in ("none", "gaussian"):
        _, _, B, _, _ = draw(seed, 4, 50, noise=noise)
        assert torch.equal(A, B)
    wider = draw(seed, 4, 50, p=0.95, scale=1.0)[4]
    assert torch.equal(s[s != 0], scale * wider[s != 0])
    torch.testing.assert_close(y - s, draw(seed, 4, 50, noise="none")[3])


def test_noise_has_the_asked_rate_and_standard_deviation():
    s = draw(0, 2, 40_000, p=0.3, scale=10)[4]
    assert float((s != 0).double().mean()) == pytest.approx(0.3, abs=0.01)
    assert float(s[s != 0].std()) == pytest.approx(10, rel=0.03)
    assert float(draw(0, 2, 40_000, noise="gaussian", scale=10)[4].std()) == pytest.approx(10, rel=0.03)
    assert not draw(0, 2, 100, noise="none")[4].any()


@given(st.integers(0, 2**31), st.integers(1, 8))
def test_low_rank_psd_has_the_asked_eigenvalues(seed, d):
    wanted = torch.linspace(2, 1, max(1, d // 2), dtype=torch.float64)
    X, V = low_rank_psd(d, len(wanted), wanted.tolist(), torch.Generator().manual_seed(seed))
    found = torch.linalg.eigvalsh(X).flip(0)
    torch.testing.assert_close(found[: len(wanted)], wanted)
    torch.testing.assert_close(found[len(wanted) :], torch.zeros(d - len(wanted), dtype=torch.float64))
    torch.testing.assert_close(X @ V, V * wanted)


def test_eigenvectors_are_uniform():
    """The mean of V over draws vanishes; without the sign correction of QR its diagonal would not."""
    generator = torch.Generator().manual_seed(0)
    mean = torch.stack([low_rank_psd(3, 2, generator=generator)[1] for _ in range(2000)]).mean(0)
    assert mean.abs().max() < 5 * (1 / 3 / 2000) ** 0.5


@pytest.mark.parametrize(
    "change, words",
    [
        (dict(rank=7), "from 1 to d = 6 columns .* got 7"),
        (dict(rank=0), "from 1 to d = 6 columns .* got 0"),
        (dict(alpha=0.0), "alpha, .* above 0, got 0.0"),
        (dict(alpha=-1.0), "alpha, .* above 0, got -1.0"),
        (dict(alpha=float("nan")), "alpha, .* above 0, got nan"),
    ],
)
def test_a_bad_start_is_refused_in_one_sentence(problem, change, words):
    _, A, y, _ = problem
    U = torch.full((6, change.get("rank", 3)), 7.0, dtype=torch.float64)
    with pytest.raises(ValueError, match=words):
        spectral_init_(U, A, y, change.get("alpha", 0.1))
    assert (U == 7).all()


@pytest.mark.parametrize(
    "change, words",
    [
        (dict(rho=0.0), "rho, .* above 0 and at most 1, got 0.0"),
        (dict(rho=1.01), "rho, .* above 0 and at most 1, got 1.01"),
        (dict(eta=0.0), "eta must be above 0, got 0.0"),
        (dict(steps=0), "steps must be at least 1, got 0"),
        (dict(step="polyak"), "'geometric', 'loss', 'constant', got 'polyak'"),
        (dict(U=torch.zeros(6, 7, dtype=torch.float64)), "from 1 to d = 6 columns .* got 7"),
        (dict(U=torch.zeros(6, 0, dtype=torch.float64)), "from 1 to d = 6 columns .* got 0"),
        (dict(U=torch.zeros(5, 2, dtype=torch.float64)), "U must have d = 6 rows"),
        (dict(U=torch.zeros(6, 2)), "floats of one dtype"),
        (dict(y=torch.zeros(39, dtype=torch.float64)), "each of the 40 measurements"),
        (dict(A=torch.zeros(40, 6, 5, dtype=torch.float64)), "m square matrices"),
        (dict(A=torch.zeros(40, 36, dtype=torch.float64)), "m square matrices"),
    ],
)
def test_a_bad_run_is_refused_before_the_first_step(problem, change, words):
    U, A, y, _ = problem
    arguments = dict(U=U, A=A, y=y, eta=0.1, steps=1) | change

    def never(*_):
        raise AssertionError("a step was made")

    with pytest.raises(ValueError, match=words):
        subgm(arguments.pop("U"), arguments.pop("A"), arguments.pop("y"), callback=never, **arguments)


@pytest.mark.parametrize(
    "change, words",
    [
        (dict(p=-0.1), "p, .* at least 0 and below 1, got -0.1"),
        (dict(p=1.0), "p, .* at least 0 and below 1, got 1.0"),
        (dict(m=0), "m must be at least 1"),
        (dict(noise="cauchy"), "'none', 'outlier', 'gaussian', got 'cauchy'"),
        (dict(scale=-1.0), "scale must be at least 0"),
        (dict(X=torch.zeros(3, 4)), "square matrix, got shape \\(3, 4\\)"),
    ],
)
def test_bad_measurements_are_refused(change, words):
    arguments = dict(X=torch.eye(3, dtype=torch.float64), m=4) | change
    with pytest.raises(ValueError, match=words):
        gaussian_measurements(**arguments)


def test_eigenvalues_are_kept_in_double_precision():
    X, _ = low_rank_psd(20, 3, [1, 0.55, 0.1])
    assert torch.linalg.eigvalsh(X)[-3:].tolist() == pytest.approx([0.1, 0.55, 1], abs=1e-14)


@pytest.mark.parametrize("d, r, eigenvalues", [(3, 4, None), (3, 0, None), (3, 2, [1.0]), (3, 2, [1.0, 0.0])])
def test_a_bad_truth_is_refused(d, r, eigenvalues):
    with pytest.raises(ValueError, match="rank r must be|eigenvalues must be"):
        low_rank_psd(d, r, eigenvalues)


def test_split_of_mismatched_shapes_is_refused(problem):
    U, _, _, V = problem
    with pytest.raises(ValueError, match="same number of rows"):
        signal_residual(U, V[:5])


def test_measure_and_adjoint_are_transposes_of_each_other(problem):
    U, A, y, _ = problem
    X = U @ U.T
    assert float(measure(A, X) @ y / len(y)) == pytest.approx(float((adjoint(A, y) * X).sum()))
