"""Arrays in, arrays out: what users pass, as the kernels take it, and back to the same library."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from expansive.arguments import as_choice
from expansive.extras import import_extra

DTYPES = ("float16", "bfloat16", "float32", "float64")
"""Element types the kernels read and write."""

Wrap = Callable[[NDArray[Any]], Any]


@dataclass(frozen=True)
class Rows:
    """A matrix of row vectors on the host.

    Attributes
    ----------
    data : ndarray, shape [n, d]
        C-contiguous; float16, float32 or float64, or uint16 holding the bits of bfloat16.
    dtype : str
        One of `DTYPES`.
    wrap : callable
        Turns a NumPy result into an array of the input's library, on the input's device.
    """

    data: NDArray[Any]
    dtype: str
    wrap: Wrap

    @property
    def compute_dtype(self) -> type[np.floating[Any]]:
        """float64 for float64 rows, else float32: the dtype of results."""
        return np.float64 if self.dtype == "float64" else np.float32

    def widened(self) -> NDArray[np.floating[Any]]:
        """Give the values as NumPy's floats: those of bfloat16, which NumPy lacks, as float32."""
        if self.dtype != "bfloat16":
            return self.data
        return (self.data.astype(np.uint32) << 16).view(np.float32)


def is_torch(x: object) -> bool:
    """Whether `x` is a torch tensor, without importing torch."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(x, torch.Tensor)


def as_rows(x: Any, name: str = "x") -> Rows:
    """Take any matrix the package accepts as `Rows`, without a copy where none is needed.

    Parameters
    ----------
    x : array-like, shape [n, d]
        NumPy array, torch tensor, any DLPack producer, data frame, or nested lists. Integers and
        booleans become float64. `Rows` are given back as they are.
    name : str
        The argument's name, for errors.

    Raises
    ------
    ValueError
        When `x` is not two-dimensional or has no row or no column.
    TypeError
        When its elements are not real numbers.
    """
    if isinstance(x, Rows):
        return x
    array, dtype, wrap = _to_numpy(x, name)
    if array.ndim != 2:
        raise ValueError(
            f"{name} must be a matrix [rows, features]; got shape {array.shape}; "
            f"reshape it, for example {name}.reshape(len({name}), -1)"
        )
    if 0 in array.shape:
        raise ValueError(f"{name} is empty: shape {array.shape}; it needs a row and a feature")
    return Rows(np.ascontiguousarray(array), dtype, wrap)


def _to_numpy(x: Any, name: str) -> tuple[NDArray[Any], str, Wrap]:
    if is_torch(x):
        return _torch_to_numpy(x, name)
    if not isinstance(x, np.ndarray) and hasattr(x, "__array_namespace__"):
        namespace = x.__array_namespace__()
        array, dtype = _real(np.asarray(x), name)
        return array, dtype, lambda result: namespace.asarray(_from_bits(result))
    array, dtype = _real(_as_array(x, name), name)
    return array, dtype, _from_bits


def _as_array(x: Any, name: str) -> NDArray[Any]:
    if hasattr(x, "__dlpack__") and not hasattr(x, "__array__"):
        return np.from_dlpack(x)
    if np.ma.is_masked(x):
        raise ValueError(
            f"{name} has masked values, which would be taken for numbers; "
            f"fill them ({name}.filled(...)) or drop their rows"
        )
    try:
        return np.asarray(x)
    except ValueError as error:
        raise ValueError(f"{name} is no array: {error}; give rows of equal length") from error


def _from_bits(result: NDArray[Any]) -> NDArray[Any]:
    """Show uint16 results, the bits of bfloat16, as NumPy's bfloat16 extension type."""
    if result.dtype != np.uint16:
        return result
    bfloat16 = import_extra("ml_dtypes", "bfloat16").bfloat16
    return result.view(bfloat16)


def _torch_to_numpy(x: Any, name: str) -> tuple[NDArray[Any], str, Wrap]:
    import torch

    host = x.detach().cpu()
    if host.dtype == torch.bfloat16:
        array, dtype = host.contiguous().view(torch.int16).numpy().view(np.uint16), "bfloat16"
    else:
        array, dtype = _real(host.numpy(), name)
    return array, dtype, lambda result: numpy_to_torch(result).to(x.device)


def numpy_to_torch(result: NDArray[Any]) -> Any:
    """Share a NumPy array with torch; uint16 means the bits of bfloat16."""
    import torch

    if result.dtype == np.uint16:
        return torch.from_numpy(result.view(np.int16)).view(torch.bfloat16)
    return torch.from_numpy(result)


def _real(array: NDArray[Any], name: str) -> tuple[NDArray[Any], str]:
    """Give the array in a dtype the kernels read, and that dtype's name."""
    if array.dtype.name == "bfloat16":
        return array.view(np.uint16), "bfloat16"
    if array.dtype.kind in "iub":
        return array.astype(np.float64), "float64"
    if array.dtype.kind == "f" and array.dtype.itemsize in (2, 4, 8):
        native = array.astype(array.dtype.newbyteorder("="), copy=False)
        return native, native.dtype.name
    if array.dtype == object:
        try:
            return array.astype(np.float64), "float64"
        except (TypeError, ValueError):
            pass
    raise TypeError(
        f"{name} must hold real numbers ({', '.join(DTYPES)} or integers); got dtype "
        f"{array.dtype}; encode or drop the other columns"
    )


def as_labels(y: Any, n: int, name: str = "y") -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Encode labels of any kind as class codes.

    Parameters
    ----------
    y : array-like, shape [n]
        Integers, strings, booleans, a pandas categorical, a torch tensor: anything sortable.
    n : int
        The number of rows the labels belong to.
    name : str
        The argument's name, for errors.

    Returns
    -------
    classes : ndarray, shape [n_classes]
        The distinct labels, sorted.
    codes : ndarray of int64, shape [n]
        For each row the position of its label in `classes`.
    """
    labels = label_array(y, name)
    if len(labels) != n:
        raise ValueError(
            f"{name} has {len(labels)} labels for {n} rows; give exactly one label for each row"
        )
    if labels.dtype.kind in "iu" and n > 0:
        low, high = int(labels.min()), int(labels.max())
        if high - low < max(4 * n, 1 << 16):
            return _encode_small_integers(labels, low)
    classes, codes = np.unique(labels, return_inverse=True)
    return classes, codes.astype(np.int64, copy=False)


def _encode_small_integers(
    labels: NDArray[Any], low: int
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Encode without sorting: a table over the labels' range."""
    shifted = (labels.astype(np.int64) - low) if labels.dtype.kind == "i" else labels - labels.min()
    present = np.flatnonzero(np.bincount(shifted.astype(np.int64)))
    table = np.zeros(int(present[-1]) + 1, np.int64)
    table[present] = np.arange(len(present))
    classes = labels.min() + present.astype(labels.dtype)
    return classes, table[shifted.astype(np.int64)]


def label_array(y: Any, name: str) -> NDArray[Any]:
    """Take labels as a one-dimensional NumPy array of sortable values."""
    labels = y.detach().cpu().numpy() if is_torch(y) else _as_array(y, name)
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        raise ValueError(f"{name} must be one-dimensional; got shape {labels.shape}")
    if labels.dtype.kind in "OT":
        labels = _sortable(labels, name)
    if labels.dtype.kind == "f" and np.isnan(labels).any():
        row = int(np.flatnonzero(np.isnan(labels))[0])
        raise ValueError(f"{name}[{row}] is NaN; drop the row or give it a label")
    return labels


def _sortable(labels: NDArray[Any], name: str) -> NDArray[Any]:
    kinds = sorted({type(label).__name__ for label in labels})
    if len(kinds) > 1 or kinds == ["NoneType"]:
        raise TypeError(
            f"{name} mixes labels of types {', '.join(kinds)}; convert them to one type, "
            f"for example [str(label) for label in {name}]"
        )
    return np.array(labels.tolist())


def as_row_indices(values: Any, n: int, name: str, owner: str, fix: str) -> NDArray[np.int64]:
    """Check a list of row numbers of `owner`, integers in [0, n); `fix` is for other dtypes."""
    rows = values.detach().cpu().numpy() if is_torch(values) else _as_array(values, name)
    if rows.size == 0:
        return np.zeros(0, np.int64)
    if rows.ndim != 1 or rows.dtype.kind not in "iu":
        raise TypeError(
            f"{name} must be a one-dimensional array of row numbers; got dtype {rows.dtype}, "
            f"shape {rows.shape}; {fix}"
        )
    outside = (rows < 0) | (rows >= n)
    if outside.any():
        value = int(rows[outside][0])
        raise IndexError(f"{name} holds {value}, but {owner} has the rows 0 to {n - 1} only")
    return rows.astype(np.int64)


def as_output(out: Any, shape: tuple[int, int], dtype: Any, x: Rows) -> Rows:
    """Give the array to write results to: `out` checked, or a new one of `dtype` (or x's)."""
    if out is None:
        name = x.dtype if dtype is None else dtype_name(dtype)
        storage = np.uint16 if name == "bfloat16" else np.dtype(name)
        return Rows(np.empty(shape, storage), name, x.wrap)
    array, name, wrap = _to_numpy(out, "out")
    if dtype is not None and dtype_name(dtype) != name:
        raise TypeError(f"out holds {name} but dtype is {dtype_name(dtype)}; drop one of the two")
    if array.shape != shape:
        raise ValueError(f"out has shape {array.shape}; it must be {shape}")
    in_place = array.size == 0 or array.ctypes.data == _address(out)
    if not (in_place and array.flags.c_contiguous and array.flags.writeable):
        raise ValueError(
            f"out must be a writable, contiguous NumPy array or torch tensor in host memory, of "
            f"{', '.join(DTYPES)} in native byte order"
        )
    if np.may_share_memory(array, x.data):
        raise ValueError("out overlaps x, which is read meanwhile; give it memory of its own")
    return Rows(array, name, wrap)


def _address(out: Any) -> int | None:
    if is_torch(out):
        return int(out.data_ptr())
    return int(out.ctypes.data) if isinstance(out, np.ndarray) else None


def dtype_name(dtype: Any) -> str:
    """Name a NumPy or torch dtype (or check a name): one of `DTYPES`."""
    name = str(dtype).removeprefix("torch.")
    if name not in DTYPES:
        try:
            name = np.dtype(dtype).name
        except TypeError:
            name = str(dtype)
    return as_choice(name, DTYPES, "dtype")


def require_finite(x: Rows, first_bad_row: int, largest: float = 0.0, name: str = "x") -> None:
    """Raise for the first row that is not finite, or for values whose squares overflow."""
    if first_bad_row >= 0:
        raise ValueError(
            f"{name}[{first_bad_row}] holds NaN or infinity; drop or impute such rows first"
        )
    if largest > 2.0**500:
        raise ValueError(
            f"{name} holds values up to {largest:.3g}, whose squares overflow float64; "
            f"rescale it below 1e150"
        )
