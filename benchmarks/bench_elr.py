"""ELRLoss against the formula as it is usually written, and against plain cross-entropy.

Run: python benchmarks/bench_elr.py
The transcription spells out equation 7 with the usual clamp: softmax, clamp, renormalized average, and torch's
cross-entropy from the logits. Loss, gradient and targets must be equal after every one of several visits. Then one
visit with its backward pass is timed, as CPU time, the best of several rounds in which the methods take turns.
Cross-entropy alone shows what the regularizer costs, and the last column what that is of a training step of the
chapter's network.
"""

from __future__ import annotations

import time

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from reprolib.losses.elr import ELRLoss

EXAMPLES, BATCH, LAM, BETA = 50_000, 128, 3.0, 0.7
CLASSES = (10, 100, 1000)
ROUNDS, VISITS = 7, 200


class Transcription(nn.Module):
    """Equations 7 and 10, line by line."""

    def __init__(self, examples: int, classes: int):
        super().__init__()
        self.target = torch.zeros(examples, classes)

    def forward(self, logits: Tensor, labels: Tensor, index: Tensor) -> Tensor:
        p = torch.clamp(torch.softmax(logits, dim=1), 1e-4, 1 - 1e-4)
        now = p.detach()
        now = now / now.sum(dim=1, keepdim=True)
        self.target[index] = BETA * self.target[index] + (1 - BETA) * now
        regularizer = torch.log(1 - (self.target[index] * p).sum(dim=1)).mean()
        return cross_entropy(logits, labels) + LAM * regularizer


def visits(classes: int, number: int):
    """Yield logits that want a gradient, labels and places."""
    draw = torch.Generator().manual_seed(0)
    for _ in range(number):
        logits = 3 * torch.randn(BATCH, classes, generator=draw)
        index = torch.randperm(EXAMPLES, generator=draw)[:BATCH]
        yield logits.requires_grad_(), torch.randint(classes, (BATCH,), generator=draw), index


def compare(classes: int) -> None:
    """Assert equal values, gradients and targets over visits that meet some examples again."""
    ours, theirs = ELRLoss(EXAMPLES, classes, lam=LAM, beta=BETA), Transcription(EXAMPLES, classes)
    for logits, labels, index in visits(classes, 20):
        index = torch.unique(index % 500)
        logits, labels = logits[: len(index)], labels[: len(index)]
        values = [loss(logits, labels, index) for loss in (ours, theirs)]
        gradients = [torch.autograd.grad(value, logits, retain_graph=True)[0] for value in values]
        torch.testing.assert_close(*values, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(*gradients, atol=1e-7, rtol=1e-4)
        torch.testing.assert_close(ours.target, theirs.target, atol=1e-6, rtol=0)


def step_of_the_chapter() -> float:
    """Seconds of a training step of the chapter's network with cross-entropy."""
    layers = nn.Linear(784, 256), nn.BatchNorm1d(256), nn.ReLU(), nn.Linear(256, 10)
    model = nn.Sequential(*layers)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=1e-3, fused=True)
    x, y = torch.randn(BATCH, 784), torch.randint(10, (BATCH,))
    best = float("inf")
    for _ in range(ROUNDS):
        begin = time.process_time()
        for _ in range(50):
            optimizer.zero_grad()
            cross_entropy(model(x), y).backward()
            optimizer.step()
        best = min(best, (time.process_time() - begin) / 50)
    return best


def main() -> None:
    torch.set_num_threads(1)
    step = step_of_the_chapter()
    for classes in CLASSES:
        compare(classes)
        methods = {
            "ELRLoss": ELRLoss(EXAMPLES, classes, lam=LAM, beta=BETA),
            "transcription": Transcription(EXAMPLES, classes),
            "cross-entropy": lambda logits, labels, index: cross_entropy(logits, labels),
        }
        batches = list(visits(classes, 20))
        best = dict.fromkeys(methods, float("inf"))
        for _ in range(ROUNDS):
            for name, loss in methods.items():
                begin = time.process_time()
                for i in range(VISITS):
                    logits, labels, index = batches[i % len(batches)]
                    torch.autograd.grad(loss(logits, labels, index), logits)
                best[name] = min(best[name], (time.process_time() - begin) / VISITS)
        print(f"\n{classes} classes, batches of {BATCH}, {EXAMPLES} examples: values, gradients and targets are equal")
        for name, seconds in best.items():
            share = f"{(seconds - best['cross-entropy']) / step:>6.1%} of a step" if classes == 10 else ""
            print(f"  {name:<14} {1e6 * seconds:>8.0f} us {seconds / best['ELRLoss']:>6.2f}x {share}")


if __name__ == "__main__":
    main()
