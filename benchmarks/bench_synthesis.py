"""Making synthetic rows from a plan, against imbalanced-learn, NumPy and the speed of memory."""

from __future__ import annotations

import ctypes
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, NamedTuple

import data
import numpy as np
import peers
import pytest
import torch
from imblearn.over_sampling import SMOTE
from numpy.typing import NDArray

from conftest import Measure
from expansive import Recipe, SynthesisPlan, neighbors
from expansive.arrays import empty_aligned

SIZES = {
    "smoke": (300, 40, 8, 500),
    "small": (50_000, 2000, 128, 200_000),
    "full": (100_000, 10_000, 512, 1_000_000),
}
"""For each size: rows, of which minority, features, synthetic rows."""

K = 10
_SLICE = 4096
_CHECKED = 101  # every so many rows are compared


class Task(NamedTuple):
    """A plan with its data, what the peers need to make the same rows, and memory for them.

    The minority is the first rows of x, so that row b of `enemies` belongs to base b, and `column`
    is the partner's place in it.
    """

    x: data.Float32
    plan: SynthesisPlan
    recipe: Recipe
    enemies: NDArray[np.int64]
    column: NDArray[np.int64]
    out: data.Float32
    threads: int


@lru_cache(maxsize=1)
def task(size: str, threads: int) -> Task:
    n, minority, d, n_new = SIZES[size]
    x, _ = data.gaussian(n, d, 1)
    y = (np.arange(n) < minority).astype(np.int64)
    enemies = neighbors(x, y, K, "enemy", queries=np.arange(minority), threads=threads)[1]
    plan = SynthesisPlan.eos(x, y, {1: minority + n_new}, K, threads=threads)
    recipe = plan.recipe()
    column = (enemies[recipe.base] == recipe.partner[:, None]).argmax(axis=1)
    return Task(x, plan, recipe, enemies, column, empty_aligned((n_new, d), np.float32), threads)


def in_place(job: Task) -> Any:
    """Into memory that is already there, as the sampler does."""
    return job.plan.generate(job.x, out=job.out)


def new_array(job: Task) -> Any:
    return job.plan.generate(job.x)


def in_slices(job: Task) -> Any:
    """As a training loop takes them, slice after slice."""
    for start in range(0, job.plan.n_samples, _SLICE):
        stop = min(start + _SLICE, job.plan.n_samples)
        job.plan.generate(job.x, start, stop, out=job.out[start:stop])
    return job.out


def numpy_formula(job: Task) -> Any:
    """Fancy indices; the draw is not in its time."""
    return peers.interpolate(job.x, *job.recipe)


def torch_formula(job: Task) -> Any:
    """`torch.lerp` of two index_selects; the draw is not in its time."""
    x = torch.from_numpy(job.x)
    base, partner, weight = (torch.from_numpy(part) for part in job.recipe)
    return torch.lerp(x[base], x[partner], weight[:, None]).numpy()


def imbalanced_learn(job: Task) -> Any:
    """Call what SMOTE's _make_samples calls after its draw, which is not in the time."""
    weight = job.recipe.weight[:, None]
    return SMOTE()._generate_samples(job.x, job.x, job.enemies, job.recipe.base, job.column, weight)


def write(job: Task) -> None:
    """Memset of as much memory by all threads: no result is written faster.

    Not to zero: some machines write zeros twice as fast as anything else.
    """
    parts = np.array_split(job.out, job.threads)
    with ThreadPoolExecutor(job.threads) as pool:
        list(pool.map(lambda part: ctypes.memset(part.ctypes.data, 1, part.nbytes), parts))


CONTESTANTS = {
    peers.OURS: in_place,
    f"{peers.OURS}, new array": new_array,
    f"{peers.OURS}, slices of {_SLICE}": in_slices,
    "NumPy": numpy_formula,
    "torch": torch_formula,
    "imbalanced-learn": imbalanced_learn,
    "write": write,
}


@pytest.mark.filterwarnings("ignore:After over-sampling:UserWarning")
@pytest.mark.parametrize("name", CONTESTANTS)
def test_synthesis(
    name: str, threads: int, measure: Measure, request: pytest.FixtureRequest
) -> None:
    job = task(request.config.getoption("size"), threads)
    n_new, d = job.out.shape
    measure(
        f"{n_new} synthetic rows x {d} float32 ({job.out.nbytes / 1e9:.2f} GB), "
        f"{len(job.enemies)} bases, k={K}",
        name,
        CONTESTANTS[name],
        job,
        score=lambda rows: difference(job, rows),
    )


def difference(job: Task, rows: Any) -> str:
    """Largest difference from the plan's rows, over an even sample of them."""
    if rows is None:
        return ""
    expected = job.plan.generate_rows(job.x, np.arange(0, job.plan.n_samples, _CHECKED))
    return f"largest difference {np.abs(rows[::_CHECKED] - expected).max():.1e}"
