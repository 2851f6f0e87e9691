"""Tables of Parquet: a column for each feature, or one column of lists."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from expansive.extras import import_extra
from expansive.files.atomic import PathLike
from expansive.files.layout import Layout, Write, named, row_names

_LISTS_AT_ONCE = 4096

_UNEVEN = "Expected all lists to be of size"
"""What pyarrow before 26 says of lists of a fixed size with a null among them, and reads none."""


def read_parquet(
    path: PathLike, x_key: str, y_key: str, drop: Collection[str] | None = None
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Read rows and labels: the lists of one column, or every column but labels and `drop`."""
    parquet = import_extra("pyarrow.parquet", "train")
    # Fetched ahead, the compressed columns would stand in memory beside the array.
    with parquet.ParquetFile(path, pre_buffer=False) as table:
        schema = table.schema_arrow
        _check_labels(schema.field(named(schema.names, y_key, path)))
        features = features_of(schema, y_key, x_key, drop)
        if isinstance(features, str):
            x = _matrix_of_lists(table, features)
        else:
            x = _matrix_of_columns(table, features, y_key)
        y = _column(table, y_key)
    return x, y.astype(str) if y.dtype == object else y


def features_of(
    schema: Any, y_key: str, x_key: str | None, drop: Collection[str] | None = None
) -> list[str] | str:
    """Name the columns that are features, or the one column whose lists are the rows.

    The labels, the index of pandas and what `drop` names are no features. A column of lists has to
    be named by `x_key` where it is not alone; an `x_key` of None is for the only one there is.
    """
    index = (schema.pandas_metadata or {}).get("index_columns", [])
    dropped = drop or ()
    for name in dropped:
        if name not in schema.names or name == y_key:
            known = ", ".join(name for name in schema.names if name != y_key)
            raise ValueError(
                f"drop names {name!r}, which is no column of features; those are {known}"
            )
    names = [n for n in schema.names if n != y_key and n not in index and n not in dropped]
    lists = _list_columns(schema, names)
    if x_key is not None and x_key in lists:
        return x_key
    is_clear = len(lists) == 1 and (len(names) == 1 or x_key is None)
    return lists[0] if is_clear else names


def _list_columns(schema: Any, names: list[str]) -> list[str]:
    types = import_extra("pyarrow", "train").types
    tests = (types.is_list, types.is_large_list, types.is_fixed_size_list)
    return [name for name in names if any(test(schema.field(name).type) for test in tests)]


def _check_labels(field: Any) -> None:
    if import_extra("pyarrow", "train").types.is_nested(field.type):
        raise ValueError(
            f"column {field.name!r} holds {field.type}, which are no labels; name the column of "
            "the labels with y_key"
        )


def _matrix_of_columns(table: Any, names: list[str], y_key: str) -> NDArray[Any]:
    if not names:
        raise ValueError(
            f"it has no column but that of the labels, {y_key!r}, of an index, or dropped ones"
        )
    for name in _list_columns(table.schema_arrow, names):
        raise ValueError(
            f"column {name!r} holds lists and is not the only feature; name it with x_key, and its "
            "lists alone are the rows, or drop it"
        )
    fields = [table.schema_arrow.field(name) for name in names]
    dtypes = [_number_dtype(field, field.type) for field in fields]
    x = np.empty((table.metadata.num_rows, len(names)), np.result_type(*dtypes))
    # Column after column: the whole table and the array never stand in memory together.
    for j, name in enumerate(names):
        x[:, j] = _column(table, name)
    return x


def _matrix_of_lists(table: Any, name: str) -> NDArray[Any]:
    field = table.schema_arrow.field(name)
    x = np.empty((table.metadata.num_rows, 0), _number_dtype(field, field.type.value_type))
    start = 0
    try:
        # A view of the column read whole would be no copy, but reading it takes twice the memory.
        for batch in table.iter_batches(_LISTS_AT_ONCE, columns=[name]):
            lists = batch.column(name)
            if start == 0:
                x = np.empty((len(x), len(lists[0].values or ())), x.dtype)
            stop = start + len(lists)
            x[start:stop] = _equal_lists(lists, x.shape[1], name, start)
            start = stop
    except ValueError as error:
        if _UNEVEN not in str(error):
            raise
        raise _null_in(name, f"{start} or later") from error
    return x


def _equal_lists(lists: Any, length: int, name: str, start: int) -> NDArray[Any]:
    """Give lists of one length as a matrix; `start` is the number of the first row."""
    compute = import_extra("pyarrow.compute", "train")
    lengths = compute.fill_null(compute.list_value_length(lists), -1).to_numpy()
    for row in np.flatnonzero(lengths != length)[:1]:
        if lengths[row] < 0:
            raise _null_in(name, start + row)
        raise ValueError(
            f"column {name!r} holds lists of {length} numbers, but of {lengths[row]} in row "
            f"{start + row}; pad them or drop rows, so that all are equally long"
        )
    values = lists.flatten()
    if values.null_count:
        first = np.flatnonzero(values.is_null())[0]
        raise _null_in(name, start + first // length)
    matrix: NDArray[Any] = values.to_numpy(zero_copy_only=False).reshape(len(lists), length)
    return matrix


def _null_in(name: str, row: int | str) -> ValueError:
    return ValueError(f"column {name!r} is null, or holds one, in row {row}; fill it or drop it")


def _column(table: Any, name: str) -> NDArray[Any]:
    column = table.read([name])[name]
    if column.null_count:
        raise ValueError(
            f"column {name!r} is null in {column.null_count:,} of {len(column):,} rows; fill it "
            "or drop these rows"
        )
    values: NDArray[Any] = column.to_numpy()
    return values


def _number_dtype(field: Any, kind: Any) -> np.dtype[Any]:
    """Give the dtype of numbers of an Arrow type: that of a field, or of what its lists hold."""
    try:
        dtype: np.dtype[Any] = np.dtype(kind.to_pandas_dtype())
    except (NotImplementedError, TypeError):
        dtype = np.dtype(object)
    if dtype.kind not in "fiub":
        raise ValueError(
            f"column {field.name!r} holds {field.type}, not numbers; drop it, or name the column "
            "of the labels if this is it"
        )
    return dtype


@contextmanager
def parquet_sink(path: Path, layout: Layout, labels: Path | None) -> Iterator[Write]:
    """Write slices as tables: a column for each feature, or one of lists if the layout says so."""
    pyarrow = import_extra("pyarrow", "train")
    parquet = import_extra("pyarrow.parquet", "train")
    as_lists, width = isinstance(layout.columns, str), layout.shape[1]
    number = pyarrow.from_numpy_dtype(layout.dtype)
    x_type = pyarrow.list_(number, width) if as_lists else number
    is_text = layout.y_dtype.kind == "U"
    y_type = pyarrow.string() if is_text else pyarrow.from_numpy_dtype(layout.y_dtype)
    names = row_names(layout, ".parquet")
    schema = pyarrow.schema([*((name, x_type) for name in names), (layout.y_key, y_type)])

    def columns_of(x: NDArray[Any]) -> list[Any]:
        if as_lists:
            return [pyarrow.FixedSizeListArray.from_arrays(pyarrow.array(x.ravel()), width)]
        return [pyarrow.array(column) for column in np.ascontiguousarray(x.T)]

    with parquet.ParquetWriter(path, schema) as writer:

        def put(x: NDArray[Any], y: NDArray[Any]) -> None:
            writer.write_table(pyarrow.table([*columns_of(x), pyarrow.array(y)], schema=schema))

        yield put
