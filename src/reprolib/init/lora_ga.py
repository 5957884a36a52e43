"""LoRA-GA: LoRA whose first step is the best low-rank step of full fine-tuning (Wang et al., arXiv 2407.05000).

The adapter of a linear layer W computes ``W x + eta B A x``. LoRA-GA puts singular vectors of the gradient of W into A
and B and takes ``eta B A`` from W, so that the function stays as it was. `estimate_gradients` finds the gradients of
any model's linear layers, and `lora_ga_` starts a LoRA layer of `peft` from one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

DIRECTIONS = ("ArB2r", "A2rBr", "ArBr", "random")
SCALES = ("stable", "unit", "gd")


def estimate_gradients(
    model: nn.Module, names: Sequence[str], loss: Callable[..., Tensor], batches: Iterable[tuple]
) -> dict[str, Float[Tensor, "out in"]]:
    """Return the gradient of the mean loss for the weight of each named layer, on the CPU.

    The model runs in evaluation mode, so without dropout, and is left as it was. A layer's gradient leaves its device
    and is freed as soon as the backward pass has made it, so that two never have to be there at once.

    Args:
        model, names: the model, and names of its linear layers.
        loss: called as ``loss(model, *batch)``; a mean over the batch.
        batches: of equal size, or the mean over batches is not the one over samples.

    Raises:
        ValueError: no batches, or a layer that the loss does not depend on.
    """
    modes, wanted = [(m, m.training) for m in model.modules()], [(p, p.requires_grad) for p in model.parameters()]
    weights = {name: model.get_submodule(name).weight for name in names}
    total, count = {}, 0

    def watch(name):
        def hook(weight):
            total[name] = total[name] + weight.grad.cpu() if name in total else weight.grad.cpu()
            weight.grad = None

        return weights[name].register_post_accumulate_grad_hook(hook)

    kept = {name: weight.grad for name, weight in weights.items()}
    model.requires_grad_(False).eval()
    for weight in weights.values():
        weight.grad = None
        weight.requires_grad_()
    handles = [watch(name) for name in names]
    try:
        for batch in batches:
            loss(model, *batch).backward()
            count += 1
    finally:
        for handle in handles:
            handle.remove()
        for parameter, wants in wanted:
            parameter.requires_grad_(wants)
        for name, weight in weights.items():
            weight.grad = kept[name]
        for module, mode in modes:
            module.training = mode
    if not count:
        raise ValueError("estimate_gradients needs at least one batch.")
    if missing := [name for name in names if name not in total]:
        raise ValueError(f"the loss does not depend on {', '.join(missing)}.")
    return {name: total[name] / count for name in names}


@torch.no_grad()
def lora_ga_(
    layer: nn.Module,
    grad: Float[Tensor, "out in"],
    *,
    gamma: float = 16.0,
    direction: str = "ArB2r",
    scale: str = "stable",
    niter: int | None = None,
    adapter: str = "default",
) -> nn.Module:
    r"""Start a LoRA layer of `peft` from the gradient of its frozen weight, in place (Algorithm 1).

    With :math:`G=U\,\mathrm{diag}(\sigma)V^\top`, rank r and m outputs: :math:`A=c\,V_{[:,1:r]}^\top`,
    :math:`B=c\,U_{[:,r+1:2r]}`, :math:`c=m^{1/4}/\sqrt\gamma`, and the frozen weight loses
    :math:`\eta BA`. The paper's :math:`\eta=\alpha/\sqrt r` is what `peft` takes with ``use_rslora=True``.

    Args:
        layer: a LoRA layer of `peft` on an ``nn.Linear`` with min(out, in) at least 2r, whose start has left
            the weight as it was.
        grad: G, for the layer's weight; its scale does not matter.
        gamma: above 0; with inputs of unit covariance the adapter's output has the size alpha/gamma.
        direction: which vectors A and B get: ``"ArB2r"`` as above; ``"A2rBr"`` the other way round; ``"ArBr"`` the
            even ones of the first 2r, counted from 0, to B and the odd ones to A; ``"random"`` a random half each
            (torch's own stream).
        scale: ``"stable"`` as above; ``"unit"`` c = 1; ``"gd"`` c = 1/eta, which makes the first step of SGD as long
            as that of full fine-tuning.
        niter: None for an exact SVD; else iterations of `torch.svd_lowrank` at rank 4r (the released code has 4).
        adapter: its name.

    Raises:
        ValueError: an argument outside its range, or shapes that do not fit.
    """
    if direction not in DIRECTIONS:
        raise ValueError(f"direction must be one of {', '.join(map(repr, DIRECTIONS))}, got {direction!r}.")
    if scale not in SCALES:
        raise ValueError(f"scale must be one of {', '.join(map(repr, SCALES))}, got {scale!r}.")
    if not gamma > 0:
        raise ValueError(f"gamma must be above 0, got {gamma}.")
    W, r, eta = layer.get_base_layer().weight, layer.r[adapter], layer.scaling[adapter]
    if grad.shape != W.shape or 2 * r > min(W.shape):
        raise ValueError(
            f"lora_ga_ needs a gradient of the weight's shape, with no side below 2r = {2 * r}; "
            f"the weight is {tuple(W.shape)}, the gradient {tuple(grad.shape)}."
        )
    grad = grad.to(W.device, torch.promote_types(W.dtype, torch.float32))
    if niter is None:
        U, _, Vh = torch.linalg.svd(grad, full_matrices=False)
    else:
        U, _, V = torch.svd_lowrank(grad, q=min(4 * r, *W.shape), niter=niter)
        Vh = V.mT
    order = torch.randperm(2 * r) if direction == "random" else torch.arange(2 * r)
    to_A, to_B = {"A2rBr": (order[r:], order[:r]), "ArBr": (order[1::2], order[::2])}.get(
        direction, (order[:r], order[r:])
    )
    c = {"stable": W.shape[0] ** 0.25 / gamma**0.5, "unit": 1.0, "gd": 1 / eta}[scale]
    A, B = (c * Vh[to_A]).to(W.dtype), (c * U[:, to_B]).to(W.dtype)
    layer.lora_A[adapter].weight.data = A.contiguous()
    layer.lora_B[adapter].weight.data = B.contiguous()
    W -= eta * B @ A
    return layer
