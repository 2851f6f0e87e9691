"""Exact k-nearest-neighbour search against the libraries people use for it."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import peers
import pytest


class Case(NamedTuple):
    """A search: `k` of `n` rows with `d` features, for `q` queries that are not among them."""

    data: str
    n: int
    d: int
    q: int
    k: int

    def __str__(self) -> str:
        return f"{self.data} {self.n} x {self.d}, q={self.q}, k={self.k}"

    def arrays(self) -> tuple[peers.Float32, peers.Float32]:
        """Make or load the rows and the queries."""
        if self.data == "gaussian":
            return peers.gaussian(self.n, self.d, self.q)
        return peers.fashion_mnist(self.q)


def gaussians(n: int, dimensions: tuple[int, ...], q: int, ks: tuple[int, ...]) -> list[Case]:
    return [Case("gaussian", n, d, q, k) for d in dimensions for k in ks]


CASES = {
    "smoke": gaussians(200, (3, 16), 20, (4,)),
    "small": [
        *gaussians(50_000, (32, 128, 512), 2000, (10,)),
        Case("fashion-mnist", 60_000, 784, 1000, 10),
    ],
    "full": [
        *gaussians(100_000, (32, 64, 128, 512, 2048), 5000, (10, 100)),
        *(Case("fashion-mnist", 60_000, 784, 5000, k) for k in (10, 100)),
    ],
}
ENEMIES = {"smoke": (300, 8, 5), "small": (30_000, 64, 10), "full": (100_000, 64, 10)}
"""For each size: rows, features, k of the long-tailed data; every minority row is a query."""

BY_CLASS = ("faiss.knn", "scikit-learn", "torch topk")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "case" not in metafunc.fixturenames:
        return
    cases = CASES[metafunc.config.getoption("size")]
    if not peers.has_fashion_mnist():
        cases = [case for case in cases if case.data != "fashion-mnist"]
    metafunc.parametrize(
        ("case", "name"),
        [(case, name) for case in cases for name in peers.SEARCHES],
        ids=[f"{case}: {name}" for case in cases for name in peers.SEARCHES],
    )


@lru_cache(maxsize=1)
def our_neighbors(case: Case, threads: int) -> Any:
    return peers.expansive(*case.arrays(), case.k, threads)[1]


def test_neighbors(case: Case, name: str, threads: int, measure: Any) -> None:
    x, q = case.arrays()
    measure(
        str(case),
        name,
        peers.SEARCHES[name],
        x,
        q,
        case.k,
        threads,
        score=lambda found: agreement(case, found, threads),
    )


def agreement(case: Case, found: Any, threads: int) -> str:
    return "" if found is None else recall_text(found[1], our_neighbors(case, threads))


def recall_text(found: Any, expected: Any) -> str:
    """Recall of a contestant's neighbours against ours: a fast wrong answer shows."""
    return f"recall {peers.recall(found, expected):.5f}"


@pytest.mark.parametrize("name", [peers.OURS, *BY_CLASS])
def test_enemies(name: str, threads: int, measure: Any, request: pytest.FixtureRequest) -> None:
    n, d, k = ENEMIES[request.config.getoption("size")]
    x, y = peers.long_tail(n, d)
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
    x, y = peers.long_tail(n, d)
    return peers.expansive_enemies(x, y, np.flatnonzero(y > 0), k, threads)


def find_enemies(name: str, x: Any, y: Any, rows: Any, k: int, threads: int) -> Any:
    if name == peers.OURS:
        return peers.expansive_enemies(x, y, rows, k, threads)
    return peers.enemies_with(peers.SEARCHES[name], x, y, rows, k, threads)
