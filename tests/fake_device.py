"""A pretended GPU in host memory: a backend that takes pointers, and a library that owns them.

The module itself is the backend: the compiled CPU backend behind the contract of a device.
"""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass, replace
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

from expansive.arrays import DeviceArray, Rows
from expansive.arrays.libraries import Torch
from expansive.backends import cpu, registry

TAKES_DEVICE_ARRAYS = True
STREAM = 7

places: list[str] = []
"""Where the rows of each call lay."""
streams: list[int] = []
"""The streams of those on the device."""


# ---- the backend ------------------------------------------------------------------------------


def memory(array: DeviceArray) -> np.ndarray[Any, Any]:
    """Show the memory behind a pointer; bfloat16 as its bits."""
    dtype = np.dtype(np.uint16 if array.dtype == "bfloat16" else array.dtype)
    size = int(np.prod(array.shape)) * dtype.itemsize
    return np.frombuffer((ctypes.c_char * size).from_address(array.pointer), dtype).reshape(
        array.shape
    )


def _seen(rows: Rows) -> Rows:
    places.append(rows.device)
    if rows.device == "cpu":
        return rows
    streams.append(rows.data.stream)
    return replace(rows, data=memory(rows.data))


def unavailable() -> str | None:
    return None


def describe() -> str:
    return "host memory, pretended to be a GPU's"


def scan(x: Rows, threads: int) -> tuple[int, float]:
    return cpu.scan(_seen(x), threads)


def fingerprint(x: Rows, threads: int) -> int:
    return cpu.fingerprint(_seen(x), threads)


@dataclass
class Index:
    index: cpu.Index

    def search(self, queries: Rows, *rest: Any) -> tuple[Any, Any]:
        found = self.index.search(_seen(queries), *rest)
        if queries.device == "cpu":
            return found
        return tuple(_on_device(queries.data, part) for part in found)


def _on_device(beside: DeviceArray, part: np.ndarray[Any, Any]) -> DeviceArray:
    made = beside.allocate(part.shape, part.dtype.name)
    memory(made)[...] = part
    return made


def build_index(x: Rows, *rest: Any) -> Index:
    return Index(cpu.build_index(_seen(x), *rest))


draw = cpu.draw


def synthesize(x: Rows, partners: Any, rows: Any, out: Rows, threads: int) -> None:
    cpu.synthesize(_seen(x), partners, rows, _seen(out), threads)


# ---- the library ------------------------------------------------------------------------------


class Device:
    def __init__(self, ordinal: int) -> None:
        self.id = ordinal

    def __enter__(self) -> Device:
        return self

    def __exit__(self, *error: Any) -> None:
        pass


class CupyArray:
    """As much of ``cupy.ndarray`` as the package uses; NumPy cannot read it, as with CuPy's."""

    def __init__(self, host: np.ndarray[Any, Any], ordinal: int = 0) -> None:
        self.host, self.device = host, Device(ordinal)
        self.shape, self.dtype, self.ndim = host.shape, host.dtype, host.ndim
        self.data = SimpleNamespace(ptr=host.ctypes.data)

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed")

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, self.device.id

    def __getitem__(self, rows: CupyArray) -> CupyArray:
        return CupyArray(self.host[rows.host], self.device.id)

    def __neg__(self) -> CupyArray:
        return CupyArray(-self.host, self.device.id)

    def max(self, axis: int) -> CupyArray:
        return CupyArray(self.host.max(axis=axis), self.device.id)

    def min(self, axis: int) -> CupyArray:
        return CupyArray(self.host.min(axis=axis), self.device.id)

    def get(self) -> np.ndarray[Any, Any]:
        return self.host.copy()


class Foreign:
    """An array of a third library on a device, as JAX's are: DLPack and the array API."""

    def __init__(self, host: np.ndarray[Any, Any]) -> None:
        self.host = host

    def __dlpack__(self, **options: Any) -> Any:
        return self.host.__dlpack__()

    def __dlpack_device__(self) -> tuple[int, int]:
        return 2, 0

    def __array_namespace__(self) -> Any:
        return SimpleNamespace(from_dlpack=lambda given: Foreign(given.host))


def pretend_cupy(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Put a library of this name where the package looks for it."""
    cupy: Any = ModuleType("cupy")
    cupy.ndarray = CupyArray
    cupy.empty = lambda shape, dtype: CupyArray(np.empty(shape, dtype))
    cupy.asarray = lambda array: CupyArray(np.asarray(array))
    cupy.from_dlpack = lambda given: CupyArray(given.host)
    cupy.ascontiguousarray = _contiguous
    cupy.maximum = lambda a, b: CupyArray(np.maximum(a.host, b.host))
    cupy.cuda = SimpleNamespace(get_current_stream=lambda: SimpleNamespace(ptr=STREAM))
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    return cupy


def _contiguous(x: CupyArray, dtype: Any) -> CupyArray:
    host = np.ascontiguousarray(x.host, dtype)
    return x if host is x.host else CupyArray(host, x.device.id)


def pretend_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have torch's tensors lie on device 0, and this backend be the preferred one there."""
    monkeypatch.setattr(Torch, "ordinal", staticmethod(lambda x: 0))
    monkeypatch.setattr(Torch, "stream", staticmethod(lambda x: STREAM))
    monkeypatch.setitem(registry._MODULES, "cuda", "fake_device")
    places.clear()
    streams.clear()
