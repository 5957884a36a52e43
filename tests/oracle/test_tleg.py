"""TinyViT and the line against torch's layer and the ViT of transformers, distillation against scipy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.special import log_softmax, softmax
from torch import nn

from reprolib.distill import soft_distillation
from reprolib.models.tleg import LinearExpansionViT
from reprolib.models.vit import Block, TinyViT

TORCHS_NAMES = {
    "qkv": "self_attn.in_proj_",
    "proj": "self_attn.out_proj.",
    "fc1": "linear1.",
    "fc2": "linear2.",
    "norm1": "norm1.",
    "norm2": "norm2.",
}


def torchs_layer(weights: dict, dim: int, heads: int) -> nn.Module:
    """torch's own pre-norm layer with the same weights; it stacks queries, keys and values along rows, too."""
    layer = nn.TransformerEncoderLayer(
        dim, heads, 4 * dim, dropout=0, activation="gelu", batch_first=True, norm_first=True
    ).double()
    layer.load_state_dict(
        {TORCHS_NAMES[name.partition(".")[0]] + name.partition(".")[2]: value for name, value in weights.items()}
    )
    return layer.eval()


def randomize(model: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model.double()


def test_block_equals_torchs_transformer_layer():
    block = randomize(Block(24, 3))
    layer = torchs_layer(block.state_dict(), 24, 3)
    x = torch.randn(5, 7, 24, dtype=torch.float64)
    torch.testing.assert_close(block(x), layer(x), rtol=0, atol=1e-10)


def test_bound_network_equals_torchs_layers_on_a_line_written_out():
    model, depth = randomize(LinearExpansionViT(8, 4, 10, 16, 2, 6)), 6
    x = torch.randn(3, 1, 8, 8, dtype=torch.float64)
    tokens = nn.functional.unfold(x, 4, stride=4).transpose(1, 2) @ model.patch.weight.T + model.patch.bias
    tokens = tokens + model.position
    state = {name: value.numpy() for name, value in model.blocks.state_dict().items()}
    for layer in range(depth):
        weights = {
            name[5:]: torch.from_numpy(base + (layer / depth) * state["slope." + name[5:]])
            for name, base in state.items()
            if name.startswith("base.")
        }
        tokens = torchs_layer(weights, 16, 2)(tokens)
    normed = nn.functional.layer_norm(tokens, (16,), model.norm.weight, model.norm.bias, 1e-5)
    torch.testing.assert_close(model(x), model.head(normed.mean(dim=1)), rtol=0, atol=1e-8)


def test_vit_with_a_class_token_equals_that_of_transformers():
    transformers = pytest.importorskip("transformers")
    ours = randomize(TinyViT(8, 4, 5, 24, 3, 2, class_token=True, eps=1e-6))
    config = transformers.ViTConfig(
        image_size=8, patch_size=4, num_channels=1, hidden_size=24, num_hidden_layers=2, num_attention_heads=3,
        intermediate_size=96, num_labels=5, layer_norm_eps=1e-6, hidden_dropout_prob=0, attention_probs_dropout_prob=0,
    )  # fmt: skip
    theirs = transformers.ViTForImageClassification(config).double().eval()
    own = [ours.token, ours.position, ours.patch.weight, ours.patch.bias]
    for block in ours.blocks:  # theirs has queries, keys and values apart, and this order of parameters
        for weight, bias in zip(block.qkv.weight.chunk(3), block.qkv.bias.chunk(3), strict=True):
            own += [weight, bias]
        for part in (block.proj, block.norm1, block.norm2, block.fc1, block.fc2):
            own += part.parameters()
    own += [ours.norm.weight, ours.norm.bias, ours.head.weight, ours.head.bias]
    with torch.no_grad():
        for (name, parameter), value in zip(theirs.named_parameters(), own, strict=True):
            assert parameter.numel() == value.numel(), name
            parameter.copy_(value.view_as(parameter))
    x = torch.randn(3, 1, 8, 8, dtype=torch.float64)
    torch.testing.assert_close(ours(x), theirs(x).logits, rtol=0, atol=1e-10)


@pytest.mark.parametrize("tau", [0.5, 1.0, 4.0])
def test_distillation_loss_equals_scipys_softmax(tau):
    rng = np.random.default_rng(0)
    student, teacher = rng.normal(size=(2, 9, 6))
    terms = softmax(teacher / tau, axis=1) * (log_softmax(teacher / tau, axis=1) - log_softmax(student / tau, axis=1))
    for reduction, divisor in (("batchmean", 9), ("numel", 54)):
        ours = soft_distillation(torch.from_numpy(student), torch.from_numpy(teacher), tau, reduction)
        assert ours.item() == pytest.approx(tau**2 * terms.sum() / divisor, rel=1e-12)
