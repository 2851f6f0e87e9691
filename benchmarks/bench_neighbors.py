"""Exact k-nearest-neighbour search against the libraries people use for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, NamedTuple

import data
import numpy as np
import peers
import pytest

from conftest import REAL, Measure


class Case(NamedTuple):
    """A search: the k nearest rows for some queries; `load` gives both."""

    title: str
    k: int
    load: Callable[[], tuple[data.Float32, data.Float32]]

    def __str__(self) -> str:
        return f"{self.title}, k={self.k}"


def gaussians(n: int, dimensions: tuple[int, ...], q: int, ks: tuple[int, ...]) -> list[Case]:
    return [
        Case(f"gaussian {n} x {d}, q={q}", k, partial(data.gaussian, n, d, q))
        for d in dimensions
        for k in ks
    ]


ZEROS = partial(data.gaussian_and_zeros, 100_000, 64, 5000)
"""All zeros are equally near, so that libraries may choose others than ours: recall is low."""

MADE = {
    "smoke": gaussians(200, (3, 16), 20, (4,)),
    "small": gaussians(50_000, (32, 128, 512), 2000, (10,)),
    "full": [
        *gaussians(100_000, (32, 64, 128, 512, 2048), 5000, (10, 100)),
        Case("gaussian and zeros 100000 x 64, q=5000", 10, ZEROS),
        *(case for q in (1, 4, 16) for case in gaussians(50_000, (64, 784), q, (10,))),
    ],
}
REAL_SHARE = {"smoke": 0, "small": 10, "full": 1}
"""For each size: one in how many of the queries of real data, 0 for no real data."""


def real_cases(config: pytest.Config) -> list[Case]:
    share = REAL_SHARE[config.getoption("size")]
    return [
        Case(
            f"{real.name}, q={real.n_queries // share}",
            k,
            partial(data.rows_and_queries, real.load, real.n_queries // share),
        )
        for real in (config.stash[REAL] if share else [])
        for k in (10, 100)
    ]


ENEMIES = {"smoke": (300, 8, 5), "small": (30_000, 64, 10), "full": (100_000, 64, 10)}
"""For each size: rows, features, k of the long-tailed data; every minority row is a query."""

BY_CLASS = ("faiss.knn", "scikit-learn", "torch topk")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" not in metafunc.fixturenames:
        return
    cases = [*MADE[metafunc.config.getoption("size")], *real_cases(metafunc.config)]
    metafunc.parametrize(
        ("case", "name"),
        [(case, name) for case in cases for name in peers.SEARCHES],
        ids=[f"{case}: {name}" for case in cases for name in peers.SEARCHES],
    )


@lru_cache(maxsize=1)
def our_neighbors(case: Case, threads: int) -> Any:
    return peers.expansive(*case.load(), case.k, threads)[1]


def test_neighbors(
    case: Case, name: str, threads: int, measure: Measure, request: pytest.FixtureRequest
) -> None:
    x, q = case.load()
    search = peers.SEARCHES[name]
    if name in peers.SLOW:
        seconds, tried = estimate(search, x, q, case.k, threads)
        if seconds > request.config.getoption("--patience"):
            measure.record(str(case), name, seconds, f"estimated from {tried} queries")
            return
    measure(
        str(case),
        name,
        search,
        x,
        q,
        case.k,
        threads,
        score=lambda found: agreement(case, found, threads),
    )


def estimate(search: peers.Search, x: Any, q: Any, k: int, threads: int) -> tuple[float, int]:
    """Time a search of some queries, and scale it: such searches compare every pair."""
    some = q[: max(1, len(q) // 100)]
    search(x, some, k, threads)
    start = time.perf_counter()
    search(x, some, k, threads)
    return (time.perf_counter() - start) * len(q) / len(some), len(some)


def agreement(case: Case, found: Any, threads: int) -> str:
    return "" if found is None else recall_text(found[1], our_neighbors(case, threads))


def recall_text(found: Any, expected: Any) -> str:
    """Recall of a contestant's neighbours against ours: a fast wrong answer shows."""
    return f"recall {peers.recall(found, expected):.5f}"


@pytest.mark.parametrize("name", [peers.OURS, *BY_CLASS])
def test_enemies(name: str, threads: int, measure: Measure, request: pytest.FixtureRequest) -> None:
    n, d, k = ENEMIES[request.config.getoption("size")]
    x, y = data.long_tail(n, d)
    rows = np.flatnonzero(y > 0)
    measure(
        f"nearest enemies, 10 classes 100:1, {n} x {d}, q={len(rows)}, k={k}",
        name,
        find_enemies,
        name,
        x,
        y,
        rows,
        k,
        threads,
        score=lambda found: recall_text(found, our_enemies(n, d, k, threads)),
    )


@lru_cache(maxsize=1)
def our_enemies(n: int, d: int, k: int, threads: int) -> Any:
    x, y = data.long_tail(n, d)
    return peers.expansive_enemies(x, y, np.flatnonzero(y > 0), k, threads)


def find_enemies(name: str, x: Any, y: Any, rows: Any, k: int, threads: int) -> Any:
    if name == peers.OURS:
        return peers.expansive_enemies(x, y, rows, k, threads)
    return peers.enemies_with(peers.SEARCHES[name], x, y, rows, k, threads)
