"""Boosted networks against the authors' package from PyPI: fits of one unit a step, and predictions.

Run: python benchmarks/bench_gbnn.py (the extra `oracles` brings the package)
Both fit the same small networks by the same solver from the same draws, so the predictions must agree to rounding:
reprolib through scipy, the package through scikit-learn. The package is patched in two places: recent versions of
scikit-learn do not recognize its classifiers, and its subsamples follow no seed. Times are CPU times, the best of
several rounds in which the two take turns.
"""

from __future__ import annotations

import time
import warnings
from functools import partial

import gbnn.GBNN as package
import numpy as np
from sklearn.utils.random import sample_without_replacement

from reprolib.data.suite import load
from reprolib.models.gbnn import GBNNClassifier, GBNNRegressor

UNITS, ROUNDS = 100, 3
TABLES = ("breast cancer", "wine", "digits", "diabetes", "friedman1")
OPTIONS = dict(eta=0.1, subsample=0.5)


def ours(classes, X, y):
    model = GBNNClassifier if classes else GBNNRegressor
    return model(UNITS, **OPTIONS, random_state=np.random.RandomState(0)).fit(X, y)


def theirs(classes, X, y):
    state = np.random.RandomState(0)
    package.sample_without_replacement = partial(sample_without_replacement, random_state=state)
    model = package.GNEGNEClassifier if classes else package.GNEGNERegressor
    fitted = model(total_nn=UNITS, random_state=state, **OPTIONS)
    fitted.fit(X, y)
    return fitted


def raw(model, X):
    """Predictions, half log odds or logits."""
    if isinstance(model, package.GNEGNE):
        return model._decision_function(X)
    return model.decision_function(X) if hasattr(model, "classes_") else model.predict(X)


def clock(function, *arguments):
    begin = time.process_time()
    result = function(*arguments)
    return result, time.process_time() - begin


def main() -> None:
    warnings.simplefilter("ignore")  # the package's small networks stop at their most iterations and say so
    package.is_classifier = lambda model: model._estimator_type == "classifier"
    for name in TABLES:
        problem = load(name)
        X, X_test, y, _ = problem.split(0)
        best = {"reprolib": [np.inf, np.inf], "GBNN 0.0.2": [np.inf, np.inf]}
        outputs = {}
        for _ in range(ROUNDS):
            for who, fit in (("reprolib", ours), ("GBNN 0.0.2", theirs)):
                model, seconds = clock(fit, problem.n_classes, X, y)
                outputs[who], again = clock(raw, model, X_test)
                best[who] = [min(best[who][0], seconds), min(best[who][1], again)]
        a, b = outputs.values()
        assert np.abs(a - b).max() <= 1e-12 * np.abs(b).max(), name
        print(f"\n{name}: {UNITS} units, {len(X)} rows")
        for who, (seconds, again) in best.items():
            relative = seconds / best["reprolib"][0]
            times = f"fit {seconds:>6.2f} s {relative:>6.2f}x   predict {1e3 * again:>6.1f} ms"
            print(f"  {who:<12} {times}")
    print("\nBoth agree.")


if __name__ == "__main__":
    main()
