"""Minibatch training of a classifier: AdamW, and a learning rate that falls to zero along a cosine."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from reprolib.checkpoint import resume


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

    Every epoch visits the samples in a new random order and drops the last, incomplete batch. In a trial that is
    stored, training that was killed goes on after its last finished epoch (see `reprolib.checkpoint`).

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
    params = model.parameters() if groups is None else groups
    optimizer = torch.optim.AdamW(params, lr=lr, weight_decay=weight_decay, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * per_epoch)
    losses: list[float] = []
    parts = dict(model=model, optimizer=optimizer, schedule=schedule, losses=losses)
    model.train()
    for _ in resume(epochs, **parts, **({"generator": generator} if generator else {})):
        order = torch.randperm(samples, generator=generator).to(x.device)
        for batch in order.split(batch_size)[:per_epoch]:
            if len(losses) == max_steps:
                return losses
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
