"""The network's size and shapes are those of ResNets for CIFAR."""

from __future__ import annotations

import pytest
import torch

from reprolib.models.resnet import BasicBlock, ResNet


@pytest.mark.parametrize(
    ("blocks", "parameters"),  # as in the usual implementations for CIFAR-10
    [((2, 2, 2, 2), 11_173_962), ((3, 4, 6, 3), 21_282_122)],
)
def test_number_of_parameters(blocks, parameters):
    with torch.device("meta"):
        assert sum(p.numel() for p in ResNet(blocks).parameters()) == parameters


def test_stages_halve_the_resolution():
    model, shapes = ResNet((1, 1, 1, 1), channels=4), []
    for block in model:
        if isinstance(block, BasicBlock):
            block.register_forward_hook(lambda _, __, out: shapes.append(tuple(out.shape[1:])))
    assert model(torch.randn(2, 3, 32, 32)).shape == (2, 10)
    assert shapes == [(4, 32, 32), (8, 16, 16), (16, 8, 8), (32, 4, 4)]


def test_a_block_without_residual_is_its_shortcut():
    x = torch.rand(2, 4, 8, 8)
    block = BasicBlock(4, 4)
    torch.nn.init.zeros_(block.residual[-1].weight)
    torch.testing.assert_close(block(x), x)
