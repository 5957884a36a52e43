"""EVA: LoRA that starts from the directions in which a layer's inputs vary most (Paischer et al., arXiv 2410.07170).

The adapter of a linear layer W computes ``W x + alpha/r B A x``. EVA takes for the rows of A the largest right-singular
vectors of the layer's inputs on the fine-tuning data, sets B = 0, and gives more ranks to the layers where they explain
more. `explain` finds directions and ranks for any model, `eva_` puts them into the LoRA modules of `peft`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from reprolib.data.sources import require
from reprolib.linalg.incremental import IncrementalSVD

SCORES = ("ratio", "paper")
Inputs = Tensor | Mapping[str, Tensor]


@dataclass(frozen=True)
class Explained:
    """What `explain` found, by the layer's name.

    Attributes:
        ranks: the layer's share of the budget.
        svds: SVD of the layer's inputs. Layers with the same inputs (query, key, value) share one.
        updates: batches that went into it before its directions stood still.
    """

    ranks: dict[str, int]
    svds: dict[str, IncrementalSVD]
    updates: dict[str, int]


def redistribute_ranks(scores: Mapping[str, Float[Tensor, " components"]], budget: int) -> dict[str, int]:
    """Give every layer as many ranks as it has components among the `budget` best of all layers.

    Args:
        scores: a layer's scores, largest first; of equal scores the layer that comes first wins.
        budget: ranks in all.

    Raises:
        ValueError: `budget` is negative or larger than the number of scores.
    """
    layer = torch.tensor([i for i, values in enumerate(scores.values()) for _ in values])
    if not 0 <= budget <= len(layer):
        raise ValueError(f"budget must be from 0 to {len(layer)}, the number of scores, got {budget}.")
    best = torch.cat([values.cpu() for values in scores.values()]).argsort(descending=True, stable=True)[:budget]
    return dict(zip(scores, layer[best].bincount(minlength=len(scores)).tolist(), strict=True))


def component_scores(svd: IncrementalSVD, score: str = "ratio") -> Float[Tensor, " components"]:
    r"""Score the components of a layer for `redistribute_ranks`.

    Args:
        svd: SVD of the layer's inputs.
        score: ``"ratio"``, the share of the inputs' variance, as in the released code; or ``"paper"``, equation 6,
            :math:`\sigma_j^2/((M-1)\lVert\sigma\rVert_1)` with M rows, which grows with the scale of the inputs.

    Raises:
        ValueError: another `score`.
    """
    if score not in SCORES:
        raise ValueError(f"score must be one of {', '.join(map(repr, SCORES))}, got {score!r}.")
    if score == "ratio":
        return svd.explained_variance_ratio_
    return svd.singular_values_.square() / ((svd.n_samples_seen_ - 1) * svd.singular_values_.sum())


@torch.no_grad()
def layer_inputs(
    model: nn.Module, names: Iterable[str], inputs: Inputs, forward: Callable | None = None
) -> dict[str, Float[Tensor, "rows features"]]:
    """Run the model once, in evaluation mode, and return what enters each named layer, one row a sample or token.

    Of a module that is called twice in a pass, as DeBERTa does for positions, the first call counts.

    Args:
        model, names: the model, and names of modules of it that take one tensor (..., features).
        inputs: a batch: a tensor, or a mapping of keyword arguments. With an ``"attention_mask"`` (samples, tokens),
            tokens where it is 0 are left out.
        forward: called as ``forward(model, inputs)``; by default the model is called on `inputs`.
    """
    keyword = isinstance(inputs, Mapping)
    mask = inputs["attention_mask"].bool() if keyword and "attention_mask" in inputs else None
    found, training = {}, model.training

    def watch(name):
        def hook(module, args):
            x = args[0].detach()
            masked = mask is not None and x.shape[:-1] == mask.shape
            found.setdefault(name, x[mask] if masked else x.flatten(0, -2))

        return model.get_submodule(name).register_forward_pre_hook(hook)

    handles = [watch(name) for name in names]
    try:
        model.eval()
        if forward:
            forward(model, inputs)
        else:
            model(**inputs) if keyword else model(inputs)
    finally:
        model.train(training)
        for handle in handles:
            handle.remove()
    return found


def explain(
    model: nn.Module,
    names: Sequence[str],
    batches: Iterable[Inputs],
    r: int,
    *,
    rho: float = 2.0,
    tau: float | None = 0.99,
    center: bool = False,
    score: str = "ratio",
    forward: Callable | None = None,
) -> Explained:
    """Find the directions that explain the inputs of each layer, and how many of them each should get (Algorithm 1).

    A layer's SVD is updated until the cosine between old and new of each direction that it needs is at least `tau`.
    What it needs follows from the ranks, which change with every batch, so a layer may be opened again.

    Args:
        model: stays as it is; see `layer_inputs` for this, `batches` and `forward`.
        names: layers with the adapters.
        batches: fine-tuning data; read until all layers stand still, or to its end.
        r: mean rank of a layer; the budget is ``r * len(names)``.
        rho: at least 1; a layer gets at most ``round(rho * r)`` ranks, so 1 gives each r.
        tau: None reads all batches.
        center: subtract the inputs' mean, as the released code does. The paper's theorem does not.
        score: see `component_scores`.

    Raises:
        ValueError: `rho` below 1, no names or batches, or too few rows for the budget.
    """
    if rho < 1:
        raise ValueError(f"rho must be at least 1, got {rho}.")
    if not names:
        raise ValueError("explain needs at least one layer.")
    keep, leader, svds, settled, updates, moving = round(rho * r), {}, {}, {}, {}, list(names)
    for inputs in batches:
        rows = layer_inputs(model, moving, inputs, forward)
        if not leader:
            leader = {name: next(other for other in names if _equal(rows[name], rows[other])) for name in names}
            moving = list(dict.fromkeys(leader.values()))
            svds = {name: IncrementalSVD(keep, center) for name in moving}
            updates = dict.fromkeys(moving, 0)
        for name in moving:
            before = svds[name].components_ if updates[name] else None
            now = svds[name].partial_fit(rows[name]).components_
            updates[name] += 1
            settled[name] = torch.zeros(keep, dtype=torch.bool)
            if before is not None and tau is not None:
                both = min(len(before), len(now))  # a larger first value may push the last below what counts as zero
                settled[name][:both] = ((before[:both] * now[:both]).sum(dim=1).abs() >= tau).cpu()
        ranks = redistribute_ranks(
            {name: component_scores(svds[leader[name]], score) for name in names}, r * len(names)
        )
        needed = {first: max(ranks[name] for name in names if leader[name] == first) for first in svds}
        moving = [name for name in svds if tau is None or not settled[name][: needed[name]].all()]
        if not moving:
            break
    if not leader:
        raise ValueError("explain needs at least one batch.")
    return Explained(ranks, {n: svds[leader[n]] for n in names}, {n: updates[leader[n]] for n in names})


def eva_(
    model: nn.Module,
    batches: Iterable[Inputs],
    *,
    rho: float = 2.0,
    tau: float | None = 0.99,
    center: bool = False,
    score: str = "ratio",
    forward: Callable | None = None,
    adapter: str = "default",
) -> dict[str, int]:
    """Initialize the LoRA modules of a `peft` model with EVA, in place.

    A gets the directions, B is zero, alpha/r stays the same in every layer, and a layer without ranks loses its
    adapter. The model can be saved and loaded with `peft` as usual.

    Args:
        model: a ``PeftModel`` whose `adapter` is a LoRA of linear layers, all of the rank r of its configuration.
        batches, rho, tau, center, score, forward: as in `explain`.
        adapter: its name.

    Returns:
        Each layer's rank, by its name in the model below `peft`'s.

    Raises:
        ValueError: as `explain`.
        ModuleNotFoundError: peft is not installed.
    """
    peft = require("peft", "adapters")
    config = model.peft_config[adapter]
    layers = {n: m for n, m in model.named_modules() if isinstance(getattr(m, "base_layer", None), nn.Linear)}
    with model.disable_adapter():
        found = explain(
            model, list(layers), batches, config.r, rho=rho, tau=tau, center=center, score=score, forward=forward
        )
    rows = {name: svd.components_[: found.ranks[name]].float() for name, svd in found.svds.items()}
    for layer in layers.values():
        nn.init.zeros_(layer.lora_B[adapter].weight)
    config.init_lora_weights, config.eva_config = "eva", peft.EvaConfig(rho=rho)
    peft.initialize_lora_eva_weights(model, eva_state_dict=rows, adapter_name=adapter)
    return {name.removeprefix("base_model.model."): rank for name, rank in found.ranks.items()}


def _equal(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and torch.equal(a, b)
