"""Rotated searches of data so clustered that boxes leave out most of it: nothing changes.

What is expected comes from a search that is not rotated: of fewer than 48 features none is, unless
a test says along which directions to look.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest

import expansive as ex
from cases import (
    DTYPES,
    ISAS,
    METRICS,
    MINIMUM_BUDGET,
    RELATIONS,
    Array,
    assert_same_search,
    cast,
    isa,
    look_along,
)

N, D = 4000, 20

Search = tuple[Array, Array]
all_isas = pytest.mark.parametrize("isa_name", ISAS)


def orthonormal(rank: int, d: int = D) -> Array:
    return np.linalg.qr(np.random.default_rng(7).standard_normal((d, rank)))[0].T


def clusters(rng: np.random.Generator) -> Array:
    centres = rng.standard_normal((40, D)) * 5
    return centres[rng.integers(0, len(centres), N)] + 0.3 * rng.standard_normal((N, D))


def heavy_tails(rng: np.random.Generator) -> Array:
    """Values far outside all that are sampled, near rows and far from all."""
    x = clusters(rng)
    x[rng.random(x.shape) < 0.002] *= 50
    far = rng.random(N) < 0.02
    x[far] += 400 * np.sign(rng.standard_normal((int(far.sum()), 1)))
    return x


def grids(rng: np.random.Generator) -> Array:
    """Neighbours tie, and boxes are as far apart as neighbours; three grids far from each other."""
    place = rng.permutation(N)
    x = np.zeros((N, D))
    x[:, 0], x[:, 1] = place // 3 % 37, place // 3 // 37
    x[np.arange(N), 2 + place % 3] = 100
    return x


def all_equal(_: np.random.Generator) -> Array:
    return np.full((N, D), 0.1)


def equal_but_one(_: np.random.Generator) -> Array:
    x = np.full((N, D), 0.1)
    x[1234, 3] = 1e3  # not sampled: bytes hold nothing but 0.1
    return x


MAKERS = {make.__name__: make for make in (clusters, heavy_tails, grids, all_equal, equal_but_one)}


@lru_cache
def rows(data: str, dtype: str) -> tuple[Array, Array]:
    """Rows, and classes of very different sizes that overlap in space; one has a single row."""
    rng = np.random.default_rng(3)
    x = cast(MAKERS[data](rng), dtype)
    y = rng.choice([0, 1, 2], N, p=[0.8, 0.17, 0.03])
    y[77] = 3
    return x, y


@lru_cache
def points(data: str, dtype: str) -> tuple[Array, Array]:
    """Rows themselves, points near rows, in between, and as far away as their type can tell."""
    rng = np.random.default_rng(4)
    x = rows(data, dtype)[0].astype(np.float64)
    far = np.zeros((8, D))
    far[np.arange(4), np.arange(4)] = [1e30, -1e30, 1e15, -1e5]
    far[4:] = np.array([1e30, 1e20, 1e4, 0])[:, None]
    far[:, -1] += 1
    near = x[1::97] + 0.1 * rng.standard_normal((len(x[1::97]), D))
    q = np.concatenate([x[::97], near, (x[:40] + x[40:80]) / 2, far])
    return cast(q, dtype), rng.integers(0, 5, len(q))  # no row has label 4


def searches(data: str, dtype: str, metric: str, k: int, **options: int) -> list[Search]:
    """By relation: of points from elsewhere, and of rows."""
    x, y = rows(data, dtype)
    q, labels = points(data, dtype)
    index = ex.Index(x, y, metric=metric, backend="cpu", **options)
    found = [index.search(q, labels, k, relation) for relation in RELATIONS]
    own = np.r_[77, np.arange(0, N, 41)]
    return found + [index.search_rows(own, k, relation) for relation in RELATIONS]


@lru_cache
def expected(data: str, dtype: str, metric: str, k: int) -> list[Search]:
    return searches(data, dtype, metric, k)


def check(
    monkeypatch: pytest.MonkeyPatch,
    data: str,
    dtype: str = "float32",
    metric: str = "euclidean",
    k: int = 10,
    rank: int = 6,
    **options: int,
) -> None:
    right = expected(data, dtype, metric, k)
    look_along(monkeypatch, orthonormal(rank))
    found = searches(data, dtype, metric, k, **options)
    for i, (got, wanted) in enumerate(zip(found, right, strict=True)):
        assert_same_search(got, wanted, f"{RELATIONS[i % 3]} {i // 3}")


@all_isas
@pytest.mark.parametrize("k", [1, 10, 70])
@pytest.mark.parametrize("data", sorted(MAKERS))
def test_boxes_leave_out_nothing_near(
    monkeypatch: pytest.MonkeyPatch, isa_name: str, data: str, k: int
) -> None:
    with isa(isa_name):
        check(monkeypatch, data, k=k)


@all_isas
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_of_every_type_by_every_metric(
    monkeypatch: pytest.MonkeyPatch, isa_name: str, dtype: str, metric: str
) -> None:
    with isa(isa_name):
        check(monkeypatch, "clusters", dtype, metric, rank=4)


@pytest.mark.parametrize("rank", [1, 2, 7, 8, 10, 20])
def test_of_as_many_directions_as_boxes_have_and_more_or_fewer(
    monkeypatch: pytest.MonkeyPatch, rank: int
) -> None:
    check(monkeypatch, "heavy_tails", rank=rank)


@all_isas
@pytest.mark.parametrize("k", [2, 4, 5])
def test_neighbors_as_far_as_boxes(monkeypatch: pytest.MonkeyPatch, isa_name: str, k: int) -> None:
    right = expected("grids", "float32", "sqeuclidean", k)
    look_along(monkeypatch, np.eye(D)[:2])
    with isa(isa_name):
        found = searches("grids", "float32", "sqeuclidean", k)
    for got, wanted in zip(found, right, strict=True):
        assert_same_search(got, wanted)


@pytest.mark.parametrize("threads", [1, 3])
def test_streamed_without_boxes(monkeypatch: pytest.MonkeyPatch, threads: int) -> None:
    """Rows that pass by in parts have no boxes, but bytes."""
    check(monkeypatch, "heavy_tails", rank=20, memory_budget=MINIMUM_BUDGET, threads=threads)


@all_isas
@pytest.mark.parametrize("n_queries", [1, 5])
def test_threads_that_share_a_query_begin_in_their_own_part(
    monkeypatch: pytest.MonkeyPatch, isa_name: str, n_queries: int
) -> None:
    x, y = rows("clusters", "float32")
    queries = np.arange(1, 1 + n_queries)
    right = [
        ex.neighbors(x, y, 10, relation, queries, backend="reference") for relation in RELATIONS
    ]
    look_along(monkeypatch, orthonormal(6))
    with isa(isa_name):
        for relation, wanted in zip(RELATIONS, right, strict=True):
            got = ex.Index(x, y, backend="cpu", threads=7).search_rows(queries, 10, relation)
            assert_same_search(got, wanted, relation)


@pytest.mark.parametrize("relation", RELATIONS)
def test_as_the_reference(monkeypatch: pytest.MonkeyPatch, relation: str) -> None:
    """What is expected elsewhere is the reference's, too: for rows, and points near and far."""
    x, y = rows("clusters", "float32")
    q, labels = (a[-12:] for a in points("clusters", "float32"))
    look_along(monkeypatch, orthonormal(6))
    rotated, reference = (ex.Index(x, y, backend=backend) for backend in ("cpu", "reference"))
    for found in (
        [index.search(q, labels, 10, relation) for index in (rotated, reference)],
        [index.search_rows([77, 0, 1, 2], 10, relation) for index in (rotated, reference)],
    ):
        assert_same_search(found[0], found[1])


@all_isas
def test_more_features_than_one_sum_of_squares_holds(
    monkeypatch: pytest.MonkeyPatch, isa_name: str
) -> None:
    """Bytes that differ by 255 in 70,000 features: few rows have enough others that are near."""
    rng = np.random.default_rng(0)
    d = 70_000
    x = (rng.random((60, d), np.float32) < 0.01).astype(np.float32)
    x[1:60:9] = 1 - x[1:60:9]
    right = ex.neighbors(x, None, 12, "any", backend="cpu", metric="sqeuclidean")
    look_along(monkeypatch, np.ones((2, d)) * [[1.0], [0.0]] / np.sqrt(d))
    with isa(isa_name):
        got = ex.neighbors(x, None, 12, "any", backend="cpu", metric="sqeuclidean")
    assert_same_search(got, right)
