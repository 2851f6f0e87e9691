"""Data frames of pandas and polars, recognized without an import of either."""

from __future__ import annotations

import reprlib
from typing import Any

import numpy as np

from expansive.arrays.host import is_missing, is_of, require_collected, require_unmasked
from expansive.arrays.wording import some_of


def is_pandas_frame(x: object) -> bool:
    """Whether `x` is a DataFrame of pandas."""
    return is_of("pandas", ("DataFrame",), x)


def is_polars(x: object) -> bool:
    """Whether `x` is a DataFrame or a Series of polars."""
    return is_of("polars", ("DataFrame", "Series"), x)


def require_number_columns(x: Any, name: str) -> None:
    """Refuse a data frame with columns of other things than numbers, naming them; and masks."""
    require_collected(x, name)
    require_unmasked(x, name)
    if not (is_pandas_frame(x) or is_of("polars", ("DataFrame",), x)):
        return
    others = {}
    for j, dtype in enumerate(x.dtypes):
        if not _is_number_type(dtype):
            column = x.iloc[:, j] if is_pandas_frame(x) else x.to_series(j)
            value = _first_other(np.asarray(column, dtype=object))
            if value is not None:
                others[x.columns[j]] = value
    if others:
        column, value = next(iter(others.items()))
        fix = "encode such columns as numbers, or drop them"
        if np.ndim(value) > 0:
            fix = f"of embeddings in a column take np.stack({name}[{column!r}])"
        raise TypeError(
            f"{name} must hold real numbers, not {reprlib.repr(value)} as in "
            f"{some_of('column', others)}; {fix}"
        )


def _is_number_type(dtype: Any) -> bool:
    """Whether a column type is of numbers; a column of any other may hold some all the same."""
    return bool(dtype.is_numeric() if hasattr(dtype, "is_numeric") else dtype.kind in "fiub")


def _first_other(values: Any) -> Any:
    """Find the first value that is no number; missing ones have errors of their own."""
    if set(map(type, values)) <= {int, float, bool}:
        return None
    return next((value for value in values if not (is_missing(value) or _is_number(value))), None)


def _is_number(value: Any) -> bool:
    """Whether a value is a number; text of digits is none, which may be a code such as 01234."""
    if isinstance(value, str | bytes | np.ndarray):
        return False
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True
