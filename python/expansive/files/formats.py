"""Array file formats: one reader and one streaming writer each."""

from __future__ import annotations

import json
import math
import os
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from expansive.extras import import_extra
from expansive.files.atomic import PathLike

Write: TypeAlias = Callable[[NDArray[Any], NDArray[Any]], None]

SUFFIXES = (".npz", ".npy", ".safetensors", ".parquet")

_NOT_OF_NUMPY = ("BF16", "F8_E4M3", "F8_E5M2")
"""Element types of safetensors that NumPy lacks."""

_OF_OBJECTS = ("Object arrays", "Python objects")
"""What NumPy's errors call arrays that only pickle could read."""


class Layout(NamedTuple):
    """What an array file will hold.

    Attributes
    ----------
    shape : tuple of int
        Shape ``[n, ...]`` of the rows.
    dtype, y_dtype : dtype
        Element types of the rows and of the labels.
    x_key, y_key : str
        Names of the arrays, or of the column of labels; ``.npy`` has none.
    columns : sequence of str or None
        For ``.parquet`` only: the names of the features; None: ``f0, f1, ...``.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    y_dtype: np.dtype[Any]
    x_key: str = "x"
    y_key: str = "y"
    columns: Sequence[str] | None = None


def check_layout(layout: Layout, path: PathLike) -> None:
    """Refuse what the format of `path` cannot hold (TypeError; ValueError for a name twice)."""
    suffix = Path(path).suffix.lower()
    if layout.dtype.kind not in "fiub" or layout.y_dtype.kind not in "fiubU":
        raise TypeError(
            f"rows of {layout.dtype} and labels of {layout.y_dtype} cannot be written; rows must "
            "be numbers, labels numbers or strings (astype(str) makes strings of objects)"
        )
    if suffix == ".safetensors" and layout.y_dtype.kind == "U":
        raise TypeError(
            "a .safetensors file holds numbers, but the labels are strings; encode them "
            "(numpy.unique(y, return_inverse=True)) or choose .npz or .parquet"
        )
    if suffix == ".parquet" and len(layout.shape) != 2:
        raise TypeError(
            f"a .parquet file holds rows [n, d], but x has the shape {layout.shape}; "
            "reshape it or choose .npz"
        )
    names = [] if suffix == ".npy" else [*_row_names(layout, suffix), layout.y_key]
    for name, count in Counter(names).items():
        if count > 1:
            raise ValueError(
                f"{os.fspath(path)!r} would hold {name!r} {count} times; choose another y_key or "
                "other columns, or write another format"
            )


def _row_names(layout: Layout, suffix: str) -> Sequence[str]:
    """Names of what the rows are kept in: one array, or a column for each feature."""
    if suffix != ".parquet":
        return [layout.x_key]
    return layout.columns or [f"f{j}" for j in range(layout.shape[1])]


def _named(present: Sequence[str], key: str, path: PathLike) -> str:
    if key not in present:
        raise KeyError(
            f"{os.fspath(path)!r} has no {key!r}; it holds {', '.join(present)}; name yours with "
            "x_key and y_key"
        )
    return key


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
        names = [_named(archive.files, key, path) for key in (x_key, y_key)]
        with _never_unpickled(x_key, "float"):
            x = archive[names[0]]
        with _never_unpickled(y_key, "str"):
            y = archive[names[1]]
        return x, y


def _read_safetensors(path: PathLike, x_key: str, y_key: str) -> tuple[NDArray[Any], NDArray[Any]]:
    safetensors = import_extra("safetensors", "train")
    try:
        with safetensors.safe_open(os.fspath(path), framework="numpy") as archive:
            names = [_named(list(archive.keys()), key, path) for key in (x_key, y_key)]
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


def _read_parquet(path: PathLike, x_key: str, y_key: str) -> tuple[NDArray[Any], NDArray[Any]]:
    parquet = import_extra("pyarrow.parquet", "train")
    with parquet.ParquetFile(path) as table:
        schema = table.schema_arrow
        names = features_of(schema, _named(schema.names, y_key, path))
        dtypes = [_number_dtype(schema.field(name)) for name in names]
        if not names:
            raise ValueError(f"it has no column but that of the labels, {y_key!r}, or of an index")
        x = np.empty((table.metadata.num_rows, len(names)), np.result_type(*dtypes))
        # Column after column: the whole table and the array never stand in memory together.
        for j, name in enumerate(names):
            x[:, j] = _column(table, name)
        y = _column(table, y_key)
    return x, y.astype(str) if y.dtype == object else y


def features_of(schema: Any, y_key: str) -> list[str]:
    """Names of the columns that are features: neither the labels nor the index of pandas."""
    index = (schema.pandas_metadata or {}).get("index_columns", [])
    return [name for name in schema.names if name != y_key and name not in index]


def _column(table: Any, name: str) -> NDArray[Any]:
    column = table.read([name])[name]
    if column.null_count:
        raise ValueError(
            f"column {name!r} is null in {column.null_count:,} of {len(column):,} rows; fill it "
            "or drop these rows"
        )
    values: NDArray[Any] = column.to_numpy()
    return values


def _number_dtype(field: Any) -> np.dtype[Any]:
    try:
        dtype: np.dtype[Any] = np.dtype(field.type.to_pandas_dtype())
    except (NotImplementedError, TypeError):
        dtype = np.dtype(object)
    if dtype.kind not in "fiub":
        raise ValueError(
            f"column {field.name!r} holds {field.type}, not numbers; drop it, or name the column "
            "of the labels if this is it"
        )
    return dtype


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
    np.save(labels, np.concatenate(kept), allow_pickle=False)


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


@contextmanager
def _parquet_sink(path: Path, layout: Layout, labels: Path | None) -> Iterator[Write]:
    pyarrow = import_extra("pyarrow", "train")
    parquet = import_extra("pyarrow.parquet", "train")
    names = _row_names(layout, ".parquet")

    def field(name: str, dtype: np.dtype[Any]) -> Any:
        return pyarrow.field(
            name, pyarrow.string() if dtype.kind == "U" else pyarrow.from_numpy_dtype(dtype)
        )

    schema = pyarrow.schema(
        [*(field(name, layout.dtype) for name in names), field(layout.y_key, layout.y_dtype)]
    )
    with parquet.ParquetWriter(path, schema) as writer:

        def put(x: NDArray[Any], y: NDArray[Any]) -> None:
            arrays = [pyarrow.array(column) for column in (*np.ascontiguousarray(x.T), y)]
            writer.write_table(pyarrow.table(arrays, schema=schema))

        yield put


READERS: dict[str, Callable[[PathLike, str, str], tuple[NDArray[Any], NDArray[Any]]]] = {
    ".npz": _read_npz,
    ".safetensors": _read_safetensors,
    ".parquet": _read_parquet,
}
SINKS: dict[str, Callable[[Path, Layout, Path | None], AbstractContextManager[Write]]] = {
    ".npz": _npz_sink,
    ".npy": _npy_sink,
    ".safetensors": _safetensors_sink,
    ".parquet": _parquet_sink,
}
