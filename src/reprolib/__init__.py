"""Shared code of *Where Learning Starts*: inits, models, data, training, sweeps, claims and figures."""

from reprolib.determinism import seed_all

__all__ = ["seed_all"]
__version__ = "0.1.0"
