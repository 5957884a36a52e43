"""How far a kernel moved, and how many directions a matrix uses: measures of rich and lazy learning."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


def effective_rank(W: Float[Tensor, "*batch m n"]) -> Float[Tensor, "*batch"]:
    r"""Return the participation ratio of the squared singular values, :math:`(\sum_is_i^2)^2/\sum_is_i^4`.

    It is r for r equal singular values, never above the rank, and does not depend on the scale. The sums are those
    of the Gram matrix, :math:`\|W\|_F^4/\|W^\top W\|_F^2`, so no decomposition is needed.

    Args:
        W: not zero.
    """
    return W.square().sum((-2, -1)).square() / (W.mT @ W).square().sum((-2, -1))


def kernel_alignment(K: Float[Tensor, "*batch n n"], L: Float[Tensor, "*batch n n"]) -> Float[Tensor, "*batch"]:
    r"""Return the cosine between two kernels, :math:`\mathrm{Tr}(KL)/(\|K\|_F\|L\|_F)`, without centering.

    Args:
        K, L: symmetric kernels on the same inputs. For positive ones the result is in [0, 1]; it is 0 if one is zero.

    Source: Liu et al. (2024), with K before and L after training: 1 is lazy.
    """
    norms = torch.linalg.matrix_norm(K) * torch.linalg.matrix_norm(L)
    return (K * L).sum((-2, -1)) / norms.clamp(min=torch.finfo(norms.dtype).tiny)


def jacobian_gram(
    errors: Float[Tensor, "*batch rows time out"], activity: Float[Tensor, "*batch rows time in"]
) -> Float[Tensor, "*batch rows rows"]:
    r"""Return the tangent kernel :math:`JJ^\top` for one matrix of weights that is used at several times.

    The row of :math:`J` that belongs to an output is :math:`\sum_t\delta_ta_t^\top`, with what goes into the matrix and
    the derivative of the output by what comes out. So :math:`K_{ij}=\sum_{t,s}(\delta_{it}^\top\delta_{js})(a_{it}^\top
    a_{js})`, and :math:`J`, which has a column for each weight, is never formed.

    Args:
        errors: :math:`\delta_{it}`, the derivative of output i by the result of the product at time t.
        activity: :math:`a_{it}`, what the weights were multiplied with.
    """
    count, time = errors.shape[-3:-1]
    errors, activity = errors.flatten(-3, -2), activity.flatten(-3, -2)
    products = (errors @ errors.mT) * (activity @ activity.mT)
    return products.unflatten(-1, (count, time)).sum(-1).unflatten(-2, (count, time)).sum(-2)
