"""The largest singular directions of a tall matrix whose rows arrive in batches."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor


class IncrementalSVD:
    r"""A truncated SVD that is updated batch by batch (Levy and Lindenbaum, 2000; Ross et al., 2008).

    What is known of the rows so far is :math:`\mathrm{diag}(S)V^\top`. A new batch is stacked below it, and the SVD of
    the stack is cut to `n_components` again. With ``center=True`` the rows are centered by the mean of all rows: the
    new ones by their own mean, and one more row carries the step between the old and the new mean.

    What is cut off is lost, so the result is that of one SVD of all rows only while nothing is cut, and else near it.
    Computed in double precision, on the device of the rows, by way of the smaller of the stack's two Gram matrices.

    Args:
        n_components: singular directions that are kept.
        center: subtract the mean, as in PCA.

    Attributes:
        components_: (k, features), orthonormal rows, largest singular value first; k is `n_components`, or
            fewer where the rows span fewer dimensions. The entry of largest size of each row is positive.
        singular_values_: (k,).
        explained_variance_ratio_: (k,), share of the squared entries of all (centered) rows seen.
        n_samples_seen_: rows seen.

    Raises:
        ValueError: `n_components` below 1.
    """

    def __init__(self, n_components: int, center: bool = False):
        if n_components < 1:
            raise ValueError(f"n_components must be at least 1, got {n_components}.")
        self.n_components, self.center = n_components, center
        self.n_samples_seen_ = 0
        self._total = 0.0

    @torch.no_grad()
    def partial_fit(self, X: Float[Tensor, "rows features"]) -> IncrementalSVD:
        """Take in a batch of any number of rows, at least one, and return the object.

        Raises:
            ValueError: no matrix, no rows, entries that are not finite, or another number of features than before.
        """
        if X.ndim != 2 or not len(X):
            raise ValueError(f"a batch must be a matrix with at least one row, got shape {tuple(X.shape)}.")
        if self.n_samples_seen_ and X.shape[1] != self.components_.shape[1]:
            raise ValueError(f"a batch has {X.shape[1]} features, those before had {self.components_.shape[1]}.")
        X, n, b = X.double(), self.n_samples_seen_, len(X)
        if not X.isfinite().all():
            raise ValueError("a batch has entries that are not finite.")
        if self.center:
            mean = X.mean(dim=0)
            X = X - mean
            if n:
                X = torch.cat([X, (n * b / (n + b)) ** 0.5 * (self._mean - mean)[None]])
            self._mean = (n * self._mean + b * mean) / (n + b) if n else mean
        self._total += X.square().sum()
        stack = torch.cat([self.singular_values_[:, None] * self.components_, X]) if n else X
        self.singular_values_, V = _largest(stack, self.n_components)
        largest = V.abs().argmax(dim=1, keepdim=True)
        self.components_ = V * torch.where(V.gather(1, largest) < 0, -1.0, 1.0)
        self.n_samples_seen_ = n + b
        return self

    @property
    def explained_variance_ratio_(self) -> Float[Tensor, " k"]:
        return self.singular_values_.square() / self._total


def _largest(X: Float[Tensor, "rows features"], k: int) -> tuple[Tensor, Tensor]:
    """Return the k largest singular values and right-singular vectors, without those that are zero to rounding.

    Squaring loses what is below 1e-8 of the largest value, which matters for no direction that is worth keeping, and
    the eigenvalues of a small matrix cost a fraction of an SVD.
    """
    wide = len(X) < X.shape[1]
    values, vectors = torch.linalg.eigh(X @ X.T if wide else X.T @ X)
    S, V = values.clamp_min(0).sqrt().flip(0)[:k], vectors.flip(1)[:, :k].T
    kept = S > 1e-7 * S[0]
    S, V = S[kept], V[kept]
    return S, V @ X / S[:, None] if wide else V
