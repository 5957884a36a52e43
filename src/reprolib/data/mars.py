"""Two smooth functions of five inputs with noise, in the style of Friedman's (1991, MARS)."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

Array = np.ndarray
KINDS = ("MARSadd", "MARSmult")


def mars(X: Float[Array, "n d"], kind: str) -> Float[Array, " n"]:
    r"""Return the noiseless function; inputs beyond the fifth have no influence.

    ``"MARSadd"``: :math:`0.1e^{4x_1}+\frac{4}{1+e^{-20(x_2-0.5)}}+3x_3+2x_4+x_5`. ``"MARSmult"``:
    :math:`10\sin(\pi x_1x_2)+20(x_3-0.05)^2+10x_4+5x_5`; the 0.05 is that of the code of Curth et al. (2024), where
    Friedman has 0.5.

    Raises:
        ValueError: another `kind`, or fewer than five inputs.
    """
    if kind not in KINDS or X.shape[1] < 5:
        raise ValueError(f"kind must be 'MARSadd' or 'MARSmult' and X have 5 columns, got {kind!r}, {X.shape[1]}.")
    a, b, c, d, e = X[:, :5].T
    if kind == "MARSadd":
        return 0.1 * np.exp(4 * a) + 4 / (1 + np.exp(-20 * (b - 0.5))) + 3 * c + 2 * d + e
    return 10 * np.sin(np.pi * a * b) + 20 * (c - 0.05) ** 2 + 10 * d + 5 * e


def make_mars(
    n: int, d: int = 5, *, kind: str, sigma: float, generator: np.random.Generator
) -> tuple[Float[Array, "n d"], Float[Array, " n"]]:
    """Return n inputs, uniform on the unit cube, and their outcomes with normal noise.

    The inputs do not depend on `kind` and `sigma`, and the noise is `sigma` times the same draws.

    Args:
        n: number of points.
        d: number of inputs, at least 5.
        kind: as for `mars`.
        sigma: standard deviation of the noise.
        generator: source of all draws.
    """
    X = generator.random((n, d))
    return X, mars(X, kind) + sigma * generator.standard_normal(n)
