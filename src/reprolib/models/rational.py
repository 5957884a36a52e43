r"""Rational activations shared by groups of channels, and blocks that use them (Yang and Wang, 2024, arXiv 2409.10594).

With :math:`P(x)=\sum_{i=0}^5a_ix^i` an activation is :math:`F=P/Q`, and there are two denominators:
``"sum_abs"`` is :math:`Q=1+\sum_{j=1}^4|b_j||x|^j` (the released kernels), ``"abs_sum"`` is
:math:`Q=1+|\sum_{j=1}^4b_jx^j|` (the paper; Molina et al., 2020).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from reprolib.models.vit import Block

DENOMINATORS = ("sum_abs", "abs_sum")
# init.json of the authors' package rational_kat_cu: a_0 to a_5, b_1 to b_4.
COEFFICIENTS = {
    "identity": ((0.0, 1.0, 0.0, 0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 0.0)),
    "swish": (
        (3.054879741161051e-07, 0.5000007853744493, 0.24999783422824703)
        + (0.05326628273219478, 0.005803034571292244, 0.0002751961022402342),
        (-4.111554955950634e-06, 0.10652899335007572, -1.2690007399796238e-06, 0.0005502331264140556),
    ),
    "gelu": (
        (-0.00153969, 0.51692871, 0.44075827, 0.0972553, -0.00884418, -0.00378675),
        (-0.14171056, -0.06481231, -0.0444695, 0.01283776),
    ),
    "relu": (
        (0.029963801610813613, 0.6168978366891341, 2.37534759733888)
        + (3.0659900472408443, 1.5246831881677423, 0.2528070864040542),
        (-1.191550121923625, 4.4080487697236626, 0.9110357113686055, 0.34884977946384615),
    ),
}


class GroupRational(nn.Module):
    r"""A learnable rational activation of order (5, 4); channels are cut into contiguous groups that share one.

    Its gradient is written by hand (`rational`).

    Args:
        num_groups: g; divides the number of channels.
        init: a key of `COEFFICIENTS`. The coefficients of gelu were fitted with ``denom="abs_sum"``, those of relu with
            ``"sum_abs"``; with the other denominator they are another function.
        denom: one of `DENOMINATORS`.
        share_numerator: one numerator for all groups, as in the released code; False: one a group, as in the paper.

    Attributes:
        numerator: (1 or g, 6), a_0 to a_5.
        denominator: (g, 4), b_1 to b_4.

    Raises:
        ValueError: an argument is not allowed; or, when called, `num_groups` does not divide the last dimension.
    """

    def __init__(self, num_groups: int = 8, init: str = "swish", denom: str = "sum_abs", share_numerator: bool = True):
        super().__init__()
        if num_groups < 1:
            raise ValueError(f"num_groups must be at least 1, got {num_groups}.")
        if init not in COEFFICIENTS:
            raise ValueError(f"init must be one of {', '.join(map(repr, COEFFICIENTS))}, got {init!r}.")
        self.denom = denom
        a, b = map(torch.tensor, COEFFICIENTS[init])
        self.numerator = nn.Parameter(a.repeat(1 if share_numerator else num_groups, 1))
        self.denominator = nn.Parameter(b.repeat(num_groups, 1))

    def forward(self, x: Float[Tensor, "... channels"]) -> Float[Tensor, "... channels"]:
        return rational(x, self.numerator, self.denominator, self.denom)

    def extra_repr(self) -> str:
        return f"num_groups={len(self.denominator)}, denom={self.denom!r}"


class ActivatedBlock(Block):
    """A transformer block in which each map of the MLP comes after an activation of its own.

    x + attention(norm1(x)), then x + fc2(act2(fc1(act1(norm2(x))))). A ViT has the identity and GELU, a KAT two
    `GroupRational` (GR-KAN, twice). First weights are those of `Block`: arms with one generator share them.

    Args:
        act1: on D channels, before `fc1`.
        act2: on the hidden channels, before `fc2`.
        args: of `Block`.
    """

    def __init__(self, act1: nn.Module, act2: nn.Module, **args):
        super().__init__(**args)
        self.act1, self.act2 = act1, act2

    def forward(self, x: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens dim"]:
        x = x + self.attend(x)
        return x + self.fc2(self.act2(self.fc1(self.act1(self.norm2(x)))))


def rational(
    x: Float[Tensor, "... channels"],
    numerator: Float[Tensor, "shared 6"],
    denominator: Float[Tensor, "groups 4"],
    denom: str = "sum_abs",
) -> Float[Tensor, "... channels"]:
    r"""Return F(x), group by group; its first derivatives are those of autograd, by hand.

    .. math:: \partial_xF=\frac{P'-FQ'}{Q},\quad\partial_{a_i}F=\frac{x^i}{Q},\quad
        \partial_{b_j}F=-\frac{F}{Q}\,\partial_{b_j}Q,\qquad\mathrm{sign}(0)=0 .

    Input, output (which the next layer keeps anyway) and Q are kept for the way back: autograd keeps a tensor of their
    size for every step of either polynomial.

    Args:
        x: any float type; x^5 overflows soon in half precision.
        numerator: a_0 to a_5, one row for all groups or one each.
        denominator: b_1 to b_4, one row a group.
        denom: one of `DENOMINATORS`.

    Raises:
        ValueError: an unknown `denom`, or channels that the rows do not divide.
    """
    if denom not in DENOMINATORS:
        raise ValueError(f"denom must be one of {', '.join(map(repr, DENOMINATORS))}, got {denom!r}.")
    for rows in (len(numerator), len(denominator)):
        if x.shape[-1] % rows:
            raise ValueError(f"{x.shape[-1]} channels cannot be cut into {rows} groups.")
    return _Rational.apply(x, numerator, denominator, denom)


class _Rational(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, numerator, denominator, denom):
        a, b = _by_channel(numerator, x), _by_channel(denominator, x)
        value = _horner(a, x)
        if denom == "sum_abs":
            q, signs = _horner([torch.ones_like(b[0]), *b.abs()], x.abs()), []
        else:
            q = _horner([torch.zeros_like(b[0]), *b], x)
            signs = [q.sign()]
            q.abs_().add_(1)
        value.div_(q)
        ctx.denom = denom
        ctx.save_for_backward(x, numerator, denominator, value, q, *signs)
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        x, numerator, denominator, value, q, *signs = ctx.saved_tensors
        a, b = _by_channel(numerator, x), _by_channel(denominator, x)
        # Q is 1 + |b| |x|^j or 1 + s b x^j: z is the variable of its polynomial, sign that of dz/dx or s
        z, c, sign = (x.abs(), b.abs(), x.sign()) if ctx.denom == "sum_abs" else (x, b, signs[0])
        over_q = grad / q
        slope = _horner(_derivative([c[0], *c]), z).mul_(sign)  # Q'
        grad_x = _horner(_derivative(a), x).addcmul_(value, slope, value=-1).mul_(over_q)
        over_f = (over_q * value).neg_()
        grad_a = _moments(over_q, x, numerator)  # uses up over_q
        if ctx.denom == "abs_sum":
            grad_b = _moments(over_f.mul_(sign).mul_(z), z, denominator)
        else:
            grad_b = _moments(over_f.mul_(z), z, denominator) * denominator.sign()
        return grad_x, grad_a, grad_b, None


def _by_channel(rows: Tensor, x: Tensor) -> Tensor:
    """(rows, k) coefficients as k tensors, a number a channel: a broadcast over groups would not vectorize."""
    return rows.T if len(rows) == 1 else rows.repeat_interleave(x.shape[-1] // len(rows), dim=0).T.contiguous()


def _horner(c, x: Tensor) -> Tensor:
    """The polynomial with coefficients c[0], c[1], ..., one pass over x for each but the first."""
    value = torch.addcmul(c[-2], c[-1], x)
    for lower in reversed(c[:-2]):
        torch.addcmul(lower, value, x, out=value)
    return value


def _derivative(c) -> list[Tensor]:
    return [i * c[i] for i in range(1, len(c))]


def _moments(w: Tensor, z: Tensor, like: Tensor) -> Tensor:
    """Sums of w, w z, w z^2, ... over everything that shares a row of `like`; w is used up."""
    sums = []
    for i in range(like.shape[1]):
        w = w.mul_(z) if i else w
        sums.append(w.reshape(-1, w.shape[-1]).sum(dim=0))
    return torch.stack(sums, dim=-1).unflatten(0, (len(like), -1)).sum(dim=1)
