"""The auxiliary network of TLEG (Xia et al., 2024): many transformer blocks that share two sets of weights."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call

from reprolib.init.tleg import on_line, positions
from reprolib.models.vit import Block, TinyViT


class LinearExpansion(nn.Module):
    r"""`depth` blocks with the weights :math:`\theta_B+\frac\ell L\theta_A`; only base B and slope A are parameters.

    They start as in the authors' code: linear weights of both truncated normal with deviation 0.02, norms at 1 and 0 in
    the base, and everything else 0.

    Args:
        dim, num_heads, mlp_ratio, eps, generator: of a `Block`.
        depth: L, at least 1.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        depth: int,
        mlp_ratio: int = 4,
        eps: float = 1e-5,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        self.positions = positions(depth)
        self.base = Block(dim, num_heads, mlp_ratio, eps, generator)
        self.slope = Block(dim, num_heads, mlp_ratio, eps, generator)
        for norm in (self.slope.norm1, self.slope.norm2):
            nn.init.zeros_(norm.weight)

    def learngene(self) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return base and slope by name, as `reprolib.init.tleg.expand_linear_` takes them."""
        return dict(self.base.named_parameters()), dict(self.slope.named_parameters())

    def forward(self, x: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens dim"]:
        base, slope = self.learngene()
        for t in self.positions:
            x = functional_call(self.base, on_line(base, slope, t), (x,))
        return x


class LinearExpansionViT(TinyViT):
    """A `TinyViT` whose blocks are a `LinearExpansion`; all arguments, and what is outside the blocks, as there."""

    def __init__(self, *args, generator: torch.Generator | None = None, **kwargs):
        super().__init__(*args, generator=generator, **kwargs)
        block = self.blocks[0]
        dim, hidden = block.fc1.in_features, block.fc1.out_features
        self.blocks = LinearExpansion(dim, block.num_heads, len(self.blocks), hidden // dim, block.norm1.eps, generator)
