"""The sampler gives back the rows it was given to the last bit."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy import sparse

from expansive import EOS

WIDE = [np.int64, np.uint64, np.longdouble]  # of more digits than float64


@pytest.fixture
def wide():
    """Integers that float64 would round, in three classes of 60, 25 and 8 rows."""
    rng = np.random.default_rng(0)
    y = rng.permutation(np.repeat([0, 1, 2], [60, 25, 8]))
    return rng.integers(2**61, 2**62, (len(y), 5)) | 1, y


def own_rows(x, y):
    """The first rows of the result, and the others."""
    x_res, _ = EOS(random_state=0).fit_resample(x, y)
    assert type(x_res) is type(x)
    return x_res[: len(y)], x_res[len(y) :]


@pytest.mark.parametrize("dtype", WIDE)
@pytest.mark.parametrize("order", "CF")
def test_own_rows_come_back_to_the_last_bit(wide, dtype, order):
    x = np.asarray(wide[0], dtype, order=order)
    own, new = own_rows(x, wide[1])
    assert own.dtype == dtype
    np.testing.assert_array_equal(own, x)
    expected = EOS(random_state=0).fit_resample(x.astype(np.float64), wide[1])[0][len(x) :]
    np.testing.assert_array_equal(new, expected.astype(dtype))


def test_own_rows_of_lists_and_floats_come_back_to_the_last_bit(wide):
    x, y = wide
    assert own_rows(x.tolist(), y)[0] == x.tolist()
    floats = np.where(x % 4 == 1, -0.0, x % 100 / 3).astype(np.float16)
    assert own_rows(floats, y)[0].tobytes() == floats.tobytes()


@pytest.mark.parametrize(
    "dtypes",
    [
        {},
        {"a": "float32"},
        {"a": "float64", "b": "uint64", "c": "int8"},
        dict.fromkeys("abcde", "Int64"),
        {"b": "Int64", "c": "Float32"},
        {"b": "int64[pyarrow]"},
        dict.fromkeys("abcde", "object"),
        {"d": "bool"},
        {"b": "Int64", "c": "int64[pyarrow]"},
        dict.fromkeys("abcde", pd.SparseDtype("int64")),
    ],
)
def test_own_rows_of_pandas_come_back_to_the_last_bit(wide, dtypes):
    x, y = wide
    frame = pd.DataFrame(x, columns=list("abcde"), index=range(7, 7 + len(y)))
    frame = frame.assign(c=frame.c % 100).astype(dtypes)
    own, new = own_rows(frame, y)
    pd.testing.assert_frame_equal(own, frame.reset_index(drop=True), check_exact=True)
    assert list(new.dtypes) == list(frame.dtypes)
    assert new.index[-1] == 179
    balanced = frame.iloc[:8]
    same = EOS().fit_resample(balanced, np.arange(8) % 2)[0]
    pd.testing.assert_frame_equal(same, balanced.reset_index(drop=True), check_exact=True)


@pytest.mark.parametrize("schema", [{}, {"a": pl.Float32}, {"b": pl.UInt64, "c": pl.Boolean}])
def test_own_rows_of_polars_come_back_to_the_last_bit(wide, schema):
    x, y = wide
    frame = pl.DataFrame(x, schema=list("abcde")).cast(schema)
    own, new = own_rows(frame, y)
    assert own.equals(frame)
    assert new.schema == frame.schema
    assert EOS().fit_resample(frame[:8], np.arange(8) % 2)[0].equals(frame[:8])


@pytest.mark.train
def test_own_rows_of_torch_come_back_to_the_last_bit(wide):
    import torch

    rows = torch.from_numpy(wide[0])
    assert torch.equal(own_rows(rows, wide[1])[0], rows)


@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.csc_matrix, sparse.csc_array])
def test_own_rows_of_sparse_come_back_to_the_last_bit(wide, kind):
    x, y = wide
    x[x % 3 == 0] = 0
    rows = kind(x)
    rows.data[5] = 0  # stored all the same
    x_res, _ = EOS(random_state=0).fit_resample(rows, y)
    assert isinstance(x_res, kind)
    own = x_res[: len(y)]
    assert own.nnz == rows.nnz
    np.testing.assert_array_equal(own.toarray(), rows.toarray())


def test_new_rows_of_nullable_columns_are_truncated(wide):
    x, y = wide
    frame = pd.DataFrame(x % 100, columns=list("abcde"))
    plain = EOS(random_state=0).fit_resample(frame.astype({"b": bool}), y)[0]
    for dtypes in (
        dict.fromkeys("acde", "Int64") | {"b": "boolean"},
        dict.fromkeys("acde", "uint8[pyarrow]") | {"b": "bool[pyarrow]"},
    ):
        made = EOS(random_state=0).fit_resample(frame.astype({"b": bool}).astype(dtypes), y)[0]
        np.testing.assert_array_equal(made.to_numpy(float), plain.to_numpy(float))
