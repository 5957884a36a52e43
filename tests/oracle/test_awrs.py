"""AWRS against enumeration in fractions, closed forms, Monte Carlo, and the authors' library where it is installed."""

from __future__ import annotations

import asyncio
import warnings
from fractions import Fraction
from itertools import permutations, product

import numpy as np
import pytest

from reprolib.models.ngram import END, NGramLM
from reprolib.sampling.rejection import DEAD, ars, awrs, awrs_many, awrs_recursive, mask, race, wrs
from reprolib.sampling.smc import smc

TENTHS = np.array([Fraction(k, 10) for k in (4, 3, 2, 1)])


def orders(p):
    """Every order of draws without replacement from `p`, and its probability."""
    tokens = [i for i in range(len(p)) if p[i]]
    for order in permutations(tokens):
        chance, left = Fraction(1), sum(p)
        for token in order:
            chance, left = chance * p[token] / left, left - p[token]
        yield order, chance


def outcomes(sampler, p, legal):
    """Every draw and its probability: all orders of the first race, times all orders of the second."""
    for first, chance in orders(p):
        rejected = []
        for token in first:
            if token in legal:
                break
            rejected.append(token)
        left = [0 if i in rejected else p[i] for i in range(len(p))]
        for second, chance_2 in orders(left) if sampler is awrs and set(legal) & set(first) else [((), Fraction(1))]:
            script = iter([first, second])

            def order(given, rng, script=script):
                path = next(script)
                assert sorted(path) == [i for i in range(len(given)) if given[i]], "a loop must draw from what is left"
                return iter(path)

            draw = sampler(p, legal.__contains__, None, order)
            yield draw, chance * chance_2


def problems():
    """Random rational problems with two to five tokens; some tokens have probability 0."""
    rng = np.random.default_rng(0)
    for _ in range(12):
        numbers = rng.integers(0, 20, rng.integers(2, 5))
        numbers[0] += 1
        p = np.array([Fraction(int(k)) for k in numbers])
        legal = set(np.flatnonzero(rng.random(len(p)) < 0.5).tolist())
        yield p / p.sum(), legal


@pytest.mark.parametrize("sampler", [awrs, awrs_recursive])
def test_token_and_weight_are_unbiased_as_fractions(sampler):
    for p, legal in problems():
        means = [Fraction(0)] * (len(p) + 1)
        for draw, chance in outcomes(sampler, p, legal):
            means[draw.token] += chance * Fraction(draw.weight)
        assert means == [p[i] if i in legal else 0 for i in range(len(p))] + [0]


def test_ars_draws_from_the_masked_distribution_as_fractions():
    for p, legal in problems():
        Z = sum(p[i] for i in legal)
        means = [Fraction(0)] * (len(p) + 1)
        for draw, chance in outcomes(ars, p, legal):
            means[draw.token] += chance
        assert means == ([p[i] / Z if i in legal else 0 for i in range(len(p))] + [0] if Z else [0] * len(p) + [1])


def test_mean_and_variance_of_the_worked_example():
    draws = list(outcomes(awrs, TENTHS, {1, 3}))
    mean = sum(chance * draw.weight for draw, chance in draws)
    assert mean == Fraction(2, 5)
    assert sum(chance * draw.weight**2 for draw, chance in draws) - mean**2 == Fraction(1111, 13500)


def test_numbers_of_checks_follow_the_race_of_clocks():
    """A forbidden clock rings before one legal ring with p/(p+Z), before two with 1 - (Z/(p+Z))^2."""
    for p, legal in problems():
        Z = sum(p[i] for i in legal)
        if not Z:
            continue
        draws = list(outcomes(awrs, p, legal))
        forbidden = [p[i] for i in range(len(p)) if i not in legal]
        assert sum(c * d.first for d, c in draws) == 1 + sum(q / (q + Z) for q in forbidden)
        again = sum((p[i] / Z) ** 2 for i in legal)
        expected = 2 - again + sum(1 - (Z / (q + Z)) ** 2 for q in forbidden)
        assert sum(c * d.evaluations for d, c in draws) == expected


def test_a_line_of_a_small_language_model_is_unbiased_as_fractions():
    """Two tokens of a bigram model: E[product of weights, line] is the probability of the line if it is legal."""
    lm = NGramLM([(1, 2), (2, 2), (1, 1), (2, 1)], vocab_size=3, order=2)
    chances = {c: np.array([Fraction(q).limit_denominator(1000) for q in lm(c)]) for c in ((), (0,), (1,), (2,))}
    legal = {(1, 2), (2, 1), (2, 2)}
    means = dict.fromkeys(product(range(3), repeat=2), Fraction(0))
    for a, chance in outcomes(awrs, chances[()], {line[0] for line in legal}):
        for b, chance_b in outcomes(awrs, chances[(a.token,)], {y for x, y in legal if x == a.token}):
            means[a.token, b.token] += chance * chance_b * a.weight * b.weight
    for x, y in means:
        assert means[x, y] == (chances[()][x] * chances[(x,)][y] if (x, y) in legal else 0)


def zipf(V=200):
    p = 1 / np.arange(1, V + 1)
    return p / p.sum(), np.arange(V) % 2 == 1


@pytest.mark.parametrize("sampler", [mask, ars, awrs, awrs_recursive, wrs])
def test_every_sampler_draws_from_the_masked_distribution(sampler):
    p, legal = zipf(20)
    rng = np.random.default_rng(1)
    n = 6000
    found = np.bincount([sampler(p, legal.__getitem__, rng).token for _ in range(n)], minlength=20) / n
    wanted = p * legal / p[legal].sum()
    assert np.abs(found - wanted).max() < 4 * np.sqrt(wanted * (1 - wanted) / n).max()


@pytest.mark.parametrize("loops", [1, 3])
def test_wrs_has_mean_Z_and_for_one_loop_the_variance_of_rejection_with_replacement(loops):
    p, legal = zipf()
    Z, rng, n = p[legal].sum(), np.random.default_rng(2), 8000
    weights = np.array([wrs(p, legal.__getitem__, rng, loops).weight for _ in range(n)])
    assert abs(weights.mean() - Z) < 4 * weights.std() / n**0.5
    if loops == 1:
        variance = -(Z**2) * np.log(Z) / (1 - Z) - Z**2
        assert weights.var() == pytest.approx(variance, rel=0.05)


def test_many_draws_at_once_have_the_law_of_single_draws():
    p, legal = zipf()
    rng, n = np.random.default_rng(3), 8000
    single = [awrs(p, legal.__getitem__, rng) for _ in range(n)]
    many = awrs_many(np.broadcast_to(p, (n, 200)), legal, rng)
    for field in ("weight", "evaluations", "first"):
        a, b = np.array([getattr(draw, field) for draw in single]), getattr(many, field)
        assert abs(a.mean() - b.mean()) < 4 * np.hypot(a.std(), b.std()) / n**0.5, field
        assert a.std() == pytest.approx(b.std(), rel=0.05), field
    assert abs(many.weight.mean() - p[legal].sum()) < 4 * many.weight.std() / n**0.5


def test_race_brings_tokens_up_as_draws_without_replacement_do():
    p, rng, n = np.array([0.5, 0.3, 0.2, 0.0]), np.random.default_rng(4), 20_000
    seen = [tuple(race(p, rng)) for _ in range(n)]
    for order, chance in orders(p.tolist()):
        found = np.mean([s == order for s in seen])
        assert abs(found - float(chance)) < 4 * (float(chance) / n) ** 0.5, order


def test_smc_estimates_the_probability_of_a_legal_line_with_and_without_resampling():
    """A model that prefers the dead end: P(legal) = .9 * .01 + .1 * .5, share of the first line 9/59."""
    model = {(): [0, 0.9, 0.1, 0], (1,): [0, 0, 0.99, 0.01], (2,): [0, 0, 0.5, 0.5]}
    rng = np.random.default_rng(5)

    def step(context):
        if context[-1:] == (3,):
            return END, 1.0
        forbidden = (2,) if context else ()
        return awrs(np.array(model[context], dtype=float), lambda token: token not in forbidden, rng)

    for threshold in (0, 0.5, 1):
        runs = [smc(step, 20, end=END, max_len=3, rng=rng, ess_threshold=threshold) for _ in range(300)]
        mass = np.array([run.mass for run in runs])
        assert abs(mass.mean() - 0.059) < 4 * mass.std() / 300**0.5
        first = [
            np.mean([np.exp(w) * (line[0] == 1) for line, w in zip(run.sequences, run.log_weights, strict=True)])
            for run in runs
        ]
        assert abs(np.mean(first) - 0.009) < 4 * np.std(first) / 300**0.5


@pytest.fixture(scope="module")
def library():
    """The authors' library: `pip install genlm-control`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("genlm.control.sampler.token")


def theirs(function, p, legal, n, **options):
    """Tokens, weights and numbers of different tokens checked, of `n` draws of the library."""
    import torch

    logps, generator = torch.tensor(p).log(), torch.Generator().manual_seed(0)
    rows = []

    def make_keys(logps):
        noise = torch.rand(logps.shape, dtype=torch.float64, generator=generator)
        return logps - (-noise.log()).log()

    async def run():
        for _ in range(n):
            checked = set()

            async def accept(token, checked=checked):
                checked.add(token)
                return bool(legal[token])

            token, weight, _ = await function(
                logps=logps.clone(), toks=list(range(len(p))), accept=accept, make_keys=make_keys,
                max_rejects=float("inf"), **options,
            )  # fmt: skip
            rows.append((token, np.exp(weight), len(checked)))

    asyncio.run(run())
    return np.array(rows).T


@pytest.mark.parametrize("name", ["recursive", "geometric"])
def test_the_authors_library_and_ours_agree_in_token_weight_and_checks(library, name):
    p, legal = zipf(50)
    n, rng, Z = 3000, np.random.default_rng(6), p[legal].sum()
    ours = [{"recursive": awrs_recursive, "geometric": wrs}[name](p, legal.__getitem__, rng) for _ in range(n)]
    options = {"rng": np.random.default_rng(7), "max_accepts": 2} if name == "geometric" else {}
    tokens, weights, checks = theirs(getattr(library, f"{name}_awrs"), p, legal, n, **options)
    our_weights, our_checks = (np.array([getattr(draw, f) for draw in ours]) for f in ("weight", "evaluations"))
    for a in (weights, our_weights):
        assert abs(a.mean() - Z) < 4 * a.std() / n**0.5
    assert our_weights.std() == pytest.approx(weights.std(), rel=0.05)
    assert abs(our_checks.mean() - checks.mean()) < 4 * np.hypot(our_checks.std(), checks.std()) / n**0.5
    a, b = (np.bincount(t, minlength=50) / n for t in (tokens.astype(int), [draw.token for draw in ours]))
    assert np.abs(a - b).max() < 4 * np.sqrt(2 * 0.25 / n)


def test_the_paper_s_estimator_has_the_mean_of_the_library_s(library):
    p, legal = zipf(50)
    n, rng = 3000, np.random.default_rng(8)
    ours = np.array([awrs(p, legal.__getitem__, rng).weight for _ in range(n)])
    options = {"rng": np.random.default_rng(9), "max_accepts": 2}
    _, weights, _ = theirs(library.geometric_awrs, p, legal, n, **options)
    assert abs(ours.mean() - weights.mean()) < 4 * np.hypot(ours.std(), weights.std()) / n**0.5


@pytest.mark.parametrize("sampler", [mask, ars, awrs, awrs_recursive, wrs])
def test_a_dead_end_has_weight_zero_and_has_checked_everything(sampler):
    draw = sampler(np.array([0.5, 0.5, 0.0]), lambda token: False, np.random.default_rng(0))
    assert draw == (DEAD, 0.0, 2, 2)
