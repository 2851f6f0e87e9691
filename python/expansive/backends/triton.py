"""The Triton backend: the search and synthesis kernels on a GPU, or in Triton's interpreter.

Torch tensors are its arrays. Imports triton and torch only when asked to run, so that the registry
can describe it without them.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from expansive.arrays import Rows
from expansive.backends.registry import BackendIndex, Expected, Partners, RowNumbers

TAKES_DEVICE_ARRAYS = True

_LEAST_CAPABILITY = (8, 0)  # bfloat16 matrix instructions
_INTERPRET = "set TRITON_INTERPRET=1 before triton is imported to run it, slowly, without a GPU"


def unavailable() -> str | None:
    """Say why this backend cannot run here, or None when it can."""
    for module in ("triton", "torch"):
        if importlib.util.find_spec(module) is None:
            return f"{module} is not installed; pip install 'expansive[triton]'"
    import torch

    from expansive.backends import triton_arrays

    if triton_arrays.INTERPRETED:
        return _interpreter_unfit()
    if os.environ.get("TRITON_INTERPRET") == "1":
        return "TRITON_INTERPRET=1 was set after triton had been imported; set it before"
    if not torch.cuda.is_available():
        return f"torch {torch.__version__} finds no CUDA device; {_INTERPRET}"
    if torch.cuda.get_device_capability() < _LEAST_CAPABILITY:
        return f"{torch.cuda.get_device_name()} is below compute capability 8.0; {_INTERPRET}"
    if not any(map(shutil.which, filter(None, (os.environ.get("CC"), "gcc", "clang")))):
        return "Triton finds no C compiler for its launchers; install gcc, or set CC to one"
    return None


@functools.cache
def _interpreter_unfit() -> str | None:
    """Say why the interpreter would not give the contract's bits: old ones round an fma twice."""
    import torch
    import triton

    from expansive.backends.triton_neighbor_kernels import fma_kernel

    a = torch.tensor([1.0 + 2.0**-30], dtype=torch.float64)
    out = torch.empty_like(a)
    fma_kernel[(1,)](a, a, -a * a, out)
    if float(out) != 0.0:
        return None
    return (
        f"the interpreter of triton {triton.__version__} rounds a fused multiply-add twice; "
        "pip install --upgrade triton"
    )


def describe() -> str:
    """Say what it would run on."""
    import torch
    import triton

    from expansive.backends import triton_arrays

    where = "interpreter" if triton_arrays.INTERPRETED else torch.cuda.get_device_name()
    return f"{where}, Triton {triton.__version__}"


def scan(x: Rows, threads: int) -> tuple[int, float]:
    """Give the first row with NaN or infinity (or -1) and the largest magnitude."""
    from expansive.backends import triton_arrays

    with triton_arrays.beside(x):
        return triton_arrays.scan(triton_arrays.upload(x))


def fingerprint(x: Rows, threads: int) -> int:
    """Give a 64-bit hash of the matrix's bytes."""
    from expansive.backends import triton_arrays

    with triton_arrays.beside(x):
        return triton_arrays.fingerprint(triton_arrays.upload(x))


def build_index(
    x: Rows,
    largest: float,
    codes: NDArray[np.int64] | None,
    n_classes: int,
    metric: str,
    expected: Expected,
    threads: int,
    memory_budget: int,
) -> BackendIndex:
    """Make rows ready for the searches expected."""
    from expansive.backends import triton_neighbors

    return triton_neighbors.build_index(x, largest, codes, metric)


def draw(
    partners: Partners, rows: RowNumbers, weight_dtype: type[np.floating[Any]]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any]]:
    """Give base, partner and weight of each synthetic row."""
    from expansive.backends import triton_synthesis

    return triton_synthesis.draw(partners, rows, weight_dtype)


def synthesize(x: Rows, partners: Partners, rows: RowNumbers, out: Rows, threads: int) -> None:
    """Write the synthetic rows into `out`."""
    from expansive.backends import triton_synthesis

    triton_synthesis.synthesize(x, partners, rows, out)
