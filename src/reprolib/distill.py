"""Soft distillation (Hinton, Vinyals and Dean, 2015): a student learns the class probabilities of a teacher."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from reprolib.checkpoint import resume

REDUCTIONS = ("batchmean", "numel")


def soft_distillation(
    student: Float[Tensor, "batch classes"],
    teacher: Float[Tensor, "batch classes"],
    tau: float = 1.0,
    reduction: str = "batchmean",
) -> Float[Tensor, ""]:
    r"""Return :math:`\tau^2\,\mathrm{KL}(p^T\|p^S)` with :math:`p=\mathrm{softmax}(\text{logits}/\tau)`.

    Args:
        student, teacher: logits; no gradient flows into the teacher's.
        tau: the temperature, above 0.
        reduction: ``"batchmean"`` divides the sum by the samples, ``"numel"`` by samples times classes, which is what
            DeiT's code and its descendants do.

    Raises:
        ValueError: shapes differ, or an argument is not allowed.
    """
    if student.shape != teacher.shape:
        raise ValueError(f"student and teacher differ in shape: {tuple(student.shape)} and {tuple(teacher.shape)}.")
    if not tau > 0:
        raise ValueError(f"the temperature must be above 0, got {tau}.")
    if reduction not in REDUCTIONS:
        raise ValueError(f"reduction must be one of {', '.join(map(repr, REDUCTIONS))}, got {reduction!r}.")
    log_p = [(logits / tau).log_softmax(dim=-1) for logits in (student, teacher.detach())]
    total = nn.functional.kl_div(*log_p, reduction="sum", log_target=True)
    return tau**2 * total / (student.numel() if reduction == "numel" else len(student))


def distill(
    model: nn.Module,
    x: Float[Tensor, "samples ..."],
    teacher: Float[Tensor, "samples classes"],
    y: Int[Tensor, " samples"] | None = None,
    *,
    alpha: float = 1.0,
    tau: float = 1.0,
    reduction: str = "batchmean",
    **training,
) -> list[float]:
    r"""Train `model`, in place, on :math:`(1-\alpha)\,\mathrm{CE}+\alpha` times the soft distillation loss.

    Args:
        model: maps (batch, *features) to logits (batch, classes).
        x: inputs, on the model's device.
        teacher: the teacher's logits on `x`, which are computed once: there is no augmentation.
        y: class numbers; needed for `alpha` below 1.
        alpha: weight of the teacher, 0 to 1.
        tau, reduction: as in `soft_distillation`.
        **training: as in `minimize`.

    Returns:
        The loss of every step.

    Raises:
        ValueError: an argument outside its range, labels missing, or lengths that differ.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must be from 0 to 1, got {alpha}.")
    if alpha < 1 and y is None:
        raise ValueError("alpha below 1 needs the labels y.")
    if len(x) != len(teacher) or (y is not None and len(x) != len(y)):
        raise ValueError("x, teacher and y must have one length.")

    def loss(batch):
        logits = model(x[batch])
        value = alpha * soft_distillation(logits, teacher[batch], tau, reduction)
        return value if alpha == 1 else value + (1 - alpha) * nn.functional.cross_entropy(logits, y[batch])

    return minimize(loss, model, len(x), **training)


def minimize(
    loss: Callable[[Int[Tensor, " batch"]], Float[Tensor, ""]],
    model: nn.Module,
    samples: int,
    *,
    epochs: int,
    batch_size: int,
    lr: float,
    weight_decay: float = 0.0,
    max_steps: int | None = None,
    generator: torch.Generator | None = None,
) -> list[float]:
    """Train `model` on any loss of a batch with AdamW, along a cosine to zero: `reprolib.train.fit` for other losses.

    Order, incomplete batches, checkpoints and schedule are as there.

    Args:
        loss: takes the numbers of the samples of a batch.
        model: whatever is trained; several modules go into an ``nn.ModuleList``.
        samples: how many there are.
        epochs, batch_size, lr, weight_decay, max_steps, generator: as in `reprolib.train.fit`.

    Returns:
        The loss of every step.

    Raises:
        ValueError: `epochs` or `batch_size` outside its range.
    """
    if epochs < 1:
        raise ValueError(f"epochs must be at least 1, got {epochs}.")
    if not 1 <= batch_size <= samples:
        raise ValueError(f"batch_size must be from 1 to the number of samples, {samples}, got {batch_size}.")
    per_epoch = samples // batch_size
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=weight_decay, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * per_epoch)
    losses: list[float] = []
    parts = dict(model=model, optimizer=optimizer, schedule=schedule, losses=losses)
    model.train()
    for _ in resume(epochs, **parts, **({"generator": generator} if generator else {})):
        for batch in torch.randperm(samples, generator=generator).split(batch_size)[:per_epoch]:
            if len(losses) == max_steps:
                return losses
            value = loss(batch)
            optimizer.zero_grad()
            value.backward()
            optimizer.step()
            schedule.step()
            losses.append(value.item())
    return losses
