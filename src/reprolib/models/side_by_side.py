"""Several small networks in one call, to be trained side by side: one product serves all of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from reprolib.models.digits import MLP


class SideBySide(nn.Module):
    """Copies of `MLP`s of one shape, with or without adapters of `peft`; row k of every tensor is network k.

    The gradient of the networks' summed losses is each one's own. So an optimizer that moves each number by itself, as
    AdamW does, trains every network as if it were alone, up to rounding.

    Raises:
        ValueError: networks that do not train the same weights and biases.
    """

    def __init__(self, nets: Sequence[MLP]):
        super().__init__()
        names = [*(f"body.{i}" for i in range(0, len(nets[0].body), 2)), "head"]
        self.layers = nn.ModuleList(Linears([net.get_submodule(name) for net in nets]) for name in names)

    def forward(self, x: Float[Tensor, "samples features"]) -> Float[Tensor, "networks samples classes"]:
        *body, head = self.layers
        h = x.expand(len(head.weight), -1, -1)
        for layer in body:
            h = layer(h).relu()
        return head(h)


class Linears(nn.Module):
    """The same linear layer of every network: what the first one trains is trained, and so are all adapters.

    Adapters are filled up with zeros to the largest rank; these have no gradient and stay zero.
    """

    def __init__(self, layers: Sequence[nn.Module]):
        super().__init__()
        bases = [getattr(layer, "base_layer", layer) for layer in layers]
        for name in ("weight", "bias"):
            values = [getattr(base, name) for base in bases]
            if len({value.requires_grad for value in values}) > 1:
                raise ValueError("networks side by side must train the same weights and biases.")
            setattr(self, name, nn.Parameter(torch.stack(values).detach(), values[0].requires_grad))
        self.bias.data = self.bias.data[:, None]
        A, B, scale = zip(*map(adapter, layers), strict=True)
        self.A, self.B = (nn.Parameter(pad_sequence(rows, batch_first=True).detach()) for rows in (A, B))
        self.register_buffer("scale", self.weight.new_tensor(scale)[:, None, None])

    def forward(self, h: Float[Tensor, "networks samples in"]) -> Float[Tensor, "networks samples out"]:
        out = torch.baddbmm(self.bias, h, self.weight.mT)
        return torch.baddbmm(out, h @ self.A.mT * self.scale, self.B) if self.A.numel() else out


def adapter(layer: nn.Module) -> tuple[Tensor, Tensor, float]:
    """A, the transpose of B and the scale of a layer's adapter: a row a rank, perhaps none."""
    if isinstance(layer, nn.Linear):
        return layer.weight[:0], layer.weight.T[:0], 1.0
    return layer.lora_A["default"].weight, layer.lora_B["default"].weight.T, layer.scaling["default"]
