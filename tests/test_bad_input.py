"""Bad input is refused before any work, with the argument, the value and the fix."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from scipy.sparse import coo_array, csr_matrix

import expansive as ex
from cases import METRICS, all_backends, blobs, cast
from expansive import _core
from expansive.backends import reference

X, Y = blobs()
NULLABLE = pd.DataFrame(X.astype(float)).astype("Float64").mask(X.max() - 1 < X)
LOST = np.isin(Y, 2)
NAMES = np.where(LOST, None, Y.astype(str).astype(object))
MISSING = f"y[{np.flatnonzero(LOST)[0]}] is missing"


def spoiled(value: float, row: int = 17, dtype: str = "float32") -> Any:
    x = cast(X, dtype)
    x[row, 2] = value
    x[row + 5, 0] = value
    return x


# Each: what is passed beside good defaults, the error, and what its message must hold.
REFUSED: dict[str, tuple[dict[str, Any], type[Exception], list[str]]] = {
    "nan": ({"x": spoiled(np.nan)}, ValueError, ["x[17]", "NaN or infinity", "drop or impute"]),
    "infinity": ({"x": spoiled(-np.inf)}, ValueError, ["x[17]", "NaN or infinity"]),
    "nan in the first row": ({"x": spoiled(np.nan, 0)}, ValueError, ["x[0]"]),
    "nan in float16": ({"x": spoiled(np.nan, 3, "float16")}, ValueError, ["x[3]"]),
    "nan in bfloat16": ({"x": spoiled(np.nan, 3, "bfloat16")}, ValueError, ["x[3]"]),
    "infinity in float64": ({"x": spoiled(np.inf, 3, "float64")}, ValueError, ["x[3]"]),
    "nan objects": ({"x": [[1.0, None], [2.0, 3.0]], "y": [0, 1]}, ValueError, ["x[0]"]),
    "too large": ({"x": X.astype(float) * 1e200}, ValueError, ["x", "overflow", "rescale"]),
    "masked": ({"x": np.ma.masked_greater(X, X[3, 1])}, ValueError, ["x has masked", "filled"]),
    "masked labels": ({"y": np.ma.masked_equal(Y, 1)}, ValueError, ["y has masked", "drop"]),
    "fewer labels": ({"y": Y[:-1]}, ValueError, ["y has 56 labels for 57 rows", "exactly one"]),
    "more labels": ({"y": [*Y, 0]}, ValueError, ["y has 58 labels for 57 rows"]),
    "one axis": ({"x": X[0]}, ValueError, ["x must be a matrix", "(6,)", "x[None] for one row"]),
    "three axes": ({"x": X[None]}, ValueError, ["x must be a matrix", "(1, 57, 6)", "reshape"]),
    "a number": ({"x": 3.0}, ValueError, ["x must be a matrix", "()"]),
    "no rows": ({"x": X[:0], "y": []}, ValueError, ["x is empty", "(0, 6)"]),
    "no features": ({"x": X[:, :0]}, ValueError, ["x is empty", "(57, 0)"]),
    "an empty list": ({"x": [], "y": []}, ValueError, ["x must be a matrix", "(0,)"]),
    "ragged rows": ({"x": [[1, 2], [3]], "y": [0, 1]}, ValueError, ["x is no array", "equal"]),
    "sparse": ({"x": csr_matrix(X)}, TypeError, ["x is sparse", "x.toarray()"]),
    "sparse array": ({"x": coo_array(X)}, TypeError, ["x is sparse", "x.toarray()"]),
    "missing values": (
        {"x": NULLABLE.astype("Float32")}, ValueError, ["x has missing values", "fillna", "drop"],
    ),
    "missing values beside text": (
        {"x": NULLABLE.assign(b="a")}, TypeError, ["x must hold real", "not 'a' as in column 'b'"],
    ),
    "missing objects": ({"x": NULLABLE.astype(object)}, ValueError, ["x has missing values"]),
    "columns of text": (
        {"x": pd.DataFrame(X).assign(a="1", town="Paris", day=np.datetime64("2001-01-01"))},
        TypeError, ["'1' as in 3 columns ('a', 'town', 'day')", "encode", "drop"],
    ),
    "a column of text of polars": (
        {"x": pl.DataFrame(X).with_columns(n=pl.lit(True), town=pl.lit("x" * 99))},
        TypeError, ["'xxxxxxxxxxxx...xxxxxxxxxxxxx' as in column 'town'"],
    ),
    "codes of digits": (
        {"x": pd.DataFrame(X).assign(code=pd.array(["01234"] * 57, "string"))},
        TypeError, ["'01234' as in column 'code'", "encode", "drop"],
    ),
    "codes of digits of polars": (
        {"x": pl.DataFrame(X).with_columns(code=pl.lit("01234"))},
        TypeError, ["'01234' as in column 'code'", "encode", "drop"],
    ),
    "codes of bytes": (
        {"x": pd.DataFrame(X).assign(code=b"01234")}, TypeError, ["b'01234' as in column 'code'"],
    ),
    "a lazy frame": ({"x": pl.LazyFrame(X)}, TypeError, ["x is a LazyFrame", "x.collect()"]),
    "lazy labels": ({"y": pl.LazyFrame({"y": Y})}, TypeError, ["y is a LazyFrame", "y.collect()"]),
    "strings": ({"x": X.astype(str)}, TypeError, ["x must hold real numbers", "<U"]),
    "complex": ({"x": X * 1j}, TypeError, ["x must hold real numbers", "complex64"]),
    "dates": ({"x": X.astype("M8[s]")}, TypeError, ["x must hold real numbers", "datetime64"]),
    "long double": ({"x": X.astype(np.longdouble)}, TypeError, ["x must hold", "got dtype"]),
    "nothing": ({"x": None}, (ValueError), ["x must be a matrix"]),
    "labels of two axes": ({"y": np.c_[Y, Y]}, ValueError, ["y must be one-dim", "(57, 2)"]),
    "a label": ({"y": 3}, ValueError, ["y must be one-dimensional", "()"]),
    "one-hot labels": ({"y": np.eye(6, 2)}, ValueError, ["(6, 2); of one-hot", "y.argmax(axis=1)"]),
    "no labels": ({"y": None}, ValueError, ["labels", "pass y", "'any'"]),
    "nan for a label": ({"y": np.where(LOST, np.nan, Y)}, ValueError, [MISSING, "nan", "drop"]),
    "mixed labels": (
        {"y": np.array(["a", *[1] * 56], object)}, TypeError, ["y mixes", "int, str", "str(label)"],
    ),
    "numbers and text in a list": (
        {"y": ["1", *[1] * 56]}, TypeError, ["y mixes", "int, str", "str(label)"],
    ),
    "NaN beside text in a list": (
        {"y": ["a", float("nan"), *["b"] * 55]}, ValueError, ["y[1] is missing (nan)", "drop"],
    ),
    "no date": (
        {"y": np.array([np.datetime64("NaT", "D"), *[np.datetime64("2020-01-01")] * 56])},
        ValueError, ["y[0] is missing", "NaT"],
    ),
    "sets for labels": (
        {"y": np.array([frozenset({i % 2}) for i in range(57)])},
        TypeError, ["y holds labels of type frozenset", "str(label)"],
    ),
    "tuples for labels": (
        {"y": pd.Series([(i % 2, 0) for i in range(57)])},
        TypeError, ["y holds labels of type tuple", "str(label)"],
    ),
    "embeddings in a column": (
        {"x": pd.DataFrame({"id": np.arange(57.0), "emb": list(X)})},
        TypeError, ["column 'emb'", "np.stack(x['emb'])"],
    ),
    "embeddings in a column of polars": (
        {"x": pl.DataFrame({"id": np.arange(57.0), "emb": X})},
        TypeError, ["column 'emb'", "np.stack(x['emb'])"],
    ),
    "a series of embeddings": (
        {"x": pd.Series(list(X))}, TypeError, ["x is an array of arrays", "np.stack(x)"],
    ),
    "labels of None": ({"y": [None] * 57}, ValueError, ["y[0] is missing (None)", "drop"]),
    "missing labels of pandas": (
        {"y": pd.array(NAMES, dtype="Int64")}, ValueError, [MISSING, "fillna"],
    ),
    "missing strings of pandas": (
        {"y": pd.Series(NAMES, dtype="string")}, ValueError, [MISSING, "<NA>", "fillna"],
    ),
    "missing category": ({"y": pd.Series(NAMES, dtype="category")}, ValueError, [MISSING]),
    "none among strings": ({"y": NAMES}, ValueError, [MISSING, "None"]),
    "ragged labels": ({"y": [[1], [1, 2]]}, ValueError, ["y is no array"]),
    "one class": ({"y": Y * 0 + 4}, ValueError, ["y holds one class only (4)", "at least two"]),
    "k of zero": ({"k": 0}, ValueError, ["k must be an integer of at least 1; got 0"]),
    "endless k": ({"k": 10**30}, ValueError, ["k must be below 2**63; got 1000"]),
    "negative k": ({"k": -3}, ValueError, ["k must be", "-3"]),
    "fractional k": ({"k": 2.5}, ValueError, ["k must be an integer", "2.5"]),
    "k of True": ({"k": True}, ValueError, ["k must be an integer", "True"]),
    "k of None": ({"k": None}, ValueError, ["k must be an integer", "None"]),
    "k as text": ({"k": "5"}, ValueError, ["k must be an integer", "'5'"]),
    "relation": (
        {"relation": "foe"}, ValueError, ["relation 'foe'", "'enemy', 'friend', 'any'"],
    ),
    "metric": (
        {"metric": "l1"}, ValueError, ["metric 'l1'", "'euclidean', 'sqeuclidean', 'cosine'"],
    ),
    "backend": ({"backend": "gpu"}, ValueError, ["backend 'gpu'", "'cpu', ", "'reference'"]),
    "no threads": ({"threads": 0}, ValueError, ["threads must be", "at least 1", "0"]),
    "half a thread": ({"threads": 1.5}, ValueError, ["threads must be an integer", "1.5"]),
    "small budget": ({"memory_budget": 1000}, ValueError, ["memory_budget, in bytes", "1048576"]),
    "no budget": ({"memory_budget": 0}, ValueError, ["memory_budget", "1048576", "got 0"]),
    "budget as text": ({"memory_budget": "1G"}, ValueError, ["memory_budget", "1048576", "'1G'"]),
    "query beyond": ({"queries": [0, 57]}, IndexError, ["queries holds 57", "rows 0 to 56"]),
    "query below": ({"queries": [-1]}, IndexError, ["queries holds -1", "rows 0 to 56"]),
    "query huge": ({"queries": np.array([2**64 - 1], np.uint64)}, IndexError, ["18446744073"]),
    "points for queries": ({"queries": X}, TypeError, ["queries", "row numbers", "Index"]),
    "mask for queries": ({"queries": Y == 1}, TypeError, ["bool", "np.flatnonzero(queries)"]),
    "number for queries": ({"queries": 3}, TypeError, ["queries", "one-dimensional", "()"]),
    "zeros under cosine": (
        {"x": np.where(np.arange(57)[:, None] == 8, 0, X), "metric": "cosine"},
        ValueError, ["x[8] is all zeros", "drop or rescale", "metric='euclidean'"],
    ),
    "negative zeros of bfloat16 under cosine": (
        {"x": cast(np.where(np.arange(57)[:, None] == 8, -0.0, X), "bfloat16"),
         "metric": "cosine"},
        ValueError, ["x[8] is all zeros"],
    ),
    "squares underflow under cosine": (
        {"x": X * np.where(np.arange(57)[:, None] == 8, 1e-170, 1.0), "metric": "cosine"},
        ValueError, ["x[8]", "underflow", "rescale"],
    ),
}  # fmt: skip


def search(**options: Any) -> Any:
    return ex.neighbors(**{"x": X, "y": Y, "k": 3, "relation": "enemy"} | options)


@all_backends
@pytest.mark.parametrize("kind", REFUSED)
def test_search_refuses(backend: str, kind: str) -> None:
    options, error, fragments = REFUSED[kind]
    with pytest.raises(error) as caught:
        search(**{"backend": backend} | options)
    for fragment in fragments:
        assert fragment in str(caught.value)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"k": 0}, ValueError),
        ({"relation": "foe"}, ValueError),
        ({"metric": "l1"}, ValueError),
        ({"threads": 0}, ValueError),
        ({"memory_budget": 1000}, ValueError),
        ({"y": Y[:-1]}, ValueError),
        ({"y": None}, ValueError),
        ({"y": None, "relation": "friend"}, ValueError),
        ({"y": Y * 0}, ValueError),
        ({"queries": [57]}, IndexError),
        ({"queries": Y == 1}, TypeError),
    ],
)
def test_search_refuses_before_any_work(
    options: dict[str, Any], error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def work(*given: Any) -> Any:
        raise AssertionError("this is work")

    monkeypatch.setattr(reference, "scan", work)
    monkeypatch.setattr(reference, "build_index", work)
    with pytest.raises(error):
        search(backend="reference", **options)


STRATEGY = "sampling_strategy must be one of 'auto', 'minority', 'not minority', 'not majority', "

REFUSED_PLANS: dict[str, tuple[dict[str, Any], type[Exception], list[str]]] = {
    "nan": ({"x": spoiled(np.nan)}, ValueError, ["x[17]", "drop or impute"]),
    "fewer labels": ({"y": Y[:-1]}, ValueError, ["y has 56 labels for 57 rows"]),
    "no labels": ({"y": None}, ValueError, ["y"]),
    "one class": ({"y": Y * 0}, ValueError, ["y holds one class only (0)", "at least two"]),
    "one string class": ({"y": ["a"] * 57}, ValueError, ["y holds one class only", "a"]),
    "k": ({"k": 0}, ValueError, ["k must be an integer of at least 1; got 0"]),
    "enemies": ({"enemies": "far"}, ValueError, ["enemies 'far'", "'nearest', 'neighborhood'"]),
    "expansion upside down": (
        {"expansion": (1, 0)}, ValueError, ["expansion", "low <= high", "(1, 0)"],
    ),
    "expansion of one": ({"expansion": 0.5}, ValueError, ["expansion must be two", "0.5"]),
    "expansion of text": ({"expansion": "01"}, ValueError, ["expansion must be two", "'01'"]),
    "expansion of three": ({"expansion": (0, 1, 2)}, ValueError, ["expansion", "(0, 1, 2)"]),
    "expansion of nan": ({"expansion": (0, np.nan)}, ValueError, ["expansion", "nan"]),
    "expansion without end": ({"expansion": (0, np.inf)}, ValueError, ["expansion", "inf"]),
    "expansion beyond float32": ({"expansion": (0, 1e300)}, ValueError, ["expansion", "1e+30"]),
    "continuous labels": (
        {"y": Y + 0.37}, ValueError, ["y holds 0.37, which is no class", "np.digitize"],
    ),
    "continuous objects": ({"y": (Y + 0.37).astype(object)}, ValueError, ["y holds 0.37"]),
    "sparse": ({"x": csr_matrix(X)}, TypeError, ["x is sparse"]),
    "negative seed": ({"seed": -1}, ValueError, ["seed", "[0, 2**64)", "-1"]),
    "large seed": ({"seed": 2**64}, ValueError, ["seed", "[0, 2**64)"]),
    "fractional seed": ({"seed": 0.5}, ValueError, ["seed", "0.5"]),
    "no seed": ({"seed": None}, ValueError, ["seed", "None"]),
    "strategy": ({"sampling_strategy": "some"}, ValueError, [STRATEGY, "'some'"]),
    "strategy for under-sampling": ({"sampling_strategy": "majority"}, ValueError, [STRATEGY]),
    "no strategy": ({"sampling_strategy": None}, ValueError, [STRATEGY, "a dict", "None"]),
    "strategy of a list": ({"sampling_strategy": [1]}, ValueError, [STRATEGY, "[1]"]),
    "ratio": ({"sampling_strategy": 1.5}, ValueError, [STRATEGY, "ratio in (0, 1]", "1.5"]),
    "function without a dict": (
        {"sampling_strategy": lambda y: 5}, ValueError, [STRATEGY, "function that returned 5"],
    ),
    "half a row": (
        {"sampling_strategy": {1: 50.5}}, ValueError, ["asks for 50.5 rows of class 1; give an"],
    ),
    "rows as text": ({"sampling_strategy": lambda y: {1: "50"}}, ValueError, ["'50' rows"]),
    "rows without end": ({"sampling_strategy": {1: np.inf}}, ValueError, ["inf rows of class 1"]),
    "fewer rows than there are": ({"sampling_strategy": {0: 1}}, ValueError, ["40"]),
    "a class y lacks": ({"sampling_strategy": {9: 60}}, ValueError, ["9"]),
    "backend": ({"backend": "gpu"}, ValueError, ["backend 'gpu'", "'reference'"]),
    "threads": ({"threads": 0}, ValueError, ["threads must be", "0"]),
}  # fmt: skip


@all_backends
@pytest.mark.parametrize("kind", REFUSED_PLANS)
def test_plans_refuse(backend: str, kind: str) -> None:
    options, error, fragments = REFUSED_PLANS[kind]
    with pytest.raises(error) as caught:
        ex.SynthesisPlan.eos(**{"x": X, "y": Y, "backend": backend} | options)
    for fragment in fragments:
        assert fragment in str(caught.value)


@all_backends
@pytest.mark.parametrize("method", ["smote", "random"])
def test_plans_of_every_method_refuse(backend: str, method: str) -> None:
    for options, message in (
        ({"x": spoiled(np.nan)}, r"x\[17\] holds NaN or infinity"),
        ({"y": Y * 0}, "y holds one class only"),
        ({"seed": -1}, "seed must be"),
        ({"sampling_strategy": "some"}, STRATEGY),
    ):
        with pytest.raises(ValueError, match=message):
            ex.SynthesisPlan.by_method(method, **{"x": X, "y": Y, "backend": backend} | options)


@all_backends
def test_generating_refuses(backend: str) -> None:
    plan = ex.SynthesisPlan.eos(X, Y, backend=backend)
    n = plan.n_samples
    for start, stop in ((-1, 2), (0, n + 1), (5, 4), (n + 1, None)):
        for call in (plan.labels, plan.recipe, lambda *s: plan.generate(X, *s)):
            with pytest.raises(IndexError, match=rf"slice .* not within the plan's {n} rows"):
                call(start, stop)
    for rows in ([n], [-1], [0, 2**40]):
        with pytest.raises(IndexError, match=rf"rows holds .*the plan has the rows 0 to {n - 1}"):
            plan.generate_rows(X, rows)
        with pytest.raises(IndexError, match="rows holds"):
            plan.labels_of(rows)
    with pytest.raises(TypeError, match="'float' object cannot be interpreted as an integer"):
        plan.labels(0.5)
    with pytest.raises(ValueError, match="unknown dtype 'int32'; choose one of 'float16'"):
        plan.generate(X, dtype="int32")
    with pytest.raises(TypeError, match=r"rows must be a one-dimensional array .* give integers$"):
        plan.generate_rows(X, [0.5])
    with pytest.raises(TypeError, match=r"of a mask take np\.flatnonzero\(rows\)"):
        plan.generate_rows(X, np.ones(n, bool))


@all_backends
def test_queries_of_an_index_refuse(backend: str) -> None:
    index = ex.Index(X, Y, backend=backend)
    for q, message in (
        (X[:, :5], "q has 5 features but the index has 6"),
        (X[0], r"q must be a matrix .*q\[None\] for one row"),
        (X[0, :0], r"q must be a matrix .*\(0,\)"),
        (spoiled(np.nan), r"q\[17\] holds NaN"),
        (X.astype(str), "q must hold real numbers"),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            index.search(q, Y[: len(q)], 3)
    for labels, message in (
        (None, "labels on both sides"),
        (Y[:3], r"q_labels has 3 labels for 57 rows"),
        (["a"] * 57, "q_labels are <U1 but y is int64; use one type"),
    ):
        with pytest.raises((ValueError, TypeError), match=message):
            index.search(X, labels, 3)
    with pytest.raises(ValueError, match="k must be"):
        index.search(X, Y, 0)
    with pytest.raises(ValueError, match="unknown relation"):
        index.search(X, Y, 1, "foe")
    for call, k, relation, message in (
        (index.search_rows, 2.5, "enemy", "k must be an integer"),
        (index.search_rows, 1, "foe", "unknown relation 'foe'"),
        (ex.Index(X, backend=backend).search_rows, 1, "enemy", "needs labels; pass y"),
        (ex.Index(X, Y * 0, backend=backend).search_rows, 1, "enemy", "one class only"),
    ):
        with pytest.raises(ValueError, match=message):
            call(None, k, relation)
    with pytest.raises(ValueError, match="labels on both sides; pass y to Index"):
        ex.Index(X, backend=backend).search(X, Y, 3)
    with pytest.raises(TypeError, match="q_labels are int64 but y is <U"):
        ex.Index(X, Y.astype(str), backend=backend).search(X, Y, 3)
    with pytest.raises(ValueError, match=r"q\[0\] is all zeros"):
        ex.Index(X, Y, metric="cosine", backend=backend).search(X * 0, Y, 3)


# ---- unusual, but fine ------------------------------------------------------------------------


@all_backends
@pytest.mark.parametrize("metric", METRICS)
def test_constant_features_and_tiny_sets_are_fine(backend: str, metric: str) -> None:
    for x, y in (
        (np.ones((2, 1)), [0, 1]),
        (np.c_[X, np.full(57, 1e3)], Y),
        (np.full((5, 4), 7, np.float16), [0, 0, 0, 1, 2]),
    ):
        dist, idx = ex.nearest_enemies(x, y, 3, metric=metric, backend=backend)
        assert not np.isnan(dist).any()
        assert (idx[:, 0] >= 0).all()


@all_backends
def test_any_number_of_expected_queries_is_fine(backend: str) -> None:
    expected = ex.neighbors(X, Y, 3, backend=backend)[1]
    index = ex.Index(X, Y, backend=backend, expected_queries=10**30)
    assert (index.search_rows(k=3)[1] == expected).all()


@all_backends
def test_a_class_of_one_row_has_no_friend(backend: str) -> None:
    dist, idx = ex.neighbors(np.eye(3), [0, 0, 1], 1, "friend", backend=backend)
    assert idx.tolist() == [[1], [0], [-1]]
    assert dist[2].tolist() == [np.inf]


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"largest": 1e200}, "beyond 2\\^500"),
        ({"largest": np.nan}, "beyond 2\\^500"),
        ({"threads": 0}, "threads must be at least 1"),
        ({"k": 0}, "k and threads must be at least 1"),
        ({"relation": "friend"}, "needs labels"),
    ],
)
def test_the_extension_refuses_what_its_callers_must_not_pass(
    change: dict[str, Any], match: str
) -> None:
    given = {"largest": 1.0, "threads": 1, "k": 1, "relation": "any"} | change
    with pytest.raises(ValueError, match=match):
        search_by_hand(**given)


@pytest.mark.parametrize("relation", ["any", "friend"])
@pytest.mark.parametrize("code", [-1, 2, 10**9])
def test_the_extension_refuses_numbers_that_lead_out_of_its_tables(
    code: int, relation: str
) -> None:
    x, expected, budget = np.eye(3), (3, 1, relation), 1 << 20
    right = np.array([0, 1, 0])
    wrong = np.array([0, code, 0])
    with pytest.raises(ValueError, match=rf"row 1 has the code {code}"):
        _core.Index(x, "float64", 1.0, wrong, 2, "euclidean", None, *expected, 1, budget)
    index = _core.Index(x, "float64", 1.0, right, 2, "euclidean", None, *expected, 1, budget)
    for codes, own_rows, match in (
        (wrong - (code < 0), None, "query codes"),
        (right, wrong * 2 - (code < 0), "own_rows"),
    ):
        with pytest.raises(ValueError, match=match):
            index.search(x, "float64", codes, own_rows, 1, "any", 1, budget)


def search_by_hand(largest: float, threads: int, k: int, relation: str) -> None:
    x, codes, budget = np.eye(3), np.zeros(3, np.int64), 1 << 20
    expected = (3, 1, "any")
    index = _core.Index(
        x, "float64", largest, None, 0, "euclidean", None, *expected, threads, budget
    )
    index.search(x, "float64", codes, None, k, relation, 1, budget)
