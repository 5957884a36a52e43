r"""Weights of trees, forests and boosted trees on the training labels, and effective parameters.

A leaf predicts the mean label of its training points, so a prediction is :math:`\hat f(x_0)=\hat s(x_0)^\top y`, and a
matrix of weights S holds one row a query. Curth, Jeffares and van der Schaar (2024), arXiv:2402.01502.

The models are scikit-learn's, fitted without sample weights, with leaves that predict means (not medians).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse import csr_array, vstack
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.tree import BaseDecisionTree
from sklearn.utils.validation import validate_data

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
    shares, _ = _shares([tree], tree.apply(X_train)[None], None if counts is None else np.asarray(counts)[None])
    return shares


def _shares(
    trees: Sequence[BaseDecisionTree], leaf: Int[Array, "B n"], counts: Float[Array, "B n"] | None
) -> tuple[csr_array, Int[Array, " B"]]:
    """`leaf_shares` of many trees, one above the other, and each tree's first row; `leaf` holds what `apply` gives."""
    if any(tree.criterion == "absolute_error" for tree in trees):
        raise ValueError("leaves of criterion 'absolute_error' predict medians, which are no weighted means.")
    counts = np.ones(leaf.shape) if counts is None else counts
    *first, nodes = np.cumsum([0, *(tree.tree_.node_count for tree in trees)])
    row = leaf + np.array(first)[:, None]
    total = np.bincount(row.ravel(), counts.ravel(), minlength=nodes)
    is_leaf = np.concatenate([tree.tree_.children_left for tree in trees]) == -1
    held = np.concatenate([tree.tree_.weighted_n_node_samples for tree in trees])
    if not np.array_equal(total[is_leaf], held[is_leaf]):
        raise ValueError("X_train and counts are not what the tree was fitted on: its leaves hold other numbers.")
    used = np.nonzero(counts)
    row = row[used]
    return csr_array((counts[used] / total[row], (row, used[1])), shape=(nodes, leaf.shape[1])), np.array(first)


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


def _leaves(forest: Forest, X: Array) -> Int[Array, "B m"]:
    """The leaf of every input in every tree: `forest.apply`, without what it spends on calling each tree."""
    X = validate_data(forest, X, dtype=np.float32, reset=False)
    return np.array([tree.tree_.apply(X) for tree in forest.estimators_])


def _forest_shares(forest: Forest, X_train: Array) -> tuple[csr_array, Array]:
    """`_shares` of its trees, with their bootstrap samples."""
    counts = None
    if forest.bootstrap:
        counts = np.array([np.bincount(sample, minlength=len(X_train)) for sample in forest.estimators_samples_])
    return _shares(forest.estimators_, _leaves(forest, X_train), counts)


def weights_by_tree(forest: Forest, X_train: Float[Array, "n d"], X_query: Float[Array, "m d"]) -> list[csr_array]:
    """Return the weights of every tree of a forest, sparse, shape (m, n) each.

    Arguments and errors as for `forest_weights`.
    """
    shares, first = _forest_shares(forest, X_train)
    return [shares[rows] for rows in _leaves(forest, X_query) + first[:, None]]


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
    shares, first = _forest_shares(forest, X_train)
    at = _leaves(forest, X_query).T + first  # (m, trees), rows of `shares`
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
        shares = _shares([tree], leaf[None], None)[0][leaves]
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
    flat = vstack(trees, format="csr").reshape(len(trees), m * n).tocsr()
    return n / m * (flat @ flat.T).toarray()
