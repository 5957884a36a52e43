"""Shared code of *Where Learning Starts*: inits, models, data, training, sweeps, claims and figures."""

__all__ = ["seed_all"]
__version__ = "0.1.0"


def __getattr__(name: str):
    if name == "seed_all":  # on demand, because it imports torch, which the command line has no use for
        from reprolib.determinism import seed_all

        return seed_all
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
