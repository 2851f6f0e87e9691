"""Matrices in, matrices out: as the kernels take them, and back to the caller's library."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from expansive.arguments import as_choice
from expansive.arrays import device as devices
from expansive.arrays.device import DeviceArray, library_of
from expansive.arrays.frames import require_number_columns
from expansive.arrays.host import (
    DTYPES,
    empty_aligned,
    host_array,
    not_real,
    real,
    to_host,
    widened,
)
from expansive.arrays.libraries import Torch, from_bits

Wrap = Callable[[Any], Any]

_ELEMENTS_AT_ONCE = 1 << 20


@dataclass(frozen=True)
class Rows:
    """A matrix of row vectors, on the host or on a CUDA device.

    Attributes
    ----------
    data : ndarray or DeviceArray, shape [n, d]
        C-contiguous. On the host float16, float32 or float64, or uint16 holding the bits of
        bfloat16.
    dtype : str
        One of `DTYPES`.
    wrap : callable (ndarray or DeviceArray) -> array
        Turns a result into an array of the input's library, on the input's device.
    """

    data: Any
    dtype: str
    wrap: Wrap

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and features."""
        return cast(tuple[int, int], tuple(self.data.shape))

    @property
    def device(self) -> str:
        """Where the rows lie: "cpu" or "cuda:N"."""
        return f"cuda:{self.data.device}" if isinstance(self.data, DeviceArray) else "cpu"

    @property
    def compute_dtype(self) -> type[np.floating[Any]]:
        """float64 for float64 rows, else float32: the dtype of results."""
        return np.float64 if self.dtype == "float64" else np.float32

    def on_host(self) -> Rows:
        """Give the rows on the host: copied down from a device, else these."""
        return replace(self, data=to_host(self.data))

    def of_now(self) -> Rows:
        """Give the same rows; on a device with the stream that is the caller's current one now."""
        if not isinstance(self.data, DeviceArray):
            return self
        return replace(self, data=devices.view(self.data.owner))

    def take(self, numbers: NDArray[np.int64]) -> Rows:
        """Copy the rows of the given numbers, where they lie."""
        if not isinstance(self.data, DeviceArray):
            return replace(self, data=self.data[numbers])
        owner = self.data.owner
        return replace(self, data=devices.view(library_of(owner).take(owner, numbers)))

    def largest_in_rows(self) -> NDArray[Any]:
        """Give the largest magnitude in each row; for bfloat16 on the host its bits."""
        if isinstance(self.data, DeviceArray):
            return library_of(self.data.owner).largest_in_rows(self.data.owner)
        largest = np.empty(len(self.data), self.data.dtype)
        step = max(1, _ELEMENTS_AT_ONCE // self.data.shape[1])
        for start in range(0, len(self.data), step):  # the rows may be larger than the memory
            part = self.data[start : start + step]
            size = part & np.uint16(0x7FFF) if self.dtype == "bfloat16" else np.abs(part)
            size.max(axis=1, out=largest[start : start + step])
        return largest

    def widened(self) -> NDArray[np.floating[Any]]:
        """Give host rows as NumPy's floats: those of bfloat16, which NumPy lacks, as float32."""
        if self.dtype != "bfloat16":
            return cast(NDArray[np.floating[Any]], self.data)
        return widened(cast(NDArray[Any], self.data))


def as_rows(x: Any, name: str = "x", device: bool = False, least: int = 1) -> Rows:
    """Take any matrix the package accepts as `Rows`, without a copy where none is needed.

    Parameters
    ----------
    x : array-like, shape [n, d]
        NumPy array, torch tensor, any DLPack producer, data frame, or nested lists. Integers and
        booleans become float64. `Rows` are given back as they are.
    name : str
        The argument's name, for errors.
    device : bool
        Take an array on a CUDA device in place: contiguous and of a dtype in `DTYPES` it is not
        copied. Otherwise it is copied to the host. An array on the host stays there either way.
    least : {0, 1}
        Rows that there must be.

    Raises
    ------
    ValueError
        When `x` is not two-dimensional, has no column or fewer rows than `least`.
    TypeError
        When its elements are not real numbers.
    ImportError
        When `x` lies on a CUDA device, is neither torch's nor CuPy's, and both are missing.
    """
    if isinstance(x, Rows):
        return x if device else x.on_host()
    if device_of(x) != "cpu":
        rows = _on_device(x, name, least)
        return rows if device else rows.on_host()
    array, dtype, wrap = _on_host(x, name)
    _check_matrix(array.shape, name, least)
    return Rows(np.require(array, requirements=["C", "ALIGNED"]), dtype, wrap)


def is_converted(x: Any) -> bool:
    """Whether `as_rows` copies all of an array of NumPy, for its dtype or order in memory."""
    if type(x) not in (np.ndarray, np.memmap):
        return False
    return x.dtype.kind in "iub" or not (x.dtype.isnative and x.flags.c_contiguous)


def device_of(x: Any) -> str:
    """Say where `Rows` or an array of any library lie: "cuda:N", or "cpu" for all the rest."""
    return x.device if isinstance(x, Rows) else devices.locate(x)


def as_output(out: Any, shape: tuple[int, int], dtype: Any, x: Rows) -> Rows:
    """Give the array to write results to: `out` checked, or a new one of `dtype` (or x's).

    It lies where `x` does.
    """
    if out is None:
        return _new_output(shape, x.dtype if dtype is None else dtype_name(dtype), x)
    if device_of(out) != x.device:
        raise ValueError(
            f"out lies on {device_of(out)}, but the rows are made on {x.device}; "
            f"give an array there, or leave out= away"
        )
    target = _device_output(out) if x.device != "cpu" else _host_output(out)
    if dtype is not None and dtype_name(dtype) != target.dtype:
        raise TypeError(
            f"out holds {target.dtype} but dtype is {dtype_name(dtype)}; drop one of the two"
        )
    if target.shape != shape:
        raise ValueError(f"out has shape {target.shape}; it must be {shape}")
    if _overlap(target, x):
        raise ValueError("out overlaps x, which is read meanwhile; give it memory of its own")
    return target


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


def _check_matrix(shape: tuple[int, ...], name: str, least: int) -> None:
    if len(shape) != 2:
        one_axis = f"{name}[None] for one row, {name}[:, None] for one feature"
        fix = one_axis if len(shape) == 1 else f"for example {name}.reshape(len({name}), -1)"
        raise ValueError(
            f"{name} must be a matrix [rows, features]; got shape {shape}; reshape it: {fix}"
        )
    if shape[0] < least or shape[1] == 0:
        needs = "a row and a feature" if least else "a feature"
        raise ValueError(f"{name} is empty: shape {shape}; it needs {needs}")


# ---- on a device ------------------------------------------------------------------------------


def _on_device(x: Any, name: str, least: int) -> Rows:
    owner = devices.adopt(x, name)
    library = library_of(owner)
    _check_matrix(tuple(owner.shape), name, least)
    dtype = library.dtype(owner)
    if dtype not in DTYPES:
        if not dtype.startswith(("int", "uint", "bool")):
            raise not_real(dtype, name)
        dtype = "float64"
    view = devices.view(library.contiguous(owner, dtype))
    return Rows(view, dtype, _wrap_on_device(x, view.owner))


def _wrap_on_device(x: Any, owner: Any) -> Wrap:
    """Bring results to the device of `owner`, and to the library of `x`."""
    library = library_of(owner)

    def wrap(result: Any) -> Any:
        if not isinstance(result, DeviceArray):
            found = library.upload(owner, result)
        else:
            found = result.owner if library.owns(result.owner) else library.adopt(result.owner)
        return found if library.owns(x) else _to_namespace(x, found)

    return wrap


def _to_namespace(x: Any, found: Any) -> Any:
    """Share an array by DLPack with the library of `x`, if it names one by the array API."""
    if not hasattr(x, "__array_namespace__"):
        return found
    return x.__array_namespace__().from_dlpack(found)


# ---- on the host ------------------------------------------------------------------------------


def _on_host(x: Any, name: str) -> tuple[NDArray[Any], str, Wrap]:
    if Torch.owns(x):
        return *_torch_on_host(x, name), lambda result: Torch.upload(x, to_host(result))
    require_number_columns(x, name)
    array, dtype = real(host_array(x, name), name)
    if not isinstance(x, np.ndarray) and hasattr(x, "__array_namespace__"):
        namespace = x.__array_namespace__()
        return array, dtype, lambda result: namespace.asarray(from_bits(to_host(result)))
    return array, dtype, lambda result: from_bits(to_host(result))


def _torch_on_host(x: Any, name: str) -> tuple[NDArray[Any], str]:
    if Torch.dtype(x) == "bfloat16":
        return Torch.to_host(x), "bfloat16"
    return real(host_array(x, name), name)


# ---- output -----------------------------------------------------------------------------------


def _new_output(shape: tuple[int, int], dtype: str, x: Rows) -> Rows:
    if isinstance(x.data, DeviceArray):
        return Rows(x.data.allocate(shape, dtype), dtype, x.wrap)
    storage = np.uint16 if dtype == "bfloat16" else np.dtype(dtype)
    return Rows(empty_aligned(shape, storage), dtype, x.wrap)


def _host_output(out: Any) -> Rows:
    array, name, wrap = _on_host(out, "out")
    in_place = array.size == 0 or array.ctypes.data == _address(out)
    if not (in_place and array.flags.carray):
        raise ValueError(
            f"out must be a writable, contiguous, aligned NumPy array or torch tensor in host "
            f"memory, of {', '.join(DTYPES)} in native byte order"
        )
    return Rows(array, name, wrap)


def _address(out: Any) -> int | None:
    if Torch.owns(out):
        return Torch.pointer(out)
    return int(out.ctypes.data) if isinstance(out, np.ndarray) else None


def _device_output(out: Any) -> Rows:
    owner = devices.adopt(out, "out")
    library = library_of(owner)
    dtype = library.dtype(owner)
    kept = dtype in DTYPES and owner is out
    if not kept or library.pointer(library.contiguous(out, dtype)) != library.pointer(out):
        raise ValueError(
            f"out must be a contiguous torch or CuPy array, of {', '.join(DTYPES)}, where x lies "
            "on a CUDA device"
        )
    return Rows(devices.view(out), dtype, lambda result: result.owner)


def _overlap(target: Rows, x: Rows) -> bool:
    if not isinstance(target.data, DeviceArray):
        return np.may_share_memory(target.data, x.data)
    return _begin(target) < _end(x) and _begin(x) < _end(target)


def _begin(rows: Rows) -> int:
    return int(rows.data.pointer)


def _end(rows: Rows) -> int:
    item = {"float64": 8, "float32": 4}.get(rows.dtype, 2)
    return _begin(rows) + rows.shape[0] * rows.shape[1] * item
