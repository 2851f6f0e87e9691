"""Searches in which the screen's guesses go too far, so that some queries are screened again."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

import expansive as ex
from cases import (
    BACKENDS_UNDER_TEST,
    ISAS,
    MINIMUM_BUDGET,
    RELATIONS,
    Array,
    assert_same_search,
    isa,
)

N, D, K = 12_000, 16, 50
MARKED, NEAR = 40, 30
"""Rows with so many others close by, all of which a search sees at first: fewer than K."""

QUERIES = np.arange(0, N, 23)


@cache
def rows_with_few_near() -> tuple[Array, Array]:
    """Some queries here and there are alone with a few rows of every class; all others are usual.

    After a share of all rows a guess takes the few for what comes with every such share.
    """
    rng = np.random.default_rng(3)
    x = rng.standard_normal((N, D), np.float32)
    y = rng.integers(0, 2, N)
    marked = rng.choice(QUERIES, MARKED, replace=False)
    first = rng.permutation(np.setdiff1d(np.arange(N // 4), QUERIES))[: MARKED * NEAR]
    x[marked] *= 8 / np.linalg.norm(x[marked], axis=1, keepdims=True)
    near = 0.05 * rng.standard_normal((MARKED, NEAR, D), np.float32)
    x[first] = (x[marked][:, None] + near).reshape(-1, D)
    return x, y


@cache
def expected(relation: str) -> tuple[Array, Array]:
    x, y = rows_with_few_near()
    return ex.neighbors(x, y, K, relation, QUERIES, backend="reference")


@pytest.mark.parametrize("backend", BACKENDS_UNDER_TEST)
@pytest.mark.parametrize("isa_name", ISAS)
@pytest.mark.parametrize("relation", RELATIONS)
@pytest.mark.parametrize("budget", [None, MINIMUM_BUDGET])
def test_queries_that_are_screened_again(
    backend: str, isa_name: str, relation: str, budget: int | None
) -> None:
    x, y = rows_with_few_near()
    with isa(isa_name):
        index = ex.Index(x, y, backend=backend, memory_budget=budget, expected_queries=1000)
        got = index.search_rows(QUERIES, K, relation)
    assert_same_search(got, expected(relation))
