"""Array file formats: one reader and one streaming writer each."""

from __future__ import annotations

import json
import math
import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np
from numpy.typing import NDArray

from expansive.extras import import_extra
from expansive.files.atomic import PathLike
from expansive.files.layout import Layout, Write, named
from expansive.files.parquet import parquet_sink, read_parquet

_NOT_OF_NUMPY = ("BF16", "F8_E4M3", "F8_E5M2")
"""Element types of safetensors that NumPy lacks."""

_OF_OBJECTS = ("Object arrays", "Python objects")
"""What NumPy's errors call arrays that only pickle could read."""


@contextmanager
def _never_unpickled(name: str, dtype: str) -> Iterator[None]:
    """Let the error about an array that only pickle could read name the array and the way out."""
    try:
        yield
    except ValueError as error:
        if not any(words in str(error) for words in _OF_OBJECTS):
            raise
        raise ValueError(
            f"array {name!r} holds Python objects; save {name}.astype({dtype})"
        ) from error


def read_npy(
    path: PathLike, name: str, dtype: str, mmap_mode: Literal["r"] | None = None
) -> NDArray[Any]:
    """Read a .npy file; `name` and `dtype` are what an error about Python objects says."""
    with open(path, "rb") as stream:
        if stream.read(len(np.lib.format.MAGIC_PREFIX)) != np.lib.format.MAGIC_PREFIX:
            raise ValueError("it is no .npy array, or a broken one")
    with _never_unpickled(name, dtype):
        array: NDArray[Any] = np.load(path, mmap_mode=mmap_mode, allow_pickle=False)
    return array


def _read_npz(path: PathLike, x_key: str, y_key: str) -> tuple[NDArray[Any], NDArray[Any]]:
    if not zipfile.is_zipfile(path):
        raise ValueError("it is no .npz archive, or a broken one")
    with np.load(path, allow_pickle=False) as archive:
        names = [named(archive.files, key, path) for key in (x_key, y_key)]
        with _never_unpickled(x_key, "float"):
            x = archive[names[0]]
        with _never_unpickled(y_key, "str"):
            y = archive[names[1]]
        return x, y


def _read_safetensors(path: PathLike, x_key: str, y_key: str) -> tuple[NDArray[Any], NDArray[Any]]:
    safetensors = import_extra("safetensors", "train")
    try:
        with safetensors.safe_open(os.fspath(path), framework="numpy") as archive:
            names = [named(list(archive.keys()), key, path) for key in (x_key, y_key)]
            return _tensor(archive, names[0], path), _tensor(archive, names[1], path)
    except safetensors.SafetensorError as error:
        raise ValueError(str(error)) from error


def _tensor(archive: Any, name: str, path: PathLike) -> NDArray[Any]:
    """Read a tensor; what NumPy has no type for is widened to float32, which loses nothing."""
    tensor: NDArray[Any]
    if archive.get_slice(name).get_dtype() in _NOT_OF_NUMPY:
        import_extra("torch", "train")
        safetensors = import_extra("safetensors", "train")
        with safetensors.safe_open(os.fspath(path), framework="pt") as of_torch:
            tensor = of_torch.get_tensor(name).float().numpy()
    else:
        tensor = archive.get_tensor(name)
    return tensor


def _put_rows(stream: IO[bytes], kept: list[NDArray[Any]]) -> Write:
    def put(x: NDArray[Any], y: NDArray[Any]) -> None:
        stream.write(x.data)
        kept.append(y)

    return put


def _write_header(stream: IO[bytes], layout: Layout) -> None:
    header = {
        "descr": np.lib.format.dtype_to_descr(layout.dtype),
        "fortran_order": False,
        "shape": layout.shape,
    }
    np.lib.format.write_array_header_2_0(stream, header)


@contextmanager
def _npz_sink(path: Path, layout: Layout, labels: Path | None) -> Iterator[Write]:
    kept: list[NDArray[Any]] = []
    with zipfile.ZipFile(path, "w", allowZip64=True) as archive:
        with archive.open(f"{layout.x_key}.npy", "w", force_zip64=True) as stream:
            _write_header(stream, layout)
            yield _put_rows(stream, kept)
        with archive.open(f"{layout.y_key}.npy", "w", force_zip64=True) as stream:
            np.lib.format.write_array(stream, np.concatenate(kept), allow_pickle=False)


@contextmanager
def _npy_sink(path: Path, layout: Layout, labels: Path | None) -> Iterator[Write]:
    assert labels is not None
    kept: list[NDArray[Any]] = []
    with path.open("wb") as stream:
        _write_header(stream, layout)
        yield _put_rows(stream, kept)
    with labels.open("wb") as stream:  # given a path, np.save may add a suffix
        np.save(stream, np.concatenate(kept), allow_pickle=False)


@contextmanager
def _safetensors_sink(path: Path, layout: Layout, labels: Path | None) -> Iterator[Write]:
    # The library writes whole tensors only. The format (huggingface.co/docs/safetensors) is the
    # length of a JSON header, the header, and the tensors' bytes, so it can be streamed.
    kept: list[NDArray[Any]] = []
    header: dict[str, Any] = {}
    end = 0
    for key, shape, dtype in (
        (layout.x_key, layout.shape, layout.dtype),
        (layout.y_key, layout.shape[:1], layout.y_dtype),
    ):
        start, end = end, end + math.prod(shape) * dtype.itemsize
        header[key] = {
            "dtype": "BOOL" if dtype.kind == "b" else f"{dtype.kind.upper()}{8 * dtype.itemsize}",
            "shape": list(shape),
            "data_offsets": [start, end],
        }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        yield _put_rows(stream, kept)
        stream.write(np.concatenate(kept).data)


READERS: dict[str, Callable[..., tuple[NDArray[Any], NDArray[Any]]]] = {
    ".npz": _read_npz,
    ".safetensors": _read_safetensors,
    ".parquet": read_parquet,
}
"""By path, `x_key` and `y_key`; that of ``.parquet`` also by the columns to `drop`."""

SINKS: dict[str, Callable[[Path, Layout, Path | None], AbstractContextManager[Write]]] = {
    ".npz": _npz_sink,
    ".npy": _npy_sink,
    ".safetensors": _safetensors_sink,
    ".parquet": parquet_sink,
}
