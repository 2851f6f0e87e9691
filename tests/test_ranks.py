"""Found rows in order: by ranks up to what an instruction set's lanes pay for, else by sorting."""

from __future__ import annotations

import numpy as np
import pytest

import expansive as ex
from cases import BACKENDS_UNDER_TEST, ISAS, assert_same_search, isa, make_data

backends = pytest.mark.parametrize("backend", BACKENDS_UNDER_TEST)
isas = pytest.mark.parametrize("isa_name", ISAS)


@backends
@isas
@pytest.mark.parametrize("data", ["normal", "small_integers"])
def test_as_many_neighbors_as_are_ordered_by_ranks(backend: str, isa_name: str, data: str) -> None:
    """Instruction sets sort beyond 512, 1024 or 2048, and where distances tie."""
    x, y = make_data(data, "two_classes", 2600, 6, "float32", "euclidean", 0)
    queries = np.arange(0, 2600, 130)
    distances, rows = ex.neighbors(x, y, 2049, "any", queries, backend="reference")
    with isa(isa_name):
        index = ex.Index(x, y, backend=backend, expected_queries=1000)
        for k in (255, 257, 511, 513, 1023, 1025, 2047, 2049):
            got = index.search_rows(queries, k, "any")
            assert_same_search(got, (distances[:, :k], rows[:, :k]), f"k = {k}")


@backends
@isas
@pytest.mark.parametrize("size", [1.0, 1e-160, 1e149])
@pytest.mark.parametrize("expected_queries", [2, 1000])
def test_distances_that_hardly_differ_or_are_extreme(
    backend: str, isa_name: str, size: float, expected_queries: int
) -> None:
    """Ranks are found by fewer digits than distances have, and within bounds."""
    rng = np.random.default_rng(0)
    x = np.zeros((400, 5))
    x[:, 0] = size * (1 + 1e-13 * rng.permutation(400))
    x[::40] = 0
    expected = ex.neighbors(x, None, 150, "any", np.arange(0, 400, 40), backend="reference")
    with isa(isa_name):
        index = ex.Index(x, None, backend=backend, expected_queries=expected_queries)
        got = index.search_rows(np.arange(0, 400, 40), 150, "any")
    assert_same_search(got, expected)
