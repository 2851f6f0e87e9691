"""Which directions the CPU's screen should look at: a basis, or none where it would not pay.

Any basis gives the same neighbours (docs/exactness.md); this module only guesses which is fastest,
from a sample of the rows, so it works in float32 with NumPy's linear algebra.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from expansive.arrays import Rows

Float32 = NDArray[np.float32]

RANKS = (16, 32, 64, 128, 192, 256)
"""Ranks worth trying."""

_LEAST_FEATURES = 48  # below, a screen of all features is as fast as it gets
_LEAST_ROWS = 8192
_FIRST_SAMPLE = 64
_LEAST_STEEPNESS = 4.0  # features over the effective number of directions
_SAMPLE = 768
_PROBES = 32
_POOL = 2048
_SLACK = 1.03  # of squared distances, for the screen's error
_RANK = 10  # of the neighbour the probes look for

# Cost of one feature, relative to one feature of a screened pair: of a pair that is refined (in
# float64, its row from anywhere in memory), and of a row projected on one direction.
_REFINE_COST = 80.0
_PROJECT_COST = 2.5
_WORTH = 0.8  # of the cost without rotation: below, the estimate is sure enough to pay
_PASSES = 2  # through a rotated database: one to find a limit, one to use it


def find_basis(x: Rows, metric: str, n_queries: int) -> Float32 | None:
    """Choose an orthonormal basis of the leading directions, or none.

    Parameters
    ----------
    x : Rows
        The database.
    metric : str
        Of the search; for "cosine" rows are taken at unit length.
    n_queries : int
        How many searches will share the cost of rotating the database.

    Returns
    -------
    ndarray of float32, shape [rank, d], or None
    """
    n, d = x.data.shape
    if d < _LEAST_FEATURES or n < _LEAST_ROWS or not _is_steep(_take(x, metric, _FIRST_SAMPLE)):
        return None
    sample = _take(x, metric, _SAMPLE)
    directions = _leading_directions(sample - sample.mean(axis=0), min(max(RANKS), d // 2))
    costs = _costs(_take(x, metric, _POOL), directions, n, n_queries)
    best = min(costs, key=lambda rank: costs[rank])
    return np.ascontiguousarray(directions[:best]) if costs[best] < _WORTH * costs[0] else None


def _take(x: Rows, metric: str, count: int) -> Float32:
    """Take rows spread evenly over the database, brought near 1 so that float32 holds them."""
    picked = np.linspace(0, len(x.data) - 1, min(count, len(x.data))).astype(np.int64)
    rows: NDArray[Any] = x.data[picked]
    if x.dtype == "bfloat16":
        rows = (rows.astype(np.uint32) << 16).view(np.float32)
    largest = np.abs(rows).max()
    values = (rows / (largest if largest > 0 else 1)).astype(np.float32)
    if metric == "cosine":
        values /= np.maximum(np.linalg.norm(values, axis=1, keepdims=True), 1e-30)
    return values


def _is_steep(sample: Float32) -> bool:
    """Whether few directions hold most of the variance: a cheap look before the real work.

    The effective number of directions is tr(C)**2 / tr(C**2) for the covariance C; the square of
    the product of two rows has mean tr(C**2). The products are summed without BLAS, whose threads
    would stay awake and be in the search's way.
    """
    moved = sample - sample.mean(axis=0)
    products = np.einsum("ij,kj->ik", moved, moved)
    traces = np.diagonal(products)
    pairs = np.square(products).sum() - np.square(traces).sum()
    mean_square = pairs / (len(moved) * (len(moved) - 1))
    return bool(traces.mean() ** 2 < mean_square * sample.shape[1] / _LEAST_STEEPNESS)


def _leading_directions(moved: Float32, rank: int) -> Float32:
    """Find orthonormal directions of the largest variance, [rank, d]."""
    if moved.shape[1] <= moved.shape[0]:
        _, vectors = np.linalg.eigh(moved.T @ moved)
        return np.ascontiguousarray(vectors[:, ::-1][:, :rank].T)
    _, vectors = np.linalg.eigh(moved @ moved.T)
    q, _ = np.linalg.qr(moved.T @ vectors[:, ::-1][:, :rank])
    return np.ascontiguousarray(q.T)


def _costs(pool: Float32, directions: Float32, n: int, n_queries: int) -> dict[int, float]:
    """Estimate the cost of a search for each rank; rank 0 stands for no rotation."""
    d = pool.shape[1]
    moved = pool - pool.mean(axis=0)
    step = max(1, len(moved) // _PROBES)
    exact = _squared_distances(moved[::step], moved)
    near = int(np.ceil(_RANK * len(moved) / n))  # the probe itself is the nearest
    limit = np.partition(exact, near, axis=1)[:, near, None]
    coordinates = moved @ directions.T
    norms = np.einsum("ij,ij->i", moved, moved)
    costs = {0: float(n_queries) * n * d}
    for rank in (rank for rank in RANKS if rank <= len(directions)):
        z = coordinates[:, :rank]
        rest = np.sqrt(np.maximum(norms - np.einsum("ij,ij->i", z, z), 0.0))
        image = np.column_stack([z, rest])
        bound = _squared_distances(image[::step], image)
        survivors = float(np.mean(bound <= limit * _SLACK))
        each_query = n * (_PASSES * (rank + 1) + survivors * _REFINE_COST * d)
        costs[rank] = n_queries * each_query + _PROJECT_COST * n * d * rank
    return costs


def _squared_distances(a: Float32, b: Float32) -> Float32:
    squared: Float32 = (
        np.einsum("ij,ij->i", a, a)[:, None] + np.einsum("ij,ij->i", b, b) - 2.0 * (a @ b.T)
    )
    return squared
