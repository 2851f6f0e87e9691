"""The compiled CPU backend: thin calls into the extension."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from expansive import _core
from expansive.arrays import Rows
from expansive.backends.registry import Expected, Partners, RowNumbers, picked_and_first
from expansive.backends.rotation import find_basis

TAKES_DEVICE_ARRAYS = False


def unavailable() -> str | None:
    """Say why this backend cannot run here: never, the extension is part of the package."""
    return None


def describe() -> str:
    """Say what it runs on."""
    return f"instruction set {_core.isa()} (of {', '.join(_core.isa_names())})"


def scan(x: Rows, threads: int) -> tuple[int, float]:
    """Give the first row with NaN or infinity (or -1) and the largest magnitude."""
    found: tuple[int, float] = _core.scan(x.data, x.dtype, threads)
    return found


def fingerprint(x: Rows, threads: int) -> int:
    """Give a 64-bit hash of the matrix's bytes."""
    return int(_core.fingerprint(x.data, x.dtype, threads))


@dataclass(frozen=True)
class Index:
    """A packed database in the extension."""

    core: _core.Index

    def search(
        self,
        queries: Rows,
        codes: NDArray[np.int64] | None,
        own_rows: NDArray[np.int64] | None,
        k: int,
        relation: str,
        threads: int,
        memory_budget: int,
    ) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Distances and row numbers, [n_queries, k]; `own_rows` are excluded, one a query."""
        found: tuple[NDArray[Any], NDArray[np.int64]] = self.core.search(
            queries.data, queries.dtype, codes, own_rows, k, relation, threads, memory_budget
        )
        return found


def build_index(
    x: Rows,
    largest: float,
    codes: NDArray[np.int64] | None,
    n_classes: int,
    metric: str,
    expected: Expected,
    threads: int,
    memory_budget: int,
) -> Index:
    """Make rows ready for the searches expected."""
    return Index(
        _core.Index(
            x.data,
            x.dtype,
            largest,
            codes,
            n_classes,
            metric,
            find_basis(x, metric, expected.queries, threads),
            *expected,
            threads,
            memory_budget,
        )
    )


def draw(
    partners: Partners, rows: RowNumbers, weight_dtype: type[np.floating[Any]]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any]]:
    """Give base, partner and weight of each synthetic row."""
    drawn: tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any]] = _tables(partners).draw(
        *picked_and_first(rows), len(rows), weight_dtype is np.float64
    )
    return drawn


def synthesize(x: Rows, partners: Partners, rows: RowNumbers, out: Rows, threads: int) -> None:
    """Write the synthetic rows into `out`."""
    _tables(partners).synthesize(
        x.data, x.dtype, *picked_and_first(rows), out.data, out.dtype, threads
    )


def interpolate(
    x: Rows,
    base: NDArray[np.int64],
    partner: NDArray[np.int64],
    weight: NDArray[np.float64],
    out: Rows,
    threads: int,
) -> None:
    """Write ``fma(weight, x[partner] - x[base], x[base])`` for given row numbers into `out`."""
    _core.interpolate(x.data, x.dtype, base, partner, weight, out.data, out.dtype, threads)


def _tables(partners: Partners) -> _core.PartnerTables:
    return _core.PartnerTables(
        partners.sample_start,
        partners.base_start,
        partners.bases,
        partners.partner_start,
        partners.partners,
        partners.seed,
        partners.low,
        partners.high,
    )
