"""Anything array-like as NumPy on the host."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from expansive.arrays.device import DeviceArray, adopt, library_of, locate
from expansive.arrays.libraries import Torch

DTYPES = ("float16", "bfloat16", "float32", "float64")
"""Element types the kernels read and write."""


_CACHE_LINE = 64


def empty_aligned(shape: tuple[int, int], dtype: Any) -> NDArray[Any]:
    """Allocate an array that begins at a cache line: kernels then write its rows in whole lines."""
    n_bytes = shape[0] * shape[1] * np.dtype(dtype).itemsize
    memory = np.empty(n_bytes + _CACHE_LINE, np.uint8)
    start = -memory.ctypes.data % _CACHE_LINE
    aligned: NDArray[Any] = memory[start : start + n_bytes].view(dtype).reshape(shape)
    return aligned


def to_host(x: NDArray[Any] | DeviceArray) -> NDArray[Any]:
    """Copy down what lies on a device; bfloat16 becomes uint16 with its bits."""
    return library_of(x.owner).to_host(x.owner) if isinstance(x, DeviceArray) else x


def widened(bits: NDArray[Any]) -> NDArray[np.float32]:
    """Give bfloat16, which NumPy lacks, as float32."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


def host_array(x: Any, name: str) -> NDArray[Any]:
    """Give an array-like of any library and device as NumPy; torch's bfloat16 as float32."""
    if Torch.owns(x):
        array = _tensor(x, name)
        return widened(array) if Torch.dtype(x) == "bfloat16" else array
    if hasattr(x, "__array__") and locate(x) == "cpu":
        return _as_array(x, name)
    if locate(x) != "cpu":
        owner = adopt(x, name)
        library = library_of(owner)
        array = library.to_host(owner)
        return widened(array) if library.dtype(owner) == "bfloat16" else array
    return np.from_dlpack(x) if hasattr(x, "__dlpack__") else _as_array(x, name)


def is_torch(x: object) -> bool:
    """Whether `x` is a torch tensor, without importing torch."""
    return Torch.owns(x)


def is_of(library: str, classes: tuple[str, ...], x: object) -> bool:
    """Whether `x` is of the named classes of a library, which is not imported for it."""
    module = sys.modules.get(library)  # who holds such an object has imported it
    return module is not None and isinstance(x, tuple(getattr(module, name) for name in classes))


def require_collected(x: object, name: str) -> None:
    """Refuse a LazyFrame of polars, a query that has not run."""
    if is_of("polars", ("LazyFrame",), x):
        raise TypeError(f"{name} is a LazyFrame of polars, without rows; pass {name}.collect()")


def require_unmasked(x: object, name: str) -> None:
    """Refuse masked values: what lies under a mask would be taken for numbers."""
    if isinstance(x, np.ma.MaskedArray) and np.ma.is_masked(x):
        raise ValueError(
            f"{name} has masked values, which would be taken for numbers; "
            f"fill them ({name}.filled(...)) or drop their rows"
        )


def is_missing(value: Any) -> bool:
    """Whether an element of an object array stands for no value: None, NaN, or pandas' NA, NaT."""
    is_nan = isinstance(value, float) and value != value
    return value is None or is_nan or type(value).__name__ in ("NAType", "NaTType")


def real(array: NDArray[Any], name: str) -> tuple[NDArray[Any], str]:
    """Give the array in a dtype the kernels read, and that dtype's name."""
    if array.dtype.name == "bfloat16":
        return array.view(np.uint16), "bfloat16"
    if array.dtype.kind in "iub":
        return array.astype(np.float64), "float64"
    if array.dtype.kind == "f" and array.dtype.itemsize in (2, 4, 8):
        native = array.astype(array.dtype.newbyteorder("="), copy=False)
        return native, native.dtype.name
    if array.dtype == object:
        if array.size > 0 and np.ndim(array.flat[0]) > 0:
            raise TypeError(f"{name} is an array of arrays; pass np.stack({name}), one row of each")
        try:
            return array.astype(np.float64), "float64"
        except (TypeError, ValueError):
            if any(map(is_missing, array.flat)):
                raise _missing_values(name) from None
    raise not_real(array.dtype, name)


def not_real(dtype: Any, name: str) -> TypeError:
    """Make the error for elements that are no real numbers."""
    return TypeError(
        f"{name} must hold real numbers ({', '.join(DTYPES)} or integers); got dtype "
        f"{dtype}; convert it, and encode or drop columns of other kinds"
    )


def _missing_values(name: str) -> ValueError:
    return ValueError(
        f"{name} has missing values; fill them, in pandas with {name}.fillna(...), or drop their "
        "rows"
    )


def _tensor(x: Any, name: str) -> NDArray[Any]:
    try:
        return Torch.to_host(x)
    # Sparse, without data, or of a dtype that NumPy lacks, such as float8.
    except (TypeError, RuntimeError) as error:
        raise TypeError(
            f"{name} must be a dense tensor of {', '.join(DTYPES)} or integers ({error}); pass "
            f"{name}.to_dense() or {name}.float()"
        ) from error


def _as_array(x: Any, name: str) -> NDArray[Any]:
    require_collected(x, name)
    if _is_sparse(x):
        raise TypeError(f"{name} is sparse; pass {name}.toarray()")
    require_unmasked(x, name)
    try:
        return np.asarray(x)
    except ValueError as error:
        raise ValueError(f"{name} is no array: {error}; give rows of equal length") from error


def _is_sparse(x: Any) -> bool:
    sparse = sys.modules.get("scipy.sparse")  # who holds such a matrix has imported it
    return sparse is not None and bool(sparse.issparse(x))
