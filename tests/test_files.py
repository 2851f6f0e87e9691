import re
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from expansive import files
from expansive.files import SUFFIXES

pytestmark = pytest.mark.train

X = np.arange(24, dtype=np.float32).reshape(8, 3)
Y = np.array([0, 1, 2, 1, 0, 2, 2, 1])


def file_arguments(folder: Path, suffix: str) -> dict:
    labels = {"labels": folder / "y.npy"} if suffix == ".npy" else {}
    return {"path": folder / f"data{suffix}", **labels}


@pytest.fixture(params=SUFFIXES)
def target(request, tmp_path):
    return file_arguments(tmp_path, request.param)


def load(target):
    return files.load_arrays(target["path"], labels=target.get("labels"))


@pytest.mark.parametrize("dtype", ["float64", "float32", "float16", "uint8", "int64", "bool"])
def test_round_trip(target, dtype):
    files.save_arrays(x=X.astype(dtype), y=Y, **target)
    x, y = load(target)
    assert x.dtype == dtype
    np.testing.assert_array_equal(x, X.astype(dtype))
    assert y.dtype == Y.dtype
    np.testing.assert_array_equal(y, Y)


def test_slices_make_the_same_rows_as_one_write(target):
    with files.array_writer(layout=files.Layout(X.shape, X.dtype, Y.dtype), **target) as write:
        for start in range(0, len(X), 3):
            write(X[start : start + 3], Y[start : start + 3])
    x, y = load(target)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(y, Y)


def test_other_byte_orders_and_strides_are_written_right(target):
    files.save_arrays(x=X.astype(">f4")[::-1], y=Y.astype(">i8")[::-1], **target)
    x, y = load(target)
    np.testing.assert_array_equal(x, X[::-1])
    np.testing.assert_array_equal(y, Y[::-1])


def test_a_wrong_number_of_rows_makes_no_file_and_keeps_the_old_one(target):
    files.save_arrays(x=X, y=Y, **target)
    with (
        pytest.raises(ValueError, match="5 rows were written, 8 were announced"),
        files.array_writer(layout=files.Layout(X.shape, X.dtype, Y.dtype), **target) as write,
    ):
        write(X[:5], Y[:5])
    np.testing.assert_array_equal(load(target)[0], X)
    assert len(list(target["path"].parent.iterdir())) == len(target)


@pytest.mark.parametrize(("x", "y"), [(X[:, :2], Y), (X, Y[:7]), (X, Y[:, None])])
def test_a_slice_that_does_not_fit_is_refused(target, x, y):
    with (
        pytest.raises(ValueError, match=rf"\(8, {x.shape[1]}\).*does not fit \(8, 3\)"),
        files.array_writer(layout=files.Layout(X.shape, X.dtype, Y.dtype), **target) as write,
    ):
        write(x, y)
    assert list(target["path"].parent.iterdir()) == []


def test_slices_take_the_announced_dtypes(target):
    layout = files.Layout(X.shape, np.dtype("f8"), np.dtype("i2"))
    with files.array_writer(layout=layout, **target) as write:
        write(X, Y)
    x, y = load(target)
    assert (x.dtype, y.dtype) == (np.float64, np.int16)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(y, Y)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_paths_may_be_text_and_suffixes_in_capitals(tmp_path, suffix):
    target = {name: str(path) for name, path in file_arguments(tmp_path, suffix).items()}
    target = {name: path[: -len(suffix)] + suffix.upper() for name, path in target.items()}
    files.save_arrays(x=X, y=Y, **target)
    x, y = load(target)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(y, Y)
    columns = ["f0", "f1", "f2"] if suffix == ".parquet" else None
    assert files.feature_columns(target["path"]) == columns


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".safetensors"])
def test_images_keep_their_shape(tmp_path, suffix):
    images = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)
    target = file_arguments(tmp_path, suffix)
    files.save_arrays(x=images, y=np.array([0, 1]), **target)
    np.testing.assert_array_equal(load(target)[0], images)


@pytest.mark.parametrize("suffix", [".npz", ".npy", ".parquet"])
def test_string_labels(tmp_path, suffix):
    target = file_arguments(tmp_path, suffix)
    names = np.array(["cat", "dog", "bird"])[Y]
    files.save_arrays(x=X, y=names, **target)
    np.testing.assert_array_equal(load(target)[1], names)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".parquet"])
def test_arrays_go_by_the_names_they_were_given(tmp_path, suffix):
    target = file_arguments(tmp_path, suffix)
    files.save_arrays(x=X, y=Y, x_key="rows", y_key="kinds", **target)
    keys = {"y_key": "kinds"} if suffix == ".parquet" else {"x_key": "rows", "y_key": "kinds"}
    x, y = files.load_arrays(target["path"], **keys)
    np.testing.assert_array_equal(x, X)
    np.testing.assert_array_equal(y, Y)
    with pytest.raises(KeyError, match=r"it holds .*kinds"):
        files.load_arrays(target["path"])


def test_an_archive_holds_arrays_beyond_the_limit_of_small_ones(tmp_path, monkeypatch):
    # The limit of an entry whose size was not announced is 2 GiB: here less than the arrays.
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 1000)
    x, y = np.arange(1200.0).reshape(400, 3), np.arange(400)
    files.save_arrays(tmp_path / "a.npz", x, y)
    found = files.load_arrays(tmp_path / "a.npz")
    np.testing.assert_array_equal(found[0], x)
    np.testing.assert_array_equal(found[1], y)


def test_formats_refuse_what_they_cannot_hold_and_leave_nothing(tmp_path):
    with pytest.raises(TypeError, match="labels are strings; encode them"):
        files.save_arrays(tmp_path / "a.safetensors", X, Y.astype(str))
    with pytest.raises(TypeError, match=r"rows \[n, d\]"):
        files.save_arrays(tmp_path / "a.parquet", X.reshape(8, 3, 1), Y)
    with pytest.raises(TypeError, match="rows must be numbers"):
        files.save_arrays(tmp_path / "a.npz", X.astype(object), Y)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("suffix", "names", "twice"),
    [
        (".parquet", {"y_key": "f0"}, "f0"),
        (".parquet", {"columns": ["a", "b", "a"]}, "a"),
        (".npz", {"y_key": "x"}, "x"),
        (".safetensors", {"x_key": "y"}, "y"),
    ],
)
def test_a_name_is_given_once(tmp_path, suffix, names, twice):
    with pytest.raises(ValueError, match=rf"would hold '{twice}' 2 times; choose another y_key or"):
        files.save_arrays(tmp_path / f"a{suffix}", X, Y, **names)
    assert list(tmp_path.iterdir()) == []


def test_npy_is_mapped_not_read(tmp_path):
    target = file_arguments(tmp_path, ".npy")
    files.save_arrays(x=X, y=Y, **target)
    assert isinstance(load(target)[0], np.memmap)


def test_safetensors_is_readable_by_the_library(tmp_path):
    from safetensors.numpy import load_file

    files.save_arrays(tmp_path / "a.safetensors", X, Y, x_key="rows", y_key="labels")
    tensors = load_file(tmp_path / "a.safetensors")
    np.testing.assert_array_equal(tensors["rows"], X)
    np.testing.assert_array_equal(tensors["labels"], Y)


def test_parquet_columns_of_mixed_types_keep_their_names(tmp_path):
    import pandas as pd

    path = tmp_path / "table.parquet"
    frame = pd.DataFrame({"age": [30, 40], "kind": ["a", "b"], "height": [1.5, 1.75]})
    frame.to_parquet(path)
    x, y = files.load_arrays(path, y_key="kind")
    np.testing.assert_array_equal(x, [[30, 1.5], [40, 1.75]])
    assert y.tolist() == ["a", "b"]
    assert files.feature_columns(path, "kind") == ["age", "height"]
    files.save_arrays(path, x, y, y_key="label", columns=["age", "height"])
    assert pd.read_parquet(path).columns.tolist() == ["age", "height", "label"]


def test_parquet_names_a_column_that_is_not_numeric(tmp_path):
    import pandas as pd

    pd.DataFrame({"a": [1], "town": ["x"], "y": [0]}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(ValueError, match=r"column 'town' holds .*string, not numbers"):
        files.load_arrays(tmp_path / "t.parquet")


def test_parquet_with_labels_only_is_refused(tmp_path):
    import pandas as pd

    pd.DataFrame({"y": [0, 1]}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(ValueError, match="no column but that of the labels"):
        files.load_arrays(tmp_path / "t.parquet")


@pytest.mark.parametrize("index", ["unnamed", "named"])
def test_the_index_of_pandas_is_no_feature(tmp_path, index):
    import pandas as pd

    path = tmp_path / "table.parquet"
    frame = pd.DataFrame({"a": [1.5, 2.5, 3.5], "b": [4.0, 5.0, 6.0], "y": [0, 1, 1]})
    frame.index = pd.Index([70, 10, 40], name="person" if index == "named" else None)
    frame.to_parquet(path)
    x, y = files.load_arrays(path)
    np.testing.assert_array_equal(x, frame[["a", "b"]])
    np.testing.assert_array_equal(y, frame["y"])
    assert files.feature_columns(path) == ["a", "b"]


def test_labels_may_be_the_index_of_pandas(tmp_path):
    import pandas as pd

    path = tmp_path / "table.parquet"
    pd.DataFrame({"a": [1.5, 2.5], "y": ["p", "q"]}).set_index("y").to_parquet(path)
    x, y = files.load_arrays(path)
    assert (x.tolist(), y.tolist()) == ([[1.5], [2.5]], ["p", "q"])


@pytest.mark.parametrize(
    "values",
    [[1, None, 3], [True, None, False], [0.5, None, 1.5]],
    ids=["integers", "bools", "floats"],
)
def test_nulls_among_the_features_are_refused(tmp_path, values):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"a": values, "y": [0, 1, 1]}), tmp_path / "t.parquet")
    with pytest.raises(ValueError, match=r"t\.parquet'.* 'a' is null in 1 of 3 rows; fill"):
        files.load_arrays(tmp_path / "t.parquet")


@pytest.mark.parametrize("labels", [["u", None, None], [0, None, None]], ids=["names", "numbers"])
def test_nulls_among_the_labels_are_refused(tmp_path, labels):
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"a": [1, 2, 3], "y": labels}), tmp_path / "t.parquet")
    with pytest.raises(ValueError, match=r"t\.parquet'.* 'y' is null in 2 of 3 rows"):
        files.load_arrays(tmp_path / "t.parquet")


@pytest.mark.parametrize("name", ["bfloat16", "float8_e4m3fn", "float8_e5m2"])
def test_floats_that_numpy_lacks_are_widened(tmp_path, name):
    import torch
    from safetensors.torch import save_file

    rows = torch.from_numpy(X / 8).to(getattr(torch, name))
    save_file({"x": rows, "y": torch.from_numpy(Y)}, tmp_path / "a.safetensors")
    x, y = files.load_arrays(tmp_path / "a.safetensors")
    assert x.dtype == np.float32
    np.testing.assert_array_equal(x, rows.float().numpy())
    np.testing.assert_array_equal(y, Y)


@pytest.mark.parametrize("suffix", [".npz", ".safetensors", ".parquet"])
def test_a_missing_key_lists_those_present(tmp_path, suffix):
    target = file_arguments(tmp_path, suffix)
    files.save_arrays(x=X, y=Y, **target)
    with pytest.raises(KeyError, match=r"has no 'target'; it holds .*y"):
        files.load_arrays(target["path"], y_key="target")


def test_a_broken_file_is_named(target):
    target["path"].write_bytes(b"not an array file at all")
    if "labels" in target:
        np.save(target["labels"], Y)
    with pytest.raises(ValueError, match=r"cannot read .*data\."):
        load(target)


def test_an_array_that_is_called_an_archive_is_named(tmp_path):
    with (tmp_path / "a.npz").open("wb") as stream:
        np.save(stream, X)
    with pytest.raises(ValueError, match=r"a\.npz': it is no \.npz archive"):
        files.load_arrays(tmp_path / "a.npz")


@pytest.mark.parametrize("name", ["a.npz", "packed.npz", "a.parquet"])
def test_garbled_contents_are_named(tmp_path, name):
    path = tmp_path / name
    x, y = np.random.default_rng(0).normal(size=(40, 5)), np.arange(40) % 3
    if name == "packed.npz":
        np.savez_compressed(path, x=x, y=y)
    else:
        files.save_arrays(path, x, y)
    whole = path.read_bytes()
    said = []
    for position in range(30, len(whole) // 2, 29):
        path.write_bytes(whole[:position] + bytes(9) + whole[position + 9 :])
        try:
            files.load_arrays(path)
        except (ValueError, KeyError) as error:
            said.append(str(error))
    assert said
    assert all(name in text for text in said)


def test_bad_paths():
    with pytest.raises(ValueError, match=r"suffix '.csv'; known are .npz, .npy"):
        files.load_arrays("a.csv")
    with pytest.raises(FileNotFoundError, match=r"no file 'absent.npz'"):
        files.load_arrays("absent.npz")
    with pytest.raises(ValueError, match=r"needs a second .npy"):
        files.load_arrays("a.npy")
    with pytest.raises(ValueError, match="hold both and take none"):
        files.load_arrays("a.npz", labels="b.npy")
    for labels in ("a.npy", "b.txt"):
        with pytest.raises(ValueError, match=r"another .npy"):
            files.load_arrays("a.npy", labels=labels)


@pytest.mark.parametrize(("path", "labels"), [("a.csv", None), ("a.npy", None), ("a.npz", "y.npy")])
def test_bad_paths_are_not_written_to(tmp_path, monkeypatch, path, labels):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=r"known are|needs a second|take none"):
        files.save_arrays(path, X, Y, labels=labels)
    assert list(tmp_path.iterdir()) == []


def test_arrays_of_objects_are_named_and_never_unpickled(tmp_path):
    things = np.array([*"aabbccd", 3], dtype=object)
    np.savez(tmp_path / "a.npz", x=X, y=things)
    with pytest.raises(ValueError, match=r"a\.npz': array 'y' holds Python objects; save y\.asty"):
        files.load_arrays(tmp_path / "a.npz")
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", things)
    with pytest.raises(ValueError, match=r"y\.npy': array 'y' holds .*save y\.astype\(str\)"):
        files.load_arrays(tmp_path / "x.npy", labels=tmp_path / "y.npy")
    np.save(tmp_path / "x.npy", X.astype(object))
    with pytest.raises(ValueError, match=r"x\.npy': array 'x' holds .*save x\.astype\(float\)"):
        files.load_arrays(tmp_path / "x.npy", labels=tmp_path / "y.npy")


def test_arrays_of_objects_go_by_the_names_they_were_given(tmp_path):
    np.savez(tmp_path / "a.npz", rows=X.astype(object), kinds=Y, names=Y.astype(object))
    for keys, name in ((("rows", "kinds"), "rows"), (("kinds", "names"), "names")):
        with pytest.raises(ValueError, match=rf"array '{name}' holds .*save {name}\.astype\("):
            files.load_arrays(tmp_path / "a.npz", *keys)


def test_a_file_that_ends_early_is_not_taken_for_one_of_objects(tmp_path):
    np.save(tmp_path / "x.npy", X)
    np.save(tmp_path / "y.npy", Y)
    whole = (tmp_path / "y.npy").read_bytes()
    (tmp_path / "y.npy").write_bytes(whole[:-8])
    with pytest.raises(ValueError, match=r"cannot read .*y\.npy") as error:
        files.load_arrays(tmp_path / "x.npy", labels=tmp_path / "y.npy")
    assert "objects" not in str(error.value)


def test_a_broken_file_of_labels_is_named(tmp_path):
    np.save(tmp_path / "x.npy", X)
    (tmp_path / "y.npy").write_bytes(b"not an array file at all")
    with pytest.raises(ValueError, match=r"y\.npy': it is no \.npy array, or a broken one"):
        files.load_arrays(tmp_path / "x.npy", labels=tmp_path / "y.npy")


@pytest.mark.parametrize(("shape", "missing"), [((0, 3), "rows"), ((8, 0), "features")])
def test_a_file_that_holds_nothing_is_refused(tmp_path, shape, missing):
    np.savez(tmp_path / "a.npz", x=np.zeros(shape), y=np.zeros(shape[0]))
    with pytest.raises(ValueError, match=rf"a\.npz' holds no {missing}: its shape is"):
        files.load_arrays(tmp_path / "a.npz")


@pytest.mark.parametrize(("x", "y"), [(X, Y[:5]), (X[:, 0], Y), (X, Y[:, None])])
def test_shapes_that_do_not_match_are_refused(tmp_path, x, y):
    np.savez(tmp_path / "a.npz", x=x, y=y)
    said = f"rows of shape {x.shape} and labels of shape {y.shape}"
    with pytest.raises(ValueError, match=re.escape(said)):
        files.load_arrays(tmp_path / "a.npz")


def test_check_output_refuses_before_any_work(tmp_path):
    with pytest.raises(FileNotFoundError, match="does not exist; create it first"):
        files.check_output(tmp_path / "absent" / "a.npz")
    (tmp_path / "folder.npz").mkdir()
    with pytest.raises(IsADirectoryError, match="it is a folder"):
        files.check_output(tmp_path / "folder.npz")
    files.check_output(tmp_path / "fine.npz")
    assert not (tmp_path / "fine.npz").exists()


def test_check_output_needs_permission_to_write(tmp_path):
    # Root may write anywhere, so a folder nobody can write to: one of the kernel's.
    with pytest.raises(OSError, match="proc"):
        files.check_output("/proc/self/a.npz")


def test_arrays_are_written_through_links(target):
    for path in target.values():
        (path.parent / "data").mkdir(exist_ok=True)
        path.symlink_to(path.parent / "data" / path.stem)
    files.save_arrays(x=X, y=Y, **target)
    assert all(path.is_symlink() for path in target.values())
    np.testing.assert_array_equal(load(target)[1], Y)


def test_importing_files_needs_numpy_alone():
    code = (
        "import sys, expansive.files; print(sorted({'pyarrow', 'safetensors'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
