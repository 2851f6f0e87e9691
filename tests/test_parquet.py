"""Parquet whose rows are the lists of one column, as embeddings are often kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from command_line import run
from expansive import files
from expansive.files import parquet

pytestmark = pytest.mark.train

X = np.arange(24, dtype=np.float32).reshape(8, 3) / 7
Y = np.array([0, 1, 2, 1, 0, 2, 2, 1])

LISTS = {
    "list": lambda item: pa.list_(item),
    "large_list": lambda item: pa.large_list(item),
    "fixed_size_list": lambda item: pa.list_(item, 3),
}


def write(path: Path, rows: Any, kind: Any, **others: Any) -> Path:
    table = {"emb": pa.array(list(rows), kind), "y": Y[: len(rows)], **others}
    pq.write_table(pa.table(table), path, row_group_size=3)
    return path


@pytest.mark.parametrize("kind", LISTS)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "int64", "uint8", "bool"])
def test_lists_are_the_rows(
    tmp_path: Path, kind: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "_LISTS_AT_ONCE", 2)
    rows = X.astype(dtype)
    path = write(tmp_path / "a.parquet", rows, LISTS[kind](pa.from_numpy_dtype(rows.dtype)))
    x, y = files.load_arrays(path)
    assert x.dtype == dtype
    np.testing.assert_array_equal(x, rows)
    np.testing.assert_array_equal(y, Y)
    assert files.feature_columns(path) == "emb"


def test_files_of_polars_and_pandas(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    columns = {"emb": list(X), "kind": ["a", "b"] * 4}
    for frame in (
        pl.DataFrame(columns),
        pl.DataFrame(columns).with_columns(pl.col("emb").cast(pl.Array(pl.Float32, 3))),
        pd.DataFrame(columns, index=range(3, 11)),
    ):
        if isinstance(frame, pl.DataFrame):
            frame.write_parquet(path)
        else:
            frame.to_parquet(path)
        x, y = files.load_arrays(path, y_key="kind")
        np.testing.assert_array_equal(x, X)
        assert y.tolist() == ["a", "b"] * 4


def test_x_key_names_the_column_among_several(tmp_path: Path) -> None:
    others = {"id": Y + 5, "text": ["a"] * 8}
    path = write(tmp_path / "a.parquet", X, pa.list_(pa.float32()), **others)
    np.testing.assert_array_equal(files.load_arrays(path, "emb")[0], X)
    assert files.feature_columns(path) == "emb"
    assert files.feature_columns(path, "y", "x") == ["emb", "id", "text"]
    with pytest.raises(ValueError, match=r"'emb' holds lists and is not the only .* with x_key"):
        files.load_arrays(path)
    more = {"emb.other": pa.array([[1.0]] * 8)}
    path = write(tmp_path / "a.parquet", X, pa.list_(pa.float32()), **more)
    assert files.feature_columns(path, "y", "emb") == "emb"
    assert files.feature_columns(path) == ["emb", "emb.other"]
    np.testing.assert_array_equal(files.load_arrays(path, "emb")[0], X)
    np.testing.assert_array_equal(files.load_arrays(path, "emb.other")[0], np.ones((8, 1)))


def test_a_column_of_numbers_called_x_is_one_feature_of_many(tmp_path: Path) -> None:
    pd.DataFrame({"x": [1.0, 2.0], "z": [3.0, 4.0], "y": [0, 1]}).to_parquet(tmp_path / "a.parquet")
    assert files.load_arrays(tmp_path / "a.parquet")[0].shape == (2, 2)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[1, 2], [3, 4], [5]], "'emb' holds lists of 2 numbers, but of 1 in row 2; pad them"),
        ([[1, 2], [3, 4], None], "'emb' is null, or holds one, in row 2; fill it or drop it"),
        ([None, [3, 4]], "null, or holds one, in row 0"),
        ([[1, 2], [3, 4], [5, 6], [7, None]], "null, or holds one, in row 3"),
        ([[], []], r"a\.parquet' holds no features: its shape is \(2, 0\)"),
        ([], r"a\.parquet' holds no rows"),
    ],
)
def test_lists_that_are_no_matrix(
    tmp_path: Path, rows: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "_LISTS_AT_ONCE", 2)
    path = write(tmp_path / "a.parquet", rows, pa.list_(pa.float32()))
    with pytest.raises(ValueError, match=message):
        files.load_arrays(path)


def test_a_null_in_lists_of_fixed_size(tmp_path: Path) -> None:
    for rows, row in (([[1, 2], None], 1), ([[None, 2], [3, 4]], 0), ([None, [3, 4]], 0)):
        path = write(tmp_path / "a.parquet", rows, pa.list_(pa.float32(), 2))
        with pytest.raises(ValueError, match=f"'emb' is null, or holds one, in row ({row}|0 or l)"):
            files.load_arrays(path)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("Expected all lists to be of size=3 but index 2 had size=0", "null, .* row 4 or later"),
        ("another", "cannot read '.*': another"),
    ],
)
def test_a_null_that_pyarrow_does_not_read(
    tmp_path: Path, words: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Old(pq.ParquetFile):  # before version 26
        def iter_batches(self, *given: Any, **options: Any) -> Any:
            yield from [*super().iter_batches(*given, **options)][:2]
            raise pa.ArrowInvalid(words)

    monkeypatch.setattr(parquet, "_LISTS_AT_ONCE", 2)
    monkeypatch.setattr(pq, "ParquetFile", Old)
    path = write(tmp_path / "a.parquet", X, pa.list_(pa.float32(), 3))
    with pytest.raises(ValueError, match=message):
        files.load_arrays(path)


def test_lists_of_other_things_and_lists_for_labels(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", [["a"], ["b"]], pa.list_(pa.string()))
    with pytest.raises(ValueError, match=r"'emb' holds list<.*string>, not numbers"):
        files.load_arrays(path)
    with pytest.raises(
        ValueError, match=r"'emb' holds list<.*>, which are no labels; name .*y_key"
    ):
        files.load_arrays(path, y_key="emb")


def test_a_column_of_lists_is_written(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    layout = files.Layout(X.shape, X.dtype, np.dtype("U3"), y_key="kind", columns="emb")
    names = np.array(["cat", "dog", "cow"])[Y]
    with files.array_writer(path, layout) as write_slice:
        write_slice(X[:5], names[:5])
        write_slice(X[5:], names[5:])
    schema = pq.read_schema(path)
    assert schema.names == ["emb", "kind"]
    assert schema.field("emb").type == pa.list_(pa.float32(), 3)
    x, y = files.load_arrays(path, y_key="kind")
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(y, names)
    with pytest.raises(ValueError, match="would hold 'emb' 2 times"):
        files.save_arrays(path, X, Y, y_key="emb", columns="emb")


def test_columns_are_as_many_as_features(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="columns has 2 names, but the rows have 3 features"):
        files.save_arrays(tmp_path / "a.parquet", X, Y, columns=["a", "b"])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("others", [{}, {"id": Y, "text": ["a"] * 8}])
def test_oversample_keeps_the_column_of_lists(
    tmp_path: Path, others: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    source, target = tmp_path / "in.parquet", tmp_path / "out.parquet"
    write(source, X, pa.large_list(pa.float32()), **others)
    options = ["--x-key", "emb", "--sampling-strategy", "0=5,1=5,2=5"]
    status, _, errors = run(capsys, "oversample", source, target, *options)
    assert (status, errors) == (0, "")
    schema = pq.read_schema(target)
    assert schema.names == ["emb", "y"]
    assert schema.field("emb").type == pa.list_(pa.float32(), 3)
    x, y = files.load_arrays(target)
    np.testing.assert_array_equal(x[:8], X)
    assert np.bincount(y).tolist() == [5, 5, 5]


def write_with_numbers(path: Path) -> Path:
    frame = pd.DataFrame(X, columns=["a", "b", "c"]).assign(id=[f"r{i}" for i in range(8)], y=Y)
    frame.to_parquet(path, index=False)
    return path


def test_dropped_columns_are_no_features(tmp_path: Path, capsys: Any) -> None:
    path, out = write_with_numbers(tmp_path / "a.parquet"), tmp_path / "b.parquet"
    x, y = files.load_arrays(path, drop=["id", "b"])
    np.testing.assert_array_equal(x, X[:, [0, 2]])
    np.testing.assert_array_equal(y, Y)
    assert files.feature_columns(path, drop=["id"]) == ["a", "b", "c"]
    with pytest.raises(ValueError, match=r"column 'id' holds \w*string, not numbers; drop it"):
        files.load_arrays(path)
    run(capsys, "oversample", path, out, "--k", "1", "--drop", "id", "--drop", "b")
    assert pd.read_parquet(out).columns.tolist() == ["a", "c", "y"]
    assert run(capsys, "gap", path, path, "--drop", "id")[0] == 0


@pytest.mark.parametrize("drop", ["d", "y"])
def test_dropping_what_is_no_feature_is_refused(tmp_path: Path, drop: str) -> None:
    path = write_with_numbers(tmp_path / "a.parquet")
    expected = f"cannot read .*drop names '{drop}', which is no column of features; those are"
    with pytest.raises(ValueError, match=expected):
        files.load_arrays(path, drop=[drop])


def test_only_tables_have_columns_to_drop(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=X, y=Y)
    with pytest.raises(ValueError, match=r"drop names columns of a .parquet, but .* is none"):
        files.load_arrays(tmp_path / "a.npz", drop=["id"])
