"""Rows that stand many times: which of them are found, and that the others cost little."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

import expansive as ex
from cases import ISAS, METRICS, RELATIONS, assert_same_search, cpu_seconds, isa, look_along

CLASSES = 3


def crowded(n: int, d: int = 24, dtype: str = "float32") -> tuple[NDArray, NDArray]:
    """Rows of which a third, a tenth and a fiftieth are equal, in all classes."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, d)).astype(dtype)
    kind = rng.choice(4, n, p=[0.33, 0.1, 0.02, 0.55])
    for copy in range(3):
        x[kind == copy] = 0.1 * rng.normal(size=d) + 0.01
    return x, rng.integers(0, CLASSES, n)


@pytest.mark.parametrize("relation", RELATIONS)
@pytest.mark.parametrize("k", [1, 10, 150])
def test_the_first_copies_are_found(relation: str, k: int) -> None:
    x, y = crowded(1500)
    queries = np.arange(0, 1500, 3)
    expected = ex.neighbors(x, y, k, relation, queries, backend="reference")
    for isa_name in ISAS:
        with isa(isa_name):
            got = ex.neighbors(x, y, k, relation, queries, backend="cpu", threads=2)
        assert_same_search(got, expected, isa_name)


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_copies_by_every_measure(metric: str, dtype: str) -> None:
    x, y = crowded(900, dtype=dtype)
    expected = ex.neighbors(x, y, 7, "any", None, metric, "reference")
    for isa_name in ISAS:
        with isa(isa_name):
            got = ex.neighbors(x, y, 7, "any", None, metric, "cpu")
        assert_same_search(got, expected, isa_name)


@pytest.mark.parametrize("relation", RELATIONS)
def test_copies_in_a_rotated_database(relation: str, monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = crowded(2000)
    look_along(monkeypatch, np.eye(24, dtype=np.float32)[:4])
    queries = np.arange(0, 2000, 5)
    expected = ex.neighbors(x, y, 9, relation, queries, backend="reference")
    for isa_name in ISAS:
        with isa(isa_name):
            got = ex.neighbors(x, y, 9, relation, queries, backend="cpu")
        assert_same_search(got, expected, isa_name)


def test_copies_in_stretches_that_pass_by() -> None:
    x, y = crowded(25_000)
    queries = np.arange(0, 25_000, 1000)
    for relation in RELATIONS:
        expected = ex.neighbors(x, y, 5, relation, queries, backend="reference")
        got = ex.neighbors(x, y, 5, relation, queries, backend="cpu", memory_budget=1 << 20)
        assert_same_search(got, expected, relation)


def test_one_index_serves_few_neighbours_and_many() -> None:
    x, y = crowded(1200)
    index, reference = (ex.Index(x, y, backend=backend) for backend in ("cpu", "reference"))
    queries = np.arange(0, 1200, 7)
    for k in (3, 700, 2, 40):
        got, expected = (one.search_rows(queries, k) for one in (index, reference))
        assert_same_search(got, expected, f"k={k}")


def test_points_that_are_no_rows_see_the_copies_too() -> None:
    x, y = crowded(1200)
    q = np.concatenate([x[:30] + np.float32(0.01), x[:30]])
    labels = np.arange(60) % (CLASSES + 1)
    for relation in RELATIONS:
        got, expected = (
            ex.Index(x, y, backend=backend).search(q, labels, 6, relation)
            for backend in ("cpu", "reference")
        )
        assert_same_search(got, expected, relation)


@pytest.mark.parametrize("noise", [1e-3, 1e-6])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("k", [3, 60])
def test_rows_that_are_nearly_equal(noise: float, dtype: str, k: int) -> None:
    x, y = crowded(1500, 48)
    x = (x + noise * np.random.default_rng(1).normal(size=x.shape)).astype(dtype)
    queries = np.arange(0, 1500, 50)
    for relation in RELATIONS:
        expected = ex.neighbors(x, y, k, relation, queries, backend="reference")
        for isa_name in ISAS:
            with isa(isa_name):
                got = ex.neighbors(x, y, k, relation, queries, backend="cpu")
            assert_same_search(got, expected, f"{relation} by {isa_name}")


@pytest.mark.parametrize("zeros", [(0.0,), (0.0, -0.0)], ids=["one sign", "both signs"])
def test_copies_cost_no_more_than_other_rows(zeros: tuple[float, ...]) -> None:
    rng = np.random.default_rng(0)
    apart = rng.normal(size=(8000, 32)).astype(np.float32)
    copied = apart.copy()
    copied[rng.random(8000) < 0.4] = 0.0
    copied = np.where(copied == 0.0, rng.choice(np.float32(zeros), copied.shape), copied)
    of_copies, of_others = (
        cpu_seconds(lambda x=x: ex.neighbors(x, None, 10, "any", backend="cpu"))
        for x in (copied, apart)
    )
    assert of_copies < 4 * of_others  # some 16 times if all are measured
