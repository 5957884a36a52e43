"""AWRS against full token masking and against the authors' library, on the same trigram model and constraint.

Run: python benchmarks/bench_awrs.py (the extra `oracles` brings the authors' library)
Single tokens at contexts that a constrained model meets, with a check as it is and with 50 microseconds of work added,
as a parser would have; then whole lines by SMC with five particles. All methods must agree: the mean weight of a
token with the exact legal mass, the mean weight of a population with one another. Times are CPU times, for tokens
the best of several rounds in which the methods take turns.
"""

from __future__ import annotations

import asyncio
import time
import warnings

import numpy as np
import torch

from reprolib.data.text import load
from reprolib.models.ngram import END, NGramLM
from reprolib.sampling.rejection import ars, awrs, awrs_recursive, mask
from reprolib.sampling.smc import smc

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from genlm.control import Potential
    from genlm.control.sampler.token import AWRS

VOCAB, CONTEXTS, DRAWS, ROUNDS = 3000, 6, 200, 3
PARTICLES, MAX_LEN, LINES = 5, 60, 80
WORK = 50e-6  # seconds of a slow check


class Constraint:
    """Words start with a vowel and a consonant in turn; counts its checks and can be made slow."""

    def __init__(self, pieces: tuple[str, ...], work: float = 0.0):
        self.vowel = [piece.strip()[:1] in tuple("aeiouAEIOU") for piece in pieces]
        self.word = [piece.strip()[:1].isalpha() for piece in pieces]
        self.work, self.checks = work, 0

    def __call__(self, context, token: int) -> bool:
        self.checks += 1
        if self.work:
            until = time.process_time() + self.work
            while time.process_time() < until:
                pass
        if token == END or not self.word[token]:
            return True
        last = next((t for t in reversed(context) if self.word[t]), None)
        return last is None or self.vowel[last] != self.vowel[token]


class Model(Potential):
    """The n-gram model as a potential of the library, whose vocabulary has its end last."""

    def __init__(self, lm: NGramLM):
        super().__init__(list(range(1, lm.vocab_size)))
        self.lm = lm

    async def logw_next(self, context):
        return self.make_lazy_weights(np.log(np.roll(self.lm(tuple(context)), -1)))

    async def prefix(self, context):
        return sum(np.log(self.lm(tuple(context[:i]))[token]) for i, token in enumerate(context))

    async def complete(self, context):
        return await self.prefix(context) + np.log(self.lm(tuple(context))[END])


class Condition(Potential):
    """The constraint as a potential: 0 or minus infinity for a beginning, whose own beginning was legal."""

    def __init__(self, constraint: Constraint, vocab_size: int):
        super().__init__(list(range(1, vocab_size)))
        self.constraint = constraint

    async def prefix(self, context):
        return 0.0 if not context or self.constraint(context[:-1], context[-1]) else -np.inf

    async def complete(self, context):
        return 0.0 if self.constraint(context, END) else -np.inf


def library(lm: NGramLM, constraint: Constraint) -> AWRS:
    """The library's sampler as it is by default, without batching, which costs more than it saves here."""
    return AWRS(Model(lm), Condition(constraint, lm.vocab_size), seed=0, autobatch=False)


def contexts_met(lm: NGramLM, constraint: Constraint) -> list[tuple[int, ...]]:
    """Contexts from lines that obey the constraint."""
    rng, met = np.random.default_rng(0), []
    while len(met) < CONTEXTS:
        context = ()
        while len(context) < 12 and context[-1:] != (END,):
            met.append(context)
            context += (ars(lm(context), lambda token, c=context: constraint(c, token), rng).token,)
    return met[:CONTEXTS]


def tokens(lm: NGramLM, pieces: tuple[str, ...], work: float, draws: int) -> None:
    """Time and compare single draws. The model is asked for its probabilities inside the clock by all."""
    constraint = Constraint(pieces, work)
    met = contexts_met(lm, constraint)
    exact = np.array([sum(p for t, p in enumerate(lm(c)) if constraint(c, t)) for c in met])
    rng, sampler = np.random.default_rng(1), library(lm, constraint)

    def ours(method):
        return lambda c: method(lm(c), lambda token: constraint(c, token), rng).weight

    loop = asyncio.new_event_loop()
    methods = {
        "AWRS": (ours(awrs), draws),
        "later variant": (ours(awrs_recursive), draws),
        "genlm-control": (lambda c: float(np.exp(loop.run_until_complete(sampler.sample(list(c)))[1])), draws),
        "token masking": (ours(mask), max(2, draws // 100)),
    }
    best, checks, weights = dict.fromkeys(methods, float("inf")), {}, {name: [] for name in methods}
    for _ in range(ROUNDS):
        for name, (method, n) in methods.items():
            constraint.checks, begin = 0, time.process_time()
            weights[name].append([[method(c) for _ in range(n)] for c in met])
            best[name] = min(best[name], (time.process_time() - begin) / (n * len(met)))
            checks[name] = constraint.checks / (n * len(met))
    loop.close()
    for name in methods:
        w = np.concatenate(weights[name], axis=1)
        noise = w.std(axis=1) / w.shape[1] ** 0.5
        assert (np.abs(w.mean(axis=1) - exact) < 4.5 * noise + 1e-9).all(), name
        relative = best[name] / best["AWRS"]
        print(f"  {name:<16} {1e6 * best[name]:>10.0f} us {checks[name]:>8.1f} checks {relative:>8.1f}x")


def lines(lm: NGramLM, pieces: tuple[str, ...], n: int) -> None:
    """Time and compare populations of five lines."""
    constraint = Constraint(pieces)
    rng, sampler = np.random.default_rng(2), library(lm, constraint)

    def ours(method):
        def step(context):
            return method(lm(context), lambda token: constraint(context, token), rng)

        return lambda: smc(step, PARTICLES, end=END, max_len=MAX_LEN, rng=rng).mass

    async def theirs():
        return (await sampler.smc(n_particles=PARTICLES, ess_threshold=0.5, max_tokens=MAX_LEN)).log_ml

    loop = asyncio.new_event_loop()
    methods = {
        "AWRS": (ours(awrs), n),
        "later variant": (ours(awrs_recursive), n),
        "genlm-control": (lambda: float(np.exp(loop.run_until_complete(theirs()))), n),
        "token masking": (ours(mask), n // 4),
    }
    seconds, masses, checks = dict.fromkeys(methods, 0.0), {name: [] for name in methods}, {}
    for name, (method, n) in methods.items():
        constraint.checks = 0
        for _ in range(n):
            begin = time.process_time()
            masses[name].append(method())
            seconds[name] += (time.process_time() - begin) / n
        checks[name] = constraint.checks / n
    loop.close()
    mean = {name: np.mean(m) for name, m in masses.items()}
    noise = {name: np.std(m) / len(m) ** 0.5 for name, m in masses.items()}
    for name in methods:
        assert abs(mean[name] - mean["AWRS"]) < 4.5 * np.hypot(noise[name], noise["AWRS"]), (name, mean, noise)
        relative = seconds[name] / seconds["AWRS"]
        print(f"  {name:<16} {1e3 * seconds[name]:>10.1f} ms {checks[name]:>8.0f} checks {relative:>8.1f}x"
              f"   P(legal) {mean[name]:.3f} +- {noise[name]:.3f}")  # fmt: skip


def main() -> None:
    torch.set_num_threads(1)
    corpus = load("Python's help", VOCAB)
    lm = NGramLM(corpus.lines, len(corpus.pieces), 3)
    for work in (0.0, WORK):
        print(f"\none token of {len(corpus.pieces)}, a check with {1e6 * work:.0f} us of work added")
        tokens(lm, corpus.pieces, work, DRAWS)
    print(f"\na population of {PARTICLES} lines, no work added")
    lines(lm, corpus.pieces, LINES)
    print("\nAll methods agree in their mean weights.")


if __name__ == "__main__":
    main()
