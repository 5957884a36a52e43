"""The S4D kernel against other ways to the same numbers, side by side in one process.

- a loop over the sequence that multiplies the modes by their discrete eigenvalues, one step at a time;
- the Vandermonde product as it is usually written, with a complex exponential of every entry;
- the same system as a real matrix of N by N, its kernel by doubling: what one needs without a diagonal;
- that dense system without powers: its transfer function solved at the roots of unity, then an inverse FFT.

Times are the best of several rounds in which the implementations take turns. The gradient is timed, too, where
autograd gives one in reasonable memory.
"""

from __future__ import annotations

import time

import torch
from torch import Tensor

from reprolib.models.s4d import S4DKernel

CASES = ((32, 16, 64), (128, 64, 1024), (128, 64, 16384))  # channels, states, length
DENSE_LIMIT = 2048  # steps; the dense ways need 4 GB and minutes beyond


def loop(kernel: S4DKernel, L: int) -> Tensor:
    log_A, B, C = kernel.discrete()
    A, x, y = log_A.exp(), B * C, []
    for _ in range(L):
        y.append(2 * x.sum(-1).real)
        x = A * x
    return torch.stack(y, dim=-1)


def vandermonde(kernel: S4DKernel, L: int) -> Tensor:
    log_A, B, C = kernel.discrete()
    powers = torch.exp(log_A[:, :, None] * torch.arange(L))
    return 2 * torch.einsum("hn,hnl->hl", B * C, powers).real


def dense(kernel: S4DKernel) -> tuple[Tensor, Tensor, Tensor]:
    """The real system of N states: a rotation block for each mode."""
    log_A, B, C = kernel.discrete()
    a = log_A.exp()
    blocks = torch.stack([torch.stack([a.real, -a.imag], -1), torch.stack([a.imag, a.real], -1)], -2)  # H n 2 2
    A = torch.stack([torch.block_diag(*channel) for channel in blocks])
    return A, torch.view_as_real(B).flatten(1), 2 * torch.view_as_real(C.conj().resolve_conj()).flatten(1)


def doubling(kernel: S4DKernel, L: int) -> Tensor:
    A, B, C = dense(kernel)
    reached = B[..., None]
    while reached.shape[-1] < L:
        reached = torch.cat([reached, A @ reached], dim=-1)
        A = A @ A
    return torch.einsum("hn,hnl->hl", C, reached[..., :L])


def transfer(kernel: S4DKernel, L: int) -> Tensor:
    A, B, C = (x.to(torch.complex64 if x.dtype == torch.float32 else torch.complex128) for x in dense(kernel))
    eye = torch.eye(A.shape[-1], dtype=A.dtype)
    rest = B - (torch.linalg.matrix_power(A, L) @ B[..., None])[..., 0]  # the first L steps only
    roots = torch.exp(-2j * torch.pi * torch.arange(L // 2 + 1) / L).to(A.dtype)
    columns = [(C * torch.linalg.solve(eye - z * A, rest)).sum(-1) for z in roots]
    return torch.fft.irfft(torch.stack(columns, dim=-1), n=L)


WAYS = {
    "reprolib": lambda kernel, L: kernel(L),
    "Vandermonde, complex exp": vandermonde,
    "loop over time": loop,
    "dense, doubling": doubling,
    "dense, transfer function": transfer,
}


def backward(way, kernel: S4DKernel, L: int) -> None:
    way(kernel, L).sum().backward()


def seconds(call) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def measure(H: int, N: int, L: int) -> None:
    kernel = S4DKernel(H, N, init="lin", generator=torch.Generator().manual_seed(0))
    ways = {name: way for name, way in WAYS.items() if L <= DENSE_LIMIT or "dense" not in name}
    expected = kernel(L).detach()
    for name, way in ways.items():
        with torch.no_grad():
            error = (way(kernel, L) - expected).abs().max() / expected.abs().max()
            # single precision: the loop and the dense ways round at every step, and phases grow with L
            assert error < 2e-6 * L**0.75, f"{name} is off by {error:.1e} at L = {L}"
    best = {name: [float("inf"), float("inf")] for name in ways}
    for _ in range(5 if L <= 64 else 2):
        for name, way in ways.items():
            with torch.no_grad():
                best[name][0] = min(best[name][0], seconds(lambda way=way: way(kernel, L)))
            if L <= 64 or "transfer" not in name:
                best[name][1] = min(best[name][1], seconds(lambda way=way: backward(way, kernel, L)))
    for name, (forward, both) in best.items():
        gradient = f"{1e3 * both:>10.2f} {both / best['reprolib'][1]:>8.1f}x" if both < float("inf") else ""
        ratio = forward / best["reprolib"][0]
        print(f"{H:>8} {N:>6} {L:>6}  {name:<25} {1e3 * forward:>9.2f} {ratio:>8.1f}x {gradient}", flush=True)


def main() -> None:
    torch.set_num_threads(1)
    print(f"Kernels of S4D, one thread, single precision, torch {torch.__version__}\n")
    print(f"{'channels':>8} {'states':>6} {'length':>6}  {'implementation':<25} {'ms':>9} {'':>9} {'+gradient':>10}")
    for case in CASES:
        measure(*case)
    print("\nAll implementations gave equal kernels (up to single precision).")


if __name__ == "__main__":
    main()
