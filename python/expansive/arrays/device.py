"""Arrays that lie on a CUDA device, taken where they are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from expansive.arrays.libraries import Cupy, Library, Torch

_CUDA = (2, 13)  # DLPack's kDLCUDA and kDLCUDAManaged


@dataclass(frozen=True)
class DeviceArray:
    """A contiguous array on a CUDA device.

    Attributes
    ----------
    pointer : int
        Address of the first element on the device.
    shape : tuple of int
        Its lengths, slowest first.
    dtype : str
        One of `DTYPES`, or "int64".
    device : int
        CUDA ordinal of the device.
    stream : int
        Raw handle of the stream that was the caller's current one on that device when this was
        made; 0 is the default stream. Work on the array belongs on it.
    owner : torch.Tensor or cupy.ndarray
        Keeps the memory alive.
    allocate : callable (shape, dtype) -> DeviceArray
        Gives new memory, not initialised, on the same device by the caller's own allocator.
    """

    pointer: int
    shape: tuple[int, ...]
    dtype: str
    device: int
    stream: int
    owner: Any = field(repr=False)
    allocate: Callable[[tuple[int, ...], str], DeviceArray] = field(repr=False)

    def __len__(self) -> int:
        return self.shape[0]


def view(owner: Any) -> DeviceArray:
    """Describe a contiguous torch or CuPy array on a CUDA device."""
    library = library_of(owner)

    def allocate(shape: tuple[int, ...], dtype: str) -> DeviceArray:
        return view(library.empty(owner, shape, dtype))

    return DeviceArray(
        pointer=library.pointer(owner),
        shape=tuple(owner.shape),
        dtype=library.dtype(owner),
        device=library.ordinal(owner),
        stream=library.stream(owner),
        owner=owner,
        allocate=allocate,
    )


def locate(x: Any) -> str:
    """Say where an array of any library lies: "cuda:N", or "cpu" for all the rest."""
    library = _owning_library(x)
    if library is not None:
        ordinal = library.ordinal(x)
        return "cpu" if ordinal < 0 else f"cuda:{ordinal}"
    ask = getattr(type(x), "__dlpack_device__", None)
    if ask is None:
        return "cpu"
    try:
        kind, ordinal = ask(x)
    # An array spread over devices, which its library gathers, or one that is not shared like this.
    except (BufferError, ValueError, NotImplementedError):
        return "cpu"
    return f"cuda:{ordinal}" if kind in _CUDA else "cpu"


def adopt(x: Any, name: str) -> Any:
    """Share a DLPack producer's array on a CUDA device with torch, or with CuPy for want of it.

    An array of either is given back as it is.

    Raises
    ------
    ImportError
        When neither is installed with CUDA.
    """
    if _owning_library(x) is not None:
        return x
    for library in (Torch, Cupy):
        if library.reaches_devices():
            return library.adopt(x)
    raise ImportError(
        f"{name} lies on a CUDA device and is of {type(x).__module__.split('.')[0]}; such arrays "
        "are shared through torch or CuPy, and neither is installed with CUDA: install one, or "
        "pass an array in host memory"
    )


def library_of(owner: Any) -> type[Library]:
    """Find the library of a torch or CuPy array."""
    library = _owning_library(owner)
    if library is None:
        raise TypeError(f"{type(owner).__name__} is no array of torch or CuPy")
    return library


def _owning_library(x: Any) -> type[Library] | None:
    return next((library for library in (Torch, Cupy) if library.owns(x)), None)
