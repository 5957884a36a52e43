"""T5 as a classifier that answers with a word, as in LoRA-GA's GLUE experiments (Wang et al., arXiv 2407.05000)."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from reprolib.data import hub as data
from reprolib.models import hub


class Question(NamedTuple):
    """How a task of GLUE is put into words."""

    instruction: str
    columns: tuple[str, ...]
    words: tuple[str, ...]  # of the classes


GLUE = {  # the two small tasks of the paper
    "cola": Question("grammaticality of the text", ("sentence",), ("unacceptable", "acceptable")),
    "mrpc": Question("semantic similarity of the text", ("sentence1", "sentence2"), ("different", "equivalent")),
}


class LabelWords(nn.Module):
    """A sequence-to-sequence model of `transformers` that scores a word for each class.

    Args:
        model: T5, or a model that is called alike.
        words: token ids of the classes' words, with the end token, filled up with the model's padding id.
    """

    def __init__(self, model: nn.Module, words: Int[Tensor, "classes tokens"]):
        super().__init__()
        self.model, self.words = model, words

    def forward(self, input_ids: Int[Tensor, "texts tokens"]) -> Float[Tensor, "texts classes"]:
        """Return the log-probability of each class's word, mean over its tokens, after each text."""
        pad, words = self.model.config.pad_token_id, self.words.to(input_ids.device)
        mask, (texts, classes) = (input_ids != pad).long(), (len(input_ids), len(words))
        hidden = self.model.get_encoder()(input_ids=input_ids, attention_mask=mask).last_hidden_state
        out = self.model(
            encoder_outputs=(hidden.repeat_interleave(classes, dim=0),),
            attention_mask=mask.repeat_interleave(classes, dim=0),
            decoder_input_ids=self.model._shift_right(words.repeat(texts, 1)),
        )
        wanted = words.repeat(texts, 1)
        found = out.logits.log_softmax(dim=-1).gather(-1, wanted[..., None])[..., 0]
        return ((found * (wanted != pad)).sum(dim=1) / (wanted != pad).sum(dim=1)).view(texts, classes)


@lru_cache(maxsize=1)
def load(name: str, tiny: bool = False) -> nn.Module:
    """Return a pre-trained T5 (`hub.transformer`) in evaluation mode, shared: copy it before a change."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # a tiny one's random weights
        cut = dict(num_layers=1, num_decoder_layers=1) if tiny else {}
        return hub.transformer(name, "AutoModelForSeq2SeqLM", tiny=tiny, **cut).requires_grad_(False)


@lru_cache(maxsize=4)
def encoded(
    task: str, name: str, split: str, tokens: int, tiny: bool = False
) -> tuple[Int[Tensor, "texts tokens"], Int[Tensor, " texts"], Int[Tensor, "classes tokens"]]:
    """Return token ids of a split of GLUE, the classes, and the token ids of the classes' words.

    Args:
        task: a key of `GLUE`.
        name, tiny: the model, as in `load`; a tiny one reads 100 texts, made up where the mirror lacks GLUE.
        split: ``"train"`` or ``"validation"``.
        tokens: every text is cut or padded to so many.

    Raises:
        ValueError: another task.
        DataNotFound, ModuleNotFoundError: as `reprolib.data.hub.load` and `hub.tokenizer`.
    """
    if task not in GLUE:
        raise ValueError(f"task must be one of {', '.join(map(repr, GLUE))}, got {task!r}.")
    question, read = GLUE[task], hub.tokenizer(name, tiny=tiny)
    table = data.load("nyu-mll/glue", task, split, rows=100 if tiny else None, stand_in=tiny)
    rows = table[list(question.columns)].itertuples(index=False)
    texts = [f"classify the {question.instruction}: " + "\n".join(row) + "\nresult: " for row in rows]
    settings = dict(padding="max_length", truncation=True, max_length=tokens, return_tensors="pt")
    ids = read(texts, **settings)["input_ids"]
    words = read(list(question.words), padding=True, return_tensors="pt")["input_ids"]
    return ids, torch.tensor(table["label"].to_numpy()), words
