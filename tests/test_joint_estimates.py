"""Long rows that no cache holds: what many queries want is estimated together, row by row."""

import numpy as np
import pytest
from numpy.typing import NDArray

import expansive as ex
from cases import ISAS, RELATIONS, assert_same_search, isa, look_along

N = 9000
K = 40
QUERIES = np.arange(0, N, 9)


def independent(rng: np.random.Generator, d: int) -> NDArray[np.float32]:
    return rng.standard_normal((N, d), dtype=np.float32)


def clusters_that_tie(rng: np.random.Generator, d: int) -> NDArray[np.float32]:
    """Far clusters of rows that differ by a few whole steps, so that many are equally near."""
    centres = rng.integers(-3000, 3000, (6, d))
    near = np.zeros((N, d), dtype=np.int64)
    near[:, :4] = rng.integers(-2, 3, (N, 4))
    return (centres[rng.integers(0, 6, N)] + near).astype(np.float32)


MAKERS = {"independent": independent, "clusters that tie": clusters_that_tie}
# The shortest rows for which it is done, 4 KB or 36 MB in all, and some that are no whole vectors.
SHAPES = [("float32", 1024), ("float32", 1037), ("float16", 2051)]


def search(
    x: NDArray[np.generic], y: NDArray[np.int64], relation: str
) -> tuple[NDArray[np.floating], NDArray[np.int64]]:
    return ex.neighbors(x, y, K, relation, queries=QUERIES, backend="cpu", threads=2)


def assert_as_in_float64(x: NDArray[np.generic], relation: str) -> None:
    """Of float64 rows nothing is estimated."""
    y = np.random.default_rng(1).integers(0, 4, N)
    distances, rows = search(x.astype(np.float64), y, relation)
    assert_same_search(search(x, y, relation), (distances.astype(np.float32), rows), relation)


def make(data: str, dtype: str, d: int) -> NDArray[np.generic]:
    return MAKERS[data](np.random.default_rng(0), d).astype(dtype)


@pytest.mark.parametrize("relation", RELATIONS)
@pytest.mark.parametrize("data", sorted(MAKERS))
@pytest.mark.parametrize("isa_name", [name for name in ISAS if "int8" in name] or ISAS)
def test_what_bytes_cannot_tell_apart(isa_name: str, data: str, relation: str) -> None:
    with isa(isa_name):
        assert_as_in_float64(make(data, *SHAPES[0]), relation)


@pytest.mark.parametrize(("dtype", "d"), SHAPES[1:])
@pytest.mark.parametrize("data", sorted(MAKERS))
@pytest.mark.parametrize("isa_name", ISAS)
def test_rows_that_are_no_whole_vectors(isa_name: str, data: str, dtype: str, d: int) -> None:
    with isa(isa_name):
        assert_as_in_float64(make(data, dtype, d), "any")


@pytest.mark.parametrize("relation", RELATIONS)
@pytest.mark.parametrize("data", sorted(MAKERS))
def test_what_is_left_of_rotated_rows(
    monkeypatch: pytest.MonkeyPatch, data: str, relation: str
) -> None:
    look_along(monkeypatch, np.eye(SHAPES[0][1])[4:8])
    assert_as_in_float64(make(data, *SHAPES[0]), relation)
