"""The rational activation, its backward by hand, against autograd of the same formula and rational-activations.

Run: python benchmarks/bench_kat.py (`pip install --no-deps rational-activations` adds the other library)
Forward and backward on one thread at the chapter's hidden layer and at that of KAT-T (8 images of 197 tokens), eight
groups, a shared numerator, either denominator. Autograd gets the formula by Horner's rule, in as few passes as ours,
and as it is written, by powers. The library has one function for all channels, so there ours has one group, too. All
must agree in values and gradients; seconds are the best of several rounds in which the methods take turns. Also
printed: the bytes that each keeps between forward and backward.
"""

from __future__ import annotations

import time

import torch

from reprolib.models.rational import COEFFICIENTS, DENOMINATORS, rational

try:
    from rational.torch.rational_pytorch_functions import Rational_PYTORCH_A_F, Rational_PYTORCH_B_F
except ModuleNotFoundError:
    library = None
else:
    library = {"sum_abs": Rational_PYTORCH_A_F, "abs_sum": Rational_PYTORCH_B_F}

SHAPES = {"the chapter's hidden layer": (64, 16, 128), "KAT-T's hidden layer": (8, 197, 768)}
GROUPS, ROUNDS = 8, 15


def horner(x, a, b, denom):
    """As few passes as ours, differentiated by autograd."""
    a, b = (rows.repeat_interleave(x.shape[-1] // len(rows), dim=0).T for rows in (a, b))
    p = a[5]
    for c in reversed(a[:5]):
        p = torch.addcmul(c, p, x)
    z, b = (x.abs(), b.abs()) if denom == "sum_abs" else (x, b)
    q = b[3]
    for c in reversed(b[:3]):
        q = torch.addcmul(c, q, z)
    q = q * z
    return p / (1 + (q if denom == "sum_abs" else q.abs()))


def powers(x, a, b, denom):
    """The formula as it is written."""
    a, b = (rows.repeat_interleave(x.shape[-1] // len(rows), dim=0).T for rows in (a, b))
    p = sum(a[i] * x**i for i in range(6))
    if denom == "sum_abs":
        return p / (1 + sum(b[j - 1].abs() * x.abs() ** j for j in range(1, 5)))
    return p / (1 + sum(b[j - 1] * x**j for j in range(1, 5)).abs())


def theirs(x, a, b, denom):
    return library[denom](x, a[0], b[0], False)


def step(method, args, upstream, denom):
    """Value and gradients, the seconds, and the bytes kept in between, each storage once."""
    kept = {}

    def keep(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    begin = time.perf_counter()
    y = method(*args, denom)
    gradients = torch.autograd.grad(y, args, upstream)
    seconds = time.perf_counter() - begin
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        method(*args, denom)
    return (y.detach(), *gradients), seconds, sum(kept.values())


def compare(shape: tuple[int, ...], groups: int, denom: str, methods: dict) -> None:
    generator = torch.Generator().manual_seed(0)
    x, upstream = (torch.randn(shape, generator=generator) for _ in range(2))
    a, b = map(torch.tensor, COEFFICIENTS["swish"])
    jitter = 0.1 * torch.randn(groups, 4, generator=generator)
    args = [x.requires_grad_(), a[None].requires_grad_(), (b + jitter).requires_grad_()]
    best = dict.fromkeys(methods, float("inf"))
    results, kept = {}, {}
    for _ in range(ROUNDS):
        for name, method in methods.items():
            results[name], seconds, kept[name] = step(method, args, upstream, denom)
            best[name] = min(best[name], seconds)
    for name in methods:
        for ours, other in zip(results["by hand"], results[name], strict=True):
            scale = other.abs().max()
            torch.testing.assert_close(ours / scale, other / scale, rtol=0, atol=2e-5)
        relative = best[name] / best["by hand"]
        print(f"  {name:<24}{1e3 * best[name]:>9.2f} ms {kept[name] / 1e6:>8.1f} MB kept {relative:>7.1f}x")
    assert all(best["by hand"] < best[name] for name in methods if name != "by hand"), best


def main() -> None:
    torch.set_num_threads(1)
    for denom in DENOMINATORS:
        for name, shape in SHAPES.items():
            print(f"\n{name} {shape}, {GROUPS} groups, {denom}")
            compare(shape, GROUPS, denom, {"by hand": rational, "autograd, Horner": horner, "autograd, powers": powers})
        if library:
            print(f"\n{name} {shape}, one group, {denom}")
            compare(shape, 1, denom, {"by hand": rational, "rational-activations": theirs})
    print("\nAll values and gradients agree.")


if __name__ == "__main__":
    main()
