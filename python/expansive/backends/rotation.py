"""Which directions the CPU's screen should look at: a basis, or none where it would not pay.

Any basis gives the same neighbours (docs/exactness.md); this module only guesses which is fastest,
from a sample of the rows, so it works in float32 with NumPy's linear algebra.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from expansive.arrays import Rows

Float32 = NDArray[np.float32]

SCREEN_RANKS = (16, 32, 48, 64, 96, 128, 192, 255)
"""Directions worth trying for the first screen."""

RANKS = (63, 127, 191, 255)
"""Directions worth trying for the second screen: with the rest's norm, whole cache lines."""

_LEAST_FEATURES = 48  # below, a screen of all features is as fast as it gets
_LEAST_ROWS = 8192
_FIRST_SAMPLE = 64
_LEAST_STEEPNESS = 4.0  # features over the effective number of directions
_SAMPLE = 2048
_SPARE_DIRECTIONS = 32  # the last of a subspace converge slowly
_PROBES = 32
_SLACK = 1.03  # of squared distances, for the screen's error
_RANK = 10  # of the neighbour the probes look for

# Cost of one feature, relative to one feature of a screened pair: of a pair that is screened again
# (its row from anywhere in memory), of one that is refined (also in float64), and of a row
# projected on one direction.
_RESCREEN_COST = 30.0
_REFINE_COST = 80.0
_PROJECT_COST = 2.0
_WORTH = 0.8  # of the cost without rotation: below, the estimate is sure enough to pay
_PASSES = 2  # through a rotated database: one to find a limit, one to use it


class Basis(NamedTuple):
    """Orthonormal directions, the strongest first.

    Attributes
    ----------
    directions : ndarray of float32, shape [rank, d]
        All that is looked at, by the second screen.
    screen_rank : int
        How many of them the first screen looks at; all of them: there is no second.
    """

    directions: Float32
    screen_rank: int


def find_basis(x: Rows, metric: str, n_queries: int) -> Basis | None:
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
    Basis or None
    """
    n, d = x.data.shape
    if d < _LEAST_FEATURES or n < _LEAST_ROWS or not _is_steep(_take(x, metric, _FIRST_SAMPLE)):
        return None
    sample = _take(x, metric, _SAMPLE)
    moved = sample - sample.mean(axis=0)
    directions = _leading_directions(moved, min(max(RANKS), d // 2))
    costs = _costs(moved, directions, n, n_queries)
    best = min(costs, key=lambda ranks: costs[ranks])
    if costs[best] >= _WORTH * n_queries * n * d:
        return None
    screen_rank, rank = best
    return Basis(np.ascontiguousarray(directions[:rank]), screen_rank)


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
    """Find nearly the orthonormal directions of the largest variance, [rank, d].

    A step of subspace iteration from some of the rows, then the best directions within (Halko,
    Martinsson and Tropp 2011, arXiv 0909.4061, algorithms 4.4 and 5.3).
    """
    wanted = min(rank + _SPARE_DIRECTIONS, *moved.shape)
    start = moved[:: len(moved) // wanted][:wanted]
    subspace = _orthonormal(moved.T @ (moved @ start.T))
    within = moved @ subspace
    _, vectors = np.linalg.eigh(within.T @ within)
    return np.ascontiguousarray((subspace @ vectors[:, ::-1][:, :rank]).T)


def _orthonormal(columns: Float32) -> Float32:
    """Orthonormal columns with the same span, by the eigenvectors of their products."""
    wide = columns.astype(np.float64)
    wide /= np.maximum(np.linalg.norm(wide, axis=0), 1e-300)
    values, vectors = np.linalg.eigh(wide.T @ wide)
    kept = values > values[-1] * 1e-10
    found: Float32 = (wide @ (vectors[:, kept] / np.sqrt(values[kept]))).astype(np.float32)
    return found


def _costs(
    moved: Float32, directions: Float32, n: int, n_queries: int
) -> dict[tuple[int, int], float]:
    """Estimate the cost of a search for each pair (screen_rank, rank)."""
    d = moved.shape[1]
    step = max(1, len(moved) // _PROBES)
    norms = np.einsum("ij,ij->i", moved, moved)
    coordinates = moved @ directions.T
    exact = _squared_distances(moved[::step], moved)
    near = int(np.ceil(_RANK * len(moved) / n))  # the probe itself is the nearest
    limit = np.partition(exact, near, axis=1)[:, near, None] * _SLACK

    def survivors(rank: int) -> float:
        z = coordinates[:, :rank]
        rest = np.sqrt(np.maximum(norms - np.einsum("ij,ij->i", z, z), 0.0))
        image = np.column_stack([z, rest])
        return float(np.mean(_squared_distances(image[::step], image) <= limit))

    found = len(directions)
    first_ranks = [rank for rank in SCREEN_RANKS if rank <= found] or [found]
    ranks = [rank for rank in RANKS if rank <= found]
    passing = {rank: survivors(rank) for rank in {*first_ranks, *ranks}}
    costs = {}
    for first in first_ranks:
        for rank in [first, *(rank for rank in ranks if rank > first)]:
            again = passing[first] * _RESCREEN_COST * (rank + 1) if rank > first else 0.0
            each_pair = _PASSES * (first + 1) + again + passing[rank] * _REFINE_COST * d
            costs[first, rank] = n_queries * n * each_pair + _PROJECT_COST * n * d * rank
    return costs


def _squared_distances(a: Float32, b: Float32) -> Float32:
    squared: Float32 = (
        np.einsum("ij,ij->i", a, a)[:, None] + np.einsum("ij,ij->i", b, b) - 2.0 * (a @ b.T)
    )
    return squared
