"""Which directions the CPU's screen should look at: a basis, or none where it would not pay.

Any basis gives the same neighbours (docs/exactness.md); this module only guesses which is fastest,
from a sample of the rows. Long products are the extension's, as rough as the screen's; the rest is
NumPy's on one thread: BLAS's threads stay awake for a while and would be in the search's way.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from expansive._core import multiply
from expansive.arrays import Rows

Float32 = NDArray[np.float32]

RANKS = (16, 24, 32, 48, 64, 96, 128)
"""Directions worth trying."""

_LEAST_FEATURES = 48  # below, a screen of all features is as fast as it gets
_LEAST_ROWS = 8192
_FIRST_SAMPLE = 64
_LEAST_STEEPNESS = 4.0  # features over the effective number of directions
_SAMPLE = 1024
_SPARE_DIRECTIONS = 32  # the last of a subspace converge slowly
_PROBES = 32
_RANK = 10  # of the neighbour the probes look for
_NEAR, _FAR = 1, 32  # ranks of the sampled neighbours that tell how distances grow
_SLACK = 1.2  # of squared distances: limits are loose at first
_BOX_DIMS = 8
_BOX_REACH = 2.5  # of a neighbour's distance: panels with rows so near are looked at

# Costs relative to one feature of a screened pair: of a pair's other work; of a candidate that is
# listed; of one that is screened again, and of each of its features; of a row projected on one
# direction; of a feature of a row that gets a byte image; and of finding a row's place.
_PAIR_COST = 6.0
_LISTED_COST = 4000.0
_LEAST_LISTED = 512.0
_RESCREEN_COST = (2000.0, 12.0)
_PROJECT_COST = 1.0
_BYTE_COST = 200.0
_PLACE_COST = 18_000.0
_WORTH = 0.8  # of the cost without rotation: below, the estimate is sure enough to pay

# Of looking for directions, most of which one thread does: alone, for each of them, and for each
# feature.
_LOOK_COST = (6e8, 2e7, 1.5e6)

_limiting = threading.Lock()


def find_basis(x: Rows, metric: str, expected_queries: int, threads: int) -> Float32 | None:
    """Choose an orthonormal basis of the leading directions, or none.

    Parameters
    ----------
    x : Rows
        The database.
    metric : str
        Of the search; for "cosine" rows are taken at unit length.
    expected_queries : int
        How many searches will share the cost of rotating the database.
    threads : int
        To work with.

    Returns
    -------
    ndarray of float32, shape [rank, d], or None
        Orthonormal directions, the strongest first.
    """
    n, d = x.data.shape
    if d < _LEAST_FEATURES or n < _LEAST_ROWS:
        return None
    most = min(max(RANKS), d // 2)
    if expected_queries * n * d * _WORTH <= _least_cost(n, d, most, expected_queries, threads):
        return None
    if not _is_steep(_take(x, metric, _FIRST_SAMPLE), threads):
        return None
    sample = _take(x, metric, _SAMPLE)
    sample -= sample.mean(axis=0)
    with _one_blas_thread():
        directions, coordinates = _leading_directions(sample, most, threads)
        costs = _costs(sample, coordinates, n, expected_queries, threads)
    best = min(costs, key=lambda rank: costs[rank])
    if costs[best] >= _WORTH * expected_queries * n * d:
        return None
    return np.ascontiguousarray(directions[:best])


@contextmanager
def _one_blas_thread() -> Iterator[None]:
    """Keep BLAS, whose number of threads is the process's, from waking its threads.

    Two that set and restore the number at once could leave it at one for good. So whoever finds
    another at work leaves the number alone, and never waits, not even in a forked process.
    """
    if not _limiting.acquire(blocking=False):
        yield
        return
    try:
        with threadpool_limits(1, "blas"):
            yield
    finally:
        _limiting.release()


def _take(x: Rows, metric: str, count: int) -> Float32:
    """Take rows spread evenly over the database, brought near 1 so that float32 holds them."""
    picked = np.linspace(0, len(x.data) - 1, min(count, len(x.data))).astype(np.int64)
    rows: NDArray[Any] = x.take(picked).widened()
    largest = max(rows.max(), -rows.min())
    values = (rows / (largest if largest > 0 else 1)).astype(np.float32, copy=False)
    if metric == "cosine":
        values /= np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-30)
    return values


def _is_steep(sample: Float32, threads: int) -> bool:
    """Whether few directions hold most of the variance: a cheap look before the real work.

    The effective number of directions is tr(C)**2 / tr(C**2) for the covariance C; the square of
    the product of two rows has mean tr(C**2).
    """
    moved = sample - sample.mean(axis=0)
    products = multiply(moved, moved, threads)
    traces = np.diagonal(products)
    pairs = np.square(products).sum() - np.square(traces).sum()
    mean_square = pairs / (len(moved) * (len(moved) - 1))
    return bool(traces.mean() ** 2 < mean_square * sample.shape[1] / _LEAST_STEEPNESS)


def _leading_directions(moved: Float32, rank: int, threads: int) -> tuple[Float32, Float32]:
    """Find nearly the orthonormal directions of the largest variance, [rank, d].

    Also gives the rows' coordinates along them, [n, rank].

    A step of subspace iteration from some of the rows, then the best directions within (Halko,
    Martinsson and Tropp 2011, arXiv 0909.4061, algorithms 4.4 and 5.3).
    """
    wanted = min(rank + _SPARE_DIRECTIONS, *moved.shape)
    start = moved[:: len(moved) // wanted][:wanted]
    subspace = _orthonormal(multiply(moved.T, multiply(moved, start, threads).T, threads))
    within = multiply(moved, subspace, threads)
    _, vectors = np.linalg.eigh(within.T @ within)
    leading = vectors[:, ::-1][:, :rank]
    return leading.T @ subspace, within @ leading


def _orthonormal(columns: Float32) -> Float32:
    """Orthonormal rows that span the same as the columns, by the eigenvectors of their products."""
    unit = columns / np.maximum(np.linalg.norm(columns, axis=0), 1e-30)
    wide = unit.astype(np.float64)
    values, vectors = np.linalg.eigh(wide.T @ wide)
    kept = values > values[-1] * 1e-10
    found: Float32 = (vectors[:, kept] / np.sqrt(values[kept])).astype(np.float32).T @ unit.T
    return found


def _costs(
    moved: Float32, coordinates: Float32, n: int, expected_queries: int, threads: int
) -> dict[int, float]:
    """Estimate the cost of a search for each number of directions."""
    d = moved.shape[1]
    step = max(1, len(moved) // _PROBES)
    norms = np.einsum("ij,ij->i", moved, moved)
    products = multiply(moved, moved[::step], threads).T
    limit = _neighbor_distance(norms[::step, None] + norms - 2.0 * products, n)

    def share(points: Float32, reach: float) -> float:
        """Of the other rows, those within a squared distance of a probe."""
        near = _squared_distances(points[::step], points) <= reach
        return max(float(near.mean()) - 1 / len(points), 0.0)

    def candidates(rank: int) -> float:
        z = coordinates[:, :rank]
        rest = np.sqrt(np.maximum(norms - np.einsum("ij,ij->i", z, z), 0.0))
        return n * share(np.column_stack([z, rest]), _SLACK * limit)

    visited = n * share(coordinates[:, :_BOX_DIMS], _BOX_REACH**2 * limit)
    costs = {}
    for rank in [rank for rank in RANKS if rank <= coordinates.shape[1]] or [coordinates.shape[1]]:
        found = candidates(rank)
        each_query = (
            visited * (rank + 1 + _PAIR_COST)
            + (found + _LEAST_LISTED) * _LISTED_COST
            + found * (_RESCREEN_COST[0] + _RESCREEN_COST[1] * d)
        )
        costs[rank] = expected_queries * each_query + n * _row_cost(rank, d)
    return costs


def _least_cost(n: int, d: int, most: int, expected_queries: int, threads: int) -> float:
    """Estimate the cost of searching by at most so many directions, whatever the rows are."""
    alone, each, each_feature = _LOOK_COST
    looking = (alone + each * most + each_feature * d) * threads
    return looking + n * _row_cost(min(RANKS), d) + expected_queries * _LEAST_LISTED * _LISTED_COST


def _row_cost(rank: int, d: int) -> float:
    """Estimate the cost of rotating a row of the database, whatever is searched."""
    return (_PROJECT_COST * rank + _BYTE_COST) * d + _PLACE_COST


def _neighbor_distance(squared: Float32, n: int) -> float:
    """Estimate a neighbour's squared distance among n rows from distances in a sample.

    Within a distance r there are about r**D rows, and the sample's own distances tell D.
    """
    nearest = np.partition(squared, (_NEAR, min(_FAR, squared.shape[1] - 1)), axis=1)
    near = max(float(np.median(nearest[:, _NEAR])), 1e-30)
    far = max(float(np.median(nearest[:, min(_FAR, squared.shape[1] - 1)])), near * 1.001)
    growth = np.log(far / near) / np.log(_FAR / _NEAR)  # 2 / D
    return near * float((_RANK / n * squared.shape[1]) ** growth)


def _squared_distances(a: Float32, b: Float32) -> Float32:
    squared: Float32 = (
        np.einsum("ij,ij->i", a, a)[:, None] + np.einsum("ij,ij->i", b, b) - 2.0 * (a @ b.T)
    )
    return squared
