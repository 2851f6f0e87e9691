"""Searches for few queries, which pack nothing; what all searches have in common is elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

import expansive as ex
from cases import ISAS, RELATIONS, assert_same_search, cast, isa, make_data

isas = pytest.mark.parametrize("isa_name", ISAS)


@isas
@pytest.mark.parametrize("relation", RELATIONS)
@pytest.mark.parametrize("data", ["small_integers", "tight_clusters", "norms_spread"])
def test_threads_that_look_at_many_parts(isa_name: str, data: str, relation: str) -> None:
    x, y = make_data(data, "five_classes_sorted", 9000, 40, "float32", "euclidean", 0)
    queries = np.arange(0, 9000, 600)
    expected = ex.neighbors(x, y, 7, relation, queries, backend="reference")
    with isa(isa_name):
        for threads in (1, 3):
            got = ex.neighbors(x, y, 7, relation, queries, backend="cpu", threads=threads)
            assert_same_search(got, expected, f"{threads} threads")


@isas
def test_points_that_float32_does_not_hold(isa_name: str) -> None:
    rng = np.random.default_rng(0)
    for dtype, step in (("bfloat16", 2.0**23), ("float32", 2.0**7)):
        for _ in range(40):
            x = cast(2.0**30 + step * rng.integers(0, 3, (12, 3)), dtype)
            q = 2.0**30 + step * rng.uniform(0, 2, (4, 3))
            expected = ex.Index(x, backend="reference").search(q, None, 1, "any")
            with isa(isa_name):
                got = ex.Index(x, backend="cpu", expected_queries=1).search(q, None, 1, "any")
            assert_same_search(got, expected, dtype)


@isas
def test_by_cosine(isa_name: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3000, 16)) * 10.0 ** rng.uniform(-3, 3, (3000, 1))
    x = x.astype(np.float32)
    expected = ex.neighbors(x, None, 5, "any", [1, 2], "cosine", "reference")
    with isa(isa_name):
        assert_same_search(ex.neighbors(x, None, 5, "any", [1, 2], "cosine", "cpu"), expected)
