"""Linear expansion: what the line guarantees at any depth, and how mistakes are answered."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from reprolib.init.tleg import expand_linear_, on_line, positions
from reprolib.models.tleg import LinearExpansion, LinearExpansionViT
from reprolib.models.vit import Block, TinyViT

few = settings(max_examples=20, deadline=None)


def learngene(seed=0):
    torch.manual_seed(seed)
    line = LinearExpansion(8, 2, depth=6).double()
    for parameter in line.parameters():
        nn.init.normal_(parameter)
    return [{name: value.detach() for name, value in part.items()} for part in line.learngene()]


def expanded(depth, at=None):
    return expand_linear_([Block(8, 2).double() for _ in range(depth)], *learngene(), at)


@few
@given(depth=st.integers(1, 9), factor=st.integers(1, 4))
def test_every_kth_layer_of_a_deeper_network_is_the_shallow_network(depth, factor):
    short, long = expanded(depth), expanded(factor * depth)
    for layer, block in enumerate(short):
        for a, b in zip(block.parameters(), long[factor * layer].parameters(), strict=True):
            torch.testing.assert_close(a, b, rtol=0, atol=1e-14)


@few
@given(depth=st.integers(1, 12))
def test_the_line_starts_at_the_base_and_never_reaches_the_end(depth):
    at = positions(depth)
    assert at[0] == 0 and max(at) < 1 and len(at) == depth
    base, slope = learngene()
    last = dict(expanded(depth)[-1].named_parameters())
    for name, value in last.items():
        torch.testing.assert_close(value.detach(), base[name] + (depth - 1) / depth * slope[name])


@pytest.mark.parametrize("depth", [1, 5])
def test_the_bound_network_has_two_blocks_of_parameters_at_any_depth(depth):
    count = sum(p.numel() for p in LinearExpansionViT(8, 4, 10, 16, 2, depth).blocks.parameters())
    assert count == 2 * (12 * 16**2 + 13 * 16)


def test_the_bound_network_starts_as_the_authors_code_does():
    line = LinearExpansion(64, 2, depth=3)
    for block, norm in ((line.base, 1.0), (line.slope, 0.0)):
        assert (block.norm1.weight == norm).all() and (block.norm2.weight == norm).all()
        assert all((layer.bias == 0).all() for layer in (block.norm1, block.qkv, block.proj, block.fc1, block.fc2))
        assert block.fc1.weight.std().item() == pytest.approx(0.02, rel=0.05)


def test_expansion_works_on_other_modules_too():
    layers = [nn.Linear(3, 2) for _ in range(4)]
    base, slope = ({n: torch.randn_like(p) for n, p in layers[0].named_parameters()} for _ in range(2))
    assert expand_linear_(layers, base, slope, at=[0.5, 0, 1, 2]) is layers
    assert torch.equal(layers[1].bias, base["bias"])
    torch.testing.assert_close(layers[3].weight.detach(), base["weight"] + 2 * slope["weight"])


def test_layers_are_copies_that_training_can_separate():
    base, slope = learngene()
    before = base["fc1.weight"].clone()
    block = expand_linear_([Block(8, 2).double()], base, slope)[0]
    nn.init.zeros_(block.fc1.weight)
    assert torch.equal(base["fc1.weight"], before)


def test_mistakes_are_answered():
    base, slope = learngene()
    with pytest.raises(ValueError, match="depth must be at least 1"):
        positions(0)
    with pytest.raises(ValueError, match="need as many positions"):
        expanded(3, at=[0.0, 0.5])
    block = Block(8, 2).double()
    with pytest.raises(ValueError, match="comes twice"):
        expand_linear_([block, block], base, slope)
    with pytest.raises(ValueError, match="layer and learngene differ"):
        expand_linear_([Block(8, 2, mlp_ratio=2).double()], base, slope)
    with pytest.raises(ValueError, match="base and slope differ"):
        on_line(base, {}, 0.5)


def test_the_bound_vit_equals_its_expansion_in_double_precision():
    torch.manual_seed(0)
    aux = LinearExpansionViT(8, 4, 10, 16, 2, 5, mlp_ratio=3, eps=0.1).double()
    twin = TinyViT(8, 4, 10, 16, 2, 5, mlp_ratio=3, eps=0.1).double()
    expand_linear_(twin.blocks, *aux.blocks.learngene())
    twin.load_state_dict({k: v for k, v in aux.state_dict().items() if not k.startswith("blocks")}, strict=False)
    x = torch.randn(3, 1, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(aux(x), twin(x), rtol=0, atol=1e-12)
