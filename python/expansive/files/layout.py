"""What an array file holds, and what its format can hold."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from expansive.files.atomic import PathLike

Write: TypeAlias = Callable[[NDArray[Any], NDArray[Any]], None]

SUFFIXES = (".npz", ".npy", ".safetensors", ".parquet")
KNOWN_FILES = f"{', '.join(SUFFIXES)} (of a CSV: pandas.read_csv(...).to_parquet(...))"
"""What messages say of them."""


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
    columns : sequence of str, str or None
        For ``.parquet`` only: the names of the features; None: ``f0, f1, ...``. A str names one
        column of lists that are the rows.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    y_dtype: np.dtype[Any]
    x_key: str = "x"
    y_key: str = "y"
    columns: Sequence[str] | str | None = None


def check_layout(layout: Layout, path: PathLike) -> None:
    """Refuse what the format of `path` cannot hold (TypeError; for wrong names ValueError)."""
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
    if suffix == ".parquet":
        _check_columns(layout)
    names = [] if suffix == ".npy" else [*row_names(layout, suffix), layout.y_key]
    for name, count in Counter(names).items():
        if count > 1:
            raise ValueError(
                f"{os.fspath(path)!r} would hold {name!r} {count} times; choose another y_key or "
                "other columns, or write another format"
            )


def _check_columns(layout: Layout) -> None:
    if len(layout.shape) != 2:
        raise TypeError(
            f"a .parquet file holds rows [n, d], but x has the shape {layout.shape}; "
            "reshape it or choose .npz"
        )
    names = row_names(layout, ".parquet")
    if len(names) != layout.shape[1] and not isinstance(layout.columns, str):
        raise ValueError(
            f"columns has {len(names)} names, but the rows have {layout.shape[1]} features; give "
            "each feature one name"
        )


def row_names(layout: Layout, suffix: str) -> Sequence[str]:
    """Names of what the rows are kept in: one array, or a column for each feature."""
    if suffix != ".parquet":
        return [layout.x_key]
    if isinstance(layout.columns, str):
        return [layout.columns]
    return layout.columns or [f"f{j}" for j in range(layout.shape[1])]


def named(present: Sequence[str], key: str, path: PathLike) -> str:
    """Give the key, or the error that lists those present."""
    if key not in present:
        raise KeyError(
            f"{os.fspath(path)!r} has no {key!r}; it holds {', '.join(present)}; name yours with "
            "x_key and y_key"
        )
    return key
