"""Weights of a forest against leaf equality written naively and against the dense construction of the paper's code.

Run: python benchmarks/bench_forest_smoothers.py
The dense construction is written anew along the lines of the authors' repository: for every tree a matrix of equal
leaves for training inputs and one for test inputs, each reweighted, normalized and added up. The naive one asks for
every query, tree and training point whether they share a leaf. Then weights of boosted trees, with a correction for
every leaf as in the authors' code. Fitting is outside the clock. All methods must agree to 1e-12, and with predict to
1e-10. Times are CPU times, the best of several rounds in which the methods take turns.
"""

from __future__ import annotations

import time

import numpy as np
from sklearn.ensemble import GradientBoostingRegressor, RandomForestRegressor

from reprolib.data.mars import make_mars
from reprolib.smoothers.trees import boosting_path, forest_weights

TREES, ROUNDS, NAIVE_QUERIES = 50, 3, 20


def bootstraps(forest, n):
    """How often every training point came in the sample of every tree."""
    if not forest.bootstrap:
        return np.ones((len(forest.estimators_), n))
    return np.array([np.bincount(sample, minlength=n) for sample in forest.estimators_samples_])


def dense_tree(tree, drawn, X, queries):
    """One tree's weights as an equality of leaves, for one set of queries after another."""
    leaf = np.where(drawn > 0, tree.apply(X), -999)
    for X0 in queries:
        S = (tree.apply(X0)[:, None] == np.repeat(leaf[None, :], len(X0), axis=0)) * drawn
        yield S / S.sum(axis=1)[:, None]


def dense(forest, X, *queries):
    """The sum of all trees' matrices, normalized."""
    total = [np.zeros((len(X0), len(X))) for X0 in queries]
    for tree, drawn in zip(forest.estimators_, bootstraps(forest, len(X)), strict=True):
        for S, each in zip(total, dense_tree(tree, drawn, X, queries), strict=True):
            S += each
    return [S / S.sum(axis=1)[:, None] for S in total]


def naive(forest, X, *queries):
    """Three loops. For a few queries only."""
    counts, train = bootstraps(forest, len(X)), forest.apply(X)
    result = []
    for X0 in queries:
        S = np.zeros((len(X0), len(X)))
        for q, leaves in enumerate(forest.apply(X0)):
            for b, leaf in enumerate(leaves):
                same = [counts[b, i] if train[i, b] == leaf else 0.0 for i in range(len(X))]
                size = sum(same)
                for i, w in enumerate(same):
                    S[q, i] += w / size / len(leaves)
        result.append(S)
    return result


def ours(forest, X, *queries):
    return [forest_weights(forest, X, X0) for X0 in queries]


def dense_boosting(model, X, *queries):
    """Every tree's dense weights, minus the mean row of the ensemble so far in its leaf."""
    total = [np.zeros((len(X0), len(X))) for X0 in queries]  # the first are the training inputs
    for (tree,) in model.estimators_:
        leaf = tree.apply(X)
        step = list(dense_tree(tree, np.ones(len(X)), X, queries))
        for node in np.unique(leaf):
            mean = total[0][leaf == node].sum(axis=0) / np.sum(leaf == node)
            for S, X0 in zip(step, queries, strict=True):
                S[tree.apply(X0) == node] -= mean
        for S, each in zip(total, step, strict=True):
            S += model.learning_rate * each
    return total


def our_boosting(model, X, X_again, X0):
    for last in boosting_path(model, X, X0):  # noqa: B007 the last one counts
        pass
    return last


def compare(methods, model, X, y, X0) -> None:
    """Time the methods in turns, at all training and test inputs, and make sure that they agree."""
    best, results = dict.fromkeys(methods, float("inf")), {}
    for _ in range(ROUNDS):
        for name, (method, m) in methods.items():
            begin = time.process_time()
            results[name] = method(model, X, X[:m], X0[:m])
            best[name] = min(best[name], (time.process_time() - begin) * len(X0) / min(m, len(X0)))
    first = results["reprolib"]
    for S, inputs in zip(first, (X, X0), strict=True):
        assert np.abs(S @ y - model.predict(inputs)).max() < 1e-10
    for name, (_, m) in methods.items():
        assert all(np.abs(a[:m] - b).max() < 1e-12 for a, b in zip(first, results[name], strict=True)), name
        scaled = ", from a few queries" if m < len(X0) else ""
        print(f"  {name:<22} {best[name]:>9.4f} s {best[name] / best['reprolib']:>9.1f}x{scaled}")


def main() -> None:
    for n in (500, 2000):
        X, y = make_mars(n, kind="MARSadd", sigma=1.0, generator=np.random.default_rng(0))
        X0, _ = make_mars(n, kind="MARSadd", sigma=1.0, generator=np.random.default_rng(1))
        for bootstrap, leaves in ((False, None), (True, None), (False, 50)):
            forest = RandomForestRegressor(
                TREES, max_features=0.6, bootstrap=bootstrap, max_leaf_nodes=leaves, random_state=0
            ).fit(X, y)
            print(
                f"\n{TREES} trees, n = {n}, bootstrap {bootstrap}, leaves {leaves or 'all'}: training and test inputs"
            )
            methods = {"reprolib": (ours, n), "dense, as in the paper": (dense, n), "naive": (naive, NAIVE_QUERIES)}
            compare(methods, forest, X, y, X0)
        if n == 500:
            options = dict(learning_rate=0.05, init="zero", max_depth=None, max_leaf_nodes=50, random_state=0)
            model = GradientBoostingRegressor(n_estimators=TREES, **options).fit(X, y)
            print(f"\n{TREES} boosted trees, n = {n}, leaves 50: training and test inputs")
            compare({"reprolib": (our_boosting, n), "dense, as in the paper": (dense_boosting, n)}, model, X, y, X0)
    print("\nAll methods agree.")


if __name__ == "__main__":
    main()
