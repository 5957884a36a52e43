"""Shared code of *Where Learning Starts*: inits, models, data, training, sweeps, claims and figures."""

import os
from collections.abc import MutableMapping
from contextlib import suppress
from pathlib import Path

__all__ = ["seed_all"]
__version__ = "0.1.0"


def leave_out_avx512(environ: MutableMapping[str, str], cpuinfo: Path = Path("/proc/cpuinfo")) -> None:
    """Have torch and numpy use AVX2 where they would use AVX-512, so that both kinds of processor give the same bits.

    Training amplifies a difference in the last bits until it can decide a claim near its threshold. Both libraries
    read these variables once, so this must come before they are loaded. A variable that is set already is kept.
    """
    with suppress(OSError):  # only Linux has the file
        if " avx512f " in cpuinfo.read_text():
            environ.setdefault("ATEN_CPU_CAPABILITY", "avx2")
            environ.setdefault("OPENBLAS_CORETYPE", "Haswell")  # the products of numpy and scipy
            environ.setdefault("NPY_DISABLE_CPU_FEATURES", "AVX512F X86_V4")  # names before and since numpy 2.4


leave_out_avx512(os.environ)


def __getattr__(name: str):
    if name == "seed_all":  # on demand, because it imports torch, which the command line has no use for
        from reprolib.determinism import seed_all

        return seed_all
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
