"""Shared code of *Where Learning Starts*: inits, models, data, training, sweeps, claims and figures."""

import importlib.metadata
import os
import sys
from collections.abc import MutableMapping
from contextlib import suppress
from pathlib import Path

__all__ = ["seed_all"]
__version__ = "0.1.0"


def leave_out_avx512(environ: MutableMapping[str, str], cpuinfo: Path = Path("/proc/cpuinfo")) -> None:
    """Have torch and numpy use AVX2 where they would use AVX-512, so that more processors give the same bits.

    Training amplifies a difference in the last bits until it can decide a claim near its threshold. The libraries
    read these variables once, so this must come before they are loaded. A variable that is set already is kept.
    """
    with suppress(OSError, importlib.metadata.PackageNotFoundError):  # only Linux has the file
        if " avx512f " in cpuinfo.read_text():
            major, minor, *_ = importlib.metadata.version("numpy").split(".")
            name = "X86_V4" if (int(major), int(minor)) >= (2, 4) else "AVX512F"
            environ.setdefault("NPY_DISABLE_CPU_FEATURES", name)
            environ.setdefault("OPENBLAS_CORETYPE", "Haswell")  # products of numpy and scipy
            environ.setdefault("ATEN_CPU_CAPABILITY", "avx2")  # torch
            environ.setdefault("ONEDNN_MAX_CPU_ISA", "AVX2")  # torch's convolutions and GELU


if "numpy" not in sys.modules:  # half of the libraries with AVX-512 would be a third kind of result
    leave_out_avx512(os.environ)


def __getattr__(name: str):
    if name == "seed_all":  # on demand, because it imports torch, which the command line has no use for
        from reprolib.determinism import seed_all

        return seed_all
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
