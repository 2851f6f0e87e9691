"""The compiled CUDA backend. Imports its module only when it can run."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
from numpy.typing import NDArray

from expansive.arrays import DeviceArray, Rows
from expansive.backends import cpu
from expansive.backends.registry import BackendIndex, Expected, Partners, RowNumbers

TAKES_DEVICE_ARRAYS = True

_NOT_BUILT = (
    "its module was not built (no CUDA compiler was found, or EXPANSIVE_CUDA=OFF was given); put "
    "nvcc on PATH and run `pip install -C cmake.define.EXPANSIVE_CUDA=ON .` in the source folder"
)


def unavailable() -> str | None:
    """Say why this backend cannot run here, or None when it can."""
    if importlib.util.find_spec("expansive._cuda") is None:
        return _NOT_BUILT
    from expansive import _cuda

    return _cuda.find_problem() or None


def describe() -> str:
    """Say what it runs on."""
    from expansive import _cuda

    return _cuda.describe_device(0)


def scan(x: Rows, threads: int) -> tuple[int, float]:
    """Give the first row with NaN or infinity (or -1) and the largest magnitude.

    Waits for the device; rows on the host are looked at there.
    """
    if not isinstance(x.data, DeviceArray):
        return cpu.scan(x, threads)
    from expansive import _cuda
    from expansive.backends.cuda_memory import place_of

    place, (n, d) = place_of(x), x.shape
    rows, scratch = place.bring(x), place.empty(_cuda.SCRATCH_BYTES)
    return _cuda.scan(place.device, rows.address, n, d, x.dtype, scratch.address, place.stream)


def fingerprint(x: Rows, threads: int) -> int:
    """Give a 64-bit hash of the matrix's bytes, as `scan` gets at them."""
    if not isinstance(x.data, DeviceArray):
        return cpu.fingerprint(x, threads)
    from expansive import _cuda
    from expansive.backends.cuda_memory import place_of

    place, (n, d) = place_of(x), x.shape
    rows, scratch = place.bring(x), place.empty(_cuda.SCRATCH_BYTES)
    return _cuda.fingerprint(
        place.device, rows.address, n, d, x.dtype, scratch.address, place.stream
    )


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
    """Make rows ready for search, on the device they lie on or, from the host, on the first."""
    from expansive.backends import cuda_search

    return cuda_search.build(x, largest, codes, n_classes, metric)


def draw(
    partners: Partners, rows: RowNumbers, weight_dtype: type[np.floating[Any]]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any]]:
    """Give base, partner and weight of each synthetic row."""
    from expansive.backends import cuda_synthesis

    return cuda_synthesis.draw(partners, rows, weight_dtype)


def synthesize(
    x: Rows,
    partners: Partners,
    rows: RowNumbers,
    out: Rows,
    threads: int,
    labels: DeviceArray | None = None,
) -> None:
    """Write the synthetic rows into `out`.

    Parameters
    ----------
    x, partners, rows, out, threads
        As in every backend; `out` lies where `x` does, and `rows` holds at least one number.
    labels : DeviceArray of int64, shape [len(rows)], optional
        Takes the number of each row's class, counted as `partners` counts them.
    """
    from expansive.backends import cuda_synthesis

    cuda_synthesis.synthesize(x, partners, rows, out, labels)
