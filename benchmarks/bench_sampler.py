"""Whole resampling calls, arrays in and arrays out, on long-tailed classes."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import data
import numpy as np
import peers
import pytest
from imblearn.over_sampling import SMOTE
from numpy.typing import NDArray

from conftest import Measure
from expansive import EOS, ExactNeighbors, SynthesisPlan

SIZES = {"smoke": (2000, 8), "small": (20_000, 64), "full": (100_000, 64)}
"""For each size: rows and features."""

Result = tuple[data.Float32, NDArray[np.int64]]


def eos(x: data.Float32, y: NDArray[np.int64], threads: int) -> Result:
    result: Result = EOS(random_state=0, n_jobs=threads).fit_resample(x, y)
    return result


def eos_with(peer: str, x: data.Float32, y: NDArray[np.int64], threads: int) -> Result:
    """EOS as one writes it from a search library and NumPy, class after class."""
    rng = np.random.default_rng(0)
    sizes = np.bincount(y)
    wanted = sizes.max() - sizes
    rows = np.flatnonzero(wanted[y] > 0)
    enemies = peers.enemies_with(peers.SEARCHES[peer], x, y, rows, 10, threads)
    new_x, new_y = [x], [y]
    for label in np.flatnonzero(wanted):
        bases = np.flatnonzero(y[rows] == label)
        drawn = bases[rng.integers(len(bases), size=wanted[label])]
        partner = enemies[drawn, rng.integers(10, size=wanted[label])]
        weight = rng.random(wanted[label], np.float32)
        new_x.append(peers.interpolate(x, rows[drawn], partner, weight))
        new_y.append(np.full(wanted[label], label))
    return np.concatenate(new_x), np.concatenate(new_y)


def smote_plan(x: data.Float32, y: NDArray[np.int64], threads: int) -> Result:
    plan = SynthesisPlan.smote(x, y, threads=threads)
    return np.concatenate([x, plan.generate(x)]), np.concatenate([y, plan.labels()])


def smote(neighbors: Any, x: data.Float32, y: NDArray[np.int64], threads: int) -> Result:
    result: Result = SMOTE(random_state=0, k_neighbors=neighbors).fit_resample(x, y)
    return result


CONTESTANTS = {
    "EOS": {
        peers.OURS: eos,
        "faiss.knn + NumPy": partial(eos_with, "faiss.knn"),
        "scikit-learn + NumPy": partial(eos_with, "scikit-learn"),
    },
    "SMOTE": {
        peers.OURS: smote_plan,
        f"{peers.OURS}, ExactNeighbors": partial(smote, ExactNeighbors(6)),
        "imbalanced-learn": partial(smote, 5),
    },
}


def labelled_embeddings(config: pytest.Config) -> Path | None:
    """Trained embeddings whose labels lie beside them, if there are any."""
    path: Path | None = config.getoption("embeddings")
    return path if path is not None and data.labels_path(path).is_file() else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    kinds = ["normal classes"]
    if labelled_embeddings(metafunc.config) is not None:
        kinds.append("trained embeddings")
    metafunc.parametrize("kind", kinds)


def rows_of(kind: str, config: pytest.Config) -> Result:
    n, d = SIZES[config.getoption("size")]
    embeddings = labelled_embeddings(config)
    if kind == "normal classes" or embeddings is None:
        return data.long_tail(n, d)
    return data.long_tail_of_rows(embeddings, n)


@pytest.mark.parametrize(
    ("method", "name"), [(method, name) for method in CONTESTANTS for name in CONTESTANTS[method]]
)
def test_sampler(
    kind: str,
    method: str,
    name: str,
    threads: int,
    measure: Measure,
    request: pytest.FixtureRequest,
) -> None:
    x, y = rows_of(kind, request.config)
    measure(
        f"{method}, {kind} {x.shape[0]} x {x.shape[1]} float32, 10 classes 100:1",
        name,
        CONTESTANTS[method][name],
        x,
        y,
        threads,
        score=lambda result: balance(y, *result),
    )


def balance(y: NDArray[np.int64], x_res: data.Float32, y_res: NDArray[np.int64]) -> str:
    """Every class must have grown to the size of the largest."""
    assert set(np.bincount(y_res)) == {np.bincount(y).max()}
    return f"{len(y_res)} rows, {x_res.dtype}"
