"""EL2N and GraNd: how far off a network is on an example, and how hard the example pulls (Paul et al., 2021)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap


def el2n(logits: Float[Tensor, "... samples classes"], labels: Int[Tensor, " samples"]) -> Float[Tensor, "... samples"]:
    r"""Return :math:`\|p-y\|_2` of every example, p the softmax of its logits and y its label, one-hot.

    The score of Paul, Ganguli and Dziugaite (NeurIPS 2021, arXiv 2107.07075, Definition 2.3) is its mean over networks
    that were trained for the same few steps from different weights. It lies in :math:`[0,\sqrt2]`.

    Args:
        logits: outputs of one network, or of several in the leading dimensions.
        labels: class numbers.
    """
    p = logits.softmax(dim=-1)
    return torch.linalg.vector_norm(p - nn.functional.one_hot(labels, p.shape[-1]), dim=-1)


def per_sample_grad_norm(
    model: nn.Module,
    x: Float[Tensor, "samples ..."],
    y: Int[Tensor, " samples"],
    params: Mapping[str, Tensor] | None = None,
    chunk_size: int = 128,
) -> Float[Tensor, " samples"]:
    r"""Return :math:`\|\nabla_w\ell(f_w(x_i),y_i)\|_2`, the norm of every example's own gradient of cross-entropy.

    The gradient is taken over all parameters. GraNd (arXiv 2107.07075, Definition 2.1) is the mean of these norms over
    networks, a mean of norms and not the norm of a mean.

    Args:
        model: maps (batch, ...) to logits (batch, classes), in evaluation mode.
        x, y: inputs and class numbers.
        params: used in place of the model's own parameters, by name.
        chunk_size: gradients that are in memory at the same time; many more of them are slower on a CPU.

    Raises:
        ValueError: the model is in training mode, where an example's gradient can depend on its batch.
    """
    if model.training:
        raise ValueError("the gradient of a single example needs model.eval().")
    params = {name: p.detach() for name, p in (params or dict(model.named_parameters())).items()}

    def loss(params, x, y):
        return nn.functional.cross_entropy(functional_call(model, params, (x[None],)), y[None])

    def norm(x, y):
        parts = [torch.linalg.vector_norm(g) for g in grad(loss)(params, x, y).values()]
        return torch.linalg.vector_norm(torch.stack(parts))

    return vmap(norm, chunk_size=chunk_size)(x, y)
