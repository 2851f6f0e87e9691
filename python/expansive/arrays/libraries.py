"""What is asked of the library that owns an array on a device; torch and CuPy can answer."""

# ruff: noqa: D102  (the protocol documents its methods once)

from __future__ import annotations

import importlib.util
import sys
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from expansive.extras import import_extra


class Library(Protocol):
    """Questions about arrays, and what is made from them; one class for each library."""

    @staticmethod
    def owns(x: Any) -> bool:
        """Whether `x` is the library's array, without importing the library."""

    @staticmethod
    def reaches_devices() -> bool:
        """Whether the library is installed with CUDA and finds a device; imports it."""

    @staticmethod
    def ordinal(x: Any) -> int:
        """Give the CUDA ordinal of the array's device, or -1 when it is none."""

    @staticmethod
    def dtype(x: Any) -> str:
        """Name the element type, as NumPy does."""

    @staticmethod
    def pointer(x: Any) -> int:
        """Give the address of the first element."""

    @staticmethod
    def stream(x: Any) -> int:
        """Give the raw handle of the current stream on the array's device."""

    @staticmethod
    def contiguous(x: Any, dtype: str) -> Any:
        """Give the values contiguous and of `dtype`: the array itself where it is that already."""

    @staticmethod
    def empty(like: Any, shape: tuple[int, ...], dtype: str) -> Any:
        """Allocate on the device of `like`."""

    @staticmethod
    def take(x: Any, rows: NDArray[np.int64]) -> Any:
        """Copy the given rows."""

    @staticmethod
    def to_host(x: Any) -> NDArray[Any]:
        """Copy (or share, where it lies on the host) as NumPy; bfloat16 as uint16 bits."""

    @staticmethod
    def upload(like: Any, result: NDArray[Any]) -> Any:
        """Bring a host array to the device of `like`; uint16 means the bits of bfloat16."""

    @staticmethod
    def adopt(x: Any) -> Any:
        """Share another library's array by DLPack."""

    @staticmethod
    def largest_in_rows(x: Any) -> NDArray[np.float64]:
        """Give the largest magnitude in each row of a matrix, on the host."""


class Torch:
    """torch tensors."""

    @staticmethod
    def owns(x: Any) -> bool:
        torch = sys.modules.get("torch")
        return torch is not None and isinstance(x, torch.Tensor)

    @staticmethod
    def reaches_devices() -> bool:
        if importlib.util.find_spec("torch") is None:
            return False
        import torch

        return torch.cuda.is_available()

    @staticmethod
    def ordinal(x: Any) -> int:
        return int(x.get_device()) if x.is_cuda else -1

    @staticmethod
    def dtype(x: Any) -> str:
        return str(x.dtype).removeprefix("torch.")

    @staticmethod
    def pointer(x: Any) -> int:
        return int(x.data_ptr())

    @staticmethod
    def stream(x: Any) -> int:
        import torch

        return int(torch.cuda.current_stream(x.device).cuda_stream)

    @staticmethod
    def contiguous(x: Any, dtype: str) -> Any:
        import torch

        return x.detach().to(getattr(torch, dtype)).contiguous()

    @staticmethod
    def empty(like: Any, shape: tuple[int, ...], dtype: str) -> Any:
        import torch

        return torch.empty(shape, dtype=getattr(torch, dtype), device=like.device)

    @staticmethod
    def take(x: Any, rows: NDArray[np.int64]) -> Any:
        import torch

        return x.index_select(0, torch.from_numpy(rows).to(x.device))

    @staticmethod
    def to_host(x: Any) -> NDArray[Any]:
        import torch

        host = x.detach().cpu()
        if host.dtype == torch.bfloat16:
            bits: NDArray[Any] = host.contiguous().view(torch.int16).numpy()
            return bits.view(np.uint16)
        values: NDArray[Any] = host.numpy()
        return values

    @staticmethod
    def upload(like: Any, result: NDArray[Any]) -> Any:
        import torch

        if result.dtype == np.uint16:
            return torch.from_numpy(result.view(np.int16)).view(torch.bfloat16).to(like.device)
        return torch.from_numpy(result).to(like.device)

    @staticmethod
    def adopt(x: Any) -> Any:
        import torch

        return torch.utils.dlpack.from_dlpack(x)

    @staticmethod
    def largest_in_rows(x: Any) -> NDArray[np.float64]:
        import torch

        low, high = torch.aminmax(x, dim=1)  # abs would copy all of it
        largest: NDArray[np.float64] = torch.maximum(high, -low).double().cpu().numpy()
        return largest


class Cupy:
    """CuPy arrays."""

    @staticmethod
    def owns(x: Any) -> bool:
        cupy = sys.modules.get("cupy")
        return cupy is not None and isinstance(x, cupy.ndarray)

    @staticmethod
    def reaches_devices() -> bool:
        return "cupy" in sys.modules or importlib.util.find_spec("cupy") is not None

    @staticmethod
    def ordinal(x: Any) -> int:
        return int(x.device.id)

    @staticmethod
    def dtype(x: Any) -> str:
        return str(x.dtype.name)

    @staticmethod
    def pointer(x: Any) -> int:
        return int(x.data.ptr)

    @staticmethod
    def stream(x: Any) -> int:
        import cupy  # type: ignore[import-not-found]

        with x.device:
            return int(cupy.cuda.get_current_stream().ptr)

    @staticmethod
    def contiguous(x: Any, dtype: str) -> Any:
        import cupy

        with x.device:
            return cupy.ascontiguousarray(x, dtype=_numpy_dtype(dtype))

    @staticmethod
    def empty(like: Any, shape: tuple[int, ...], dtype: str) -> Any:
        import cupy

        with like.device:
            return cupy.empty(shape, dtype=_numpy_dtype(dtype))

    @staticmethod
    def take(x: Any, rows: NDArray[np.int64]) -> Any:
        import cupy

        with x.device:
            return x[cupy.asarray(rows)]

    @staticmethod
    def to_host(x: Any) -> NDArray[Any]:
        host: NDArray[Any] = x.get()
        return host.view(np.uint16) if host.dtype.name == "bfloat16" else host

    @staticmethod
    def upload(like: Any, result: NDArray[Any]) -> Any:
        import cupy

        with like.device:
            return cupy.asarray(from_bits(result))

    @staticmethod
    def adopt(x: Any) -> Any:
        import cupy

        return cupy.from_dlpack(x)

    @staticmethod
    def largest_in_rows(x: Any) -> NDArray[np.float64]:
        import cupy

        with x.device:  # abs would copy all of it
            magnitudes = cupy.maximum(x.max(axis=1), -x.min(axis=1))
            largest: NDArray[np.float64] = magnitudes.get().astype(np.float64)
        return largest


def from_bits(result: NDArray[Any]) -> NDArray[Any]:
    """Show uint16 results, the bits of bfloat16, as NumPy's bfloat16 extension type."""
    return result.view(_numpy_dtype("bfloat16")) if result.dtype == np.uint16 else result


def _numpy_dtype(name: str) -> np.dtype[Any]:
    if name != "bfloat16":
        return np.dtype(name)
    bfloat16: np.dtype[Any] = np.dtype(import_extra("ml_dtypes", "bfloat16").bfloat16)
    return bfloat16
