# ---
# jupyter:
#   jupytext:
#     cell_markers: 'r"""'
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
#   chapter:
#     slug: rank-and-richness
#     title: "Rank and richness: what first weights of low rank do to learning"
#     summary: "In a linear network, how little the tangent kernel turns in training is the square root of the effective rank of the first weights. Recurrent networks have the same order between rank 1 and full rank, on average over seeds that differ as much as the ranks do."
#     paper: {title: "How connectivity structure shapes rich and lazy learning in neural circuits", authors: [Yuhan Helena Liu, Aristide Baratin, Jonathan Cornford, Stefan Mihalas, Eric Shea-Brown, Guillaume Lajoie], year: 2023, venue: "ICLR 2024", arxiv: "2310.08513", code: "https://github.com/Helena-Yuhan-Liu/BioRNN_RichLazy"}
#     part: variance
#     full: {device: cpu, minutes: 14, memory_gb: 2, data: [], models: [], reduced: "one of the paper's three neuroscience tasks, at its size and number of iterations; the tangent kernel at the decision only; no sequential MNIST, no connectivity measured in brains"}
# ---

# %% [markdown]
r"""
# Rank and richness: what first weights of low rank do to learning

A network can learn in two ways. In the *lazy* one, its weights move just enough for the output to be right, and what
the network computes inside stays as it was. In the *rich* one, it makes new features for the task. Large first weights
make learning lazy, small ones make it rich. Circuits in a brain differ from the usual random matrices in another way:
their wiring has structure, and with it a lower rank. This paper holds the size of the first weights fixed, changes their effective
rank, and finds learning lazier where the rank is high, unless weights of low rank happen to fit the task. [Liu, Baratin, Cornford, Mihalas,
Shea-Brown and Lajoie (2023)](https://arxiv.org/abs/2310.08513), *How connectivity structure shapes rich and lazy learning in neural circuits*. ICLR 2024.
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
gain: float = 1.25  # of the first recurrent weights, in the comparison of ranks
sigma: float = 0.01  # norm of the first weights of the linear network

# %%
from dataclasses import asdict, dataclass

from reprolib.scale import start


@dataclass(frozen=True)
class Settings:
    tasks: int  # of the linear network
    d: int  # its inputs
    h: int  # its hidden units
    hidden: int  # N, units of the recurrent network
    ranks: tuple[int, ...]
    iterations: int
    batch: int
    lr: float
    momentum: float
    probe: int  # trials on which we measure
    kernel: int  # the first of them, for the tangent kernel
    seeds: int


SCALES = {
    "small": Settings(
        200, 10, 20, hidden=100, ranks=(1, 5, 20, 100), iterations=1000, batch=32, lr=0.003, momentum=0.9, probe=320,
        kernel=24, seeds=8,
    ),
    "full": Settings(
        200, 10, 20, hidden=300, ranks=(1, 30, 100, 300), iterations=10_000, batch=32, lr=0.003, momentum=0.9, probe=320,
        kernel=32, seeds=5,
    ),
}  # fmt: skip
dry = dict(tasks=6, iterations=2, seeds=2)
run = start(
    "rank-and-richness", SCALES, dry=dry, scale=scale, seed=seed, device=device, dry_run=dry_run, devices=("cpu",)
)


# %%
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from scipy.stats import norm, spearmanr
from torch import nn
from torch.nn import functional as F

from reprolib import figures
from reprolib.checkpoint import resume
from reprolib.claims import Claim, Each, Interval, Mean, Verdicts
from reprolib.data.two_alternative_choice import COHERENCES, NOISE, two_alternative_choice
from reprolib.init.low_rank import low_rank_
from reprolib.metrics.kernels import effective_rank, jacobian_gram, kernel_alignment
from reprolib.models.ctrnn import ctrnn, ctrnn_errors
from reprolib.streams import stream
from reprolib.sweep import sweep

settings = run.settings
if isinstance(gain, bool | str) or not 0 < gain <= 3:
    raise ValueError(f"gain must be above 0 and at most 3, got {gain!r}.")
if isinstance(sigma, bool | str) or not 0 < sigma <= 1:
    raise ValueError(f"sigma must be above 0 and at most 1, got {sigma!r}.")
SMALL_GAIN = 0.5  # of the control C6: at full rank, activity dies out without input
figures.use()

# %% [markdown]
r"""
## Claims

We write down what must happen before anything runs. C1 and C5 are about a linear network, for which the answer is a
formula. There many tasks are drawn, and intervals are over tasks. C2, C3, C4 and C6 are about a recurrent network.
There a seed decides all first weights, the trials it is trained on and those on which we measure. Networks of all ranks share them and are compared
in pairs.

The measures are defined below. Two are *alignments*, between 0 and 1, of something before and after training: **KA** of the tangent kernel, **RA**
of the representation. High is lazy. The third is the norm of the change of the recurrent weights, where high is rich. Networks are compared
at the end, if the mean losses at the end differ by at most a tenth, and else where each first reaches the largest of the losses at the end. The thresholds of
C2, C3 and C4 were set with the numbers of a pilot known.
"""

# %%
KAPPAS = (1, 2, 5)
excludes_0 = Interval(low=0, strict=True)
above_0 = Mean(low=0, strict=True)
CLAIMS = [
    Claim(
        id="C1", kind="exact",
        statement="In a linear network with small first weights, KA is a function of the effective rank, on average over tasks.",
        paper="Theorem 1, of which we know the setting and the direction; the formula is our derivation",
        measures="KA after gradient flow against the closed form; ranks 1, 3 and 10 with equal singular values",
        criteria={
            "each task": Each(high=1e-3, note="error"),
            "mean, ranks 1 and 3": Each(high=3, note="distance in standard errors"),
            "mean, rank 10": Each(high=1e-3, note="error"),
        },
    ),
    Claim(
        id="C2", kind="effect",
        statement="In a recurrent network, the tangent kernel changes less, the higher the rank of the first weights.",
        paper="Fig. 1, three tasks; no number was available to us",
        measures="KA at full rank minus KA at rank 1, equal norm of the weights; rank correlation of KA with rank",
        criteria={
            "size": Mean(low=0.1), "excludes 0": excludes_0, "above 0": above_0,
            "correlation": Each(low=0, strict=True, note="Spearman's, each seed"),
        },
        partly=[["above 0"]], pilot=True,
    ),
    Claim(
        id="C3", kind="effect",
        statement="The representation changes less, too, the higher the rank.",
        paper="Fig. 1; no number was available to us",
        measures="RA at full rank minus RA at rank 1; rank correlation of RA with rank",
        criteria={
            "size": Mean(low=0.1), "excludes 0": excludes_0, "above 0": above_0,
            "correlation": Each(low=0, strict=True, note="Spearman's, each seed"),
        },
        partly=[["above 0"]], pilot=True,
    ),
]  # fmt: skip

# %%
CLAIMS += [
    Claim(
        id="C4", kind="effect",
        statement="The recurrent weights move less, the higher the rank.",
        paper="Fig. 1; no number was available to us",
        measures="norm of the change of the recurrent weights, rank 1 minus full rank",
        criteria={"excludes 0": excludes_0, "above 0": above_0},
        partly=[["above 0"]], pilot=True,
    ),
    Claim(
        id="C5", kind="effect",
        statement="First weights of rank 1 that are aligned with the task are lazier than random ones; strong features suffice.",
        paper="Proposition 1 and Fig. 3, as far as its caption goes",
        measures="linear network, KA: (a) aligned - random; (b) how aligned - partly aligned falls with the strength of features",
        criteria={
            **{f"(a) strength {kappa}": Interval(low=0.1) for kappa in KAPPAS},
            **{f"(b) {low} to {high}": excludes_0 for low, high in zip(KAPPAS, KAPPAS[1:])},
        },
        partly=[[f"(a) strength {kappa}" for kappa in KAPPAS]],
    ),
    Claim(
        id="C6", kind="effect",
        statement="A smaller gain does not reverse the order of C2.",
        paper="controls of gain and dynamics; a reviewer notes a smaller effect where activity is stable",
        measures="KA at full rank minus KA at rank 1, for two gains of the first weights",
        criteria={f"gain {g:g}": above_0 for g in dict.fromkeys((SMALL_GAIN, gain))},
    ),
]  # fmt: skip
verdicts = Verdicts(CLAIMS, run)

# %% [markdown]
r"""
## The idea

<details class="symbols">
<summary>Symbols</summary>

| Symbol | Meaning |
|:--|:--|
| $f$, $\theta$ | a network's output and its weights |
| $K$, $J$ | tangent kernel, one row for each output of each input; matrix of the outputs' derivatives by the weights |
| $K_0$, $K_f$ | the kernel before and after training; in the linear network $\Theta_0$, $\Theta_f$ |
| $s_i$ | singular values of a matrix |
| $W_1$, $W_2$ | weights of the linear network: first and output layer |
| $d$ | inputs of the linear network |
| $\beta$, $\hat\beta$ | the task, a vector of $d$ numbers, and its direction |
| $e$ | what the linear network still lacks of the task |
| $\sigma$ | norm of the first weights of the linear network |
| $\Theta$ | tangent kernel of the linear network, between directions of its input |
| $v$ | direction of a start of rank 1 |
| $F$, $w$, $\kappa$ | features of the teacher, its weights, and the strength of the strong features |
| $x_t$, $h_t$, $y_t$ | input, activity and output of the recurrent network at step $t$ |
| $W_{in}$, $W_h$, $W_{out}$ | its input, recurrent and output weights |
| $A$, $A_r$ | Gaussian matrix that all ranks share, and its part of rank $r$ |
| $\delta_t$ | derivative of a loss or an output with respect to the current into each unit |

</details>

### What lazy means

Let $f(x;\theta)$ be the output of a network. For a small step of gradient descent only the *tangent kernel* counts,

$$
K=JJ^\top,\qquad J=\frac{\partial f}{\partial\theta}, \tag{1}
$$

with a row and a column for each output of each input: entry $(i,j)$ says how much a step that serves input $j$ moves output $i$. If $K$ stays what it
was, the network is a kernel machine with features that were fixed before it saw data. So one measures how much of its direction is left,

$$
KA=\frac{\mathrm{Tr}(K_0K_f)}{\|K_0\|_F\,\|K_f\|_F}, \tag{2}
$$

with $K_0$ before and $K_f$ after training. It is a cosine between matrices. A kernel that only grows has $KA=1$. RA is the same cosine for the
representation, with $HH^\top$ in place of $K$, where $H$ has the hidden activity of one input in each row. Neither is centered.

### How much rank a matrix uses

$$
\mathrm{er}(W)=\frac{\big(\sum_is_i^2\big)^2}{\sum_is_i^4} \tag{3}
$$

with the singular values $s_i$.

> This is a participation ratio. That the paper uses the same definition, we could not verify.

For $r$ equal singular values, $\mathrm{er}=r$. A square Gaussian matrix of full rank has about half as much as its rank, since its singular values differ:
"""

# %%
spectra = {
    "3 equal values": torch.eye(10)[:3],
    "each half of the one before": torch.diag(2.0 ** -torch.arange(10)),
    "Gaussian, 300 x 300": torch.randn(300, 300, generator=stream(seed, 9)),
}
rows = {name: [torch.linalg.matrix_rank(W).item(), effective_rank(W).item()] for name, W in spectra.items()}
pd.DataFrame(rows, ["rank", "effective rank"]).T.round(2)

# %% [markdown]
r"""
### A linear network, where everything can be written down

Take $f(x)=W_2W_1x$ with $d$ inputs and one output, and whitened data, on which the loss is $\frac12\|\beta-W_1^\top W_2^\top\|^2$ for a task
$\beta\in\mathbb R^d$. Gradient flow is

$$
\dot W_1=W_2^\top e^\top,\qquad\dot W_2=e^\top W_1^\top,\qquad e=\beta-W_1^\top W_2^\top . \tag{4}
$$

Let $W_2(0)=0$ and $\|W_1(0)\|_F=\sigma$ be small. The kernel between inputs is $x^\top\Theta x'$ with

$$
\Theta=W_1^\top W_1+\|W_2\|^2I . \tag{5}
$$

*Before training* $\Theta_0=W_1(0)^\top W_1(0)$: the structure of the first weights and nothing else. *After training* it does not matter any more. The flow keeps
$W_1W_1^\top-W_2^\top W_2$ as it is, which is of the order of $\sigma^2$. When it has converged and $\sigma\to0$, $W_1$ and $W_2$ must therefore be of rank 1 and balanced, and

$$
\Theta_f=\|\beta\|\,\big(\hat\beta\hat\beta^\top+I\big),\qquad\hat\beta=\beta/\|\beta\| . \tag{6}
$$

The first term has the task, the second is what the output layer adds to every direction alike. The cosine of the two is

$$
KA=\frac{\hat\beta^\top\Theta_0\hat\beta+\mathrm{Tr}\,\Theta_0}{\sqrt{d+3}\;\|\Theta_0\|_F} . \tag{7}
$$

Average over tasks: for $\hat\beta$ uniform on the sphere, $\hat\beta^\top\Theta_0\hat\beta$ has mean $\mathrm{Tr}\,\Theta_0/d$. And
$(\mathrm{Tr}\,\Theta_0)^2/\|\Theta_0\|_F^2$ is the effective rank of $W_1(0)$:

$$
\mathbb E\,KA=\frac{1+1/d}{\sqrt{d+3}}\,\sqrt{\mathrm{er}(W_1(0))} . \tag{8}
$$

**Laziness grows as the square root of the effective rank**, because the end point is nearly isotropic and a start of high rank is, too.

> One caution: with $\sigma\to0$ no such network is lazy in the usual sense. Its kernel grows from nothing. What differs is by how much it turns.

Here are the flow of equation (4), by a Runge-Kutta method for all tasks at once, and equation (7).
"""


# %%
def velocity(W1, W2, beta):
    """Right-hand side of the flow, and the error e: W1 (tasks, h, d), W2 (tasks, h), beta (tasks, d)."""
    error = beta - (W2[:, None] @ W1)[:, 0]
    return W2[:, :, None] * error[:, None], (W1 @ error[:, :, None])[..., 0], error


def flow(W1, beta, dt=0.05, tolerance=1e-8, most=4000):
    """Follow the flow from W2 = 0 until every task has a squared error below the tolerance."""
    W2 = np.zeros(W1.shape[:2])
    for _ in range(most):
        a1, a2, error = velocity(W1, W2, beta)
        if (error**2).sum(1).max() < tolerance:
            break
        b1, b2, _ = velocity(W1 + dt / 2 * a1, W2 + dt / 2 * a2, beta)
        c1, c2, _ = velocity(W1 + dt / 2 * b1, W2 + dt / 2 * b2, beta)
        e1, e2, _ = velocity(W1 + dt * c1, W2 + dt * c2, beta)
        W1 = W1 + dt / 6 * (a1 + 2 * b1 + 2 * c1 + e1)
        W2 = W2 + dt / 6 * (a2 + 2 * b2 + 2 * c2 + e2)
    return W1, W2, (error**2).sum(1)


def closed_form(W1, beta):
    """KA of each task for a small start."""
    theta, unit = W1.swapaxes(1, 2) @ W1, beta / np.linalg.norm(beta, axis=1, keepdims=True)
    trace = np.trace(theta, axis1=1, axis2=2)
    along = np.einsum("ni,nij,nj->n", unit, theta, unit)
    return (along + trace) / np.sqrt(beta.shape[1] + 3) / np.linalg.norm(theta, axis=(1, 2))


# %% [markdown]
r"""
For a start of rank 1 along the unit vector $v$ equation (7) says $KA=\big(1+(v^\top\hat\beta)^2\big)/\sqrt{d+3}$: least for $v$ orthogonal to the task, and twice as much for $v=\hat\beta$. So a start of low rank need not be rich. It
can be as lazy as rank 1 allows, if it points where the task does. The paper asks how much it must know for that. Let a teacher be $w^\top Fx$, that is $\beta=F^\top w$, where half of the singular values of $F$ are $\kappa$ and half are 1: features of the
strength $\kappa$ and weak ones. *Aligned* starts along $F^\top w$. *Partly aligned* knows the strong features only, and starts along $F_{d/2}^\top w$ with the weak ones cut off.
"""


# %%
def linear_trial(config, seed):
    """KA of the linear network: by gradient flow and by the closed form, a value a task, for every start."""
    rng = np.random.default_rng([seed, 0])
    n, d, h = config["tasks"], config["d"], config["h"]

    def orthonormal(rows, columns):
        return np.linalg.qr(rng.standard_normal((n, rows, columns)))[0]

    strong = np.arange(d) < d // 2
    w, left, right = rng.standard_normal((n, d)), orthonormal(d, d), orthonormal(d, d)
    w /= np.linalg.norm(w, axis=1, keepdims=True)
    features = np.where(strong, config["kappa"], 1.0) * (w[:, None] @ left)[:, 0]  # F^T w along columns of `right`
    beta, partial = ((right @ (features * keep)[..., None])[..., 0] for keep in (1, strong))
    spectra = {f"rank {r}": np.arange(d) < r for r in config["ranks"]} | {"halving": 2.0 ** -np.arange(d)}
    # Directions are drawn anew for every spectrum, so that their means over tasks are independent.
    starts = {name: (orthonormal(h, d) * s) @ orthonormal(d, d) for name, s in spectra.items()}
    starts["Gaussian"] = rng.standard_normal((n, h, d))
    starts |= {name: orthonormal(h, 1) * v[:, None] for name, v in (("aligned", beta), ("partial", partial))}
    found = {}
    for name in config["starts"]:
        W0 = config["sigma"] * starts[name] / np.linalg.norm(starts[name], axis=(1, 2), keepdims=True)
        W1, W2, residual = flow(W0, beta)
        theta_0, theta_f = (W.swapaxes(1, 2) @ W for W in (W0, W1))
        theta_f += (W2**2).sum(1)[:, None, None] * np.eye(d)
        conserved = W1 @ W1.swapaxes(1, 2) - W2[:, :, None] * W2[:, None] - W0 @ W0.swapaxes(1, 2)
        found |= {
            f"{name}: KA": kernel_alignment(torch.tensor(theta_0), torch.tensor(theta_f)).numpy(),
            f"{name}: formula": closed_form(W0, beta),
            f"{name}: rank": effective_rank(torch.tensor(W0)).numpy(),
            f"{name}: residual": residual.max(), f"{name}: drift": np.abs(conserved).max(),
        }  # fmt: skip
    return found


# %% [markdown]
r"""
### A recurrent network that decides

$N$ units with activity $h_t$ follow

$$
h_t=\mathrm{ReLU}\big((1-\alpha)h_{t-1}+\alpha(W_{in}x_t+W_hh_{t-1})\big),\qquad y_t=W_{out}h_t,\qquad h_0=0, \tag{9}
$$

without biases. $\alpha$ is a step of time over the time constant of a unit. As in the released code both are 100 ms, so that $\alpha=1$. For seven steps the
network sees two noisy signals, and it must say "wait". At the eighth the input is zero, and it must say which of the signals was larger. Its
only memory is the recurrence. The loss is the cross-entropy over three answers, the mean over steps.
"""

# %% tags=["hide-input"]
shown = two_alternative_choice(400, generator=stream(seed, 8))
fig, ax = plt.subplots(figsize=(7.2, 2.6))
COLORS = figures.palette(baseline=["wait"], method="signal 1", ablations=["signal 2"])
pick = int((shown.x[:-1, :, 1].mean(0) - shown.x[:-1, :, 2].mean(0)).argmax())
for channel, name in enumerate(COLORS):
    ax.plot(np.arange(1, 9), shown.x[:, pick, channel], "o-", color=COLORS[name], label=name)
ax.set(xlabel="step (100 ms each)", ylabel="input", title="One trial with a clear answer: 1")
ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
figures.show(
    fig,
    caption="Figure 1. The three inputs of one trial. At the last step all are zero, and the network has to answer.",
    alt="Three curves over eight steps: a constant one at 1, a noisy one above a second noisy one; all drop to zero at the last step.",
)

# %% [markdown]
r"""
The first recurrent weights of all ranks come from one Gaussian matrix $A$ with deviation $g/\sqrt N$. Keep its $r$ largest singular values,
then scale the result back to the norm of $A$:

$$
W_h(0)=A_r\,\frac{\|A\|_F}{\|A_r\|_F} . \tag{10}
$$

The norm is the same for all. The largest singular value is not: all of the norm in one direction makes it large.
"""

# %%
sizes = {}
for rank in settings.ranks:
    W = low_rank_(torch.empty(settings.hidden, settings.hidden), rank, gain, stream(run.seeds(1)[0], 0))
    sizes[rank] = [
        W.norm().item(), effective_rank(W).item(), torch.linalg.svdvals(W)[0].item(),
        torch.linalg.eigvals(W).abs().max().item(),
    ]  # fmt: skip
columns = ["norm", "effective rank", "largest singular value", "spectral radius"]
pd.DataFrame(sizes, columns).T.rename_axis("rank").round(2)

# %% [markdown]
r"""
Networks of all ranks are trained side by side, since they see the same trials: their weights are stacked, and one product a step serves all. Each has its own loss and so
its own gradient. Two more networks, of rank 1 and of full rank with a small gain, are the control of C6.
"""


# %%
def first_weights(config, seed):
    """Stacked weights of the networks, which differ in the recurrent ones only."""
    n, copies, draw = config["hidden"], len(config["networks"]), stream(seed, 1)
    w_in = torch.empty(n, 3).uniform_(-(3**-0.5), 3**-0.5, generator=draw)  # torch's default for a linear map
    w_out = torch.empty(3, n).uniform_(-(n**-0.5), n**-0.5, generator=draw)
    w_h = torch.stack([low_rank_(torch.empty(n, n), rank, g, stream(seed, 0)) for rank, g in config["networks"]])
    return nn.ParameterDict(dict(w_in=w_in.repeat(copies, 1, 1), w_h=w_h, w_out=w_out.repeat(copies, 1, 1)))


def losses(outputs, y):
    """Cross-entropy of each network, the mean over steps and trials."""
    classes = y.expand(outputs.shape[:-1])
    return F.cross_entropy(outputs.movedim(-1, 1), classes, reduction="none").mean((1, 2))


# %% [markdown]
r"""
Let $L$ be a loss, or one output, and $\delta_t$ its derivative with respect to the current $W_{in}x_t+W_hh_{t-1}$ into each unit. Sent back through time, these errors give the
gradients, and the tangent kernel of equation (1) as well:

$$
\frac{\partial L}{\partial W_h}=\sum_t\delta_t\,h_{t-1}^\top,\qquad
K_{ij}=\sum_{t,s}\big(\delta_{it}^\top\delta_{js}\big)\big(h_{i,t-1}^\top h_{j,s-1}\big), \tag{11}
$$

where $i$ and $j$ count outputs of trials. So we need neither automatic differentiation nor the matrix $J$, which has a column for each weight. The cell after the next compares both with it.
"""


# %%
@torch.no_grad()
def gradients(weights, x, y):
    """Gradient of the loss of each network, for its three matrices."""
    outputs, hidden = ctrnn(x, **weights)
    outward = (outputs.softmax(-1) - F.one_hot(y, 3)) / y.numel()
    errors = ctrnn_errors(outward, hidden, weights["w_h"], weights["w_out"])
    return {
        "w_in": errors.flatten(1, 2).mT @ x.flatten(0, 1),
        "w_h": errors[:, 1:].flatten(1, 2).mT @ hidden[:, :-1].flatten(1, 2),
        "w_out": outward.flatten(1, 2).mT @ hidden.flatten(1, 2),
    }


@torch.no_grad()
def tangent_kernels(weights, trials, steps=(-1,)):
    """Kernels of the networks, for their recurrent weights and their outputs at these steps; trials (time, n, 3)."""
    _, hidden = ctrnn(trials, **weights)
    places = [(step, answer) for step in steps for answer in range(3)]
    hidden = hidden.repeat(1, 1, len(places), 1)  # one copy of the trials for each output
    outward = torch.zeros(*hidden.shape[:-1], 3)
    for i, (step, answer) in enumerate(places):
        outward[:, step, i * trials.shape[1] : (i + 1) * trials.shape[1], answer] = 1
    errors = ctrnn_errors(outward, hidden, weights["w_h"], weights["w_out"])
    return jacobian_gram(errors[:, 1:].transpose(1, 2), hidden[:, :-1].transpose(1, 2))


# %%
pair_of_ranks = first_weights(dict(hidden=20, networks=[[1, 1.25], [20, 1.25]]), seed)
x_few, y_few = two_alternative_choice(6, generator=stream(seed, 7))
losses(ctrnn(x_few, **pair_of_ranks)[0], y_few).sum().backward()
for name, by_hand in gradients(pair_of_ranks, x_few, y_few).items():
    torch.testing.assert_close(by_hand, pair_of_ranks[name].grad)


def decision(w_h):
    """Outputs of the second network at the last step, all trials of an answer side by side."""
    return ctrnn(x_few, pair_of_ranks["w_in"][1], w_h, pair_of_ranks["w_out"][1])[0][-1].T.flatten()


J = torch.func.jacrev(decision)(pair_of_ranks["w_h"][1].detach()).flatten(1)
torch.testing.assert_close(tangent_kernels(pair_of_ranks, x_few)[1], J @ J.T)
print("gradients and tangent kernel agree with automatic differentiation")


# %%
@torch.no_grad()
def answers(weights, probe):
    """Kernel of the activity at the decision, loss, and share of correct answers of each network."""
    outputs, hidden = ctrnn(probe.x, **weights)
    activity = hidden[:, -1]
    correct = (outputs[:, -1].argmax(-1) == probe.y[-1]).double().mean(1)
    return activity @ activity.mT, losses(outputs, probe.y), correct


# %%
CEILINGS = {"KA": 1.0, "RA": 1.0, "change": 100.0, "loss": 10.0, "correct": 1.0}
DIVERGED = CEILINGS | {"KA": 0.0, "RA": 0.0, "correct": 0.0}  # for a network whose weights are no numbers any more


def trial(config, seed):
    """Train the networks of one seed; measure them at config["points"], in iterations. A curve a network and measure."""
    weights = first_weights(config, seed)
    probe = two_alternative_choice(config["probe"], generator=stream(seed, 2))
    some = probe.x[:, : config["kernel"]]
    first = {name: w.detach().clone() for name, w in weights.items()}
    tangent, (activity, _, _) = tangent_kernels(weights, some), answers(weights, probe)
    optimizer = torch.optim.SGD(weights.parameters(), lr=config["lr"], momentum=config["momentum"])
    draw, points = stream(seed, 3), [0, *config["points"]]
    networks = range(len(config["networks"]))
    found = {f"{name} {k}": [] for name in CEILINGS for k in networks}
    for i in resume(len(config["points"]), weights=weights, optimizer=optimizer, draw=draw, found=found):
        trials = two_alternative_choice(config["batch"] * (points[i + 1] - points[i]), generator=draw)
        for x, y in zip(*(part.split(config["batch"], dim=1) for part in trials)):
            for name, gradient in gradients(weights, x, y).items():
                weights[name].grad = gradient
            optimizer.step()
        activity_now, loss, correct = answers(weights, probe)
        ka = kernel_alignment(tangent, tangent_kernels(weights, some))
        change = (weights["w_h"].detach() - first["w_h"]).flatten(1).norm(dim=1)
        for name, values in zip(CEILINGS, (ka, kernel_alignment(activity, activity_now), change, loss, correct)):
            for k in networks:
                value = values[k].item()
                found[f"{name} {k}"].append(min(value, CEILINGS[name]) if np.isfinite(value) else DIVERGED[name])
    last = {}
    for part in first:  # what if only this one had been trained?
        ka = kernel_alignment(tangent, tangent_kernels(first | {part: weights[part]}, some))
        last |= {f"{part} alone {k}": ka[k].nan_to_num().item() for k in networks}
    width = tangent.diagonal(dim1=1, dim2=2).sum(1).square() / tangent.square().sum((1, 2))
    return found | last | {f"kernel's rank {k}": width[k].item() for k in networks}


# %% [markdown]
r"""
## Experiments

The networks are measured at a few moments of training, which are enough for comparisons at equal loss.
"""

# %%
networks = [[rank, gain] for rank in settings.ranks]
networks += [[rank, SMALL_GAIN] for rank in (settings.ranks[0], settings.ranks[-1])]
moments = (0.01, 0.03, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1)
points = sorted({max(1, round(part * settings.iterations)) for part in moments})
keys = ("hidden", "batch", "lr", "momentum", "probe", "kernel")
config = {key: asdict(settings)[key] for key in keys} | dict(networks=networks, points=points)
seeds = run.seeds(settings.seeds)

starts = ["rank 1", "rank 10", "aligned", "partial", "rank 3", "Gaussian", "halving"]
linear = dict(tasks=settings.tasks, d=settings.d, h=settings.h, sigma=sigma, ranks=[1, 3, 10], starts=starts)
teachers = [linear | dict(kappa=kappa, starts=starts if kappa == 1 else starts[:4]) for kappa in KAPPAS]
theory = sweep(linear_trial, teachers, run.seeds(1), run=run)
theory = theory.set_index("kappa")
trained = sweep(trial, [config], seeds, run=run)

# %% [markdown]
r"""
### C1: the square root of the effective rank

Tasks are uniform on the sphere. Beside the ranks of the claim there are two starts that tell rank and effective rank apart: a Gaussian matrix, and one
of full rank in which every singular value is half of the one before.
"""

# %%
plain = theory.loc[1]
rows, gaps, distances = {}, [], []
for name in ("rank 1", "halving", "rank 3", "Gaussian", "rank 10", "aligned"):
    measured, formula = (np.array(plain[f"{name}: {part}"]) for part in ("KA", "formula"))
    boxed = np.mean((1 + 1 / settings.d) * np.sqrt(np.array(plain[f"{name}: rank"]) / (settings.d + 3)))
    used = np.mean(plain[f"{name}: rank"])
    rows[name] = [used, measured.mean(), boxed if name != "aligned" else np.nan, np.abs(measured - formula).max()]
    if name in ("rank 1", "rank 3", "rank 10", "aligned"):
        gaps.append(rows[name][-1])
    if name in ("rank 1", "rank 3"):
        distances.append(abs(measured.mean() - boxed) / (measured.std(ddof=1) / len(measured) ** 0.5))
verdicts.record(
    "C1", **{
        "each task": gaps, "mean, ranks 1 and 3": distances,
        "mean, rank 10": abs(rows["rank 10"][1] - rows["rank 10"][2]),
    },
)  # fmt: skip
names = [f"{name}: {{}}" for name in starts]
print(f"largest squared error at the end of a flow: {max(plain[n.format('residual')] for n in names):.1e}")
print(f"largest drift of the conserved matrix: {max(plain[n.format('drift')] for n in names):.1e}")
columns = ["effective rank", "KA, mean over tasks", "closed form", "largest error of a task"]
pd.DataFrame(rows, columns).T.style.format("{:.4f}", na_rep="").format("{:.1e}", subset=columns[3:])

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(7.2, 3.2))
grid = np.linspace(0.3, 10, 200)
ax.plot(grid, (1 + 1 / settings.d) * np.sqrt(grid / (settings.d + 3)), color="#a3a8b0", label="closed form, mean")
for name in ("rank 1", "halving", "rank 3", "Gaussian", "rank 10", "aligned"):
    values = np.array(plain[f"{name}: KA"])
    color = {"aligned": "#0072b2"}.get(name, figures.ACCENT)
    figures.errorbars(ax, [rows[name][0]], [values.round(4)], fmt="o", color=color, capsize=3)
    where = (6, 3) if name == "aligned" else (6, -13)
    ax.annotate(name, (rows[name][0], values.mean()), where, textcoords="offset points", fontsize=9)
ax.set(xlabel="effective rank of $W_1(0)$", ylabel="KA", ylim=(0, 1), title="Linear network: laziness is a square root")
ax.legend(loc="lower right")
figures.show(
    fig,
    caption="Figure 2. Gradient flow (points, mean and 95% interval over tasks) on the closed form (line). Only a start that is aligned with the task leaves it.",
    alt="A square-root curve with five points on it, at effective ranks from one to ten, and one point, labeled aligned, far above the curve at rank one.",
)

# %% [markdown]
r"""
Equation (7) holds for every task. The mean over tasks of equation (8) is a sample, and its distance from the closed form is chance. With 60 tasks, as planned, and one set of directions for all
ranks, one of four base seeds missed the limit of three standard errors, while every single task was right: few tasks of a skewed distribution. After that we raised the number of tasks to 200
at both scales and drew directions for each rank separately. The limit is the same. The start called *halving* has full rank, but it behaves like its effective rank says. Even the laziest start has KA somewhat below 1, as the kernel at the end has one direction more than the identity.

### C5: the exception

The same tasks are now those of a teacher with strong and weak features.
"""

# %%
lazy = {name: [np.array(theory.loc[k, f"{name}: KA"]) for k in KAPPAS] for name in starts[:4]}
missing = [whole - part for whole, part in zip(lazy["aligned"], lazy["partial"])]
criteria = {f"(a) strength {k}": a - b for k, a, b in zip(KAPPAS, lazy["aligned"], lazy["rank 1"])}
criteria |= {f"(b) {KAPPAS[i]} to {KAPPAS[i + 1]}": missing[i] - missing[i + 1] for i in range(len(KAPPAS) - 1)}
verdicts.record("C5", **criteria)
labels = {
    "aligned": "aligned, rank 1",
    "partial": "partly aligned, rank 1",
    "rank 1": "random, rank 1",
    "rank 10": "full rank",
}
table = {label: [values.mean() for values in lazy[name]] for name, label in labels.items()}
pd.DataFrame(table, KAPPAS).T.rename_axis("KA by strength of features").round(3)

# %% tags=["hide-input"]
COLORS = figures.palette(
    baseline=["random, rank 1", "full rank"], method="aligned, rank 1", ablations=["partly aligned, rank 1"]
)
fig, ax = plt.subplots(figsize=(7.2, 3.2))
for name, label in labels.items():
    figures.errorbars(ax, KAPPAS, np.round(lazy[name], 4), fmt="o-", color=COLORS[label], label=label, capsize=3)
ax.set(
    xlabel=r"strength $\kappa$ of the strong features",
    ylabel="KA",
    ylim=(0, 1),
    xticks=KAPPAS,
    title="A start that knows the task",
)
ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
figures.show(
    fig,
    caption="Figure 3. Linear network, mean and 95% interval over tasks. The partly aligned start knows only the strong features of the teacher.",
    alt=(
        "Four curves over three strengths. Full rank is on top and flat, random rank one at the bottom and flat. Aligned rank one is flat in between, and partly "
        "aligned rises towards it."
    ),
)

# %% [markdown]
r"""
To know the strong features is enough when they are strong. But no start of rank 1 gets as lazy as one of full rank: equation (7) caps it at $2/\sqrt{d+3}$, since the output layer
adds to all directions alike, and rank 1 has only one of them.

### C2 and C3: ranks of a recurrent network
"""


# %%
def compared(name, chosen, among=slice(None)):
    """Values of a measure, seeds by networks, at the end or, where that would be unfair, at equal loss; and which it was."""

    def curves(what):
        return np.stack([np.stack(trained[f"{what} {k}"]) for k in chosen], axis=1)[among]

    values, loss = curves(name), curves("loss")
    last = loss[..., -1].mean(0)
    if last.max() <= 1.1 * last.min():
        return values[..., -1], "at the end"
    first = (loss <= loss[..., -1:].max(1, keepdims=True)).argmax(-1)
    return np.take_along_axis(values, first[..., None], -1)[..., 0], "at equal loss"


main = range(len(settings.ranks))
found = {name: compared(name, main) for name in ("KA", "RA", "change")}
for id, name in (("C2", "KA"), ("C3", "RA")):
    difference = found[name][0][:, -1] - found[name][0][:, 0]
    order = [spearmanr(settings.ranks, values).statistic for values in found[name][0]]
    verdicts.record(id, difference, correlation=order)
ended = np.stack([[values[-1] for values in trained[f"loss {k}"]] for k in range(len(networks))])
lost = ended >= CEILINGS["loss"]
print(f"compared {found['KA'][1]}; networks that diverged: {lost.sum()} of {lost.size}")
if lost[list(main)].any() and (~lost[list(main)].any(0)).sum() > 1:
    for name in found:
        rest, where = compared(name, main, ~lost[list(main)].any(0))
        mean, low, high = figures.interval(rest[:, -1] - rest[:, 0])
        print(f"{name}, full rank - rank 1 without their seeds, {where}: {mean:.3f}, 95% {low:.3f} to {high:.3f}")
ideal = norm.cdf(np.array(COHERENCES) / 100 / (NOISE * (2 / 7) ** 0.5)).mean()  # compares the means of seven steps
print(f"correct answers of an ideal observer: {ideal:.3f}")
table = {name: values.mean(0) for name, (values, _) in found.items()}
for label, name in (("loss, end", "loss"), ("correct answers, end", "correct")):
    table[label] = [np.stack(trained[f"{name} {k}"])[:, -1].mean() for k in main]
pd.DataFrame(table, settings.ranks).rename_axis("rank").round(3)

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 3, figsize=(7.2, 3.0))
titles = {"KA": "Tangent kernel", "RA": "Representation", "change": "Recurrent weights"}
for ax, (name, title) in zip(axes, titles.items()):
    values = found[name][0]
    for row in values:
        ax.plot(settings.ranks, row, color="#c4c8ce", linewidth=1)
    figures.errorbars(ax, settings.ranks, values.T, fmt="o-", color=figures.ACCENT, capsize=3)
    ax.set(xscale="log", xlabel="rank", title=title, ylabel={"change": "norm of the change"}.get(name, name))
    ax.set_xticks(settings.ranks, settings.ranks)
    ax.minorticks_off()
    ax.set_ylim(0, 1.05 if name != "change" else None)
figures.show(
    fig,
    caption="Figure 4. Recurrent network, by the rank of its first weights at one norm: mean and 95% interval over seeds; each seed in gray.",
    alt=(
        "Three panels over four ranks. KA and RA are lowest at rank one and rise, RA at once to almost one. The change of the weights is largest at rank one."
    ),
    thumbnail=True,
)

# %% [markdown]
r"""
The gray lines are single seeds. At small scale KA rises with the rank up to the third, and then no more. Seeds differ about as much as ranks do. RA is near 1 for all but
rank 1, which leaves little to compare: activity is never negative, so two kernels of it have a mean in common, and without centering this counts as agreement. Exercise 2 measures how much. All ranks come to
answer about as well, not far from the ideal observer.

At the decision a network of rank 1 can at first say one number only. Its input is zero, so that its activity is $\mathrm{ReLU}(cu)$ with one vector $u$ of units and a number $c$ that depends
on the trial. That is little to read an answer from. What is missing, training has to build.

### C4: the weights
"""

# %%
change = found["change"][0]
verdicts.record("C4", change[:, 0] - change[:, -1])
summary = {
    f"rank {rank} - full rank": figures.interval(change[:, k] - change[:, -1])
    for k, rank in enumerate(settings.ranks[:-1])
}
pd.DataFrame(summary, ["mean", "95% from", "to"]).T.round(3).rename_axis("norm of the change")

# %%
when = pd.DataFrame([*trained["change 0"]], [f"seed {s}" for s in seeds], points)
# A matrix of rank 1 has one eigenvalue that is not zero, its trace.
when.insert(0, "eigenvalue", [first_weights(config, s)["w_h"][0].trace().item() for s in seeds])
when.round(2).rename_axis("change at rank 1, by iteration")

# %% [markdown]
r"""
The mean has the direction of the paper. At four of six base seeds the interval had 0 in it at small scale, at two of them because a single network of rank 1 moved far. The table shows how that comes: where the change at rank 1 is
far larger than elsewhere, much of it comes at once, between two moments. Such a jump looks like steps of the optimizer that went too far, not like a feature that is learned bit by bit. The first
column has the eigenvalue of the first weights, which the norm leaves to chance. If it is positive and large, activity grows from step to step. With base seed 0 the network that moved the most is the one where it is largest, and so it is with two of the five others. The other
networks of rank 1 move little more than those of higher rank. A norm does not know in which direction weights move. A short
move can turn the kernel of a network of low rank, and a long one need not.

### C6: a smaller gain

With gain 0.5 activity that nothing drives dies out at full rank. Rank 1 and full rank are trained once more from there.
"""

# %%
pairs = {gain: (0, len(main) - 1), SMALL_GAIN: (len(main), len(main) + 1)}
by_gain = {g: compared("KA", pair) for g, pair in pairs.items()}
verdicts.record("C6", **{f"gain {g:g}": values[:, 1] - values[:, 0] for g, (values, _) in by_gain.items()})
rows = {
    f"gain {g:g}, {where}": [*values.mean(0), *figures.interval(values[:, 1] - values[:, 0])]
    for g, (values, where) in by_gain.items()
}
pd.DataFrame(rows, ["KA, rank 1", "KA, full rank", "difference", "95% from", "to"]).T.round(3)

# %% [markdown]
r"""
The claim asks for the direction of the mean only. The interval at the small gain says how sure it is: at small scale it had 0 in it at two of six base seeds. The pair with the gain of C2 is compared by itself here, so its losses, and with them the moment of comparison, can differ a little from those above.

### Which weights turn the kernel

The kernel of $W_h$ depends on all three matrices: $W_{in}$ and $W_h$ shape the activity, $W_h$ and $W_{out}$ what becomes of a change until the output. We put trained
matrices one by one into the untrained network and compute its KA.
"""

# %%
parts = {"w_in": "input weights", "w_h": "recurrent weights", "w_out": "output weights"}
alone = {label: [trained[f"{part} alone {k}"] for k in main] for part, label in parts.items()}
together = [[values[-1] for values in trained[f"KA {k}"]] for k in main]
table = {f"{label} alone": np.mean(values, axis=1) for label, values in alone.items()}
table |= {"all three": np.mean(together, axis=1)}
widths = np.array([trained[f"kernel's rank {k}"] for k in main])
table |= {"effective rank of the first kernel": widths.mean(1)}
print(
    f"rank correlation of KA and that effective rank, over networks: {spearmanr(widths.ravel(), np.ravel(together)).statistic:.2f}"
)
pd.DataFrame(table, settings.ranks).T.rename_axis("KA at the end, by rank").round(2)

# %% tags=["hide-input"]
names = [f"rank {rank}" for rank in settings.ranks]
COLORS = figures.palette(baseline=names[1:-1], method=names[0], ablations=names[-1:])
fig, (left, middle, right) = plt.subplots(1, 3, figsize=(7.2, 3.2))
for k in (0, len(names) - 1, *range(1, len(names) - 1)):
    left.plot(points, np.mean([*trained[f"loss {k}"]], axis=0), color=COLORS[names[k]], label=names[k])
    if names[k] in (names[0], names[-1]):
        figures.band(middle, points, trained[f"KA {k}"], color=COLORS[names[k]])
swapped = {
    "all three": together,
    "recurrent alone": alone["recurrent weights"],
    "output alone": alone["output weights"],
}
for (label, values), color, aside in zip(swapped.items(), ("#434955", "#cc79a7", "#009e73"), (0.85, 1, 1.18)):
    places = aside * np.array(settings.ranks)
    figures.errorbars(right, places, values, fmt="o-", color=color, label=label, capsize=2, markersize=4, elinewidth=1)
left.set(xscale="log", yscale="log", xlabel="iteration", ylabel="loss", title="Loss")
middle.set(xscale="log", xlabel="iteration", ylabel="KA", ylim=(0, 1.05), title="KA so far")
right.set(xscale="log", xlabel="rank", ylabel="KA at the end", ylim=(0, 1.25), title="Weights swapped")
right.set_xticks(settings.ranks, settings.ranks)
right.minorticks_off()
left.legend(fontsize=8)
right.legend(fontsize=8, loc="upper left")
figures.show(
    fig,
    caption=(
        "Figure 5. Left: mean loss. Middle: alignment with the first kernel, rank 1 and full rank. Right: alignment if only one matrix had been trained. Bands and bars are 95% "
        "intervals over seeds."
    ),
    alt=(
        "Left, four falling losses, that of rank one with a plateau. Middle, the curve of rank one lies below that of full rank, and both are below one from the first "
        "point on. Right, three curves rise with the rank and level off; that of all matrices together is mostly the lowest."
    ),
)

# %% [markdown]
r"""
No single matrix is responsible. At rank 1 each of them turns the kernel more than at full rank, the input weights least. The recurrent weights are not the only ones that count: output weights alone turn
the kernel of the recurrent ones by a similar amount. A good part of the turn has happened at the first moment that we measure (Figure 5), after one iteration in a hundred.

The last row of the table is the effective rank of the first kernel, the quantity that decides in the linear network. Here, too, it is larger where the rank of the weights is high. But it does not grow by much: at the
decision a kernel of a few dozen trials has only a few directions, whatever the weights. The correlation says how far it goes as an explanation from network to network.

## Verdicts
"""

# %% tags=["nbval-check-output"]
verdicts

# %% [markdown]
r"""
The linear theory is exact, and it says effective rank where the title of many a summary says rank. It also says what KA measures there: how isotropic the *first* kernel is. The last one is always nearly isotropic, whatever the
start. A high KA can therefore mean that little was learned inside, but also that two kernels agree because both have many directions. Exercise 2 shows the same for recurrent networks that
were never trained.

In the recurrent network the mean of the differences has the paper's sign, by the tangent kernel and at both gains. By the representation and by the weights it hangs on few networks of rank 1 that
moved far. Of six base seeds, with eight seeds each, C2, C3 and C4 were *reproduced* at two each, and *partly* at the others: the direction was
always that of the paper, but the interval sometimes had 0 in it, or in some seed KA or RA did not rise with the rank. Where
this stops: few seeds, one task, a kernel at one step. What we call rich is a turn of the kernel, and it came with no better answers.

## At full scale

The recurrent network has the paper's size: 300 units, ranks 1, 30, 100 and 300, and 10,000 iterations of the same task with the same batches. The tasks of the linear network
are the same, and the seeds are the five that we had planned. That is about a quarter of an hour of CPU time in all. Nothing has to be downloaded:

```
papermill book/notebooks/variance/rank-and-richness.ipynb rank-and-richness-full.ipynb -p scale full
```

In the recorded run one network of rank 1, that with the largest eigenvalue, had diverged before we first measured. By the rule that stood before the run it counts as fully changed, in C2, C3 and C4. This is no evidence for rich learning: it has
learned nothing. The table of C2 prints what is left without its seed. C2 and C4 have the same verdict either way. C3 would be *reproduced* without it and is *partly* with it, since one extreme value widens the interval. We left
the rule as it was.

## What differs from the paper

- **Size.** At small scale 100 units, 1,000 iterations, and ranks 1, 5, 20 and 100. The paper's networks have 300 and train for 10,000. A short training moves the kernel less. We had
  planned 1,500 iterations and took fewer to save time. With 1,500, C2 and C4 were *reproduced* at three of the base seeds 0 to 3, in place of two.
- **Tasks.** One of three neuroscience tasks, of our own generator. Matching a delayed sample, integration in a context, and sequential MNIST are left out, and so are weights
  with the statistics of cortex (cell types, Dale's law, heavy tails), for which we had no data.
- **The input "wait".** In the version of neurogym that the authors name it is 1 while the stimulus lasts. In today's version (2.3) it is 1 in a fixation period only. The paper's trials have none, so the released
  code with today's package would run without this input. Signals and answers have the same distribution as in the package.
- **The kernel.** Outputs at the decision only, for 24 or 32 trials. The released code takes the outputs of all eight steps. Exercise 3 compares.
- **Pairs.** The released code draws new input and output weights for every rank. Ours share them, which takes noise out of the differences. It compares after equal training, we at
  equal loss where losses differ by more than a tenth.
- **Seeds.** Eight at small scale, where five were planned: with five, two of four base seeds gave *partly* for C2, so we added three. At full scale there are five.
- **Small gain.** The paper's control of the gain is known to us only by a review. The value 0.5 is ours.
- **Theory.** We had no text of the theorem and the proposition. The closed form is our derivation, and the setting of C5 our reading of a caption: the student sees whitened inputs, and the
  features belong to the teacher. If the student saw the features, its kernel would have $F$ in it. The step of the integration is 0.05 where we had planned 0.02, decided before any run; the largest
  error of a task shows that it does not matter.
- **Networks that diverge.** A network whose weights are no numbers any more counts with KA and RA 0, loss 10, change 100 and no correct answer. Loss and change are cut there for all. By the rule of equal
  loss its seed would be compared at the first moment that we measure. How many there were is printed above the table of C2.
- **Noise of machines.** Thousands of steps in single precision amplify rounding: on another processor single networks can end elsewhere, most of all those of rank 1.

## Try it

Each question has a folded solution that runs with the chapter.

1. The known way to make learning lazy is a large start. Raise `sigma` in the linear network. Does it work for rank 1?
"""

# %% tags=["solution", "hide-cell"]
few = linear | dict(tasks=20, kappa=1, starts=["rank 1", "rank 10"])
for size in (0.01, 1.0, 3.0):
    sized = linear_trial(few | dict(sigma=size), seed)
    alignments = [np.mean(sized[f"{name}: KA"]) for name in few["starts"]]
    print(f"sigma = {size:<5g} KA: rank 1 {alignments[0]:.3f}, full rank {alignments[1]:.3f}")
print(f"mean of a squared cosine between random directions: {1 / settings.d:.3f}")
# A large start of full rank is lazy. One of rank 1 must turn its only direction towards the task, and the larger it is,
# the less the output layer adds to the others: KA goes to the squared cosine of start and task.

# %% [markdown]
r"""
2. RA is close to 1 for many networks. How large is it between two networks that have nothing to do with each other, both untrained? And between their tangent kernels?
"""

# %% tags=["solution", "hide-cell"]
pair = config | dict(hidden=100, networks=[[1, 1.25], [100, 1.25]])
common = two_alternative_choice(24, generator=stream(seed, 5))
one, other = (first_weights(pair, s) for s in (seed, seed + 1))
by_tangent = kernel_alignment(*(tangent_kernels(weights, common.x) for weights in (one, other)))
by_activity = kernel_alignment(*(answers(weights, common)[0].detach() for weights in (one, other)))
for k, name in enumerate(("rank 1", "full rank")):
    print(f"{name}: KA {by_tangent[k]:.2f}, RA {by_activity[k]:.2f}")
# Activity is never negative, so two kernels of it share a mean. Without centering this floor belongs to every value above.

# %% [markdown]
r"""
3. We take the tangent kernel at the decision. The released code takes the outputs of all steps. Does the order of the ranks depend on that? Train two small networks for
   a while and compute both.
"""

# %% tags=["solution", "hide-cell"]
brief = config | dict(hidden=60, networks=[[1, 1.25], [60, 1.25]])
weights, draw = first_weights(brief, seed), stream(seed, 3)
seen = two_alternative_choice(12, generator=stream(seed, 6)).x
choices = {"the decision": [-1], "all steps": range(8)}
before = {name: tangent_kernels(weights, seen, steps) for name, steps in choices.items()}
descent = torch.optim.SGD(weights.parameters(), lr=0.003, momentum=0.9)
for _ in range(400):
    for name, gradient in gradients(weights, *two_alternative_choice(32, generator=draw)).items():
        weights[name].grad = gradient
    descent.step()
for name, steps in choices.items():
    after = kernel_alignment(before[name], tangent_kernels(weights, seen, steps))
    print(f"KA at {name}: rank 1 {after[0]:.2f}, full rank {after[1]:.2f}")
# One seed and two small networks: look at the direction.
