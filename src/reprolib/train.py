"""Minibatch training of a classifier: AdamW, and a learning rate that falls to zero along a cosine."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


def fit(
    model: nn.Module,
    x: Float[Tensor, "samples ..."],
    y: Int[Tensor, " samples"],
    *,
    epochs: int,
    batch_size: int,
    lr: float,
    weight_decay: float = 0.0,
    groups: list[dict] | None = None,
    max_steps: int | None = None,
    generator: torch.Generator | None = None,
) -> list[float]:
    """Train `model` on cross-entropy, in place.

    Every epoch visits the samples in a new random order and drops the last, incomplete batch.

    Args:
        model: maps (batch, *features) to logits (batch, classes).
        x, y: inputs and class numbers, on the model's device.
        epochs: at least 1.
        batch_size: at most the number of samples.
        lr, weight_decay: for all parameters, where `groups` does not say otherwise.
        groups: parameter groups as torch's optimizers take them; all parameters alike when None.
        max_steps: stop after so many steps (a dry run); the schedule is that of the whole run.
        generator: decides the order (on the CPU); torch's own when None.

    Returns:
        The loss of every step.

    Raises:
        ValueError: `epochs` or `batch_size` outside its range, or `x` and `y` of different length.
    """
    samples = len(y)
    if len(x) != samples:
        raise ValueError(f"x has {len(x)} samples, but y has {samples}.")
    if epochs < 1:
        raise ValueError(f"epochs must be at least 1, got {epochs}.")
    if not 1 <= batch_size <= samples:
        raise ValueError(f"batch_size must be from 1 to the number of samples, {samples}, got {batch_size}.")
    per_epoch = samples // batch_size
    steps = epochs * per_epoch
    params = model.parameters() if groups is None else groups
    optimizer = torch.optim.AdamW(params, lr=lr, weight_decay=weight_decay, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    losses, order = [], torch.empty(0, dtype=torch.int64)
    model.train()
    for step in range(steps if max_steps is None else min(steps, max_steps)):
        if step % per_epoch == 0:
            order = torch.randperm(samples, generator=generator).to(x.device).split(batch_size)
        batch = order[step % per_epoch]
        loss = nn.functional.cross_entropy(model(x[batch]), y[batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
    return losses


@torch.no_grad()
def accuracy(
    model: nn.Module, x: Float[Tensor, "samples ..."], y: Int[Tensor, " samples"], batch_size: int = 64
) -> float:
    """Return the percentage of samples whose largest logit is that of their class.

    The model is put into evaluation mode.

    Raises:
        ValueError: no samples, or `x` and `y` of different length.
    """
    if not len(x) == len(y) > 0:
        raise ValueError(f"accuracy needs as many labels as samples, and at least one, got {len(y)} and {len(x)}.")
    model.eval()
    guesses = torch.cat([model(part).argmax(dim=-1) for part in x.split(batch_size)])
    return 100 * (guesses == y).double().mean().item()
