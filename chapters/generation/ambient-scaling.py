# ---
# jupyter:
#   jupytext:
#     cell_markers: 'r"""'
#     text_representation: {extension: .py, format_name: percent}
#   kernelspec: {display_name: Python 3, language: python, name: python3}
#   chapter:
#     slug: ambient-scaling
#     title: "Ambient scaling: what a noisy image is worth"
#     summary: "Noisy images teach a denoiser all that lies above their own noise, and nothing below. There only clean images count, and how often they are drawn decides whether a mix pays."
#     paper: {title: "How Much is a Noisy Image Worth? Data Scaling Laws for Ambient Diffusion", authors: [Giannis Daras, Yeshwanth Cherapanamjeri, Constantinos Daskalakis], year: 2025, venue: "ICLR 2025", arxiv: "2411.02780", code: "https://github.com/giannisdaras/ambient-laws"}
#     part: generation
#     full: {device: cpu, minutes: 7, memory_gb: 3, data: [Fashion-MNIST], models: [], reduced: "mixtures of up to 20,000 samples and a perceptron on 20,000 images of Fashion-MNIST at 14x14 pixels in place of EDM networks on CIFAR-10, CelebA and ImageNet"}
# ---

# %% [markdown]
r"""
# Ambient scaling: what a noisy image is worth

Clean images are expensive, and noisy ones are often cheap. A diffusion model can learn from both. It has to denoise at
every level of noise anyway, and at the levels above that of a noisy image, the noisy image can teach it, by a loss that
still asks for the clean image. Below that level only clean images can teach. The paper trains more than eighty
models on such mixtures and asks for an exchange rate. Noisy images alone are bad, a few clean ones alone are bad, and
a few clean ones with many noisy ones are almost as good as if all were clean. A theory of Gaussian mixtures says why:
noisy samples find the coarse structure, and only clean ones find the fine structure. [Daras, Cherapanamjeri and
Daskalakis (2025)](https://arxiv.org/abs/2411.02780), *How Much is a Noisy Image Worth? Data Scaling Laws for Ambient
Diffusion*. ICLR.
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
modes: int = 8  # of the ring in stage A, from 2 to 16
noise: float = 0.4  # standard deviation of the noise on images in stage B, whose pixels lie in [-1, 1]
clean_share: float = 0.1  # of the images in stage B

# %%
from dataclasses import dataclass

from reprolib.scale import start


@dataclass(frozen=True)
class Settings:
    sizes: tuple[int, ...]  # A: samples
    more_modes: tuple[int, ...]  # A: rings besides that of the verdicts
    n_score: int  # A: test points
    data: str  # B
    n_train: int
    n_test: int
    hidden_dim: int
    lr: float
    steps: int
    n_samples: int  # B: generated, for the Fréchet distance
    seeds: tuple[int, int, int]  # A, A for C1 alone, B
    iterations: int = 300  # A: at most, of EM
    batch: int = 128
    levels: int = 18  # of noise, in sampling


SCALES = {
    "small": Settings((2000,), (), 4000, "digits", 1497, 300, 128, 3e-3, 2000, 500, (12, 80, 3), iterations=150),
    "full": Settings(
        (2000, 20_000), (2, 4), 100_000, "Fashion-MNIST", 20_000, 1000, 384, 1e-3, 5000, 2000, (20, 100, 4)
    ),
}
dry = dict(n_score=500, steps=2, n_test=100, n_samples=200, seeds=(2, 2, 2), iterations=2, levels=2)
run = start(
    "ambient-scaling", SCALES, dry=dry, scale=scale, seed=seed, device=device, dry_run=dry_run, devices=("cpu",)
)

# %%
from copy import deepcopy

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
from scipy import optimize, stats
from scipy.linalg import eigh, eigvalsh
from scipy.spatial.distance import cdist
from sklearn.mixture import GaussianMixture
from torch import nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from reprolib import figures
from reprolib.checkpoint import resume
from reprolib.claims import Claim, Each, Interval, Verdicts, label, on_each
from reprolib.data import images, vision
from reprolib.diffusion.edm import P_MEAN, P_STD, EDMDenoiser
from reprolib.diffusion.mixture import GaussianMixtureDenoiser
from reprolib.diffusion.sampler import karras_sigmas
from reprolib.losses.ambient import ambient_edm_loss, x0_to_xn
from reprolib.streams import stream
from reprolib.sweep import sweep

settings = run.settings
if isinstance(modes, bool) or not isinstance(modes, int) or not 2 <= modes <= 16:
    raise ValueError(f"modes must be a whole number from 2 to 16, got {modes!r}.")
if isinstance(noise, bool | str) or not 0.05 <= noise <= 2:
    raise ValueError(f"noise must be from 0.05 to 2, got {noise!r}.")
if isinstance(clean_share, bool | str) or not 0.01 <= clean_share <= 0.9:
    raise ValueError(f"clean_share must be from 0.01 to 0.9, got {clean_share!r}.")
if settings.data != "digits":
    vision.load("fashion_mnist", "train", dry_run)  # data that are missing stop the chapter here
figures.use()

# %% [markdown]
r"""
## Claims

We write down what must happen before anything runs. There are two stages. Stage A is the paper's theory in the plane:
the data are a mixture of Gaussians, and we fit a mixture by maximum likelihood. Its *error* is the negative
log-likelihood of clean test points, minus that of the true density, in nats. Stage B is the paper's experiment in small: a
network learns to denoise images. Its error is the Fréchet distance between generated and real images.

Four data sets of one size are compared: all *clean*, all *noisy*, the *mix* of a few clean and many noisy ones, and these
*few clean* alone, which is smaller. A seed draws data, noise, first weights and batches, and all arms of a seed
share them. An interval is the 95% interval over seeds. Rules and thresholds are those of our plan. Those of stage A
were set after a first pilot; stage B was piloted on two seeds, which moved no threshold. These pilots had shown that C6 may fail.
"""

# %%
PLACES = [f"n = {n:,}" for n in settings.sizes]  # stage A is judged at every size
CLAIMS = [
    Claim(
        id="C1",
        kind="effect",
        statement="Stage A: a mix is better than either of its parts.",
        paper="FID on CIFAR-10 at noise 0.2: mix 2.81, noisy 11.93, few clean 17.30 (Table 1)",
        measures="error of the mix over the lower error of noisy and few clean, at noise 0.4 and 3% clean",
        **on_each(
            PLACES,
            {
                "ratio": Interval(high=0.6, log=True, strict=True),
                "every seed": Each(high=1, strict=True),
                "below 1": Interval(high=1, log=True, strict=True),
            },
            [["below 1"]],
        ),
        pilot=True,
    ),
    Claim(
        id="C2",
        kind="bound",
        statement="Stage A: noisy data alone are much worse than as many clean ones, and worse with more noise.",
        paper="FID on CIFAR-10: clean 1.99, noisy 11.93 (Table 1)",
        measures="median error of noisy over that of clean, at noise 0.2, 0.4 and 0.8",
        **on_each(
            PLACES,
            {
                "ratio": Each(low=3, strict=True),
                "growth": Each(low=1, strict=True, note="from one noise to the next"),
                "above 1.5": Each(low=1.5, strict=True),
            },
            [["above 1.5"]],
        ),
        pilot=True,
    ),
]

# %%
CLAIMS += [
    Claim(
        id="C3",
        kind="bound",
        statement="Noisy images teach the network above their own noise level, and clean images teach it below.",
        paper="the reason given for the method; not tabulated in the sources we have",
        measures="stage B: ratios of denoising errors, mean over seeds, at 2, 4, 8 and at 1/2, 1/4, 1/8 times the noise",
        criteria={
            "above: mix over clean": Each(high=1.1),
            "above: mix over few clean": Each(high=1, strict=True),
            "below: noisy over mix": Each(low=1.5),
        },
        partly=[["above: mix over clean", "above: mix over few clean"], ["below: noisy over mix"]],
    ),
    Claim(
        id="C4",
        kind="bound",
        statement="Stage A: the price of a clean sample, in noisy ones, grows steeply with the noise.",
        paper="1.5 to 1.75 at noise 0.2 on ImageNet (README); exponential in the theory",
        measures="worth of a noisy sample in clean ones, 1 / price, from median errors at noise 0.2, 0.4, 0.8 and 1.2",
        **on_each(
            PLACES,
            {
                "order": Each(low=0, note="worth minus that at the next noise; once 0 it stays"),
                "steepness": Each(high=1 / 5, strict=True, note="worth at 0.8 over worth at 0.2"),
            },
            [["order"]],
        ),
        pilot=True,
    ),
]

# %%
CLAIMS += [
    Claim(
        id="C5",
        kind="exact",
        statement="The loss on noisy samples is unbiased: the best it can do is the clean posterior mean.",
        paper="ambient score matching, by Tweedie's formula; the variance is ours",
        measures="largest error of the identity and of a numerical minimizer; deviations in standard errors",
        criteria={
            "identity": Each(high=1e-6),
            "minimizer": Each(high=1e-6),
            "slope": Each(low=-3, high=3),
            "variance": Each(low=-3, high=3),
        },
    ),
    Claim(
        id="C6",
        kind="effect",
        statement="Stage B: a network trained on a mix generates better images than one trained on either of its parts.",
        paper="FID on CelebA at noise 0.2: mix 2.75, noisy 12.97, few clean 11.92 (Table 1)",
        measures="Fréchet distance of the mix over the lower one of noisy (the better of two samplers) and few clean",
        criteria={
            "ratio": Interval(high=0.8, log=True, strict=True),
            "every seed": Each(high=1, strict=True),
            "below 1": Interval(high=1, log=True, strict=True),
        },
        partly=[["below 1"]],
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
| $x_0$ | a clean sample |
| $x_t$, $\sigma_t$ | the sample as the denoiser sees it, and the standard deviation of all its noise |
| $x_n$, $\sigma_n$ | a sample as it was stored, and the standard deviation of its own noise, which is known |
| $z$, $\epsilon$ | standard normal noise; $\epsilon$ is drawn once and stays |
| $h$ | the denoiser, a prediction of the clean sample |
| $r$ | share of the noise variance that was there from the start, from 0 to 1 |
| $D$ | the prediction of $x_n$ that follows from $h$ |
| $\sigma$, $u$ | noise level of a training step, and the standard normal draw behind it |
| $s$ | standard deviation of the clean data; 0.5 in the weight of the loss |
| $k$ | number of bumps in stage A |
| $\tau$ | standard deviation of a bump |
| $\mu_j$ | mean of bump $j$ |
| $x_i$, $\sigma_i$ | sample $i$ and the standard deviation of its noise, 0 if it is clean |
| $R_{ij}$ | how probably sample $i$ came from bump $j$ |
| $w_{ij}$, $g_i$ | weight of a sample in a mean; share of its deviation that is its bump's, not noise |
| $X_i$, $\theta$, $v_i$ | in C5: a sample in one dimension, the distance of its two bumps from 0, and the variance of its estimate of $\theta^2$ |

</details>

### One identity

Let $x_0$ be a clean sample and $x_t=x_0+\sigma_tz$ the same sample with Gaussian noise of standard deviation $\sigma_t$. A
diffusion model learns the *denoiser* $h(x_t)=\mathbb E[x_0\mid x_t]$ for all $\sigma_t$. Suppose that we never see $x_0$, only
$x_n=x_0+\sigma_n\epsilon$, with a known $\sigma_n$ and noise that was drawn once and stays. We can add more noise to it:
for $\sigma_t>\sigma_n$,

$$
x_t=x_n+\sqrt{\sigma_t^2-\sigma_n^2}\;z . \tag{1}
$$

Tweedie's formula says that the score of $x_t$, the gradient of its log-density, is $(\mathbb E[x_0\mid x_t]-x_t)/\sigma_t^2$. The
same formula for the smaller step from $x_n$ to $x_t$ says that it is $(\mathbb E[x_n\mid x_t]-x_t)/(\sigma_t^2-\sigma_n^2)$. So

$$
\mathbb E[x_n\mid x_t]=(1-r)\,\mathbb E[x_0\mid x_t]+r\,x_t,\qquad r=\frac{\sigma_n^2}{\sigma_t^2}. \tag{2}
$$

### A loss that needs no clean sample

Let the network predict the clean sample, $h$. Turn its prediction into one of $x_n$ by equation (2), $D=(1-r)h+rx_t$, and compare
that with the $x_n$ that we have. For given $x_t$ the expected loss is

$$
\mathbb E\big[\|D-x_n\|^2\mid x_t\big]=(1-r)^2\,\big\|h(x_t)-\mathbb E[x_0\mid x_t]\big\|^2+\text{const}, \tag{3}
$$

because $D-\mathbb E[x_n\mid x_t]$ is $(1-r)$ times $h-\mathbb E[x_0\mid x_t]$, and the rest is a variance that does not depend on $h$. The
minimum over all functions is the clean denoiser, though no clean sample was used. The whole method is one line:
"""


# %%
def ambient_error(h, x_t, x_n, sigma_t, sigma_n):
    r = (sigma_n / sigma_t) ** 2
    return (1 - r) * h + r * x_t - x_n


x_n, z, h = torch.randn(3, 5, 2, generator=stream(seed, 0))
x_t = x_n + (1.0**2 - 0.4**2) ** 0.5 * z
by_reprolib = x0_to_xn(h, x_t, 1.0, 0.4) - x_n
print(f"reprolib against the line above: {(ambient_error(h, x_t, x_n, 1.0, 0.4) - by_reprolib).abs().max():.0e}")

# %% [markdown]
r"""
Look at it on the line. The data are three narrow bumps. At each $x_t$ we let an optimizer lower the loss, as integrated over
$x_n$, and compare what it finds with the clean posterior mean. *Naive* is the ordinary loss on the same noisy samples, as if
they were clean.
"""

# %%
BUMPS = torch.tensor([[-1.0], [0.2], [1.0]], dtype=torch.float64)
WIDTH, SIGMA_N, SIGMA_T = 0.1, 0.4, 0.6
line = GaussianMixtureDenoiser(BUMPS, WIDTH, torch.zeros(3, dtype=torch.long))


def minimize(means, width, sigma_n, sigma_t, x_t, ambient):
    """The numerical minimizer of the loss at the points `x_t`; expectations over x_n are sums on a fine grid."""
    x_n = torch.linspace(-6, 6, 4001, dtype=torch.float64)
    density = torch.exp(-0.5 * (x_n - means).square() / (width**2 + sigma_n**2)).sum(dim=0)
    step = torch.exp(-0.5 * (x_t[:, None] - x_n).square() / (sigma_t**2 - sigma_n**2))
    weight = density * step
    weight /= weight.sum(dim=1, keepdim=True)  # of x_n, given x_t
    h = torch.zeros_like(x_t, requires_grad=True)
    level = sigma_n if ambient else 0.0

    def loss():
        optimizer.zero_grad()
        error = x0_to_xn(h[:, None], x_t[:, None], sigma_t, level) - x_n
        value = (weight * error.square()).sum()
        value.backward()
        return value

    optimizer = torch.optim.LBFGS(
        [h], max_iter=200, tolerance_grad=1e-12, tolerance_change=0, line_search_fn="strong_wolfe"
    )
    optimizer.step(loss)
    return h.detach()


at = torch.linspace(-2, 2, 81, dtype=torch.float64)
clean_mean = line.uncond(at[:, None], SIGMA_T)[:, 0]
found = {name: minimize(BUMPS, WIDTH, SIGMA_N, SIGMA_T, at, name == "ambient") for name in ("ambient", "naive")}
for name, h in found.items():
    print(f"largest distance from the clean posterior mean, {name}: {(h - clean_mean).abs().max():.0e}")

# %% tags=["hide-input"]
COLORS = figures.palette(baseline=["clean", "few clean", "naive"], method="mix", ablations=["noisy", "balanced"])
fig, ax = plt.subplots(figsize=(7.2, 2.8))
ax.plot(at, clean_mean, color="#c4c8ce", linewidth=6, label=r"$E[x_0\,|\,x_t]$")
ax.plot(at, found["ambient"], color=figures.ACCENT, label="minimizer, ambient loss")
ax.plot(at, found["naive"], "--", color=COLORS["naive"], label="minimizer, naive loss")
ax.plot(BUMPS[:, 0], BUMPS[:, 0], "o", color="#434955", markersize=4, label="bumps of the data")
ax.set(xlabel="$x_t$", ylabel="prediction", title=rf"Only noisy data: $\sigma_n={SIGMA_N}$, $\sigma_t={SIGMA_T}$")
ax.legend(loc="upper left")
figures.show(
    fig,
    caption="Figure 1. What two losses make of noisy data. The ambient loss finds the clean posterior mean, the naive one keeps some of the noise.",
    alt="Prediction against x_t. The minimizer of the ambient loss lies on the clean posterior mean, which levels off at both ends; that of the naive loss is too steep there and overshoots.",
)

# %% [markdown]
r"""
### What is lost

Equation (3) shows two losses. First, the factor $(1-r)^2$: a noisy sample teaches little just above its own noise, and the released
code does not make up for it. Second, below $\sigma_n$ it teaches nothing. A training step draws a level
$\sigma=e^{-1.2+1.2u}$ with a standard normal $u$ (the constants of EDM, [Karras et al., 2022](https://arxiv.org/abs/2206.00364)), and where
that lies below $\sigma_n$, the code *moves it to* $\sigma_n$. There $r=1$, so $D=x_n$ whatever the network says. The loss
is zero, and the draw is wasted:
"""

# %%
levels = np.array([0.05, 0.1, 0.2, 0.4, 0.8])
wasted = stats.norm.cdf((np.log(levels) - P_MEAN) / P_STD)
u = torch.randn(20_000, 1, generator=stream(seed, 1))
y = torch.zeros(len(u), 1)
zero = [(ambient_edm_loss(lambda x, sigma: x + 1, y, y + level, u, u) == 0).float().mean().item() for level in levels]
pd.DataFrame({"noise of the sample": levels, "share of wasted draws": wasted, "loss is exactly 0": zero}).round(3)

# %% [markdown]
r"""
In `ambient_edm_loss`, $\|D-x_n\|^2$ has EDM's weight, $(\sigma^2+s^2)/(\sigma s)^2$ with $s=0.5$. A clean sample is one with $\sigma_n=0$, so it has
the ordinary loss. That is all that the mix needs.

> The paper adds a consistency loss for data with no clean sample at all. It acts on the wasted draws: predictions at a lower level,
> reached by sampling, must agree with those at a higher one. It is off by default in the released code, and here.

### The theory's question in the plane

The data of stage A are $k$ round bumps on the unit circle, with standard deviation $\tau=0.1$. We fit the means $\mu_j$ and $\tau$ to samples
$x_i$ with a known noise $\sigma_i$ each. Sample $i$ comes from a mixture of $N(\mu_j,(\tau^2+\sigma_i^2)I)$, and EM turns likelihood into
two steps. Responsibilities $R_{ij}$ say which bump sample $i$ may have come from. Then, in two dimensions,

$$
\mu_j=\frac{\sum_iw_{ij}x_i}{\sum_iw_{ij}},\quad w_{ij}=\frac{R_{ij}}{\tau^2+\sigma_i^2},\qquad
\tau^2\leftarrow\frac1n\sum_{i,j}R_{ij}\Big[\tfrac12g_i^2\|x_i-\mu_j\|^2+g_i\sigma_i^2\Big],\quad g_i=\frac{\tau^2}{\tau^2+\sigma_i^2}. \tag{4}
$$

A noisy sample counts less by its variance, and, as the bumps overlap under noise, its responsibilities say little. We start at the truth, so that
no arm is hurt by a bad local optimum: what is measured is statistics, not optimization.
"""


# %%
def ring(k):
    angle = 2 * np.pi * np.arange(k) / k
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def log_density(x, mu, variance):
    """Logarithm of an even mixture's density in the plane, and the responsibilities; `variance` is one a sample."""
    exponent = -cdist(mu, x, "sqeuclidean") / (2 * variance)
    top = exponent.max(axis=0)
    R = np.exp(exponent - top)
    total = R.sum(axis=0)
    return np.log(total / len(mu)) + top - np.log(2 * np.pi * variance), R / total


def em(x, sigma, mu, tau2, iterations):
    """Fit means and the shared variance; returns them and the number of iterations."""
    before = -np.inf
    for done in range(1, iterations + 1):  # noqa: B007
        log_p, R = log_density(x, mu, tau2 + sigma**2)
        if abs(log_p.mean() - before) < 1e-7:
            break
        before = log_p.mean()
        w = R / (tau2 + sigma**2)
        mu = w @ x / w.sum(axis=1, keepdims=True)
        g = tau2 / (tau2 + sigma**2)
        tau2 = (g**2 * (R * cdist(mu, x, "sqeuclidean")).sum(axis=0) / 2 + g * sigma**2).mean()
    return mu, tau2, done


# %% [markdown]
r"""
Two checks: without noise, density and responsibilities are those of scikit-learn; and on a small mix of clean and noisy samples, EM ends where a
general optimizer ends, which knows nothing but the likelihood.
"""

# %%
rng, corners = np.random.default_rng([seed, 2]), ring(3)
sigma = np.repeat([0.0, 0.4], [30, 270])
some = corners[rng.integers(3, size=300)] + np.hypot(0.1, sigma)[:, None] * rng.standard_normal((300, 2))
theirs = GaussianMixture(3, covariance_type="spherical")
theirs.weights_, theirs.means_, theirs.precisions_cholesky_ = np.full(3, 1 / 3), corners, np.full(3, 1 / 0.1)
log_p, R = log_density(some, corners, np.full(300, 0.1**2))
assert np.allclose(log_p, theirs.score_samples(some)) and np.allclose(R.T, theirs.predict_proba(some))


def loss_of(p):
    return -log_density(some, p[:6].reshape(3, 2), np.exp(p[6]) + sigma**2)[0].mean()


best = optimize.minimize(loss_of, [*corners.flat, np.log(0.1**2)]).x
by_em, tau2, _ = em(some, sigma, corners, 0.1**2, 2000)
shift = np.abs([*(by_em.ravel() - best[:6]), tau2**0.5 - np.exp(best[6] / 2)]).max()
print(f"largest difference between EM and the optimizer: {shift:.0e}")
assert shift < 0.002

# %% [markdown]
r"""
## Experiments

### C5: what holds exactly

*Identity*: for a Gaussian and for a random mixture both posterior means have a formula, at $x_n$ and at $x_0$. *Minimizer*: as in Figure 1,
for a random mixture. *Slope*: for Gaussian data with variance $s^2$ the best $h$ is linear with slope $s^2/(s^2+\sigma_t^2)$; least squares on noisy
samples must find it. *Variance* is about the theory's first sum. Take samples $X_i=\pm\theta+\sigma_i\epsilon_i$ with even odds for the sign. Then
$X_i^2-\sigma_i^2$ is an unbiased estimate of $\theta^2$ with variance $v_i=2\sigma_i^4+4\theta^2\sigma_i^2$, and the best combination of several
has the variance $1/\sum_iv_i^{-1}$. For a small $\theta$ the effective sample size is $\sum_i\sigma_i^{-4}$.
"""


# %%
def identity(generator, k):
    """Largest difference between both sides of the identity, for a mixture of `k` Gaussians in three dimensions."""
    means = torch.randn(k, 3, generator=generator, dtype=torch.float64)
    tau, labels, worst = 0.3, torch.zeros(k, dtype=torch.long), 0.0
    for sigma_n, sigma_t in ((0.2, 0.25), (0.4, 1.0), (1.0, 5.0)):
        x_t = means[torch.randint(k, (500,), generator=generator)]
        x_t = x_t + sigma_t * torch.randn(500, 3, generator=generator, dtype=torch.float64)
        x0 = GaussianMixtureDenoiser(means, tau, labels).uncond(x_t, sigma_t)
        noisy = GaussianMixtureDenoiser(means, (tau**2 + sigma_n**2) ** 0.5, labels)
        x_n = noisy.uncond(x_t, (sigma_t**2 - sigma_n**2) ** 0.5)
        worst = max(worst, (x0_to_xn(x0, x_t, sigma_t, sigma_n) - x_n).abs().max().item())
    return worst


def slopes(rng, n=200_000, s=0.8, sigma_n=0.4, sigma_t=0.6):
    """Deviation of the fitted slope from the best one in standard errors, with the ambient loss and the naive one."""
    x_n = rng.normal(0, np.hypot(s, sigma_n), n)
    x_t = x_n + rng.normal(0, np.sqrt(sigma_t**2 - sigma_n**2), n)
    deviations = []
    for r in ((sigma_n / sigma_t) ** 2, 0):
        feature, target = (1 - r) * x_t, x_n - r * x_t
        slope = feature @ target / (feature @ feature)
        error = (target - slope * feature).std() / np.sqrt(feature @ feature)
        deviations.append((slope - s**2 / (s**2 + sigma_t**2)) / error)
    return deviations


# %%
def second_moment(rng, theta=0.8, repeats=20_000):
    """Deviation of the estimator's variance from the formula, in standard errors."""
    sigma = np.repeat([1.0, 2.0], [5, 20])
    x = theta * rng.choice([-1, 1], (repeats, 25)) + sigma * rng.standard_normal((repeats, 25))
    precision = 1 / (2 * sigma**4 + 4 * theta**2 * sigma**2)
    estimate = (x**2 - sigma**2) @ precision / precision.sum()
    deviation = np.square(estimate - theta**2)
    return (deviation.mean() - 1 / precision.sum()) / (deviation.std() / np.sqrt(repeats))


def exact(config, seed):
    generator, rng = stream(seed, 0), np.random.default_rng([seed, 1])
    bumps = torch.randn(3, 1, generator=generator, dtype=torch.float64)
    at = torch.linspace(-2, 2, 41, dtype=torch.float64)
    h = minimize(bumps, 0.1, 0.4, 0.6, at, True)
    mean = GaussianMixtureDenoiser(bumps, 0.1, torch.zeros(3, dtype=torch.long)).uncond(at[:, None], 0.6)[:, 0]
    slope, naive = slopes(rng)
    return {
        "identity": max(identity(generator, 1), identity(generator, 5)),
        "minimizer": (h - mean).abs().max().item(),
        "slope": slope,
        "naive slope": naive,
        "variance": second_moment(rng),
    }


checked = sweep(exact, [{}], run.seeds(1), run=run)
verdicts.record("C5", **{name: checked[name] for name in verdicts.claims["C5"].criteria})
checked.drop(columns="seconds")

# %% [markdown]
r"""
All four hold. The naive slope is there to show that the test could fail: on the same samples it is very many standard errors off.

### C1: a few clean samples and many noisy ones

Stage A. The mix is the first few clean samples of a data set, and the noisy versions of all others.
"""

# %%
SIGMAS = [0.2, 0.4, 0.8, 1.2]
SHARES = [0.015, 0.03, 0.1, 0.4]  # of clean samples in the mix; the verdicts are at the second
SIZES = [0.015, 0.03, 0.045, 0.065, 0.1, 0.2, 1.0]  # of purely clean sets, as shares of n


def mixture(config, seed):
    """Errors of all fits of one seed: clean sets of several sizes, noisy ones, and mixes (a row a noise level)."""
    rng, n = np.random.default_rng([seed, 0]), config["n"]
    truth, tau = ring(config["k"]), 0.1
    x, test = (
        truth[rng.integers(len(truth), size=m)] + tau * rng.standard_normal((m, 2)) for m in (n, config["n_score"])
    )
    epsilon = rng.standard_normal((n, 2))
    floor = log_density(test, truth, tau**2)[0].mean()

    def error(y, sigma):
        mu, tau2, iterations = em(y, sigma, truth, tau**2, config["iterations"])
        return floor - log_density(test, mu, tau2)[0].mean(), iterations

    def mix(level, share):
        sigma = np.where(np.arange(n) < round(share * n), 0, level)
        return error(x + sigma[:, None] * epsilon, sigma)

    clean = [error(x[: round(share * n)], np.zeros(round(share * n))) for share in config["sizes"]]
    noisy = [mix(level, 0) for level in config["sigmas"]]
    mixes = [mix(level, share) for level in config["sigmas"] for share in config["shares"]]
    names = {"clean": clean, "noisy": noisy, "mix": mixes}
    return {
        **{name: [e for e, _ in fits] for name, fits in names.items()},
        **{f"iterations, {name}": [i for _, i in fits] for name, fits in names.items()},
    }


# %%
grid = {"k": sorted({*settings.more_modes, modes}), "n": list(settings.sizes), "sigmas": [SIGMAS], "shares": [SHARES]}
grid |= {"sizes": [SIZES], "n_score": settings.n_score, "iterations": settings.iterations}
fits = sweep(mixture, grid, run.seeds(settings.seeds[0]), run=run)
arms = {"k": [modes], "sigmas": [SIGMAS[1:2]], "shares": [SHARES[1:2]], "sizes": [SIZES[1:2]]}
of_C1 = sweep(mixture, grid | arms, run.seeds(settings.seeds[1]), run=run)  # the three arms of C1, on more seeds


def errors(kind, k, n):
    """All errors of a kind: (seeds, sizes), (seeds, noise levels), or (seeds, noise levels, shares)."""
    values = np.stack(fits[(fits["k"] == k) & (fits["n"] == n)][kind])
    return values.reshape(len(values), len(SIGMAS), len(SHARES)) if kind == "mix" else values


def of_setting(n, k=modes):
    """Errors of the four arms of the verdicts: (seeds, noise levels) each."""
    clean = errors("clean", k, n)
    arms = {"clean": clean[:, [-1]], "noisy": errors("noisy", k, n), "few clean": clean[:, [1]]}
    return {name: np.broadcast_to(values, arms["noisy"].shape) for name, values in arms.items()} | {
        "mix": errors("mix", k, n)[:, :, 1]
    }


C1 = {}
for n, place in zip(settings.sizes, PLACES):
    mix, noisy, few = (np.concatenate(list(of_C1[of_C1["n"] == n][arm])) for arm in ("mix", "noisy", "clean"))
    ratio = mix / np.minimum(noisy, few)
    print(f"{place}: the mix is worse than one of its parts in {(ratio >= 1).sum()} of {len(ratio)} seeds")
    C1 |= {label(name, place, PLACES): ratio for name in ("ratio", "every seed", "below 1")}
verdicts.record("C1", **C1)
table = {
    (place, f"noise {sigma}"): {name: np.median(values[:, i]) for name, values in of_setting(n).items()}
    for n, place in zip(settings.sizes, PLACES)
    for i, sigma in enumerate(SIGMAS)
}
print("median error over seeds, in nats:")
pd.DataFrame(table).T.round(4)

# %% tags=["hide-input"]
BLUES = dict(zip(SIGMAS, (figures.ACCENT, "#e69f00", "#0072b2", "#56b4e9")))
n = settings.sizes[0]
fig, ax = plt.subplots(figsize=(7.2, 3.6))
clean = np.median(errors("clean", modes, n), axis=0)
ax.plot(SIZES, clean, "--", color=COLORS["few clean"], marker="o", markersize=4, label="the clean part alone")
for i, sigma in enumerate(SIGMAS):
    middle = np.median(errors("mix", modes, n)[:, i], axis=0)
    low, high = np.quantile(errors("mix", modes, n)[:, i], (0.25, 0.75), axis=0)
    ax.plot(SHARES, middle, color=BLUES[sigma], marker="o", markersize=4, label=rf"with noisy rest, $\sigma_n={sigma}$")
    ax.fill_between(SHARES, low, high, color=BLUES[sigma], alpha=0.2, linewidth=0)
    ax.plot(0.008, np.median(errors("noisy", modes, n)[:, i]), "s", color=BLUES[sigma], markersize=6)
ax.axvline(0.0105, color="#c4c8ce", linewidth=1)
ax.set(xscale="log", yscale="log", xlabel="share of clean samples", ylabel="error (nats)")
ax.set_xticks([0.008, *SHARES, 1], ["none", *SHARES, "all"])
ax.minorticks_off()
ax.set_title(f"{n:,} samples of {modes} bumps: what the noisy ones add")
ax.legend(loc="upper right")
figures.show(
    fig,
    caption=(
        "Figure 2. Median error against the share of clean samples, at a fixed number of samples; bands are quartiles over seeds. Squares: no clean sample. "
        "The distance from the dashed line is what the noisy rest adds."
    ),
    alt=(
        "Errors fall with the share of clean samples. The dashed line of the clean part alone is highest; lines with a noisy rest lie below it, far below for noise 0.2 and close "
        "to it for noise 1.2. Squares at no clean sample rise with the noise, far above all lines for the two highest."
    ),
    thumbnail=True,
)

# %% [markdown]
r"""
Follow one color from right to left. As clean samples get fewer, their own error (dashed) grows. With little noise, the noisy rest holds the
error down. With much noise it hardly helps. Then the squares: take the last clean samples away, and the error with much
noise jumps by about an order of magnitude or more, while it hardly moves at the lowest noise. So at the lowest noise the mix beats the noisy
set only by a little, and the claim is about the noise above it. Clean samples are needed where the noise hides what separates the bumps.

The claim has two halves, and its rule asks for both. On average the mix must win by a clear factor, and it must win in every seed. The line above the table counts the seeds in which
one of the parts, by luck of the draw, is as good as the mix or better. A few of these are enough for *partly*, however clear the average is.

### C2: noisy samples alone

The ratio of the median errors, noisy over clean, and how many iterations EM took.
"""

# %%
C2 = {}
for n, place in zip(settings.sizes, PLACES):
    arms = of_setting(n)
    ratio = (np.median(arms["noisy"], axis=0) / np.median(arms["clean"], axis=0))[:3]
    values = (ratio, ratio[1:] / ratio[:-1], ratio)
    C2 |= {label(name, place, PLACES): v for name, v in zip(("ratio", "growth", "above 1.5"), values)}
verdicts.record("C2", **C2)
rows = fits[fits["k"] == modes]
table = {
    (place, f"noise {sigma}"): {
        "noisy over clean": np.median(of_setting(n)["noisy"][:, i]) / np.median(of_setting(n)["clean"][:, i]),
        "median iterations": np.median(np.stack(rows[rows["n"] == n]["iterations, noisy"])[:, i]),
    }
    for n, place in zip(settings.sizes, PLACES)
    for i, sigma in enumerate(SIGMAS)
}
pd.DataFrame(table).T.round(1)

# %% [markdown]
r"""
Where EM stops at its limit of iterations it has not settled; in our pilot more of them made the noisy arm only worse. A lower count does not prove that it has settled: EM
also stops where the likelihood hardly changes, and with much noise it crawls. So these errors are no asymptotics of maximum likelihood, but what this procedure gives, started
at the truth, which favors the noisy arm.

### C4: the price

How many clean samples would have been as good as the mix? We read that off the measured curve of clean sets, linearly between logarithms, and call
it $n_\text{eff}$. Then the worth of one noisy sample, in clean ones, is $(n_\text{eff}-n_\text{clean})/n_\text{noisy}$, cut off at 0. The price of a clean
sample is its inverse.
"""


# %%
def worths(k, n):
    """Worth of a noisy sample in clean ones, at each noise level."""
    clean, mix = np.median(errors("clean", k, n), axis=0), np.median(errors("mix", k, n)[:, :, 1], axis=0)
    few, sizes = round(SHARES[1] * n), np.round(n * np.array(SIZES))
    n_eff = np.exp(np.interp(np.log(mix), np.log(clean[::-1]), np.log(sizes[::-1])))
    return ((n_eff - few) / (n - few)).clip(0)


C4 = {}
for n, place in zip(settings.sizes, PLACES):
    worth = worths(modes, n)
    steepness = worth[2] / worth[0] if worth[0] > 0 else 1
    C4 |= {
        label(name, place, PLACES): v for name, v in zip(("order", "steepness"), (worth[:-1] - worth[1:], steepness))
    }
verdicts.record("C4", **C4)
settings_A = [(k, n) for n in settings.sizes for k in grid["k"]]
with np.errstate(divide="ignore"):
    prices = {f"{k} bumps, n = {n:,}": 1 / worths(k, n) for k, n in settings_A}
print("price of a clean sample in noisy ones:")
pd.DataFrame(prices, [f"noise {sigma}" for sigma in SIGMAS]).T.round(1)

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(7.2, 3.1))
shades = dict(zip(reversed(grid["k"]), (figures.ACCENT, "#0072b2", "#56b4e9")))
for (k, n), price in zip(settings_A, prices.values()):
    style = "-" if n == settings.sizes[0] else "--"
    shown = np.where(np.isfinite(price), price, np.nan)
    ax.plot(SIGMAS, shown, style, color=shades[k], marker="o", markersize=4, label=f"{k} bumps, {n:,} samples")
start_at = prices[f"{modes} bumps, n = {settings.sizes[0]:,}"][0]
at = np.array([0.2, 1.2])
ax.plot(at, start_at * (at / 0.2) ** 4, ":", color="#6b7280", label=r"slope 4")
ax.set(xscale="log", yscale="log", xlabel=r"noise $\sigma_n$ of the noisy samples", ylabel="price of a clean sample")
ax.set_xticks(SIGMAS, SIGMAS)
ax.minorticks_off()
ax.legend(loc="upper left")
figures.show(
    fig,
    caption=(
        "Figure 3. How many noisy samples replace one clean sample, in a mix that is 3% clean. The dotted line has the slope of the theory's first sum."
    ),
    alt="On logarithmic axes the price rises steeply with the noise, from several noisy samples for a clean one at noise 0.2 to far more at the highest, and stays below the dotted line.",
)

# %% [markdown]
r"""
The claim asks that the price rises from each noise to the next, and several times from the lowest to the third. The theory's bounds have two sums. In the first a noisy sample is worth
$\sigma^{-4}$ clean ones, which is the dotted slope. In the second, for the fine structure, it is worth $\sigma^{-(4k-2)}$, which would be far
steeper. (We state the theorems from memory and from public reviews; the paper was not open to us.) A curve here need not follow either. It is one
setting, with much of the structure settled by its clean part, and the bounds are about the worst case. At the highest noise the price comes from a small
difference between the mix and the few clean samples, so its value there is uncertain. The paper's price on ImageNet cannot be
compared with ours: what counts is the noise in units of the structure, and our bumps are narrow.

### C3: who teaches which level?

Stage B. Networks of one shape, one for each data set, learn to denoise images: a perceptron in EDM's form, `EDMDenoiser` without classes. They start from the same weights and
see the same random draws. We train them as an ensemble, whose layers are batched matrix products.
"""


# %%
class Ensemble(nn.Module):
    """Copies of an EDMDenoiser without classes, each with its own weights, in one call on (copies, batch, dim)."""

    def __init__(self, denoiser, copies):
        super().__init__()
        parts = [part for layer in denoiser.net[::2] for part in (layer.weight.T, layer.bias[None])]
        self.weights = nn.ParameterList(part.detach().repeat(copies, 1, 1) for part in parts)

    def forward(self, x, sigma, chosen=None):
        """`chosen` lists copies, one for each part of `x`; by default all of them in order."""
        W1, b1, W2, b2, W3, b3 = self.weights if chosen is None else (w[chosen] for w in self.weights)
        total = (sigma.square() + 0.25).sqrt()  # of noise and data together, with 0.5 for the data
        h = torch.cat([x / total, (sigma.log() / 4).expand(*x.shape[:2], 1)], dim=2)
        h = nn.functional.silu(torch.baddbmm(b1, h, W1))
        h = nn.functional.silu(torch.baddbmm(b2, h, W2))
        F = torch.baddbmm(b3, h, W3)
        return (0.5 / total).square() * x + 0.5 * sigma / total * F


denoiser = EDMDenoiser(64, 1, sigma_data=0.5, hidden_dim=32, embed_dim=0)
x = torch.randn(2, 5, 64, generator=stream(seed, 2))
both = Ensemble(denoiser, 2)(x, torch.full((2, 5, 1), 0.7))
assert all(torch.allclose(denoiser.uncond(part, 0.7), out, atol=1e-5) for part, out in zip(x, both))


# %%
def examples(config, seed):
    """Training and test images as vectors with values in [-1, 1]."""
    draw = stream(seed, 0)
    if config["data"] == "digits":
        drawn = images.digits(draw.initial_seed(), config["n_test"])
        return 2 * drawn.x_train[: config["n_train"]] - 1, 2 * drawn.x_test - 1
    parts = []
    for split, n in (("train", config["n_train"]), ("test", config["n_test"])):
        pixels = vision.load("fashion_mnist", split, config["stand_in"])[0]
        some = pixels[torch.randperm(len(pixels), generator=draw)[:n]].float()
        parts.append(nn.functional.avg_pool2d(some, 2).flatten(1) / 127.5 - 1)
    return parts


# %% [markdown]
r"""
The data sets differ in one column only, the noise level $\sigma_i$ of each image. Two more arms have the images of the mix. The *naive* one is told
that all are clean. The *balanced* one draws clean and noisy images equally often, where the mix draws all images equally often, as the paper does.
"""


# %%
def datasets(config, seed, x):
    """Images as stored, the noise levels that the loss is told, how many are used, and how often the first are drawn."""
    epsilon = torch.randn(x.shape, generator=stream(seed, 1))  # drawn once: a noisy image keeps its noise
    few = round(config["clean_share"] * len(x))
    levels = dict.fromkeys(config["arms"], (torch.arange(len(x)) >= few)[:, None] * config["noise"])
    levels |= {"clean": torch.zeros(len(x), 1), "noisy": torch.full((len(x), 1), config["noise"])}
    stored = torch.stack([x + levels[arm] * epsilon for arm in config["arms"]])
    told = torch.stack([levels[arm] * (arm != "naive") for arm in config["arms"]])
    p = [{"few clean": 1.0, "balanced": 0.5}.get(arm, few / len(x)) for arm in config["arms"]]
    return stored, told, few, torch.tensor(p)[:, None]


def train(config, seed, x):
    """Adam on the ambient loss for all arms at once; returns the moving average of the weights."""
    torch.manual_seed(stream(seed, 2).initial_seed())
    net = EDMDenoiser(x.shape[1], 1, sigma_data=0.5, hidden_dim=config["hidden_dim"], embed_dim=0)
    model, draw = Ensemble(net, len(config["arms"])), stream(seed, 3)
    average, blend = deepcopy(model), get_ema_multi_avg_fn(0.998)
    optimizer = torch.optim.Adam(model.parameters(), lr=config["lr"], fused=True)
    stored, told, few, p = datasets(config, seed, x)
    row, every = torch.arange(len(stored))[:, None], min(config["steps"], 500)
    for _ in resume(config["steps"] // every, model=model, average=average, optimizer=optimizer, draw=draw):
        for _ in range(every):
            v = torch.rand(config["batch"], generator=draw)
            image = torch.where(v < p, v / p * few, few + (v - p) / (1 - p) * (len(x) - few))
            image = image.long().clamp(max=len(x) - 1)  # against rounding
            u, z = torch.randn(config["batch"], x.shape[1] + 1, generator=draw).tensor_split([1], dim=1)
            loss = ambient_edm_loss(model, stored[row, image], told[row, image], u, z).mean(dim=(1, 2)).sum()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            blend([*average.weights], [*model.weights], None)
    return average


# %% [markdown]
r"""
Images are sampled by Heun's method on EDM's 18 noise levels, from 80 down to 0.002. Nothing has taught the noisy arm below $\sigma_n$. So for every arm
we also run a *truncated* sampler, which takes its 18 levels from 80 to $\sigma_n$ and returns the prediction there, as in older
work on noisy data. The verdict takes the better of the two for the noisy arm, and the full one for all others.

A chain can also change networks at $\sigma_n$, with one arm above and another below. That tells on which side an arm is weak.
"""


# %%
def heun(denoise, x, sigmas):
    """EDM's deterministic sampler: Heun's method, and Euler's in the last step to 0, which returns the prediction."""
    for now, after in zip(sigmas[:-1], sigmas[1:]):
        slope = (x - denoise(x, now)) / now
        end = x + (after - now) * slope
        if after > 0:
            slope = (slope + (end - denoise(end, after)) / after) / 2
        x = x + (after - now) * slope
    return x


def frechet(x, mean, cov):
    """Fréchet distance of the Gaussian fitted to samples `x` from the one with `mean` and `cov`."""
    own = np.cov(x.T)
    values, vectors = eigh(own)
    root = vectors * np.sqrt(values.clip(0)) @ vectors.T
    cross = np.sqrt(eigvalsh(root @ cov @ root).clip(0)).sum()
    return np.square(x.mean(axis=0) - mean).sum() + np.trace(own) + np.trace(cov) - 2 * cross


some = np.random.default_rng([seed, 0]).standard_normal((50, 4)) * np.arange(1, 5)
center, spread = some.mean(axis=0), np.cov(some.T)
assert np.isclose(frechet(some, center + 2, spread), 16)  # closed forms
assert np.isclose(frechet(some, center, 4 * spread), np.trace(spread))


# %%
LEVELS = [1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8]  # of noise, over that of the noisy images
CEILING = 1e4  # of a Fréchet distance, should a sampler diverge


@torch.no_grad()
def judge(model, config, x, test, draw):
    """Denoising errors on test images, Fréchet distances of both samplers, and some samples."""
    arms, held_out, metrics = len(config["arms"]), test.repeat(4, 1), {"mse": []}
    z = torch.randn(held_out.shape, generator=draw)
    for level in config["levels"]:
        sigma = torch.tensor([[[level * config["noise"]]]])
        error = model((held_out + sigma * z).expand(arms, -1, -1), sigma) - held_out
        metrics["mse"] += error.square().mean(dim=(1, 2)).tolist()
    pixels = x.double().numpy()
    real = pixels.mean(axis=0), np.cov(pixels.T)
    first = 80 * torch.randn(config["n_samples"], x.shape[1], generator=draw)
    own, pairs = [[arm, arm] for arm in config["arms"]], config["pairs"]
    for name, last, chains in (("full", 0.002, own + pairs), ("truncated", config["noise"], own)):
        above, below = ([config["arms"].index(arm) for arm in part] for part in zip(*chains))

        def denoise(x, sigma, above=above, below=below):
            return model(x, torch.tensor([[[sigma]]]), above if sigma >= config["noise"] else below)

        sigmas = karras_sigmas(config["sampler_levels"], 80, last)
        drawn = heun(denoise, first.expand(len(chains), -1, -1), sigmas).nan_to_num(nan=1e3).clamp(-1e3, 1e3)
        metrics[f"FD, {name}"] = [min(frechet(d.double().numpy(), *real), CEILING) for d in drawn]
        metrics[f"images, {name}"] = drawn[:arms, :8].flatten().double().round(decimals=2).tolist()
    return metrics | {"FD of test images": frechet(test.double().numpy(), *real)}


def learned(config, seed):
    """Train all arms, and judge them."""
    x, test = examples(config, seed)
    return judge(train(config, seed, x), config, x, test, stream(seed, 4))


# %%
ARMS = ["clean", "noisy", "few clean", "mix", "naive", "balanced"]
PAIRS = [
    [above, below]
    for above in ("clean", "few clean", "mix")
    for below in ("clean", "few clean", "mix")
    if above != below
]
names = ("data", "n_train", "n_test", "hidden_dim", "lr", "steps", "n_samples", "batch")
base = {name: getattr(settings, name) for name in names} | dict(noise=noise, clean_share=clean_share, levels=LEVELS)
base |= dict(sampler_levels=settings.levels, stand_in=dry_run, arms=ARMS, pairs=PAIRS)
seeds_B = run.seeds(settings.seeds[2])
trained = sweep(learned, [base], seeds_B, run=run)
mse = np.stack(trained["mse"]).reshape(len(trained), len(LEVELS), len(ARMS))
mean = dict(zip(ARMS, mse.mean(axis=0).T))
verdicts.record(
    "C3",
    **{
        "above: mix over clean": (mean["mix"] / mean["clean"])[4:],
        "above: mix over few clean": (mean["mix"] / mean["few clean"])[4:],
        "below: noisy over mix": (mean["noisy"] / mean["mix"])[:3],
    },
)
print("denoising error a pixel, mean over seeds:")
pd.DataFrame(mean, [f"{level:g} x noise" for level in LEVELS]).round(4)

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(7.2, 3.3))
sigmas = noise * np.array(LEVELS)
for i, arm in enumerate(ARMS[:5]):
    style = ":" if arm == "naive" else "-"
    figures.band(
        ax, sigmas, mse[:, :, i] / mse[:, :, 0], linestyle=style, color=COLORS[arm], marker="o", markersize=4, label=arm
    )
ax.axvline(noise, color="#c4c8ce", linewidth=1)
ax.set(xscale="log", yscale="log", xlabel=r"noise level $\sigma_t$", ylabel="denoising error, over clean")
ax.set_xticks(sigmas, [f"{s:g}" for s in sigmas])
ax.set_yticks([1, 1.2, 1.5, 2, 2.5], [1, 1.2, 1.5, 2, 2.5])
ax.minorticks_off()
ax.legend()
figures.show(
    fig,
    caption=(
        "Figure 4. Denoising error on clean test images over that of the network trained on clean images; bands are intervals over seeds. The vertical line is the noise of the noisy images."
    ),
    alt="Error over that of the clean arm against the noise level. To the left of the vertical line the noisy arm is highest, about twice as high as clean, and the mix lies below it. To the right all arms come closer to the clean one, and the mix reaches it.",
)

# %% [markdown]
r"""
The picture is the claim; what follows describes it at small scale. Well to the right of the line, noisy images are as good as clean ones, and the arm of few clean images is the worst.
To the left, the noisy arm extrapolates and is far off. The first half of C3 holds. The second asks for a gap at every level below, and at half the noise the gap is too
narrow. It closes gradually from left to right.

Look also at the mix on the left. It is hardly better there than its clean images alone, and at half the noise it is worse. Naive
training is worse than the mix around the noise level.

### C6: does it show in generated images?
"""

# %%
full, cut = (np.stack(trained[f"FD, {name}"]) for name in ("full", "truncated"))
by_arm = dict(zip(ARMS, full.T))
noisy = np.minimum(by_arm["noisy"], cut[:, ARMS.index("noisy")])
ratio = by_arm["mix"] / np.minimum(noisy, by_arm["few clean"])
verdicts.record("C6", ratio)
print("ratio of each seed:", ", ".join(f"{q:.2f}" for q in ratio))
print(f"FD between test and training images: {trained['FD of test images'].mean():.2f}")
ceiling = ((full[:, : len(ARMS)] == CEILING) | (cut == CEILING)).sum(axis=0)
table = {"full sampler": full[:, : len(ARMS)].mean(axis=0), "truncated": cut.mean(axis=0), "seeds at ceiling": ceiling}
print(f"Fréchet distance, mean over seeds; it is cut off at {CEILING:g}:")
pd.DataFrame(table, ARMS).round(2)

# %% tags=["hide-input"]
fig, ax = plt.subplots(figsize=(7.2, 3.0))
for shift, values, alpha in ((-0.2, full, 1.0), (0.2, cut, 0.45)):
    at = np.arange(4) + shift
    ax.bar(at, values.mean(axis=0)[:4], 0.36, color=[COLORS[arm] for arm in ARMS[:4]], alpha=alpha)
    ax.plot(np.broadcast_to(at, (len(values), 4)), values[:, :4], "o", color="#434955", markersize=3)
ax.set(xticks=range(4), xticklabels=ARMS[:4], ylabel="Fréchet distance", yscale="log")
ax.yaxis.set_major_locator(plt.LogLocator(subs=(1, 2, 5)))
ax.yaxis.set_major_formatter("{x:g}")
ax.yaxis.set_minor_locator(plt.NullLocator())
ax.set_title("Left bar: full sampler; right, pale: truncated")
figures.show(
    fig,
    caption="Figure 5. Fréchet distance of generated images from the clean training images, mean over seeds; a dot a seed. The mirror of the paper's Table 1.",
    alt="Eight bars on a logarithmic scale. With the full sampler clean is lowest, then few clean, then the mix, and noisy is highest by far. The truncated sampler lowers the bar of the mix.",
)

# %%
chains = pd.DataFrame(
    [[*pair, distance] for pair, distance in zip([[arm, arm] for arm in ARMS] + PAIRS, full.mean(axis=0))],
    columns=["above the noise", "below the noise", "FD"],
)
three = chains[chains["above the noise"].isin(PAIRS[0] + PAIRS[1])]
print("Fréchet distance, mean over seeds, of chains that change networks at the noise level:")
three.pivot(index="above the noise", columns="below the noise", values="FD").round(2)

# %% tags=["hide-input"]
side = int(examples(base, seeds_B[0])[0].shape[1] ** 0.5)
rows = [(arm, "full", i) for i, arm in enumerate(ARMS[:4])] + [("noisy, truncated", "truncated", 1)]
fig, axes = plt.subplots(len(rows), 1, figsize=(5.2, 3.6))
for ax, (name, sampler, i) in zip(axes, rows):
    strip = np.array(trained[f"images, {sampler}"][0]).reshape(len(ARMS), 8, side, side)[i]
    ax.imshow(strip.transpose(1, 0, 2).reshape(side, -1), cmap="gray", vmin=-1, vmax=1)
    ax.set(xticks=[], yticks=[])
    ax.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=9)
    ax.grid(False)
figures.show(
    fig,
    caption="Figure 6. Samples of the first seed, all from the same noise.",
    alt="Five rows of eight small gray images, alike across rows. Rows of the mix and of the noisy arm look rougher than that of the clean arm; the noisy arm with the full sampler has the hardest contrast.",
)

# %% [markdown]
r"""
This is the paper's headline. At small scale it fails: the mix is worse than its few clean images alone. The pilot had shown that it may.
The table of chains says where; again we read it at small scale. Read its columns first: below the noise the network of the mix is the worst of the three, whatever ran above. Now read the
row of the mix with another network below: above the noise it is about as good as the clean arm, and better than few clean. So the noisy images do what they
should, as in Figure 4. What suffers is what only clean images can teach.

One reason is in the batches. They draw all images equally often, as the paper's do. So below the noise the mix gets only as many useful draws as its share of
clean images allows, while few clean gets all of them, in the same number of steps. The *balanced* arm tests this: the same images, the same loss, clean ones
drawn in half of all cases. Its distance is lower than the mix's with either sampler, and with the full one by far. We added the balanced arm and the chains after the first run, so they are
an explanation and have no verdict. The paper trains large networks for very many steps. There the mix may get enough clean draws, and a small clean set has time to be memorized.

## Verdicts
"""

# %% tags=["nbval-check-output"]
verdicts

# %% [markdown]
r"""
At small scale: the identity and the loss hold exactly, and the theory's picture is visible in the plane. On average a few clean samples rescue many noisy ones, though not in every
draw, and a noisy sample is worth little when its noise hides the structure. With a network the noisy images do their part above their own noise. Whether the mix pays in generated images
depends also on something that neither the theory nor the loss mentions: how often the clean images are drawn.

## At full scale

The full run is a *reduced* one. Stage A adds a size with ten times as many samples, more test points, more seeds, and rings with fewer bumps; its claims must hold at both sizes. Stage B
learns twenty thousand images of Fashion-MNIST, averaged down to 14x14 pixels, with a wider perceptron, more steps, a lower learning rate, and four seeds. It takes some
minutes on two CPU cores. The plan's convolutional network is left out for its cost. Fashion-MNIST comes from the hub or from Debian's package `dataset-fashion-mnist`:

```
papermill book/notebooks/generation/ambient-scaling.ipynb ambient-scaling-full.ipynb -p scale full
```

What the recorded run adds to the small one:

- **C1.** At the larger size the mix wins by less on average, too little for the rule, and loses more often to one of its parts. There the few clean samples are hundreds, and good already.
- **C3.** The few clean images are now two thousand, and nearly as good as all clean ones at every level. At twice the noise the mix is worse than they are, so the first half fails; the second fails by very
  little, at half the noise. Below the noise the mix is worse than its clean images alone.
- **C4.** The ring of the verdicts keeps the order. With two bumps and the larger size the price no longer rises at the end.
- **C6.** The mix loses by much more. The chains say the same as before: with few clean below the noise, the mix above it is as good as or better than few clean alone; with its own network below, it is by
  far worse. Balanced draws repair most of that, and with the truncated sampler all.
- **Runaways.** In some seeds a few chains of the noisy or the naive arm run away, and the distance stands at its ceiling. Such a mean says no more than that. Whether a chain runs away may differ between
  processors. No verdict depends on it, for few clean is the better of the two parts in every seed.

Left out is the paper's own setting: EDM's networks on CIFAR-10, CelebA and ImageNet with noise 0.05 to 0.2, trained on hundreds of millions of draws, and FID. The authors have published
checkpoints for many mixtures. One epoch of it does not fit a CPU.

## What differs from the paper

- **Data and network.** Digits of 8x8 pixels and a perceptron with two hidden layers stand for photographs and U-Nets. Our noise of stage B is 0.4 where the
  paper's is at most 0.2, for 0.2 is nearly clean on digits.
- **Seeds.** Our plan had twelve seeds in stage A. With twelve the word of C1 depended on the base seed: *reproduced* for 0, and *partly* for 1, 2 and 3, where the interval reached above the
  threshold. With twenty it was the same. So, with these results known, C1 alone got a hundred (80 of them at small scale by now, for time; at the base seeds 0 to 2 all words are those of a hundred), and no threshold was moved. The interval is narrower with more seeds; but to win in every one is
  harder, so the word may fall where the average does not change. The other claims of stage A keep the plan's twelve, twenty at full scale. The naive arm was planned for one seed and has as
  many as the other arms.
- **Steps.** Our training is short. This hurts the arm with the fewest draws at a level, which is the mix below its noise. It may well decide C6. Our plan had 2,500 steps at small scale; we took
  2,000 to stay within a minute, after the results of the plan were known. Later we also halved, at small scale only, the limit of EM to 150 iterations
  and the generated images to 500. No word changed.
- **Network input.** The plan had random Fourier features of the noise level. We use the book's `EDMDenoiser`, which takes its logarithm as one number.
- **Fréchet distance** compares pixels, not features of a network. It punishes a residue of noise on the background heavily, which a feature network may forgive.
- **Consistency loss.** Off, as by default in the released code. The paper uses it to fine-tune where there is no clean image. The noisy arm is therefore an extrapolation below its noise, and how
  good that is depends on the network.
- **Stage A** is one ring in the plane, started at the truth, with known weights and known noise. The paper's theory has many dimensions and bounds for the worst case; where structure has to be
  found first, noisy samples may be worth more.
- **C2 and C4** compare medians over seeds and have no interval. Their plan was so. C5 takes the standard error of the variance from the sample, where the plan
  had the formula for Gaussian values.
- **Few clean** trains for as many steps as the others, on fewer images. The paper does the same, so memorization is a part of what it measures.
- **Augmentation, dropout and classes** of the paper's training are left out.
- **Sources.** The paper's text was not open to us. The method is from the released code, Table 1 from its image in the authors' repository, the price from the README. The theorems are recalled.

## Try it

Each question has a folded solution that runs with the chapter.

1. Set `modes = 4`: the bumps are farther apart. Is the noisy rest then worth more or less? Compare the error of the mix with that of its few clean samples, at noise 0.4 and 0.8.
"""

# %% tags=["solution", "hide-cell"]
brief = dict(n=2000, shares=[0.03], sizes=[0.03], n_score=4000, iterations=settings.iterations, sigmas=[0.4, 0.8])
for k in (4, 8):
    tried = [mixture({**brief, "k": k}, s) for s in run.seeds(4)]
    gains = [np.median([t["mix"][i] / t["clean"][0] for t in tried]) for i in range(2)]
    print(f"{k} bumps: error of the mix over few clean {gains[0]:.2f} at noise 0.4, {gains[1]:.2f} at 0.8")
# Below 1 the noisy rest helps, and the lower the more: the same noise hides less where bumps are farther apart.

# %% [markdown]
r"""
2. The noise must be known. Suppose that it is $0.4$, and the loss is told another value. For Gaussian data, which slope does the best linear denoiser get at $\sigma_t=0.6$, and which should it have?
"""

# %% tags=["solution", "hide-cell"]
for assumed in (0.3, 0.4, 0.5):
    variance = 0.8**2 + 0.4**2 + 0.6**2 - assumed**2  # of x_t: data, their noise, and what the training step adds
    r = (assumed / 0.6) ** 2
    slope = ((0.8**2 + 0.4**2) / variance - r) / (1 - r)
    print(f"told {assumed}: slope {slope:.3f}, right for the true noise of x_t {0.8**2 / variance:.3f}")
# Told too little, it keeps noise, as the naive loss does; told too much, it takes away a part of the data.

# %% [markdown]
r"""
3. Collect more noisy samples instead of clean ones. Stage A has 60 clean samples in 2,000. How much does the error of the mix fall when there are 4,000 samples and still 60 clean ones, at noise 0.2 and 0.8?
"""

# %% tags=["solution", "hide-cell"]
for level in (0.2, 0.8):
    found_at = {}
    for n, share in ((2000, 0.03), (4000, 0.015)):
        tried = [mixture({**brief, "k": 8, "n": n, "shares": [share], "sigmas": [level]}, s) for s in run.seeds(4)]
        found_at[n] = np.median([t["mix"][0] for t in tried])
    print(f"noise {level}: error {found_at[2000]:.3f} with 2,000 samples, {found_at[4000]:.3f} with 4,000")
# The clean samples differ between the two runs of a seed, so a small change is chance.
