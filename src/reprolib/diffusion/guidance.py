"""Adaptive projected guidance (APG; Sadat, Hilliges and Weber, 2025) of denoised predictions."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

EPS = 1e-12  # shortest direction to project on, as in torch.nn.functional.normalize
BLOCK = 2**15  # numbers of a sample in float64 at a time: copies of a large image would not stay in the cache


def gain(v: Float[Tensor, "batch ..."], onto: Float[Tensor, "batch ..."]) -> Float[Tensor, "batch ..."]:
    r"""Return :math:`g=\langle v,u\rangle/\|u\|^2` a sample, in float64: the part of `v` along :math:`u` is :math:`gu`.

    Args:
        v: vectors, one a sample.
        onto: the directions :math:`u`; one shorter than `EPS` gives a gain of (nearly) 0.
    """
    inner = squared = torch.zeros(len(v), dtype=torch.float64, device=v.device)
    for part, along in zip(v.flatten(1).split(BLOCK, 1), onto.flatten(1).split(BLOCK, 1), strict=True):
        part, along = part.double(), along.double()
        inner = inner + torch.linalg.vecdot(part, along)
        squared = squared + torch.linalg.vecdot(along, along)
    return (inner / squared.clamp_min(EPS**2)).reshape(-1, *[1] * (v.dim() - 1))


def project(
    v: Float[Tensor, "batch ..."], onto: Float[Tensor, "batch ..."]
) -> tuple[Float[Tensor, "batch ..."], Float[Tensor, "batch ..."]]:
    """Split `v` into the part parallel to `onto` and the orthogonal rest, sample by sample.

    Computed in float64, returned in the type of `v` (paper, Algorithm 1).
    """
    parallel = gain(v, onto) * onto.double()
    return parallel.to(v.dtype), (v.double() - parallel).to(v.dtype)


class APGuidance:
    r"""Combine a conditional and an unconditional prediction of the clean sample (paper, Algorithm 1).

    With :math:`\Delta=D_c-D_u`, in this order: momentum :math:`\Delta\leftarrow\Delta+\beta\bar\Delta`, where
    :math:`\bar\Delta` is what this line gave at the step before; rescaling to a length of at most :math:`r`; projection
    on :math:`D_c`; and :math:`D_c+(w-1)(\Delta_\perp+\eta\Delta_\parallel)`. With the defaults of `norm_threshold` and
    `momentum`, and :math:`\eta=1`, this is classifier-free guidance.

    Both predictions must be of the clean sample: convert those of noise or velocity before, and the result after.

    Args:
        scale: :math:`w\ge1`; 1 is no guidance. (diffusers calls :math:`w-1` the scale in its "original formulation".)
        eta: :math:`\eta`, the share of the parallel part that is kept.
        norm_threshold: :math:`r>0`, in units of the sample's norm; None does not rescale.
        momentum: :math:`\beta`, in (-1, 1); the paper's are negative.

    Attributes:
        delta: the last :math:`\bar\Delta`, not rescaled, or None. `reset` before a new batch.

    Raises:
        ValueError: a parameter outside its range.
    """

    def __init__(
        self, scale: float, eta: float = 0.0, norm_threshold: float | None = None, momentum: float = 0.0
    ) -> None:
        if not scale >= 1:
            raise ValueError(f"scale must be at least 1, got {scale!r}.")
        if norm_threshold is not None and not norm_threshold > 0:
            raise ValueError(f"norm_threshold must be above 0, or None for no rescaling, got {norm_threshold!r}.")
        if not -1 < momentum < 1:
            raise ValueError(f"momentum must lie between -1 and 1, got {momentum!r}.")
        self.scale, self.eta, self.norm_threshold, self.momentum = scale, eta, norm_threshold, momentum
        self.reset()

    def reset(self) -> None:
        """Forget the steps so far."""
        self.delta: Tensor | None = None

    def __call__(
        self, cond: Float[Tensor, "batch ..."], uncond: Float[Tensor, "batch ..."]
    ) -> Float[Tensor, "batch ..."]:
        """Return the guided prediction of one step.

        Raises:
            ValueError: the batch has not the shape of the step before.
        """
        delta = cond - uncond
        if self.momentum and self.delta is not None:
            if delta.shape != self.delta.shape:
                shapes = f"{tuple(delta.shape)} after {tuple(self.delta.shape)}"
                raise ValueError(f"the batch changed its shape, {shapes}: call reset() before a new one.")
            delta = torch.add(delta, self.delta, alpha=self.momentum)
        self.delta = delta
        exact = torch.promote_types(cond.dtype, torch.float32)  # factors of half precision would cost digits
        step = torch.full((len(cond), *[1] * (cond.dim() - 1)), self.scale - 1, dtype=exact, device=cond.device)
        if self.norm_threshold is not None:
            length = torch.linalg.vector_norm(delta.flatten(1), dim=1, dtype=exact).view_as(step)
            step = step * (self.norm_threshold / length).clamp_max(1)
        update = step * delta
        if self.eta == 1:
            return update.add_(cond).to(cond.dtype)
        # The parallel part is a multiple of `cond`, so taking some of it away only changes a factor.
        keep = 1 - (1 - self.eta) * step * gain(delta, cond)
        return update.addcmul_(keep.to(exact), cond).to(cond.dtype)
