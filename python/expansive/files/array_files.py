"""Rows with their labels, read from and written to array files."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from expansive.extras import import_extra
from expansive.files.atomic import PathLike, atomic_write, check_folder, finished
from expansive.files.formats import READERS, SINKS, read_npy
from expansive.files.layout import KNOWN_FILES, SUFFIXES, Layout, Write, check_layout
from expansive.files.parquet import features_of

_DAMAGE = (EOFError, NotImplementedError, OSError, ValueError, zipfile.BadZipFile, zlib.error)


def check_output(
    path: PathLike, *, labels: PathLike | None = None, layout: Layout | None = None
) -> None:
    """Make sure that arrays can be written to `path`, before any work is done for them.

    Parameters
    ----------
    path : path-like
        The array file to be written.
    labels : path-like, optional
        The file of the labels, which ``.npy`` needs beside it.
    layout : Layout, optional
        What it will hold; the number of rows need not be right yet.

    Raises
    ------
    ValueError
        When the suffix is none of `SUFFIXES`, a ``.npy`` has no file for the labels, or a name
        stands for two arrays or columns.
    TypeError
        When the format cannot hold a dtype or the shape.
    OSError
        When a folder is missing or not writable, or the path is itself a folder.
    """
    for target in _files(path, labels):
        check_folder(finished(target).parent)
    if layout is not None:
        check_layout(layout, path)


def load_arrays(
    path: PathLike,
    x_key: str = "x",
    y_key: str = "y",
    *,
    labels: PathLike | None = None,
    drop: Collection[str] | None = None,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Read rows and their labels from an array file; nothing is held twice.

    Parameters
    ----------
    path : path-like
        A ``.npz``, ``.npy``, ``.safetensors`` or ``.parquet`` file. A ``.npy`` is mapped into
        memory, not read. A bfloat16 or 8-bit float tensor of a ``.safetensors`` is widened to
        float32.
    x_key : str, default "x"
        Name of the array of rows. In a ``.parquet`` every column is a feature but that of the
        labels and the index that pandas stores; or a column of lists of numbers, as embeddings are
        often kept, is the rows: the only feature, or else the one that is named here.
    y_key : str, default "y"
        Name of the array, or of the column, of the labels.
    labels : path-like, optional
        For ``.npy`` only: the ``.npy`` file that holds the labels.
    drop : collection of str, optional
        For ``.parquet`` only: columns that are no features, such as row numbers.

    Returns
    -------
    x : ndarray of shape [n, ...]
        Read-only when mapped from a ``.npy``.
    y : ndarray of shape [n]

    Raises
    ------
    FileNotFoundError
        When a file does not exist.
    KeyError
        When an array or column is missing; the message lists those present.
    ValueError
        For an unknown suffix, a broken file, a table with nulls or lists of several lengths, arrays
        of Python objects, no rows, or arrays that do not fit each other.
    """
    for source in _files(path, labels):
        if not Path(source).is_file():
            raise FileNotFoundError(f"there is no file {os.fspath(source)!r}; check the path")
    suffix = Path(path).suffix.lower()
    if drop and suffix != ".parquet":
        raise ValueError(
            f"drop names columns of a .parquet, but {os.fspath(path)!r} is none; leave it out"
        )
    if labels is None:
        read = partial(READERS[suffix], drop=drop) if drop else READERS[suffix]
        with _naming(path):
            x, y = read(path, x_key, y_key)
    else:
        with _naming(path):
            x = read_npy(path, "x", "float", mmap_mode="r")
        with _naming(labels):
            y = read_npy(labels, "y", "str")
    if x.ndim < 2 or y.ndim != 1 or len(x) != len(y):
        raise ValueError(
            f"{os.fspath(path)!r} holds rows of shape {x.shape} and labels of shape {y.shape}; "
            "rows must be [n, ...] with at least two axes and labels [n]"
        )
    if not x.size:
        raise ValueError(
            f"{os.fspath(path)!r} holds no {'features' if len(x) else 'rows'}: its shape is "
            f"{x.shape}; check how it was made"
        )
    return x, y


def save_arrays(
    path: PathLike,
    x: NDArray[Any],
    y: NDArray[Any],
    *,
    x_key: str = "x",
    y_key: str = "y",
    labels: PathLike | None = None,
    columns: Sequence[str] | None = None,
) -> None:
    """Write rows and their labels to an array file, whole or not at all.

    Parameters
    ----------
    path, x_key, y_key, labels
        As for `load_arrays`.
    columns : sequence of str, optional
        As in `Layout`.
    x : ndarray of shape [n, ...]
    y : ndarray of shape [n]

    Raises
    ------
    ValueError, TypeError, OSError
        As `array_writer`, before anything is written.
    """
    layout = Layout(x.shape, x.dtype, y.dtype, x_key, y_key, columns)
    with array_writer(path, layout, labels=labels) as write:
        write(x, y)


@contextmanager
def array_writer(
    path: PathLike, layout: Layout, *, labels: PathLike | None = None
) -> Iterator[Write]:
    """Write an array file slice by slice: only the labels are kept in memory.

    Parameters
    ----------
    path, labels
        As for `load_arrays`.
    layout : Layout
        What the file will hold, all rows together.

    Yields
    ------
    callable
        ``write(x, y)`` appends the next rows and their labels.

    Raises
    ------
    ValueError
        As `check_output`; for a slice that does not fit; or, at the end, when the number of rows is
        not ``layout.shape[0]``. No file is made then.
    TypeError, OSError
        As `check_output`.
    """
    check_output(path, labels=labels, layout=layout)
    layout = layout._replace(dtype=_native(layout.dtype), y_dtype=_native(layout.y_dtype))
    sink = SINKS[Path(path).suffix.lower()]
    written, shape = 0, layout.shape
    with ExitStack() as stack:
        temporary = stack.enter_context(atomic_write(path))
        beside = None if labels is None else stack.enter_context(atomic_write(labels))
        put = stack.enter_context(sink(temporary, layout, beside))

        def write(x: NDArray[Any], y: NDArray[Any]) -> None:
            nonlocal written
            if x.shape[1:] != shape[1:] or y.shape != x.shape[:1]:
                raise ValueError(
                    f"a slice of rows {x.shape} with labels {y.shape} does not fit {shape}"
                )
            put(np.ascontiguousarray(x, layout.dtype), y.astype(layout.y_dtype))
            written += len(x)

        yield write
        if written != shape[0]:
            raise ValueError(f"{written} rows were written, {shape[0]} were announced")


def feature_columns(
    path: PathLike, y_key: str = "y", x_key: str | None = None, drop: Collection[str] | None = None
) -> list[str] | str | None:
    """Names of the features in a ``.parquet`` file; None for the formats that have none.

    Parameters
    ----------
    path : path-like
    y_key : str, default "y"
        The column of the labels, which is no feature; nor is the index that pandas stores.
    x_key : str, optional
        The column of lists that is read, as in `load_arrays`; None: the only one.
    drop : collection of str, optional
        Other columns that are no features.

    Returns
    -------
    list of str, str or None
        What a `Layout` takes for its columns: a str is the one column whose lists are the rows.
    """
    if Path(path).suffix.lower() != ".parquet":
        return None
    parquet = import_extra("pyarrow.parquet", "train")
    return features_of(parquet.read_schema(path), y_key, x_key, drop)


def check_labels_file(path: PathLike, labels: PathLike | None, argument: str = "labels") -> None:
    """Make sure that a ``.npy`` has a file for its labels beside it, and that no other format has.

    Parameters
    ----------
    path : path-like
        The array file.
    labels : path-like or None
        The file of the labels.
    argument : str, default "labels"
        What the error calls `labels`.

    Raises
    ------
    ValueError
        When the file is missing, or is one too many.
    """
    if (Path(path).suffix.lower() == ".npy") == (labels is not None):
        return
    if labels is None:
        raise ValueError(
            f"{os.fspath(path)!r} holds one array, so it needs a second .npy for the labels; name "
            f"it with {argument}"
        )
    raise ValueError(
        f"{argument} {os.fspath(labels)!r} is for a .npy, but {os.fspath(path)!r} is none; the "
        "other formats hold both and take none"
    )


def same_file(path: PathLike, other: PathLike | None) -> bool:
    """Whether both paths lead, through links too, to one file; it need not exist."""
    return other is not None and os.path.realpath(path) == os.path.realpath(other)


@contextmanager
def _naming(path: PathLike) -> Iterator[None]:
    """Let what is wrong with the content of a file name the file."""
    try:
        yield
    except _DAMAGE as error:
        if isinstance(error, OSError) and error.errno is not None:  # the system's, not pyarrow's
            raise
        raise ValueError(f"cannot read {os.fspath(path)!r}: {error}") from error


def _files(path: PathLike, labels: PathLike | None) -> list[PathLike]:
    """List the file of the rows and, for .npy, that of the labels; refuse what makes no sense."""
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"{os.fspath(path)!r} has the suffix {suffix!r}; known are {KNOWN_FILES}")
    check_labels_file(path, labels)
    if labels is None:
        return [path]
    if Path(labels).suffix.lower() != ".npy" or same_file(path, labels):
        raise ValueError(f"labels={os.fspath(labels)!r} must be another .npy file")
    return [path, labels]


def _native(dtype: np.dtype[Any]) -> np.dtype[Any]:
    native: np.dtype[Any] = dtype.newbyteorder("=")
    return native
