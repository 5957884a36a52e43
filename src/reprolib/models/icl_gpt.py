"""A small GPT-2 that reads a regression problem example by example (the set-up of Garg et al., NeurIPS 2022).

The transformer comes from the package `transformers`, with random weights; a model imports it when it is made.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reprolib.data.icl import interleave


class InContextGPT(nn.Module):
    """GPT-2 between two linear maps: tokens x_1, y_1, x_2, ... in, one guess for y_i out at each x_i.

    Args:
        d: dimension of an input.
        points: most inputs in a prompt; there is a position embedding for each of their 2 * points tokens.
        width, layers, heads: sizes of the transformer.

    Raises:
        ModuleNotFoundError: `transformers` is not installed; the sentence names the fix.
    """

    def __init__(self, d: int, points: int, width: int, layers: int, heads: int):
        super().__init__()
        try:
            from transformers import GPT2Config, GPT2Model
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "this model needs the package transformers: run `pip install transformers`."
            ) from error
        config = GPT2Config(
            vocab_size=1, n_positions=2 * points, n_embd=width, n_layer=layers, n_head=heads,
            resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0, use_cache=False, bos_token_id=0, eos_token_id=0,
        )  # fmt: skip
        self.read_in = nn.Linear(d, width)
        self.backbone = GPT2Model(config)
        self.read_out = nn.Linear(width, 1)

    def forward(self, x: Float[Tensor, "batch n d"], y: Float[Tensor, "batch n"]) -> Float[Tensor, "batch n"]:
        """Return the guess for each label, which knows the examples before it and its own input, not its own label.

        Raises:
            ValueError: `x` and `y` do not fit together, or the prompt is longer than there are positions.
        """
        if 2 * x.shape[1] > self.backbone.config.n_positions:
            raise ValueError(f"at most {self.backbone.config.n_positions // 2} points, got {x.shape[1]}.")
        states = self.backbone(inputs_embeds=self.read_in(interleave(x, y))).last_hidden_state
        return self.read_out(states[:, ::2])[..., 0]


def mean_squared_errors(
    model: InContextGPT, x: Float[Tensor, "batch n d"], y: Float[Tensor, "batch n"], chunk: int = 128
) -> Float[Tensor, " n"]:
    """Return the mean squared error of the guess after 0, 1, ..., n - 1 examples.

    The prompts pass through the model `chunk` at a time, without gradients.
    """
    with torch.no_grad():
        squares = [(model(a, b) - b).square() for a, b in zip(x.split(chunk), y.split(chunk), strict=True)]
    return torch.cat(squares).mean(0)
