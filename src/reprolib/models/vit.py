"""A small vision transformer (Dosovitskiy et al., 2021): blocks of attention and MLP, each after a LayerNorm."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import gelu, scaled_dot_product_attention

STD = 0.02  # of a vision transformer's first weights (DeiT; Touvron et al., 2021)


class Block(nn.Module):
    """One pre-norm transformer block: x + attention(norm1(x)), then x + mlp(norm2(x)), with GELU between two maps.

    Its weights are those of `qkv` (queries, keys and values, stacked along rows), `proj`, `fc1`, `fc2`, `norm1` and
    `norm2`: with an MLP four times as wide, 12 D^2 + 13 D numbers. Linear weights start truncated normal with
    deviation 0.02, biases at 0, norms at 1 and 0.

    Args:
        dim: D, the width of a token.
        num_heads: attention heads; divides `dim`.
        mlp_ratio: width of the MLP over `dim`.
        eps: of both LayerNorms.
        generator: of the first weights; torch's own when None.

    Raises:
        ValueError: `num_heads` does not divide `dim`.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        mlp_ratio: int = 4,
        eps: float = 1e-5,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        if num_heads < 1 or dim % num_heads:
            raise ValueError(f"num_heads must divide dim, got {num_heads} heads for dim {dim}.")
        self.num_heads = num_heads
        self.norm1 = nn.LayerNorm(dim, eps=eps)
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.norm2 = nn.LayerNorm(dim, eps=eps)
        self.fc1 = nn.Linear(dim, mlp_ratio * dim)
        self.fc2 = nn.Linear(mlp_ratio * dim, dim)
        for linear in (self.qkv, self.proj, self.fc1, self.fc2):
            normal_(linear, generator)

    def attend(self, x: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens dim"]:
        """Return the attention sub-layer's output, norm included, before it is added to `x`."""
        batch, tokens, dim = x.shape
        q, k, v = self.qkv(self.norm1(x)).view(batch, tokens, 3, self.num_heads, -1).permute(2, 0, 3, 1, 4)
        return self.proj(scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, tokens, dim))

    def forward(self, x: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens dim"]:
        x = x + self.attend(x)
        return x + self.fc2(gelu(self.fc1(self.norm2(x))))


class TinyViT(nn.Module):
    """Square images to logits: patches, positions, blocks, LayerNorm, one vector an image, a linear head.

    ``model(x)`` is ``model.classify(model.blocks(model.embed(x)))``; `blocks` can be replaced by any module on tokens.
    The patch projection keeps torch's own start (that of timm's convolution), positions and class token get deviation
    0.02, blocks and head as in `Block`.

    Args:
        image_size, patch_size: sides in pixels; the second divides the first.
        channels: of the images.
        classes: logits.
        dim, num_heads, mlp_ratio, eps: of a `Block`; the last norm has the same `eps`.
        depth: blocks.
        class_token: classify a token of its own; else the average of all tokens.
        norm_then_pool: without a class token, LayerNorm every token and then average; False: average, then LayerNorm
            (``fc_norm`` of timm).
        generator: of the first weights; torch's own when None.

    Raises:
        ValueError: sides or heads do not divide, a size is not positive, or both a class token and pooling first.
    """

    def __init__(
        self,
        image_size: int,
        patch_size: int,
        classes: int,
        dim: int,
        num_heads: int,
        depth: int,
        channels: int = 1,
        mlp_ratio: int = 4,
        class_token: bool = False,
        norm_then_pool: bool = True,
        eps: float = 1e-5,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        if patch_size < 1 or image_size % patch_size:
            raise ValueError(f"patch_size must divide image_size, got {patch_size} for {image_size} pixels.")
        if min(classes, depth, channels) < 1:
            raise ValueError(f"sizes must be positive, got {classes=}, {depth=}, {channels=}.")
        if class_token and not norm_then_pool:
            raise ValueError("with a class token nothing is pooled: norm_then_pool must be True.")
        self.patch_size, self.norm_then_pool = patch_size, norm_then_pool
        tokens = (image_size // patch_size) ** 2 + class_token
        self.patch = nn.Linear(channels * patch_size**2, dim)
        self.token = nn.Parameter(torch.empty(1, 1, dim)) if class_token else None
        self.position = nn.Parameter(torch.empty(1, tokens, dim))
        self.blocks = nn.Sequential(*(Block(dim, num_heads, mlp_ratio, eps, generator) for _ in range(depth)))
        self.norm = nn.LayerNorm(dim, eps=eps)
        self.head = nn.Linear(dim, classes)
        bound = 1 / math.sqrt(self.patch.in_features)
        for parameter in self.patch.parameters():
            nn.init.uniform_(parameter, -bound, bound, generator=generator)
        normal_(self.head, generator)
        for parameter in (self.position, self.token):
            if parameter is not None:
                nn.init.trunc_normal_(parameter, std=STD, generator=generator)

    def embed(self, x: Float[Tensor, "batch channels side side"]) -> Float[Tensor, "batch tokens dim"]:
        """Cut images into patches, row by row, and return tokens with their positions, the class token first."""
        p = self.patch_size
        patches = x.unflatten(3, (-1, p)).unflatten(2, (-1, p)).permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)
        tokens = self.patch(patches)
        if self.token is not None:
            tokens = torch.cat([self.token.expand(len(x), -1, -1), tokens], dim=1)
        return tokens + self.position

    def classify(self, tokens: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch classes"]:
        """Return the logits of the last block's tokens."""
        if self.token is not None:
            return self.head(self.norm(tokens[:, 0]))
        if self.norm_then_pool:
            return self.head(self.norm(tokens).mean(dim=1))
        return self.head(self.norm(tokens.mean(dim=1)))

    def forward(self, x: Float[Tensor, "batch channels side side"]) -> Float[Tensor, "batch classes"]:
        return self.classify(self.blocks(self.embed(x)))


def normal_(linear: nn.Linear, generator: torch.Generator | None = None) -> None:
    """Fill a linear layer as vision transformers start: weights truncated normal, deviation 0.02, bias 0."""
    nn.init.trunc_normal_(linear.weight, std=STD, generator=generator)
    nn.init.zeros_(linear.bias)
