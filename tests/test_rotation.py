"""The rotated screen: whatever basis it looks along, the neighbours are the reference's."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.typing import NDArray
from threadpoolctl import threadpool_info

import expansive as ex
from cases import ISAS, MAKERS, RELATIONS, assert_same_search, expected_search, isa, look_along
from expansive.arrays import as_rows
from expansive.backends.rotation import find_basis

D = 20


def orthonormal(rng: np.random.Generator, rank: int) -> NDArray[np.float64]:
    return np.linalg.qr(rng.standard_normal((D, rank)))[0].T


BASES = {
    "one direction": lambda rng: orthonormal(rng, 1),
    "a few directions": lambda rng: orthonormal(rng, 7),
    "all directions": lambda rng: orthonormal(rng, D),
    "far from orthonormal": lambda rng: rng.standard_normal((9, D)),
    "nearly orthonormal": lambda rng: orthonormal(rng, 9) * 1.001,
    "twice the same": lambda rng: np.repeat(orthonormal(rng, 3), 2, axis=0),
    "nothing": lambda rng: np.zeros((3, D)),
}


@pytest.mark.parametrize("basis", sorted(BASES))
@pytest.mark.parametrize("data", sorted(MAKERS))
@pytest.mark.parametrize("isa_name", ISAS)
def test_any_basis_gives_the_references_neighbours(
    monkeypatch: pytest.MonkeyPatch, isa_name: str, data: str, basis: str
) -> None:
    look_along(monkeypatch, BASES[basis](np.random.default_rng(0)))
    for relation in RELATIONS:
        x, y, expected = expected_search(
            data, "five_classes_sorted", 70, D, "float32", "euclidean", relation, 3
        )
        with isa(isa_name):
            got = ex.neighbors(x, y, 3, relation, backend="cpu", threads=2)
        assert_same_search(got, expected, relation)


@pytest.mark.parametrize("k", [1, 10, 64])
def test_many_rows_and_lists_that_overflow(monkeypatch: pytest.MonkeyPatch, k: int) -> None:
    rng = np.random.default_rng(1)
    x = (rng.standard_normal((4000, D)) * 0.7 ** np.arange(D)).astype(np.float32)
    plain = ex.neighbors(x, None, k, "any", queries=np.arange(0, 4000, 40))
    look_along(monkeypatch, np.eye(D)[:3])
    rotated = ex.neighbors(x, None, k, "any", queries=np.arange(0, 4000, 40))
    assert_same_search(rotated, plain)
    streamed = ex.neighbors(
        x, None, k, "any", queries=np.arange(0, 4000, 40), memory_budget=1 << 20, threads=1
    )
    assert_same_search(streamed, plain)


@pytest.mark.parametrize("isa_name", ISAS)
@pytest.mark.parametrize("size", [1e-2, 1e-4, 1e-6])
def test_rows_that_differ_only_in_what_is_cut_off(
    monkeypatch: pytest.MonkeyPatch, isa_name: str, size: float
) -> None:
    # Two clusters far apart along a direction of the basis: the norm of the rest is a small
    # difference of large numbers, and all that tells the rows of a cluster from one another.
    rng = np.random.default_rng(0)
    directions = orthonormal(rng, 5)
    sign = np.where(rng.random(300) < 0.5, 1.0, -1.0)[:, None]
    x = (sign * directions.sum(axis=0) + rng.standard_normal((300, D)) * size).astype(np.float32)
    look_along(monkeypatch, directions)
    with isa(isa_name):
        got = ex.neighbors(x, None, 2, "any", backend="cpu")
    assert_same_search(got, ex.neighbors(x, None, 2, "any", backend="reference"))


@pytest.mark.parametrize("isa_name", ISAS)
@pytest.mark.parametrize("distance", [1e30, 1e37])
def test_rows_beyond_what_was_sampled(
    monkeypatch: pytest.MonkeyPatch, isa_name: str, distance: float
) -> None:
    """So far beyond it that in the screens' scale they are beyond float32, as are their errors."""
    rng = np.random.default_rng(3)
    directions = orthonormal(rng, 4)
    x = rng.standard_normal((3000, 4)) @ directions * 3 + 0.02 * rng.standard_normal((3000, D))
    sampled = np.arange(255) * 3000 // 255
    far = rng.choice(np.setdiff1d(np.arange(3000), sampled), 40, replace=False)
    x[far] = distance * (1 + 0.01 * rng.standard_normal((40, D)))
    x = x.astype(np.float32)
    y = np.isin(np.arange(3000), far).astype(int)
    look_along(monkeypatch, directions)
    queries = np.r_[far[:4], 0:8]
    for relation in RELATIONS:
        expected = ex.neighbors(x, y, 5, relation, queries, backend="reference")
        with isa(isa_name):
            got = ex.Index(x, y, backend="cpu").search_rows(queries, 5, relation)
        assert_same_search(got, expected, relation)


@pytest.mark.parametrize("isa_name", ISAS)
@pytest.mark.parametrize("basis", ["a few directions", "all directions", "nothing"])
def test_points_whose_distance_from_subnormal_rows_underflows(
    monkeypatch: pytest.MonkeyPatch, isa_name: str, basis: str
) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(-900, 901, (90, D)) * 5e-324
    look_along(monkeypatch, BASES[basis](rng))
    for magnitude in (1e-170, 1e-162, 1e-155, 1.0):
        q = rng.standard_normal((14, D)) * magnitude
        expected = ex.Index(x, backend="reference").search(q, k=4, relation="any")
        with isa(isa_name):
            got = ex.Index(x, backend="cpu").search(q, k=4, relation="any")
        assert_same_search(got, expected, str(magnitude))


def test_rows_without_structure_are_not_rotated() -> None:
    x = as_rows(np.random.default_rng(0).standard_normal((9000, 64)).astype(np.float32))
    assert find_basis(x, "euclidean", 9000, 2) is None


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
def test_rows_near_a_subspace_are_rotated_onto_it(dtype: str, metric: str) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((9000, 10)) @ rng.standard_normal((10, 400))
    x += rng.standard_normal(x.shape) * 0.01
    found = find_basis(as_rows(x.astype(dtype)), metric, 90_000, 2)
    assert found is not None
    assert len(found) < 100
    assert np.allclose(found @ found.T, np.eye(len(found)), atol=1e-4)
    caught = np.square(x @ found.T).sum() / np.square(x).sum()
    assert caught > 0.99


def test_directions_come_strongest_first() -> None:
    rng = np.random.default_rng(0)
    scale = 0.95 ** np.arange(600)
    x = (rng.standard_normal((9000, 600)) * scale).astype(np.float32)
    found = find_basis(as_rows(x), "euclidean", 9000, 2)
    assert found is not None
    variance = np.var(x @ found.T, axis=0)
    assert variance.sum() > 0.9 * np.square(scale[: len(found)]).sum()
    assert variance[:8].min() > variance[-8:].max()


def test_a_basis_of_other_rows_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    look_along(monkeypatch, np.eye(5))
    with pytest.raises(ValueError, match="basis"):
        ex.Index(np.zeros((3, 4), np.float32))


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e7])
def test_a_basis_without_bounds_is_refused(monkeypatch: pytest.MonkeyPatch, value: float) -> None:
    look_along(monkeypatch, np.full((2, 4), value))
    with pytest.raises(ValueError, match="basis"):
        ex.Index(np.ones((3, 4), np.float32))


@pytest.mark.parametrize("n_queries", [1, 3000, 100_000])
def test_few_queries_do_not_pay_for_a_rotation(n_queries: int) -> None:
    rng = np.random.default_rng(0)
    x = (rng.standard_normal((9000, 10)) @ rng.standard_normal((10, 400))).astype(np.float32)
    assert (find_basis(as_rows(x), "euclidean", n_queries, 2) is None) == (n_queries <= 3000)


def test_blas_keeps_its_threads_when_several_look_for_directions_at_once() -> None:
    rng = np.random.default_rng(0)
    x = as_rows((rng.standard_normal((9000, 10)) @ rng.standard_normal((10, 400))).astype("f4"))

    def blas_threads() -> list[int]:
        return [pool["num_threads"] for pool in threadpool_info()]

    before = blas_threads()
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: find_basis(x, "euclidean", 9000, 1), range(12)))
    assert all(basis is not None for basis in found)
    assert blas_threads() == before
