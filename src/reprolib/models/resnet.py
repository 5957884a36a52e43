"""ResNet for images of 32x32 pixels (He et al., 2016, arXiv 1512.03385): a 3x3 stem without pooling."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch normalization around a shortcut, which is 1x1 where the shape changes.

    Args:
        in_channels, out_channels: channels of the input and of the output.
        stride: of the first convolution and of the shortcut.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        self.shortcut = nn.Sequential()
        if stride != 1 or in_channels != out_channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels)
            )

    def forward(self, x: Float[Tensor, "batch in height width"]) -> Float[Tensor, "batch out h w"]:
        return torch.relu(self.residual(x) + self.shortcut(x))


class ResNet(nn.Sequential):
    """Stages of basic blocks, each but the first with half the resolution and twice the channels of the one before.

    Maps images (batch, in_channels, height, width) to logits (batch, num_classes).

    Args:
        blocks: blocks of each stage; the default is ResNet-34, (2, 2, 2, 2) is ResNet-18.
        num_classes: number of classes.
        in_channels: channels of an image.
        channels: of the first stage.
    """

    def __init__(
        self, blocks: Sequence[int] = (3, 4, 6, 3), num_classes: int = 10, in_channels: int = 3, channels: int = 64
    ) -> None:
        layers = [nn.Conv2d(in_channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels), nn.ReLU()]
        width = channels
        for stage, number in enumerate(blocks):
            for block in range(number):
                stride = 2 if stage > 0 and block == 0 else 1
                layers.append(BasicBlock(width, channels * 2**stage, stride))
                width = channels * 2**stage
        super().__init__(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, num_classes))
