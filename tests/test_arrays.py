"""What users pass, as the kernels take it."""

from __future__ import annotations

from enum import Enum
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import expansive as ex
from cases import DTYPES, assert_same_bits, assert_same_search, cast
from expansive import arrays

# ---- rows -------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_are_shared_where_they_can_be(dtype: str) -> None:
    x = cast(np.arange(12.0).reshape(4, 3), dtype)
    rows = arrays.as_rows(x)
    assert rows.dtype == dtype
    assert np.shares_memory(rows.data, x)
    assert rows.compute_dtype == (np.float64 if dtype == "float64" else np.float32)


def test_rows_that_begin_between_numbers_are_copied() -> None:
    x = np.frombuffer(bytes(1) + np.arange(12.0).tobytes(), np.float64, offset=1).reshape(4, 3)
    assert not x.flags.aligned
    rows = arrays.as_rows(x)
    assert rows.data.flags.carray
    assert rows.data.tolist() == x.tolist()


@pytest.mark.parametrize("dtype", ["int8", "uint16", "int64", "bool"])
def test_integers_become_float64(dtype: str) -> None:
    x = np.array([[0, 1], [1, 1]]).astype(dtype)
    rows = arrays.as_rows(x)
    assert rows.dtype == "float64"
    assert rows.data.tolist() == x.astype(float).tolist()


def test_lists_and_frames() -> None:
    import pandas as pd
    import polars as pl

    table = {"a": [0.0, 1.0, 5.0], "b": [2.0, 2.5, 7.0]}
    expected = ex.nearest_enemies(np.array([[0, 2], [1, 2.5], [5, 7]]), [0, 1, 1], 1)
    for x in ([[0, 2], [1, 2.5], [5, 7]], pd.DataFrame(table), pl.DataFrame(table)):
        for y in ([0, 1, 1], pd.Series(["a", "b", "b"]), pl.Series(["a", "b", "b"])):
            assert_same_search(ex.nearest_enemies(x, y, 1), expected)


class OnlyDLPack:
    """A producer that speaks nothing but the protocol."""

    def __init__(self, array: Any) -> None:
        self._array = array

    def __dlpack__(self, **options: Any) -> Any:
        return self._array.__dlpack__(**options)

    def __dlpack_device__(self) -> Any:
        return self._array.__dlpack_device__()


def test_any_dlpack_producer() -> None:
    x = np.arange(12.0).reshape(6, 2) ** 2
    y = [0, 1, 0, 1, 0, 1]
    assert_same_search(ex.nearest_enemies(OnlyDLPack(x), y, 2), ex.nearest_enemies(x, y, 2))


class ArrayApi:
    """An array of a library with the array API, as JAX's: NumPy may read it, not write it."""

    def __init__(self, array: Any) -> None:
        self.array = array
        self.shape = array.shape

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        view = self.array.view()
        view.flags.writeable = False
        return view

    def __dlpack_device__(self) -> Any:
        return self.array.__dlpack_device__()

    def __array_namespace__(self) -> Any:
        return SimpleNamespace(asarray=ArrayApi)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_array_api_there_and_back(dtype: str) -> None:
    x = cast(np.random.default_rng(0).normal(size=(30, 3)), dtype)
    y = np.arange(30) % 3 == 0
    rows = arrays.as_rows(ArrayApi(x))
    assert np.shares_memory(rows.data, x)
    dist, idx = ex.nearest_enemies(ArrayApi(x), ArrayApi(y), 2, queries=ArrayApi(np.arange(4)))
    assert isinstance(dist, ArrayApi)
    assert isinstance(idx, ArrayApi)
    assert_same_search((dist.array, idx.array), ex.nearest_enemies(x, y, 2, queries=np.arange(4)))
    plan = ex.SynthesisPlan.eos(ArrayApi(x), y)
    made = plan.generate(ArrayApi(x)).array
    assert made.dtype == x.dtype
    assert_same_bits(made, plan.generate(x))


@pytest.mark.train
@pytest.mark.parametrize("dtype", DTYPES)
def test_torch_there_and_back(dtype: str) -> None:
    import torch

    tensor = torch.arange(12.0).reshape(4, 3).to(getattr(torch, dtype))
    rows = arrays.as_rows(tensor)
    assert rows.dtype == dtype
    assert rows.data.ctypes.data == tensor.data_ptr()
    back = rows.wrap(rows.data)
    assert back.dtype == tensor.dtype
    assert torch.equal(back, tensor)


@pytest.mark.train
def test_tensors_that_numpy_lacks_are_refused() -> None:
    import torch

    for tensor, said in (
        (torch.eye(4).to(torch.float8_e4m3fn), "Float8_e4m3fn.*x.float()"),
        (torch.eye(4).to_sparse(), "Sparse.*x.to_dense()"),
    ):
        with pytest.raises(TypeError, match=f"x must be a dense tensor of float16.*{said}"):
            ex.Index(tensor)


# ---- labels -----------------------------------------------------------------------------------

INTEGERS = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"]


@given(data=st.data(), dtype=st.sampled_from(INTEGERS))
def test_integer_labels_encode_as_numpy_unique(data: st.DataObject, dtype: str) -> None:
    info = np.iinfo(dtype)
    anywhere = st.integers(int(info.min), int(info.max))
    start = data.draw(anywhere)
    nearby = st.integers(max(info.min, start - 9), min(info.max, start + 9))
    y = np.array(data.draw(st.lists(data.draw(st.sampled_from([anywhere, nearby])))), dtype)
    classes, codes = arrays.as_labels(y, len(y))
    expected_classes, expected_codes = np.unique(y, return_inverse=True)
    assert_same_bits(classes, expected_classes)
    assert_same_bits(codes, expected_codes.astype(np.int64))


@given(st.lists(st.text("abcé", max_size=4), min_size=1))
def test_string_labels_encode_as_sorted(y: list[str]) -> None:
    for labels in (y, np.array(y, object), np.array(y)):
        classes, codes = arrays.as_labels(labels, len(y))
        assert classes.tolist() == sorted(set(y))
        assert [str(classes[code]) for code in codes] == y


def test_labels_of_torch_and_one_column() -> None:
    expected = np.array([1, 0, 1])
    assert arrays.as_labels(np.array([[5], [2], [5]]), 3)[1].tolist() == expected.tolist()
    assert arrays.as_labels((5, 2, 5), 3)[1].tolist() == expected.tolist()
    assert arrays.as_labels([True, False, True], 3)[0].tolist() == [False, True]


@pytest.mark.train
def test_labels_and_row_numbers_in_bfloat16_are_numbers() -> None:
    import torch

    y = torch.tensor([3.0, -1.0, -0.0, 0.0]).bfloat16()
    classes, codes = arrays.as_labels(y, 4)
    assert classes.tolist() == [-1.0, 0.0, 3.0]
    assert codes.tolist() == [2, 0, 1, 1]
    with pytest.raises(ValueError, match=r"y\[1\] is missing"):
        arrays.as_labels(torch.tensor([0.0, np.nan]).bfloat16(), 2)
    with pytest.raises(TypeError, match=r"queries must be .* row numbers; got dtype float32"):
        ex.neighbors(np.eye(4), None, 1, "any", queries=y)


class Kind(Enum):
    COMMON = "common"
    RARE = "rare"


class Word(str, Enum):
    RARE_A = "rare_a"
    RARE_B = "rare_b"


@pytest.mark.parametrize("members", [Kind, Word])
def test_members_of_an_enumeration_count_as_their_values(members: type[Enum]) -> None:
    y = [member for member in members for _ in range(2)]
    for labels in (y, np.array(y, dtype=object)):
        classes, codes = arrays.as_labels(labels, 4)
        assert classes.tolist() == [member.value for member in members]
        assert codes.tolist() == [0, 0, 1, 1]


def test_objects_of_python_and_numpy_are_one_type() -> None:
    classes, codes = arrays.as_labels(np.array([np.int64(3), 3, 5], dtype=object), 3)
    assert classes.tolist() == [3, 5]
    assert codes.tolist() == [0, 0, 1]


def test_labels_are_encoded_once() -> None:
    labels = arrays.as_labels(["b", "a", "b"], 3)
    assert arrays.as_labels(labels, 3) is labels


# ---- dtypes -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DTYPES)
def test_dtypes_by_any_name(name: str) -> None:
    for dtype in (name, cast(np.zeros(1), name).dtype, cast(np.zeros(1), name).dtype.type):
        assert arrays.dtype_name(dtype) == name
    assert arrays.dtype_name(float) == "float64"


@pytest.mark.parametrize("dtype", ["int32", np.int64, "float8", object, "complex64"])
def test_other_dtypes_are_refused(dtype: Any) -> None:
    with pytest.raises(ValueError, match=r"unknown dtype .*choose one of 'float16', 'bfloat16'"):
        arrays.dtype_name(dtype)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_largest_in_rows_of_more_elements_than_are_looked_at_at_once(dtype: str) -> None:
    x = np.random.default_rng(0).standard_normal((5000, 700)).astype(np.float32)
    bits = x.view(np.uint32) >> 16
    given = arrays.Rows(bits.astype(np.uint16), dtype, lambda a: a)
    rows = arrays.as_rows(x) if dtype == "float32" else given
    expected = np.abs(x).max(axis=1) if dtype == "float32" else (bits & 0x7FFF).max(axis=1)
    assert (rows.largest_in_rows() == expected).all()


def test_largest_in_rows_that_are_longer_than_what_is_looked_at_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("expansive.arrays.rows._ELEMENTS_AT_ONCE", 2)
    rows = arrays.as_rows(np.array([[1.0, -3.0, 2.0], [0.5, 0.0, 0.25]]))
    assert rows.largest_in_rows().tolist() == [3.0, 0.5]


def test_values_whose_squares_overflow_are_refused() -> None:
    rows, limit = arrays.as_rows(np.ones((2, 2))), 2.0**500
    arrays.require_finite(rows, -1, limit)
    with pytest.raises(ValueError, match=r"x holds .* up to 3\.27e.150, whose squares overflow"):
        arrays.require_finite(rows, -1, float(np.nextafter(limit, np.inf)))


# ---- output -----------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(5, 3), (4, 2), (3, 4), (12,)])
def test_an_output_of_another_shape_is_refused(shape: tuple[int, ...]) -> None:
    rows = arrays.as_rows(np.ones((6, 3)))
    with pytest.raises(ValueError, match=rf"out has shape \({shape[0]},.*; it must be \(4, 3\)"):
        arrays.as_output(np.empty(shape), (4, 3), None, rows)


@pytest.mark.train
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_an_output_on_a_device_begins_where_the_rows_end_and_not_before(
    dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    import fake_device

    fake_device.pretend_cuda(monkeypatch)
    memory = torch.zeros(8, 3, dtype=getattr(torch, dtype))
    rows = arrays.as_rows(memory[:5], device=True)
    assert arrays.as_output(memory[5:], (3, 3), None, rows).shape == (3, 3)
    with pytest.raises(ValueError, match="out overlaps x"):
        arrays.as_output(memory[4:], (4, 3), None, rows)
