"""Check neighbours on data too large for the reference, against an independent certificate.

For every query a float64 matrix product gives all distances with an error far below one part in a
billion, so the rows that can be among the k nearest are those within that of the k-th; the
reference then forms just these distances in the contract's order. Row numbers must agree exactly,
distances bit for bit.

    python benchmarks/verify_neighbors.py             # 2000 queries on every data set, some minutes
    python benchmarks/verify_neighbors.py --queries 100
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
import peers
from numpy.typing import NDArray

import expansive as ex
from expansive import datasets
from expansive.backends import reference

K = 10
_BLOCK = 250


def data_sets() -> Iterator[tuple[str, peers.Float32]]:
    """Name and rows, one set at a time."""
    for d in (32, 64, 128, 512, 2048):
        yield f"gaussian 100000 x {d}", peers.gaussian(100_000, d, 1)[0]
    try:
        pixels = datasets.load("fashion-mnist").x
    except FileNotFoundError as error:
        print(f"fashion-mnist left out: {error}")
        return
    yield "fashion-mnist 60000 x 784", pixels.reshape(len(pixels), -1).astype(np.float32)


def certified(
    x: peers.Float32,
    moved: NDArray[np.float64],
    squared_norms: NDArray[np.float64],
    rows: NDArray[np.int64],
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Distances and row numbers of the K nearest other rows, by product and reference."""
    squares = squared_norms[rows, None] + squared_norms - 2.0 * (moved[rows] @ moved.T)
    squares[np.arange(len(rows)), rows] = np.inf
    kth = np.partition(squares, K - 1, axis=1)[:, K - 1]
    error = 1e-11 * (squared_norms[rows] + squared_norms.max())
    distance = np.empty((len(rows), K), np.float32)
    index = np.empty((len(rows), K), np.int64)
    for i, row in enumerate(rows):
        near = np.flatnonzero(squares[i] <= kth[i] + error[i])
        a, b = x[row : row + 1].astype(np.float64), x[near].astype(np.float64)
        exact = reference.squared_distances(a, b)[0]
        order = np.lexsort((near, exact))[:K]
        index[i] = near[order]
        distance[i] = reference.finish(exact[order], "euclidean")
    return distance, index


def verify(name: str, x: peers.Float32, n_queries: int) -> None:
    """Print whether all neighbours of evenly spread queries are the certified ones."""
    rows = np.linspace(0, len(x) - 1, min(n_queries, len(x))).astype(np.int64)
    distance, index = ex.neighbors(x, None, K, "any", queries=rows)
    moved = x - x.mean(axis=0, dtype=np.float64)
    squared_norms = np.einsum("ij,ij->i", moved, moved)
    for start in range(0, len(rows), _BLOCK):
        part = slice(start, start + _BLOCK)
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
    n_queries = parser.parse_args().queries
    for name, x in data_sets():
        verify(name, x, n_queries)


if __name__ == "__main__":
    main()
