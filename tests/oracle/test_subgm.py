"""The sub-gradient method against autograd, closed forms, Monte Carlo and convex solvers that know nothing of it."""

from __future__ import annotations

import ast
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import optimize, sparse

from reprolib.data.recovery import adjoint, gaussian_measurements, low_rank_psd
from reprolib.init.spectral import spectral_init_
from reprolib.optim.subgm import BLOCK, l1_subgradient, signal_residual, subgm


def draw(seed, d, r, m, noise="none", p=0.0, scale=1.0, eigenvalues=None):
    generator = torch.Generator().manual_seed(seed)
    X, V = low_rank_psd(d, r, eigenvalues, generator)
    return X, V, *gaussian_measurements(X, m, noise, p, scale, generator)


def start(A, y, rank, alpha=1e-6):
    return spectral_init_(torch.empty(A.shape[1], rank, dtype=torch.float64), A, y, alpha)


def loop_loss(U, A, y):
    return sum((y[i] - (A[i] * (U @ U.T)).sum()).abs() for i in range(len(y))) / len(y)


@pytest.mark.parametrize("rank", [1, 3, 8])
def test_subgradient_is_what_autograd_gives_for_the_loss(rank):
    _, _, A, y, _ = draw(1, 8, 2, 40, "outlier", 0.2, 10)
    U = torch.randn(8, rank, dtype=torch.float64, generator=torch.Generator().manual_seed(2), requires_grad=True)
    (gradient,) = torch.autograd.grad(loop_loss(U, A, y), U)
    torch.testing.assert_close(l1_subgradient(U.detach(), A, y)[1], gradient, rtol=1e-12, atol=1e-12)


def test_a_perfectly_fitted_measurement_adds_nothing_to_the_subgradient():
    """Both we and autograd take sign(0) = 0; whole numbers make the fit exact."""
    A = torch.arange(50.0, dtype=torch.float64).reshape(2, 5, 5)
    U = torch.ones(5, 2, dtype=torch.float64, requires_grad=True)
    y = (A.sum(dim=(1, 2)) * 2).detach() - torch.tensor([0.0, 1.0], dtype=torch.float64)
    (gradient,) = torch.autograd.grad(loop_loss(U, A, y), U)
    Q, D = l1_subgradient(U.detach(), A, y)
    assert torch.equal(Q, A[1] / 2)
    torch.testing.assert_close(D, gradient)


@pytest.mark.parametrize("step", ["geometric", "loss", "constant"])
@pytest.mark.parametrize("m", [30, 2 * BLOCK, 2 * BLOCK + 1])
def test_steps_equal_a_loop_written_from_the_paper(m, step):
    _, _, A, y, _ = draw(3, 6, 2, m, "outlier", 0.1, 10)
    U = start(A, y, 4, alpha=0.1)
    expected, matrices, values = U.numpy().copy(), A.numpy(), y.numpy()
    for t in range(25):
        residual = np.array([np.trace(M.T @ expected @ expected.T) for M in matrices]) - values
        Q = sum(np.sign(e) * M for e, M in zip(residual, matrices, strict=True)) / len(values)
        length = {
            "geometric": 0.1 * 0.9**t / np.linalg.svd(Q)[1][0],
            "loss": 0.1 / 2 * np.mean(np.abs(residual)),
            "constant": 0.1,
        }[step]
        expected = expected - length * (Q + Q.T) @ expected
    rho = 0.9 if step == "geometric" else 1.0
    found = subgm(U, A, y, eta=0.1, rho=rho, steps=25, step=step)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("rank", [2, 5, 12])
def test_start_equals_the_closed_form_of_numpy(rank):
    _, _, A, y, _ = draw(4, 12, 2, 60, "outlier", 0.3, 1000)
    C = np.mean([np.sign(v) * (M + M.T) / 2 for v, M in zip(y.numpy(), A.numpy(), strict=True)], axis=0)
    values, vectors = np.linalg.eigh(C)
    values, vectors = values[::-1][:rank], vectors[:, ::-1][:, :rank]
    assert rank < 12 or (values < 0).any()  # so that dropping the negative ones is tested
    U = start(A, y, rank, alpha=0.01)
    np.testing.assert_allclose(U @ U.T, 1e-4 * vectors * values.clip(min=0) @ vectors.T, atol=1e-18)


def test_noiseless_limit_is_the_smallest_trace_solution_of_a_convex_solver():
    """Fewer measurements than unknowns: Douglas-Rachford on min tr X over X psd with <A_i, X> = y_i."""
    d, m = 12, 60
    X, _, A, y, _ = draw(5, d, 1, m)
    assert m < d * (d + 1) // 2
    rows = ((A + A.mT) / 2).flatten(1).numpy()
    inverse, values, Z = np.linalg.pinv(rows), y.numpy(), np.zeros(d * d)
    for _ in range(3000):
        affine = Z + inverse @ (values - rows @ Z)
        lam, vec = np.linalg.eigh((2 * affine - Z).reshape(d, d))
        Z += (vec * (lam - 0.1).clip(min=0) @ vec.T).ravel() - affine
    U = subgm(start(A, y, d), A, y, eta=0.2, steps=800, step="loss")
    np.testing.assert_allclose((U @ U.T).flatten(), affine, atol=1e-5)
    assert np.abs(affine - X.flatten().numpy()).max() < 1e-5


def test_outlier_limit_is_the_least_absolute_deviation_solution_of_a_linear_program():
    d, m = 8, 160
    _, _, A, y, s = draw(6, d, 2, m, "outlier", 0.2, 100)
    assert (s != 0).sum() > 20
    i, j = np.triu_indices(d)
    rows = ((A + A.mT).numpy() * (1 - 0.5 * np.eye(d)))[:, i, j]  # one column for each entry on or above the diagonal
    n, eye = rows.shape[1], sparse.eye(m)
    constraints = sparse.bmat([[sparse.csr_matrix(rows), -eye], [sparse.csr_matrix(-rows), -eye]])
    program = optimize.linprog(
        np.r_[np.zeros(n), np.ones(m)],
        A_ub=constraints,
        b_ub=np.r_[y.numpy(), -y.numpy()],
        bounds=[(None, None)] * n + [(0, None)] * m,
    )
    U = subgm(start(A, y, d), A, y, eta=0.2, rho=0.99, steps=1800)
    np.testing.assert_allclose((U @ U.T).numpy()[i, j], program.x[:n], atol=1e-5)


@pytest.mark.parametrize(
    "noise, p, scale", [("none", 0, 1), ("outlier", 0.3, 2), ("outlier", 0.5, 10), ("gaussian", 0, 1.5)]
)
def test_mean_of_Q_follows_the_scaling_function(noise, p, scale):
    """Theorems 10 and 11: E Q = phi(X) X / ||X||, with outliers N(0, scale^2)."""
    X, _, A, y, _ = draw(7, 4, 2, 300_000, noise, p, scale)
    U = torch.randn(4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(8))
    Q, _ = l1_subgradient(U, A, y)
    miss = U @ U.T - X
    a = miss.norm()
    shrink = {
        "none": 1.0,
        "outlier": 1 - p + p * a / (a**2 + scale**2) ** 0.5,
        "gaussian": a / (a**2 + scale**2) ** 0.5,
    }[noise]
    torch.testing.assert_close(Q, (2 / torch.pi) ** 0.5 * shrink * miss / a, rtol=0, atol=6 / 300_000**0.5)


def test_start_points_along_the_truth_on_average():
    """E C = phi X*/||X*||: the start is a small multiple of the truth plus sampling noise, whatever the outliers."""
    X, _, A, y, _ = draw(9, 5, 2, 200_000, "outlier", 0.3, 1000)
    U = start(A, y, 5, alpha=1.0)
    C = U @ U.T
    assert float((C * X).sum() / C.norm() / X.norm()) > 0.999


def test_split_projects_on_the_row_space_that_a_singular_value_decomposition_finds():
    _, V, A, y, _ = draw(10, 9, 3, 50)
    U = torch.randn(9, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(11))
    S, E, F, G = signal_residual(U, V)
    rows = np.linalg.svd(S.numpy())[2][:3]
    np.testing.assert_allclose(F, E.numpy() @ rows.T @ rows, atol=1e-12)
    np.testing.assert_allclose(G, E.numpy() - E.numpy() @ rows.T @ rows, atol=1e-12)
    # E lives in a basis of the complement that is free up to rotation: its Gram matrix is not.
    complement = np.eye(9) - (V @ V.T).numpy()
    np.testing.assert_allclose(E.T @ E, U.numpy().T @ complement @ U.numpy(), atol=1e-12)


def test_adjoint_is_the_transpose_of_measure():
    _, _, A, _, _ = draw(12, 6, 2, 20)
    v = torch.randn(20, dtype=torch.float64)
    expected = sum(v[i] * A[i] for i in range(20)) / 20
    torch.testing.assert_close(adjoint(A, v), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dying", [{}, {"eta": 0.2, "rho": 0.9}])
def test_least_squares_of_the_chapter_equals_a_loop_of_autograd(dying):
    """Its slope and loss come from a Gram matrix; here both come from the measurements, one arm at a time."""
    chapter = ast.parse((Path(__file__).parents[2] / "chapters/optimization/subgm.py").read_text(encoding="utf-8"))
    found = next(node for node in chapter.body if getattr(node, "name", None) == "gradient_descent")
    names = {"np": np, "torch": torch}
    exec(compile(ast.Module([found], []), "gradient_descent", "exec"), names)
    _, _, A, y, _ = draw(13, 6, 2, 40, "outlier", 0.2, 3)
    arms, values, seen = torch.stack([start(A, y, 4, 0.1), start(A, y, 4, 0.5)]), torch.stack([y, y / 2]), []
    names["gradient_descent"](arms, A, values, 20, lambda t, U, loss: seen.append((U, loss)), **dying)
    for i, (U, y) in enumerate(zip(arms, values, strict=True)):
        for t in range(21):
            torch.testing.assert_close(seen[t][0][i], U, rtol=1e-9, atol=1e-12)
            X = (U @ U.T).requires_grad_()
            loss = ((A * X).sum((1, 2)) - y).square().mean() / 4
            (slope,) = torch.autograd.grad(2 * loss, X)
            torch.testing.assert_close(seen[t][1][i], loss.detach(), rtol=1e-9, atol=1e-12)
            slope, at_zero = (slope + slope.T) / 2, (y[:, None, None] * (A + A.mT) / 2).mean(0)
            length = (
                2 * 0.2 * 0.9**t / torch.linalg.svdvals(slope)[0] if dying else 0.3 / torch.linalg.svdvals(at_zero)[0]
            )
            U = U - length * slope @ U
