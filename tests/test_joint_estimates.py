"""Long rows that no cache holds: what many queries want is estimated together, part by part."""

import numpy as np
import pytest
from numpy.typing import NDArray

import expansive as ex
from cases import ISAS, RELATIONS, assert_same_search, isa, look_along

D = 1024  # of float32: the shortest rows for which it is done
N = 9000  # 36 MB of them
K = 40
QUERIES = np.arange(0, N, 9)


def independent(rng: np.random.Generator) -> NDArray[np.float32]:
    return rng.standard_normal((N, D), dtype=np.float32)


def clusters_that_tie(rng: np.random.Generator) -> NDArray[np.float32]:
    """Far clusters of rows that differ by a few whole steps, so that many are equally near."""
    centres = rng.integers(-3000, 3000, (6, D))
    near = np.zeros((N, D), dtype=np.int64)
    near[:, :4] = rng.integers(-2, 3, (N, 4))
    return (centres[rng.integers(0, 6, N)] + near).astype(np.float32)


MAKERS = {"independent": independent, "clusters that tie": clusters_that_tie}


def search(
    x: NDArray[np.generic], y: NDArray[np.int64], relation: str
) -> tuple[NDArray[np.floating], NDArray[np.int64]]:
    return ex.neighbors(x, y, K, relation, queries=QUERIES, backend="cpu", threads=2)


def assert_as_in_float64(x: NDArray[np.float32], relation: str) -> None:
    """Of float64 rows nothing is estimated."""
    y = np.random.default_rng(1).integers(0, 4, N)
    distances, rows = search(x.astype(np.float64), y, relation)
    assert_same_search(search(x, y, relation), (distances.astype(np.float32), rows), relation)


@pytest.mark.parametrize("relation", RELATIONS)
@pytest.mark.parametrize("data", sorted(MAKERS))
@pytest.mark.parametrize("isa_name", [name for name in ISAS if "int8" in name] or ISAS)
def test_what_bytes_cannot_tell_apart(isa_name: str, data: str, relation: str) -> None:
    with isa(isa_name):
        assert_as_in_float64(MAKERS[data](np.random.default_rng(0)), relation)


@pytest.mark.parametrize("relation", RELATIONS)
@pytest.mark.parametrize("data", sorted(MAKERS))
def test_what_is_left_of_rotated_rows(
    monkeypatch: pytest.MonkeyPatch, data: str, relation: str
) -> None:
    look_along(monkeypatch, np.eye(D)[4:8])
    assert_as_in_float64(MAKERS[data](np.random.default_rng(0)), relation)
