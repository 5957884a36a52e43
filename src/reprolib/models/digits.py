"""A small network that knows upright digits, to be fine-tuned for something else."""

from __future__ import annotations

from functools import lru_cache

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reprolib.data.images import Images, digits
from reprolib.models.hub import transformer
from reprolib.train import fit

PRETRAIN = 600  # images, from the start of the training part


class MLP(nn.Module):
    """Three hidden layers ``body.0``, ``body.2``, ``body.4`` with ReLU, and a linear ``head``."""

    def __init__(self, in_features: int = 64, hidden_dim: int = 128, classes: int = 10):
        super().__init__()
        widths = [in_features, hidden_dim, hidden_dim, hidden_dim]
        layers = [
            part
            for fan_in, fan_out in zip(widths, widths[1:], strict=False)
            for part in (nn.Linear(fan_in, fan_out), nn.ReLU())
        ]
        self.body, self.head = nn.Sequential(*layers), nn.Linear(hidden_dim, classes)

    def forward(self, x: Float[Tensor, "samples features"]) -> Float[Tensor, "samples classes"]:
        return self.head(self.body(x))


@lru_cache(maxsize=128)  # above the seeds of any run: its trials come back to each seed many times
def pretrained(seed: int, epochs: int = 100) -> tuple[MLP, Images]:
    """Return an `MLP` trained on 600 digits, and the split: 1,000 training images, of which it saw the first 600.

    It is shared, so copy it before a change.

    Args:
        seed: decides the split, the weights and the order of the batches.
        epochs: of four batches of 128 images.
    """
    images = digits(seed, test_size=797)
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**31, (1,), generator=generator)))
        model = MLP()
    x, y = images.x_train[:PRETRAIN], images.y_train[:PRETRAIN]
    fit(model, x, y, epochs=epochs, batch_size=128, lr=1e-3, generator=generator)
    return model.eval(), images


class Logits(nn.Module):
    """A model of `transformers` for images that takes flat gray pixels and returns its logits."""

    def __init__(self, model: nn.Module, side: int = 8):
        super().__init__()
        self.model, self.side = model, side

    def forward(self, x: Float[Tensor, "samples pixels"]) -> Float[Tensor, "samples classes"]:
        return self.model(pixel_values=x.view(-1, 1, self.side, self.side)).logits


@lru_cache(maxsize=4)
def pretrained_vit(seed: int, epochs: int = 20) -> tuple[Logits, Images]:
    """Return a vision transformer of `transformers` (2 layers, width 32, 16 patches) trained like `pretrained`.

    Raises:
        ModuleNotFoundError: transformers is not installed.
    """
    images = digits(seed, test_size=797)
    generator = torch.Generator().manual_seed(seed)
    sizes = dict(image_size=8, patch_size=2, num_channels=1, num_labels=10)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**31, (1,), generator=generator)))
        name = "google/vit-base-patch16-224-in21k"
        model = Logits(transformer(name, "AutoModelForImageClassification", tiny=True, **sizes))
        x, y = images.x_train[:PRETRAIN], images.y_train[:PRETRAIN]
        fit(model, x, y, epochs=epochs, batch_size=128, lr=3e-3, generator=generator)
    return model.eval(), images
