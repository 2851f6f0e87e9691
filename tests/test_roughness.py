"""Which rows are screened by bytes: a choice that changes no result."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import expansive as ex
from cases import ISAS, assert_same_search, isa
from expansive import _core

BYTES = [name for name in ISAS if name.endswith("int8")]
N, D = 60_000, 64


def finer_than(name: str) -> str:
    """What screens the rows that bytes are too rough for: in the last table the best without."""
    if name not in BYTES:
        return name
    return ISAS[ISAS.index(BYTES[0]) - 1] if name == ISAS[-1] else name.removesuffix("int8")


def built(
    x: NDArray[np.float32],
    k: int = 10,
    n_queries: int = N,
    basis: NDArray[np.float32] | None = None,
    codes: NDArray[np.int64] | None = None,
    relation: str = "any",
) -> str:
    expected, largest = (n_queries, k, relation), float(np.abs(x).max())
    n_classes = 0 if codes is None else int(codes.max()) + 1
    index = _core.Index(
        x, "float32", largest, codes, n_classes, "euclidean", basis, *expected, 2, 1 << 30
    )
    return index.isa


def normal_rows(d: int = D) -> NDArray[np.float32]:
    return np.random.default_rng(0).standard_normal((N, d), np.float32)


def near_copies() -> NDArray[np.float32]:
    """A tenth of the rows are nearer to each other than a byte's step."""
    x = normal_rows()
    x[::10] *= 1e-2
    return x


def spread_unevenly() -> NDArray[np.float32]:
    """A few directions make the steps too long for what tells neighbours apart."""
    x = normal_rows()
    x[:, 0] *= 200
    return x


@pytest.fixture
def by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EXPANSIVE_ISA", raising=False)


@pytest.mark.usefixtures("by_default")
def test_bytes_screen_rows_that_they_can_tell_apart() -> None:
    best = ISAS[-1]
    assert built(normal_rows()) == best
    finer = finer_than(best)
    assert built(near_copies()) == finer
    assert built(spread_unevenly()) == finer
    assert built(np.ones((N, D), np.float32)) == finer  # there are no steps to choose


@pytest.mark.usefixtures("by_default")
def test_bytes_screen_only_where_they_save_work() -> None:
    best, finer = ISAS[-1], finer_than(ISAS[-1])
    x = normal_rows()
    assert built(x, n_queries=16) == finer  # looked at as they are
    assert built(x, n_queries=279) == finer  # too few to look at the rows for
    assert built(x, n_queries=280) == best
    assert built(x[:8000]) == best
    assert built(x[:3000]) == finer
    classes = np.arange(N) % 8
    assert built(x, codes=classes, relation="enemy") == best
    assert built(x, codes=classes, relation="friend") == best
    assert built(x, codes=np.arange(N) % 24, relation="friend") == finer
    assert built(x, basis=np.eye(4, D, dtype=np.float32)) == finer


@pytest.mark.parametrize("name", BYTES)
def test_the_environment_may_ask_for_bytes(name: str) -> None:
    with isa(name):
        assert built(near_copies()) == name
        assert built(normal_rows(), basis=np.eye(4, D, dtype=np.float32)) == finer_than(name)
    with isa(finer_than(name)):
        assert built(normal_rows()) == finer_than(name)


def test_sums_of_bytes_stay_within_their_bits() -> None:
    """The longest rows that bytes hold, of as many features as 32 bits have room for."""
    x = np.zeros((60, 2**16), np.float32)
    x[:20] = np.random.default_rng(0).choice([-1, 1], (20, 2**16))
    x[1:20:2] = -x[:20:2]
    x[1:20:2, :9] *= -1
    x[20:, :40] = np.eye(40)
    expected = ex.neighbors(x, None, 1, "any", backend="reference")
    for name in BYTES:
        with isa(name):
            assert built(x) == name
            if name != "avx2int8":
                assert built(np.pad(x, ((0, 0), (0, 1)))) == finer_than(name)
            assert_same_search(ex.neighbors(x, None, 1, "any"), expected, name)


def assert_found_by_all(x: NDArray[Any], k: int) -> None:
    expected = ex.neighbors(x, None, k, "any", backend="reference")
    for name in ISAS:
        with isa(name):
            assert_same_search(ex.neighbors(x, None, k, "any", backend="cpu"), expected, name)


@pytest.mark.parametrize("size", [1e-300, 1e-150, 1.0, 1e120])
def test_rows_of_any_size_are_screened(size: float) -> None:
    x = size * normal_rows(8)[:100].astype(np.float64)
    x[::33] *= 40.0
    assert_found_by_all(x, 5)


@pytest.mark.parametrize("d", [1, 3, 63, 64, 65, 127, 128, 129, 200])
@pytest.mark.parametrize("most", [90, 127])
def test_runs_of_bytes_end_anywhere(d: int, most: int) -> None:
    rng = np.random.default_rng(d)
    x = rng.integers(-most, most + 1, (400, d)).astype(np.float32)
    x[200:] = -x[:200]
    assert_found_by_all(x, 4)


@pytest.mark.parametrize("length", [0.0, 10.0, 100.0])
def test_rows_farther_from_each_other_than_from_the_centre_are_screened(length: float) -> None:
    """Of many independent features; some rows and queries are far out, or near each other."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3000, 300)).astype(np.float32)
    x[::50] *= length
    x[1::97] = x[0] + 0.1 * rng.standard_normal(300)
    assert_found_by_all(x, 10)


@pytest.mark.parametrize("metric", ["euclidean", "cosine"])
@pytest.mark.parametrize("tail", ["normal", "laplace", "standard_cauchy"])
def test_rows_of_many_features_of_which_some_are_drawn_in(tail: str, metric: str) -> None:
    """Of nearly all rows a feature, or of few most; those near each other are drawn in alike."""
    rng = np.random.default_rng(0)
    x = getattr(rng, tail)(size=(2000, 400))
    x[1::97] = x[0] + 0.1 * rng.standard_normal(400)
    x[::89, :3] = 9.0
    x = x.astype(np.float32)
    queries = np.concatenate([x[:100], x[::89]])

    def search(backend: str) -> ex.Neighbors:
        return ex.Index(x, metric=metric, backend=backend).search(queries, None, 10, "any")

    expected = search("reference")
    for name in ISAS:
        with isa(name):
            assert_same_search(search("cpu"), expected, name)


@pytest.mark.parametrize("lengths", [(127.498, 127.7, 127.51), (127.51, 127.3, 127.498)])
def test_rows_at_the_edge_of_what_bytes_hold(lengths: tuple[float, float, float]) -> None:
    """A query that is rounded into it, rows that are drawn in to it, and the other way round.

    Every other row has its opposite, or is zero, so that the centre is; the last is the nearest.
    """
    query, other, nearest = lengths
    pairs, d = 127, 2000
    for most in (126, 127):
        x = np.random.default_rng(0).integers(-most, most + 1, (8 * pairs + 4, d)).astype("f4")
        for pair in range(pairs):
            x[8 * pair + 4, pair::pairs] = 0
            x[8 * pair + 8] = -x[8 * pair + 4]
        x[1], x[-1] = other, nearest
        queries = np.full((20, d), query, np.float32)
        expected = ex.Index(x, backend="reference").search(queries, None, 1, "any")
        for name in ISAS:
            with isa(name):
                index = ex.Index(x, threads=1, memory_budget=1 << 20, expected_k=1)
                found = index.search(queries, None, 1, "any")
                assert_same_search(found, expected, name)
