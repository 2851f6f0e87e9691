"""Check neighbours on data too large for the reference, against an independent certificate.

For every query a float64 matrix product gives all squared distances with a proved error, so the
rows that can be among the k nearest are those within twice that of the k-th; the reference then
forms just these distances in the contract's order. Row numbers must agree exactly, distances bit
for bit.

With u = 2**-53, centred rows a, b and s = |a|**2 + |b|**2, for d features: centring moves the
squared distance by at most 9 u s; in any order of their additions the product of a and b is off by
at most d u / (1 - d u) of |a| |b| <= s / 2, and the norms by that of themselves; the two sums that
join them add 4 u s; the contract's own sum is within (d / 8 + 7) u of D**2 <= 2 s. All together is
below (2.3 d + 28) u s, and the margin between the k-th and another row is twice that.

    python benchmarks/verify_neighbors.py             # 2000 queries on every data set, some minutes
    python benchmarks/verify_neighbors.py --queries 100
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import data
import numpy as np
from data import Float32
from numpy.typing import NDArray

import expansive as ex
from expansive.backends import reference

K = 10
_BLOCK_PAIRS = 1 << 25  # distances formed at once


def data_sets(options: argparse.Namespace) -> Iterator[tuple[str, Float32]]:
    """Name and rows, one set at a time."""
    for d in (32, 64, 128, 512, 2048):
        yield f"gaussian 100000 x {d}", data.gaussian(100_000, d, 1)[0]
    found, missing = data.real_data(options.cifar, options.embeddings)
    for line in missing:
        print(line)
    for real in found:
        x = real.load()
        yield f"{real.name} {x.shape[0]} x {x.shape[1]}", x


def certified(
    x: Float32,
    moved: NDArray[np.float64],
    squared_norms: NDArray[np.float64],
    rows: NDArray[np.int64],
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Distances and row numbers of the K nearest other rows, by product and reference."""
    squares = moved[rows] @ moved.T
    squares *= -2.0
    squares += squared_norms
    squares += squared_norms[rows, None]
    squares[np.arange(len(rows)), rows] = np.inf
    kth = np.partition(squares, K - 1, axis=1)[:, K - 1]
    margin = (5 * x.shape[1] + 64) * 2.0**-53 * (squared_norms[rows] + squared_norms.max())
    distance = np.empty((len(rows), K), np.float32)
    index = np.empty((len(rows), K), np.int64)
    for i, row in enumerate(rows):
        near = np.flatnonzero(squares[i] <= kth[i] + margin[i])
        a, b = x[row : row + 1].astype(np.float64), x[near].astype(np.float64)
        exact = reference.squared_distances(a, b)[0]
        order = np.lexsort((near, exact))[:K]
        index[i] = near[order]
        distance[i] = reference.finish(exact[order], "euclidean")
    return distance, index


def verify(name: str, x: Float32, n_queries: int) -> None:
    """Print whether all neighbours of evenly spread queries are the certified ones."""
    rows = data.spread(len(x), n_queries)
    distance, index = ex.neighbors(x, None, K, "any", queries=rows)
    moved = x - x.mean(axis=0, dtype=np.float64)
    squared_norms = np.einsum("ij,ij->i", moved, moved)
    block = max(1, _BLOCK_PAIRS // len(x))
    for start in range(0, len(rows), block):
        part = slice(start, start + block)
        exact_distance, exact_index = certified(x, moved, squared_norms, rows[part])
        if not np.array_equal(index[part], exact_index):
            raise SystemExit(f"{name}: row numbers differ")
        if not np.array_equal(distance[part].view(np.uint32), exact_distance.view(np.uint32)):
            raise SystemExit(f"{name}: distances differ")
    print(f"{name}: {len(rows)} queries, k={K}: all row numbers and bits agree", flush=True)


def main() -> None:
    """Verify every data set."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--queries", type=int, default=2000)
    data.add_file_options(parser.add_argument)
    options = parser.parse_args()
    for name, x in data_sets(options):
        verify(name, x, options.queries)


if __name__ == "__main__":
    main()
