"""Labels and row numbers of any library, as NumPy arrays on the host."""

from __future__ import annotations

from collections.abc import Set
from enum import Enum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from expansive.arrays.host import host_array, is_missing


class Labels(NamedTuple):
    """Labels as class codes.

    Attributes
    ----------
    classes : ndarray, shape [n_classes]
        The distinct labels, sorted.
    codes : ndarray of int64, shape [n]
        For each row the position of its label in `classes`.
    """

    classes: NDArray[Any]
    codes: NDArray[np.int64]


def as_labels(y: Any, n: int, name: str = "y") -> Labels:
    """Encode labels of any kind as class codes.

    Parameters
    ----------
    y : array-like, shape [n]
        Integers, strings, booleans, a pandas categorical, a torch tensor: anything sortable. The
        members of an enumeration count as their values.
        `Labels` are given back as they are.
    n : int
        The number of rows the labels belong to.
    name : str
        The argument's name, for errors.

    Returns
    -------
    Labels
    """
    if isinstance(y, Labels):
        return y
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
    return Labels(classes, codes.astype(np.int64, copy=False))


def _encode_small_integers(labels: NDArray[Any], low: int) -> Labels:
    """Encode without sorting: a table over the labels' range."""
    shifted = (labels.astype(np.int64) - low) if labels.dtype.kind == "i" else labels - labels.min()
    present = np.flatnonzero(np.bincount(shifted.astype(np.int64)))
    table = np.zeros(int(present[-1]) + 1, np.int64)
    table[present] = np.arange(len(present))
    classes = labels.min() + present.astype(labels.dtype)
    return Labels(classes, table[shifted.astype(np.int64)])


def label_array(y: Any, name: str) -> NDArray[Any]:
    """Take labels as a one-dimensional NumPy array of sortable values."""
    labels = host_array(y, name)
    if labels.dtype.kind in "US" and isinstance(y, list | tuple):
        labels = np.array(y, dtype=object)  # of other things in it NumPy has made strings
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1:
        hint = f"; of one-hot labels give {name}.argmax(axis=1)" if labels.ndim == 2 else ""
        raise ValueError(f"{name} must be one-dimensional; got shape {labels.shape}{hint}")
    if labels.dtype.kind in "OT":
        labels = _sortable(labels, name)
    if labels.dtype.kind in "fmM":
        missing = np.flatnonzero(labels != labels)
        if len(missing):
            raise _missing_label(int(missing[0]), labels[missing[0]], name)
    return labels


def _sortable(labels: NDArray[Any], name: str) -> NDArray[Any]:
    plain = labels.tolist()
    if not set(map(type, plain)) <= {str, int, float, bool}:
        plain = [_plain(label) for label in plain]
    kinds = sorted({type(label).__name__ for label in plain})
    if len(kinds) > 1 or any(map(is_missing, plain[:1])):
        for row, label in enumerate(plain):
            if is_missing(label):
                raise _missing_label(row, label, name)
        raise TypeError(f"{name} mixes labels of types {', '.join(kinds)}; {_one_type(name)}")
    if any(isinstance(label, Set | tuple | list | dict) for label in plain[:1]):
        raise TypeError(f"{name} holds labels of type {kinds[0]}; {_one_type(name)}")
    return np.array(plain)


def _plain(label: Any) -> Any:
    """Give what a label of an enumeration or of NumPy stands for."""
    if isinstance(label, Enum):
        label = label.value
    if isinstance(label, np.generic):
        label = label.item()
    return str.__str__(label) if isinstance(label, str) else label


def _one_type(name: str) -> str:
    return (
        "convert them to numbers or strings of one type, for example "
        f"[str(label) for label in {name}]"
    )


def _missing_label(row: int, label: Any, name: str) -> ValueError:
    return ValueError(
        f"{name}[{row}] is missing ({label!r}); drop the row or give it a label, in pandas with "
        f"{name}.fillna(...)"
    )


def require_one_kind(some: NDArray[Any], others: NDArray[Any], names: tuple[str, str]) -> None:
    """Refuse strings on one side and other labels on the other: none of them would be equal."""
    if (some.dtype.kind in "US") != (others.dtype.kind in "US"):
        raise TypeError(
            f"{names[0]} are {some.dtype} but {names[1]} is {others.dtype}; use one type for both"
        )


def as_row_indices(values: Any, n: int, name: str, owner: str, fix: str) -> NDArray[np.int64]:
    """Check a list of row numbers of `owner`, integers in [0, n); `fix` is for other dtypes."""
    rows = host_array(values, name)
    if rows.size == 0:
        return np.zeros(0, np.int64)
    if rows.dtype == bool:
        fix = f"of a mask take np.flatnonzero({name})"
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
