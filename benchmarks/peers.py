"""What the benchmarks run against: one small function for each peer.

A search peer is called ``peer(x, q, k, threads)`` and returns (dist, idx) of the k rows of x
nearest to each row of q, or None where it finds no neighbours. It starts from the bare arrays, so
whatever index it builds is in its time. The data are float32 for all. KeOps and usearch are
contestants where they are installed.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from data import Float32
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits

from expansive import Index, neighbors

with warnings.catch_warnings():
    # SWIG's wrapper types lack __module__; Python 3.12 and later warn about it.
    warnings.filterwarnings("ignore", "builtin type", DeprecationWarning)
    import faiss

Search = Callable[[Float32, Float32, int, int], "tuple[Any, Any] | None"]

OURS = "expansive"

_TILE = 1024  # queries whose distances to all of x are formed at once by the torch peers,
_SCORES = 1 << 27  # or fewer, so that no more than this many are kept
_BLOCK = 4096  # rows of the bare product's blocks: a tile by a block stays in the cache


# ---- search -----------------------------------------------------------------------------------


def expansive(x: Float32, q: Float32, k: int, threads: int) -> tuple[Any, Any]:
    index = Index(x, threads=threads, expected_queries=len(q), expected_k=k)
    return index.search(q, k=k, relation="any")


def faiss_knn(x: Float32, q: Float32, k: int, threads: int) -> tuple[Any, Any]:
    dist, idx = faiss.knn(q, x, k)
    return dist, idx


def faiss_flat(x: Float32, q: Float32, k: int, threads: int) -> tuple[Any, Any]:
    index = faiss.IndexFlatL2(x.shape[1])
    index.add(x)
    dist, idx = index.search(q, k)
    return dist, idx


def scikit_learn(x: Float32, q: Float32, k: int, threads: int) -> tuple[Any, Any]:
    found = NearestNeighbors(n_neighbors=k, algorithm="brute", n_jobs=threads).fit(x).kneighbors(q)
    return found[0], found[1]


def torch_topk(x: Float32, q: Float32, k: int, threads: int) -> tuple[Any, Any]:
    """||x||^2 - 2 q.x by one fused matrix product, then the k smallest of each row."""
    rows = torch.from_numpy(x)
    norms = rows.square().sum(1)
    parts = []
    for tile in torch.from_numpy(q).split(min(_TILE, max(1, _SCORES // len(x)))):
        scores = torch.addmm(norms, tile, rows.T, alpha=-2)
        parts.append(scores.topk(k, largest=False))
    return (
        torch.cat([part.values for part in parts]).numpy(),
        torch.cat([part.indices for part in parts]).numpy(),
    )


def usearch(x: Float32, q: Float32, k: int, threads: int) -> tuple[Any, Any]:
    from usearch.index import MetricKind, search

    found = search(x, q, k, MetricKind.L2sq, exact=True, threads=threads)
    shape = len(q), k  # one query's are without the first
    return found.distances.reshape(shape), found.keys.astype(np.int64).reshape(shape)


def keops(x: Float32, q: Float32, k: int, threads: int) -> tuple[Any, Any]:
    from pykeops.torch import LazyTensor

    queries, rows = LazyTensor(torch.from_numpy(q)[:, None]), LazyTensor(torch.from_numpy(x)[None])
    with threadpool_limits(threads, "openmp"):
        dist, idx = ((queries - rows) ** 2).sum(-1).Kmin_argKmin(k, dim=1)
    return dist.numpy(), idx.numpy()


def torch_mm(x: Float32, q: Float32, k: int, threads: int) -> None:
    """Form the products alone, and forget them: the limit of a search by float32 products."""
    rows, out = torch.from_numpy(x), torch.empty(_TILE * _BLOCK)
    for tile in torch.from_numpy(q).split(_TILE):
        for block in rows.split(_BLOCK):
            product = out[: len(tile) * len(block)].view(len(tile), len(block))
            torch.mm(tile, block.T, out=product)


SEARCHES: dict[str, Search] = {
    OURS: expansive,
    "faiss.knn": faiss_knn,
    "IndexFlatL2": faiss_flat,
    "scikit-learn": scikit_learn,
    "torch topk": torch_topk,
    **({"usearch exact": usearch} if find_spec("usearch") else {}),
    "torch.mm": torch_mm,
    **({"KeOps": keops} if find_spec("pykeops") else {}),
}
"""KeOps comes last: its OpenMP threads stay awake for a while, in the way of whoever follows."""
LIMITS = ("torch.mm", "write")
"""Contestants that do less than the work: shown as a limit, never as the best peer."""
SLOW = ("usearch exact", "KeOps")
"""Searches that may take minutes: they are tried on few queries first."""


# ---- enemies ----------------------------------------------------------------------------------


def expansive_enemies(
    x: Float32, y: NDArray[np.int64], rows: NDArray[np.int64], k: int, threads: int
) -> NDArray[np.int64]:
    """Find the row numbers of the k nearest rows of another class."""
    found: NDArray[np.int64] = neighbors(x, y, k, "enemy", queries=rows, threads=threads)[1]
    return found


def enemies_with(
    search: Search, x: Float32, y: NDArray[np.int64], rows: NDArray[np.int64], k: int, threads: int
) -> NDArray[np.int64]:
    """Find enemies with a peer that knows no labels: a search a class, over a copy of the rest."""
    found = np.empty((len(rows), k), np.int64)
    for label in np.unique(y[rows]):
        mine, others = np.flatnonzero(y[rows] == label), np.flatnonzero(y != label)
        result = search(x[others], x[rows[mine]], k, threads)
        assert result is not None
        found[mine] = others[result[1]]
    return found


def interpolate(
    x: Float32, base: NDArray[np.int64], partner: NDArray[np.int64], weight: Float32
) -> Float32:
    """Interpolate as one writes it in NumPy."""
    start = x[base]
    return start + weight[:, None] * (x[partner] - start)


# ---- comparison -------------------------------------------------------------------------------


def recall(found: NDArray[np.int64], expected: NDArray[np.int64]) -> float:
    """Share of the expected row numbers that were found, in any order."""
    hits = sum(len(np.intersect1d(a, b)) for a, b in zip(found, expected, strict=True))
    return hits / expected.size


def use_threads(threads: int) -> None:
    """Give torch and FAISS this many threads; the others are told call by call or by OpenMP."""
    torch.set_num_threads(threads)
    faiss.omp_set_num_threads(threads)
