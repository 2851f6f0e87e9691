"""Data makers, comparisons and tolerances: defined once, used by all tests."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import ml_dtypes
import numpy as np
import pytest

import expansive as ex
from expansive import _core
from expansive.arrays import DTYPES
from expansive.backends import cpu, cuda
from expansive.backends.registry import METRICS, RELATIONS

BACKENDS_UNDER_TEST = ["cpu", *(["cuda"] if cuda.unavailable() is None else [])]
"""Backends that must give the bits of "reference"; "cuda" where there is a GPU."""
all_backends = pytest.mark.parametrize("backend", ["reference", *BACKENDS_UNDER_TEST])

ISAS = _core.isa_names()
"""Values of EXPANSIVE_ISA: what this machine has. test_mutations.py emulates the others."""

PLAIN_RTOL = 1e-12
"""Between the contract's float64 sum and any other order of the same sum of squares."""

MINIMUM_BUDGET = 1 << 20
"""The least memory_budget, in bytes."""

Array = np.ndarray[Any, np.dtype[Any]]

# ---- data -------------------------------------------------------------------------------------

Maker = Callable[[np.random.Generator, int, int], Array]
MAKERS: dict[str, Maker] = {}


def maker(make: Maker) -> Maker:
    MAKERS[make.__name__] = make
    return make


@maker
def normal(rng: np.random.Generator, n: int, d: int) -> Array:
    return rng.normal(size=(n, d))


@maker
def small_integers(rng: np.random.Generator, n: int, d: int) -> Array:
    """Ties by the hundred, at distances every float type holds exactly."""
    return rng.integers(-1, 2, (n, d)).astype(float)


@maker
def all_rows_equal(rng: np.random.Generator, n: int, d: int) -> Array:
    return np.full((n, d), 0.1)


@maker
def duplicated(rng: np.random.Generator, n: int, d: int) -> Array:
    """Every row about three times, scattered over the classes."""
    return rng.normal(size=(n // 3 + 1, d))[rng.integers(0, n // 3 + 1, n)]


@maker
def shifted_1e4(rng: np.random.Generator, n: int, d: int) -> Array:
    return rng.normal(size=(n, d)) + 1e4


@maker
def shifted_1e6(rng: np.random.Generator, n: int, d: int) -> Array:
    return rng.normal(size=(n, d)) + 1e6


@maker
def norms_1e_20(rng: np.random.Generator, n: int, d: int) -> Array:
    return rng.normal(size=(n, d)) * 1e-20


@maker
def norms_1e18(rng: np.random.Generator, n: int, d: int) -> Array:
    return rng.normal(size=(n, d)) * 1e18


@maker
def norms_mixed(rng: np.random.Generator, n: int, d: int) -> Array:
    return rng.normal(size=(n, d)) * rng.choice([1e-20, 1.0, 1e18], (n, 1))


@maker
def norms_spread(rng: np.random.Generator, n: int, d: int) -> Array:
    return rng.normal(size=(n, d)) * 10.0 ** rng.uniform(-8, 8, (n, 1))


@maker
def denormal_float32(rng: np.random.Generator, n: int, d: int) -> Array:
    return rng.integers(-9, 10, (n, d)) * 1e-42


@maker
def denormal_float64(rng: np.random.Generator, n: int, d: int) -> Array:
    """Squares underflow to zero: every distance is zero, so row numbers decide."""
    return rng.integers(-9, 10, (n, d)) * 1e-310


@maker
def squares_underflow_in_part(rng: np.random.Generator, n: int, d: int) -> Array:
    """Float64 differences around 1e-162, whose squares are denormal."""
    return rng.normal(size=(n, d)) * 10.0 ** rng.uniform(-163, -160, (n, 1))


@maker
def one_huge_coordinate(rng: np.random.Generator, n: int, d: int) -> Array:
    x = rng.normal(size=(n, d))
    x[n // 3, d // 2] = 1e30
    return x


@maker
def near_the_limit(rng: np.random.Generator, n: int, d: int) -> Array:
    """As large as float64 input may be (other types: their largest values)."""
    return rng.uniform(-1, 1, (n, d)) * 2.0**500


@maker
def tight_clusters(rng: np.random.Generator, n: int, d: int) -> Array:
    """Far apart, with rows 1e-7 apart inside: cancellation defeats any float32 screen."""
    return rng.normal(size=(3, d))[rng.integers(0, 3, n)] * 100 + rng.normal(size=(n, d)) * 1e-7


@maker
def far_clusters(rng: np.random.Generator, n: int, d: int) -> Array:
    """Integers whose norms are far larger than their distances, which often tie."""
    return 3001.0 * (np.arange(n) % 2)[:, None] + rng.integers(-2, 3, (n, d))


@maker
def aligned_roundings(rng: np.random.Generator, n: int, d: int) -> Array:
    """On both sides of a number halfway between two of bfloat16: near, but their images are not."""
    side = np.where(np.arange(n) % 8 == 0, 0.45, 0.55) + 0.01 * rng.normal(size=n)
    return np.where(np.arange(n) % 5 > 1, 0.0, 1 + side * 2.0**-7)[:, None] * np.ones(d)


@maker
def tiny_beside_one(rng: np.random.Generator, n: int, d: int) -> Array:
    """All agree in a coordinate that fixes the scale; products of the others are subnormal."""
    x = rng.integers(-9, 10, (n, d)) * 2.0**-74
    x[:, 0] = 1
    return x


@maker
def low_rank(rng: np.random.Generator, n: int, d: int) -> Array:
    return rng.normal(size=(n, 2)) @ rng.normal(size=(2, d)) + 1e-3 * rng.normal(size=(n, d))


@maker
def rectified(rng: np.random.Generator, n: int, d: int) -> Array:
    """As after a ReLU: half of it zeros."""
    return np.maximum(rng.normal(size=(n, d)), 0)


@maker
def on_a_line(rng: np.random.Generator, n: int, d: int) -> Array:
    """Equally spaced and in order: each row's two sides tie."""
    return np.arange(n)[:, None] * np.ones(d)


SLOW_IN_REFERENCE = {"denormal_float64", "squares_underflow_in_part"}
"""Their products underflow, so the reference forms them as fractions: keep them small."""

LABELINGS: dict[str, Callable[[np.random.Generator, int], Array]] = {
    "two_classes": lambda rng, n: rng.integers(0, 2, n),
    "five_classes_sorted": lambda rng, n: np.sort(rng.integers(0, 5, n)),
    "one_row_classes": lambda rng, n: np.minimum(np.arange(n), 3),
    "many_tiny_classes": lambda rng, n: rng.permutation(np.arange(n) // 2),
    "every_row_a_class": lambda rng, n: rng.permutation(n),
    "one_in_twenty": lambda rng, n: (rng.random(n) < 0.05).astype(np.int64),
}


def at_least_two_classes(y: Array) -> Array:
    if len(np.unique(y)) == 1:
        y = y.copy()
        y[-1] += 1
    return y


def cast(x: Array, dtype: str) -> Array:
    """Round to `dtype`, values beyond its range to its largest."""
    limit = float(ml_dtypes.finfo(dtype).max)
    return np.clip(x.astype(np.float64), -limit, limit).astype(dtype)


def with_direction(x: Array) -> Array:
    """Give rows that are too small for cosine distance a direction."""
    x = x.copy()
    x[np.abs(x.astype(np.float64)).max(axis=1) < 1e-140, 0] = 1
    return x


def blobs(
    counts: tuple[int, ...] = (40, 12, 5), d: int = 6, dtype: str = "float32", seed: int = 0
) -> tuple[Array, Array]:
    """Imbalanced classes a little apart, their rows shuffled: for synthesis."""
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    return cast(rng.normal(size=(len(y), d)) + 0.7 * y[:, None], dtype), y


# ---- comparisons ------------------------------------------------------------------------------


def bits(a: Array) -> Array:
    """The elements' bits, so that -0.0 differs from 0.0 and NaN equals itself."""
    a = np.ascontiguousarray(a)
    return a.view(f"u{a.dtype.itemsize}")


def assert_same_bits(got: Array, expected: Array, context: str = "") -> None:
    assert got.dtype == expected.dtype, (got.dtype, expected.dtype, context)
    assert got.shape == expected.shape, (got.shape, expected.shape, context)
    differs = np.argwhere(bits(got) != bits(expected))
    if len(differs):
        at = tuple(differs[0])
        raise AssertionError(
            f"{context}: {len(differs)} of {got.size} differ, first at {at}: "
            f"{got[at]!r} != {expected[at]!r}"
        )


def assert_same_search(
    got: tuple[Array, Array], expected: tuple[Array, Array], context: str = ""
) -> None:
    """Row numbers exactly, distances bit for bit."""
    assert_same_bits(got[1], expected[1], f"{context} row numbers")
    assert_same_bits(got[0], expected[0], f"{context} distances")


@lru_cache(maxsize=4096)
def expected_search(
    data: str,
    labeling: str,
    n: int,
    d: int,
    dtype: str,
    metric: str,
    relation: str,
    k: int,
    seed: int = 0,
) -> tuple[Array, Array, tuple[Array, Array]]:
    """A data set and its search by the reference, once for all that compare with it."""
    x, y = make_data(data, labeling, n, d, dtype, metric, seed)
    return x, y, ex.neighbors(x, y, k, relation, metric=metric, backend="reference")


def make_data(
    data: str, labeling: str, n: int, d: int, dtype: str, metric: str, seed: int
) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    x = cast(MAKERS[data](rng, n, d), dtype)
    y = at_least_two_classes(LABELINGS[labeling](rng, n)) if n > 1 else np.zeros(1, np.int64)
    return (with_direction(x) if metric == "cosine" else x), y


# ---- surroundings -----------------------------------------------------------------------------


@contextlib.contextmanager
def isa(name: str) -> Iterator[None]:
    """Have indices built meanwhile use an instruction set."""
    before = os.environ.get("EXPANSIVE_ISA")
    os.environ["EXPANSIVE_ISA"] = name
    try:
        yield
    finally:
        if before is None:
            del os.environ["EXPANSIVE_ISA"]
        else:
            os.environ["EXPANSIVE_ISA"] = before


def look_along(monkeypatch: pytest.MonkeyPatch, directions: Array) -> None:
    """Have CPU indices that are built from now on rotate rows onto these directions."""
    basis = np.ascontiguousarray(directions, np.float32)
    monkeypatch.setattr(cpu, "find_basis", lambda *_: basis)


def cpu_seconds(work: Callable[[], object]) -> float:
    """CPU seconds of this process for some work, the least of three."""
    seconds = []
    for _ in range(3):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return min(seconds)


def run_python(script: str, timeout: float = 60, arguments: Sequence[str] = ()) -> str:
    """Run a script in a fresh interpreter; fail with what it printed unless it ends well."""
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, timeout=timeout
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


PLAN_METHODS: dict[str, Any] = {
    "eos": ex.SynthesisPlan.eos,
    "neighborhood": lambda *a, **o: ex.SynthesisPlan.eos(*a, enemies="neighborhood", k=15, **o),
    "smote": ex.SynthesisPlan.smote,
    "random": ex.SynthesisPlan.random,
}
"""Every way to plan, with its defaults or settings that small data allow."""

__all__ = [
    "BACKENDS_UNDER_TEST",
    "DTYPES",
    "ISAS",
    "LABELINGS",
    "MAKERS",
    "METRICS",
    "MINIMUM_BUDGET",
    "PLAIN_RTOL",
    "PLAN_METHODS",
    "RELATIONS",
    "SLOW_IN_REFERENCE",
    "all_backends",
    "assert_same_bits",
    "assert_same_search",
    "at_least_two_classes",
    "bits",
    "blobs",
    "cast",
    "expected_search",
    "isa",
    "look_along",
    "make_data",
    "run_python",
    "with_direction",
]
