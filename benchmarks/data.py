"""The data the benchmarks run on, all float32: made ones, and real ones where their files are.

Real data are Fashion-MNIST pixels (see `expansive.datasets.load`), CIFAR-10 (JPEG) pixels and the
embeddings that `embeddings.py` makes. Where a file is looked for: a benchmark's option, else the
environment variable, else (embeddings only) the place `embeddings.py` writes to.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from expansive import datasets
from expansive.datasets.sources import has_fashion_mnist

Float32 = NDArray[np.float32]

CIFAR_VARIABLE = "EXPANSIVE_CIFAR"
EMBEDDINGS_VARIABLE = "EXPANSIVE_EMBEDDINGS"


# ---- made -------------------------------------------------------------------------------------


@lru_cache(maxsize=1)
def gaussian(n: int, d: int, n_queries: int) -> tuple[Float32, Float32]:
    """Independent normal rows and queries: no structure a search could use."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, d), np.float32)
    return x, rng.standard_normal((n_queries, d), np.float32)


@lru_cache(maxsize=1)
def gaussian_and_zeros(n: int, d: int, n_queries: int) -> tuple[Float32, Float32]:
    """Make a tenth of such rows all zeros, as dead units leave them."""
    x, queries = gaussian(n, d, n_queries)
    x = x.copy()
    x[np.random.default_rng(1).random(n) < 0.1] = 0
    return x, queries


@lru_cache(maxsize=1)
def long_tail(
    n: int, d: int, n_classes: int = 10, ratio: float = 100.0
) -> tuple[Float32, NDArray[np.int64]]:
    """Overlapping normal classes; the largest is `ratio` times the smallest."""
    rng = np.random.default_rng(0)
    y = rng.permutation(np.repeat(np.arange(n_classes), _long_tail_sizes(n, n_classes, ratio)))
    centers = rng.standard_normal((n_classes, d), np.float32)
    return centers[y] + rng.standard_normal((n, d), np.float32), y


def _long_tail_sizes(n: int, n_classes: int, ratio: float) -> NDArray[np.int64]:
    share = ratio ** (-np.arange(n_classes) / (n_classes - 1))
    sizes = (n * share / share.sum()).astype(np.int64)
    sizes[0] += n - sizes.sum()
    return sizes


# ---- real -------------------------------------------------------------------------------------


class RealData(NamedTuple):
    """A data set on this machine, its name, and how many queries its searches take."""

    name: str
    n_queries: int
    load: Callable[[], Float32]


def real_data(cifar: Path | None, embeddings: Path | None) -> tuple[list[RealData], list[str]]:
    """Those of the real data sets whose files are here, and a line for each that is not."""
    found, missing = [], []
    if has_fashion_mnist():
        found.append(RealData("Fashion-MNIST pixels", 5000, fashion_mnist))
    else:
        missing.append("Fashion-MNIST left out: see expansive.datasets.load for its files")
    if cifar is not None:
        found.append(RealData("CIFAR-10 (JPEG) pixels", 5000, partial(cifar_pixels, cifar)))
    else:
        missing.append(f"CIFAR-10 (JPEG) left out: name its archive by --cifar or {CIFAR_VARIABLE}")
    if embeddings is not None:
        found.append(RealData("trained embeddings", 20_000, partial(load_rows, embeddings)))
    else:
        missing.append("trained embeddings left out: benchmarks/embeddings.py makes them")
    return found, missing


def add_file_options(add: Callable[..., Any]) -> None:
    """Declare --cifar and --embeddings through an `add_argument` or a pytest `addoption`."""
    default = default_embeddings()
    add(
        "--cifar",
        type=Path,
        default=_path(os.environ.get(CIFAR_VARIABLE)),
        help=f"archive of CIFAR-10's images as JPEG files, see data.py; else {CIFAR_VARIABLE}",
    )
    add(
        "--embeddings",
        type=Path,
        default=_path(os.environ.get(EMBEDDINGS_VARIABLE))
        or (default if default.is_file() else None),
        help=f"rows as embeddings.py writes them; else {EMBEDDINGS_VARIABLE}, else {default}",
    )


def cache_folder() -> Path:
    """Folder for what is made once and never committed."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "expansive"


def labels_path(embeddings: Path) -> Path:
    """Where the labels of embeddings lie: beside them."""
    return embeddings.with_name(f"{embeddings.stem}-labels.npy")


def default_embeddings() -> Path:
    """Where `embeddings.py` writes to unless told otherwise."""
    return cache_folder() / "embeddings.npy"


@lru_cache(maxsize=1)
def fashion_mnist() -> Float32:
    """Pixels of the 60,000 training images, [60000, 784]."""
    images = datasets.load("fashion-mnist", "train").x
    return images.reshape(len(images), -1).astype(np.float32)


@lru_cache(maxsize=1)
def cifar_pixels(path: Path) -> Float32:
    """Pixels of the 50,000 training images, [50000, 3072]; see `cifar_images`."""
    images, _ = cifar_images(path)
    return images.reshape(len(images), -1).astype(np.float32)


def cifar_images(path: Path, split: str = "train") -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Read CIFAR-10's images of a split, stored as JPEG files: [n, 32, 32, 3] and labels [n].

    The archive (.npz) holds, here for the split "train", `train_jpeg`, the files end to end as
    bytes, `train_offsets`, where file i is ``train_jpeg[offsets[i]:offsets[i + 1]]``, and
    `train_labels`.
    """
    from PIL import Image

    with np.load(path, allow_pickle=False) as archive:
        content, offsets = archive[f"{split}_jpeg"].tobytes(), archive[f"{split}_offsets"].tolist()
        labels = archive[f"{split}_labels"].astype(np.int64)
    images = np.empty((len(labels), 32, 32, 3), np.uint8)
    for i, image in enumerate(images):
        with Image.open(io.BytesIO(content[offsets[i] : offsets[i + 1]])) as decoded:
            image[...] = np.asarray(decoded.convert("RGB"))
    return images, labels


@lru_cache(maxsize=1)
def load_rows(path: Path) -> Float32:
    """Read a matrix from an .npy file."""
    rows: Float32 = np.load(path, allow_pickle=False)
    return rows


@lru_cache(maxsize=1)
def long_tail_of_rows(
    path: Path, n: int, ratio: float = 100.0
) -> tuple[Float32, NDArray[np.int64]]:
    """Take a long tail of trained embeddings: classes lie as a network leaves them."""
    x, y = load_rows(path), np.load(labels_path(path), allow_pickle=False)
    sizes = _long_tail_sizes(n, len(np.unique(y)), ratio)
    rng = np.random.default_rng(0)
    taken = [
        rng.choice(np.flatnonzero(y == label), size, replace=False)
        for label, size in enumerate(sizes)
    ]
    rows = np.sort(np.concatenate(taken))
    return x[rows], y[rows]


def spread(n: int, count: int) -> NDArray[np.int64]:
    """`count` row numbers (at most n), evenly spread over n rows."""
    return np.linspace(0, n - 1, min(count, n)).astype(np.int64)


def rows_and_queries(load: Callable[[], Float32], n_queries: int) -> tuple[Float32, Float32]:
    """Rows, and `n_queries` of them as queries.

    A query then finds itself at distance zero: that is the same work for every contestant.
    """
    x = load()
    return x, x[spread(len(x), n_queries)]


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None
