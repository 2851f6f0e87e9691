"""What the benchmarks run on and against: data makers, and one small function for each peer.

A search peer is called ``peer(x, q, k, threads)`` and returns (dist, idx) of the k rows of x
nearest to each row of q, or None where it finds no neighbours. It starts from the bare arrays, so
whatever index it builds is in its time. The data are float32 for all.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from expansive import Index, datasets, neighbors

with warnings.catch_warnings():
    # SWIG's wrapper types lack __module__; Python 3.12 and later warn about it.
    warnings.filterwarnings("ignore", "builtin type", DeprecationWarning)
    import faiss

Float32 = NDArray[np.float32]
Search = Callable[[Float32, Float32, int, int], "tuple[Any, Any] | None"]

OURS = "expansive"

_TILE = 1024  # queries whose distances to all of x are formed at once by the torch peers


# ---- data -------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def gaussian(n: int, d: int, n_queries: int) -> tuple[Float32, Float32]:
    """Independent normal rows and queries: no structure a search could use."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, d), np.float32)
    return x, rng.standard_normal((n_queries, d), np.float32)


@lru_cache(maxsize=1)
def fashion_mnist(n_queries: int) -> tuple[Float32, Float32]:
    """Pixels of the training images, and of the first test images as queries."""
    images = [datasets.load("fashion-mnist", split).x for split in ("train", "test")]
    x, q = (image.reshape(len(image), -1).astype(np.float32) for image in images)
    return x, q[:n_queries]


def has_fashion_mnist() -> bool:
    """Whether the files of Fashion-MNIST are on this machine."""
    try:
        datasets.load("fashion-mnist", "test")
    except FileNotFoundError:
        return False
    return True


@lru_cache(maxsize=1)
def long_tail(
    n: int, d: int, n_classes: int = 10, ratio: float = 100.0
) -> tuple[Float32, NDArray[np.int64]]:
    """Overlapping normal classes; the largest is `ratio` times the smallest."""
    rng = np.random.default_rng(0)
    share = ratio ** (-np.arange(n_classes) / (n_classes - 1))
    sizes = (n * share / share.sum()).astype(np.int64)
    sizes[0] += n - sizes.sum()
    y = rng.permutation(np.repeat(np.arange(n_classes), sizes))
    centers = rng.standard_normal((n_classes, d), np.float32)
    return centers[y] + rng.standard_normal((n, d), np.float32), y


# ---- search -----------------------------------------------------------------------------------


def expansive(x: Float32, q: Float32, k: int, threads: int) -> tuple[Any, Any]:
    return Index(x, threads=threads).search(q, k=k, relation="any")


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
    for tile in torch.from_numpy(q).split(_TILE):
        scores = torch.addmm(norms, tile, rows.T, alpha=-2)
        parts.append(scores.topk(k, largest=False))
    return (
        torch.cat([part.values for part in parts]).numpy(),
        torch.cat([part.indices for part in parts]).numpy(),
    )


def torch_mm(x: Float32, q: Float32, k: int, threads: int) -> None:
    """Form the products alone, and forget them: the limit of a search by float32 products."""
    rows = torch.from_numpy(x)
    out = torch.empty(_TILE, len(x))
    for tile in torch.from_numpy(q).split(_TILE):
        torch.mm(tile, rows.T, out=out[: len(tile)])


SEARCHES: dict[str, Search] = {
    OURS: expansive,
    "faiss.knn": faiss_knn,
    "IndexFlatL2": faiss_flat,
    "scikit-learn": scikit_learn,
    "torch topk": torch_topk,
    "torch.mm": torch_mm,
}
LIMITS = ("torch.mm", "write")
"""Contestants that do less than the work: shown as a limit, never as the best peer."""


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
