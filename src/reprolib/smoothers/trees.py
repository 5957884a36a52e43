r"""Weights of trees, forests and boosted trees on the training labels, and effective parameters.

A leaf predicts the mean label of its training points, so a prediction is :math:`\hat f(x_0)=\hat s(x_0)^\top y`, and a
matrix of weights S holds one row a query. Curth, Jeffares and van der Schaar (2024), arXiv:2402.01502.

The models are scikit-learn's, fitted without sample weights, with leaves that predict means (not medians).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float
from scipy.sparse import csr_array, vstack
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.tree import BaseDecisionTree

Array = np.ndarray
Forest = RandomForestRegressor | RandomForestClassifier | ExtraTreesRegressor | ExtraTreesClassifier


def leaf_shares(
    tree: BaseDecisionTree, X_train: Float[Array, "n d"], counts: Float[Array, " n"] | None = None
) -> csr_array:
    r"""Return what each training point contributes to each node, sparse, shape (nodes, n); zero but for leaves.

    Row l holds :math:`w_i\,1\{l(x_i)=l\}/\sum_j w_j\,1\{l(x_j)=l\}`, so it sums to 1 for a leaf.

    Args:
        tree: a fitted tree.
        X_train: the inputs that it was fitted on.
        counts: how often each of them came in its bootstrap sample; None for once each.

    Raises:
        ValueError: the tree was fitted on other points or with sample weights, or predicts medians.
    """
    return _shares(tree, tree.apply(X_train), counts)


def _shares(tree: BaseDecisionTree, leaf: Array, counts: Array | None) -> csr_array:
    """`leaf_shares` where the leaf of every training point is known, shape (n,)."""
    if tree.criterion == "absolute_error":
        raise ValueError("leaves of criterion 'absolute_error' predict medians, which are no weighted means.")
    counts = np.ones(len(leaf)) if counts is None else np.asarray(counts, dtype=float)
    nodes = tree.tree_.node_count
    total = np.bincount(leaf, counts, minlength=nodes)
    is_leaf = tree.tree_.children_left == -1
    if not np.array_equal(total[is_leaf], tree.tree_.weighted_n_node_samples[is_leaf]):
        raise ValueError("X_train and counts are not what the tree was fitted on: its leaves hold other numbers.")
    used = np.flatnonzero(counts)
    return csr_array((counts[used] / total[leaf[used]], (leaf[used], used)), shape=(nodes, len(leaf)))


def tree_weights(
    tree: BaseDecisionTree,
    X_train: Float[Array, "n d"],
    X_query: Float[Array, "m d"],
    counts: Float[Array, " n"] | None = None,
) -> csr_array:
    """Return the weights of one tree, sparse, shape (m, n); rows are not negative and sum to 1.

    Arguments and errors as for `leaf_shares`; `X_query` holds the points to predict at.
    """
    return leaf_shares(tree, X_train, counts)[tree.apply(X_query)]


def _forest_shares(forest: Forest, X_train: Array) -> list[csr_array]:
    """`leaf_shares` of every tree, with its bootstrap sample."""
    trees, n = forest.estimators_, len(X_train)
    counts = [None] * len(trees)
    if forest.bootstrap:
        counts = [np.bincount(sample, minlength=n) for sample in forest.estimators_samples_]
    return [_shares(*each) for each in zip(trees, forest.apply(X_train).T, counts, strict=True)]


def weights_by_tree(forest: Forest, X_train: Float[Array, "n d"], X_query: Float[Array, "m d"]) -> list[csr_array]:
    """Return the weights of every tree of a forest, sparse, shape (m, n) each.

    Arguments and errors as for `forest_weights`.
    """
    shares = _forest_shares(forest, X_train)
    return [each[at] for each, at in zip(shares, forest.apply(X_query).T, strict=True)]


def forest_weights(forest: Forest, X_train: Float[Array, "n d"], X_query: Float[Array, "m d"]) -> Float[Array, "m n"]:
    """Return the weights of a forest, the mean of those of its trees.

    One product of sparse matrices: queries by leaves of all trees, times leaves by training points.

    Args:
        forest: a fitted random forest or extra trees, regressor or classifier.
        X_train: the inputs that it was fitted on.
        X_query: where to predict. ``forest_weights(...) @ y`` is then ``forest.predict(X_query)``, or for a classifier
            and labels 0 and 1 the second column of ``predict_proba``.

    Raises:
        ValueError: as for `leaf_shares`.
    """
    shares = _forest_shares(forest, X_train)
    first = np.cumsum([0, *(each.shape[0] for each in shares[:-1])])
    shares = vstack(shares, format="csr")
    at = forest.apply(X_query) + first  # (m, trees), rows of `shares`
    m, B = at.shape
    member = csr_array((np.full(m * B, 1 / B), at.ravel(), np.arange(0, m * B + 1, B)), shape=(m, shares.shape[0]))
    return (member @ shares).toarray()


def boosting_path(
    model: GradientBoostingRegressor, X_train: Float[Array, "n d"], X_query: Float[Array, "m d"]
) -> Iterator[tuple[Float[Array, "n n"], Float[Array, "m n"]]]:
    r"""Yield the weights of a boosted ensemble at the training points and at the queries after every tree.

    Tree m with weights :math:`T^{(m)}` is fitted to residuals, so with the learning rate :math:`\eta`
    :math:`S^{(m)}=S^{(m-1)}+\eta\,T^{(m)}(I-S^{(m-1)}_{train})`. It starts at 0 with ``init="zero"``, at the
    mean of all labels with ``init=None``. Rows need not sum to 1 and may have negative entries. The arrays are updated
    in place: copy what is to be kept.

    Args:
        model: fitted with the squared loss on all points (``subsample=1``).
        X_train, X_query: as for `forest_weights`.

    Raises:
        ValueError: another loss or `init`, or as for `leaf_shares`.
    """
    if model.loss != "squared_error" or model.init not in ("zero", None):
        raise ValueError(
            f"boosting must have loss 'squared_error' and init 'zero' or None, got {model.loss!r} and {model.init!r}."
        )
    n = len(X_train)
    start = 0.0 if model.init == "zero" else 1 / n
    S_train, S_query = np.full((n, n), start), np.full((len(X_query), n), start)
    for (tree,) in model.estimators_:
        leaf = tree.apply(X_train)
        leaves, train = np.unique(leaf, return_inverse=True)
        shares = _shares(tree, leaf, None)[leaves]
        change = model.learning_rate * (shares.toarray() - shares @ S_train)  # (leaves, n)
        S_train += change[train]
        S_query += change[np.searchsorted(leaves, tree.apply(X_query))]
        yield S_train, S_query


def boosting_weights(
    model: GradientBoostingRegressor, X_train: Float[Array, "n d"], X_query: Float[Array, "m d"]
) -> Float[Array, "m n"]:
    """Return the weights of a boosted ensemble at `X_query` after its last tree; see `boosting_path`."""
    for _, S_query in boosting_path(model, X_train, X_query):  # noqa: B007 the last one counts
        pass
    return S_query


def effective_parameters(S: Float[Array, "m n"] | csr_array) -> float:
    r"""Return :math:`p=n\cdot\frac1m\sum_{x_0}\lVert\hat s(x_0)\rVert^2` (the paper's effective parameters).

    Between 1 (the mean of all labels) and n (one neighbor) for weights that are not negative and sum to 1. With fixed
    weights and noise of variance :math:`\sigma^2`, the mean variance of the predictions is :math:`\sigma^2p/n`.

    Args:
        S: weights, dense or sparse, one row a query; n is the number of columns, also for queries that are no
            training points.
    """
    m, n = S.shape
    return float(n / m * (S * S).sum())


def overlap(trees: Sequence[csr_array]) -> Float[Array, "B B"]:
    r"""Return :math:`p_{bc}=n\cdot\frac1m\sum_{x_0}\langle s^{(b)}(x_0),s^{(c)}(x_0)\rangle` for all pairs of trees.

    The diagonal holds the effective parameters of the trees, and the mean of ``[:B, :B]`` is that of a forest of the
    first B. For trees with one training point a leaf, :math:`p_{bc}/n` is how often two trees choose the same one.

    Args:
        trees: weights as from `weights_by_tree`.
    """
    m, n = trees[0].shape
    flat = vstack([S.reshape(1, m * n) for S in trees], format="csr")
    return n / m * (flat @ flat.T).toarray()
