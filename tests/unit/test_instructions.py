"""The same bits on processors with AVX-512 and without it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from reprolib import leave_out_avx512

AVX2 = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "OPENBLAS_CORETYPE": "Haswell",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "NPY_DISABLE_CPU_FEATURES": "X86_V4",  # numpy >= 2.4, as constraints.txt has it
}
BARE = {name: value for name, value in os.environ.items() if name not in AVX2}
CPU = Path("/proc/cpuinfo")
needs_avx512 = pytest.mark.skipif(
    not (CPU.exists() and " avx512f " in CPU.read_text()), reason="the processor has no AVX-512"
)
SCRIPT = """
import importlib
import sys

for name in sys.argv[1].split():
    importlib.import_module(name)
import hashlib

import numpy as np
import torch

a = np.random.default_rng(0).normal(size=(2, 200, 301))
t = torch.from_numpy(a).float()
ties = np.argsort(a.round(1), axis=None)  # numpy has another sort with AVX-512
images, filters = t[:, :192, :256].reshape(2, 16, 48, 64), t[0, :16, :144].reshape(16, 16, 3, 3)
tensors = [t.softmax(-1), torch.nn.functional.gelu(t), torch.conv2d(images, filters)]
results = [ties, a[0] @ a[1].T, np.linalg.svd(a[0])[1], *(tensor.numpy() for tensor in tensors)]
print(*(hashlib.sha256(r.tobytes()).hexdigest() for r in results))
"""


@pytest.mark.parametrize(
    ("cpuinfo", "before", "after"),
    [
        ("flags : avx2 avx512f avx512dq", {}, AVX2),
        ("flags : sse4_2 avx2 fma", {}, {}),
        (None, {}, {}),
        (
            "flags : avx2 avx512f avx512dq",
            {"ATEN_CPU_CAPABILITY": "avx512"},
            AVX2 | {"ATEN_CPU_CAPABILITY": "avx512"},
        ),
    ],
    ids=["with", "without", "no Linux", "the user's own"],
)
def test_avx512_is_left_out_where_a_processor_has_it(tmp_path, cpuinfo, before, after):
    path = tmp_path / "cpuinfo"
    if cpuinfo:
        path.write_text(f"processor : 0\n{cpuinfo} \n")
    leave_out_avx512(before, path)
    assert before == after


@needs_avx512
def test_results_are_those_of_avx2():
    found, with_avx512 = results("reprolib", BARE), results("os", BARE)
    assert found == results("os", BARE | AVX2)
    assert all(a != b for a, b in zip(found, with_avx512, strict=True))


@needs_avx512
def test_where_numpy_is_loaded_first_nothing_is_a_mixture():
    assert results("numpy reprolib", BARE) == results("os", BARE)


def results(modules: str, environ: dict[str, str]) -> list[str]:
    command = [sys.executable, "-c", SCRIPT, modules]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout.split()
