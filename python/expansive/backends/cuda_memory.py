"""Where CUDA work happens, and memory there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from expansive import _cuda
from expansive.arrays import DeviceArray, Rows

Allocate = Callable[[tuple[int, ...], str], DeviceArray]


@dataclass(frozen=True)
class Buffer:
    """Memory on a device.

    Attributes
    ----------
    address : int
        Of its first byte; 0 stands for an array that is left out.
    owner : Any
        Frees it, in the order of its stream, when nobody refers to it any more.
    """

    address: int
    owner: Any = field(default=None, repr=False)


NOTHING = Buffer(0)


@dataclass(frozen=True)
class Place:
    """A device, the stream that work goes to, and who gives memory.

    Attributes
    ----------
    device : int
        CUDA ordinal.
    stream : int
        Raw handle; the caller's current stream for data on the device, else the default stream.
    allocate : callable or None
        The caller's allocator for data on the device; None takes memory of the driver's own pool.
    """

    device: int
    stream: int
    allocate: Allocate | None = field(repr=False)

    def empty(self, n_bytes: int) -> Buffer:
        """Give memory, not initialised, at a multiple of 256 bytes."""
        if self.allocate is None:
            memory = _cuda.Memory(self.device, max(n_bytes, 1), self.stream)
            return Buffer(memory.address, memory)
        array = self.allocate(((n_bytes + 7) // 8,), "int64")
        return Buffer(array.pointer, array)

    def upload(self, array: NDArray[Any] | None) -> Buffer:
        """Copy a host array there; None stays nothing."""
        if array is None:
            return NOTHING
        array = np.ascontiguousarray(array)
        buffer = self.empty(array.nbytes)
        _cuda.upload(self.device, buffer.address, array, self.stream)
        return buffer

    def download(self, buffer: Buffer, to: NDArray[Any]) -> None:
        """Fill a contiguous host array; waits for the stream."""
        _cuda.download(self.device, to, buffer.address, self.stream)

    def bring(self, x: Rows) -> Buffer:
        """Give the rows there: where they lie, or uploaded."""
        if isinstance(x.data, DeviceArray):
            return Buffer(x.data.pointer, x.data)
        return self.upload(x.data)

    def holds(self, x: Rows) -> bool:
        """Whether the rows lie on this device, and this is a place for such rows.

        Memory of the module's own is freed in the order of its own stream, so nothing else may use
        it.
        """
        if self.allocate is None or not isinstance(x.data, DeviceArray):
            return False
        return x.data.device == self.device


HOST_DATA = Place(0, 0, None)
"""Rows on the host go to the first device that CUDA_VISIBLE_DEVICES names."""


def place_of(x: Rows) -> Place:
    """Find where to work on rows.

    Raises
    ------
    ValueError
        When the kernels cannot run on that device, though on another.
    """
    place = HOST_DATA
    if isinstance(x.data, DeviceArray):
        place = Place(x.data.device, x.data.stream, x.data.allocate)
    _check_device(place.device)
    return place


@cache
def _check_device(device: int) -> None:
    _cuda.check_device(device)
