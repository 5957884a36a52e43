"""TinyViT: shapes, counts and symmetries that chapters rely on, and how mistakes are answered."""

from __future__ import annotations

import pytest
import torch

from reprolib.models.vit import Block, TinyViT


def vit(**changes):
    sizes = dict(image_size=8, patch_size=4, classes=5, dim=12, num_heads=3, depth=2)
    return TinyViT(**(sizes | changes)).double()


@pytest.mark.parametrize("dim, heads", [(8, 1), (32, 2), (48, 3)])
def test_a_block_has_twelve_squares_and_thirteen_widths_of_parameters(dim, heads):
    assert sum(p.numel() for p in Block(dim, heads).parameters()) == 12 * dim**2 + 13 * dim


def test_patches_are_cut_row_by_row():
    model = vit(channels=2)
    x = torch.randn(3, 2, 8, 8, dtype=torch.float64)
    tokens = model.embed(x) - model.position
    for place, (row, column) in enumerate([(0, 0), (0, 4), (4, 0), (4, 4)]):
        torch.testing.assert_close(
            tokens[:, place], model.patch(x[:, :, row : row + 4, column : column + 4].flatten(1))
        )


@pytest.mark.parametrize("changes", [{}, {"class_token": True}, {"norm_then_pool": False}])
def test_without_positions_the_order_of_patches_does_not_matter(changes):
    model = vit(**changes)
    x = torch.randn(4, 1, 8, 8, dtype=torch.float64)
    moved = torch.cat([x[:, :, 4:], x[:, :, :4]], dim=2)  # the two rows of patches change places
    assert (model(x) - model(moved)).abs().max() > 1e-8
    torch.nn.init.zeros_(model.position)
    torch.testing.assert_close(model(x), model(moved))


def test_parts_compose_to_the_whole():
    model = vit(class_token=True)
    x = torch.randn(2, 1, 8, 8, dtype=torch.float64)
    tokens = model.embed(x)
    assert tokens.shape == (2, 5, 12)
    for block in model.blocks:
        halfway = tokens + block.attend(tokens)
        torch.testing.assert_close(
            block(tokens) - halfway, block.fc2(torch.nn.functional.gelu(block.fc1(block.norm2(halfway))))
        )
        tokens = block(tokens)
    torch.testing.assert_close(model.classify(tokens), model(x))


def test_pooling_before_the_norm_is_another_function():
    torch.manual_seed(0)
    first, second = vit(), vit(norm_then_pool=False)
    second.load_state_dict(first.state_dict())
    x = torch.randn(4, 1, 8, 8, dtype=torch.float64)
    assert (first(x) - second(x)).abs().max() > 1e-3


def test_first_weights_have_the_deviations_of_the_docstring():
    model = vit(image_size=32, dim=48, class_token=True)
    assert model.position.std().item() == pytest.approx(0.02, rel=0.1)
    assert model.token.abs().max() < 0.2
    assert model.head.weight.std().item() == pytest.approx(0.02, rel=0.2)
    assert model.patch.weight.abs().max().item() == pytest.approx(1 / 4, rel=0.02)  # one over the root of 16 pixels
    assert model.patch.bias.abs().max() <= 1 / 4


def test_equal_generators_give_equal_weights_whatever_the_global_state():
    models = []
    for state in (1, 2):
        torch.manual_seed(state)
        models.append(vit(class_token=True, generator=torch.Generator().manual_seed(7)))
    for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"patch_size": 3}, "patch_size must divide"),
        ({"num_heads": 5}, "num_heads must divide"),
        ({"depth": 0}, "must be positive"),
        ({"class_token": True, "norm_then_pool": False}, "nothing is pooled"),
    ],
)
def test_mistakes_are_answered_by_name(changes, message):
    with pytest.raises(ValueError, match=message):
        vit(**changes)
