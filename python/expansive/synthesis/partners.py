"""Who may be combined with whom: each base row's partners, class by class."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from expansive.arrays import some_of
from expansive.backends.registry import Partners
from expansive.neighbors import Index

Rows64 = NDArray[np.int64]
Classes = dict[Any, Rows64]
"""Labels, and for each the rows that are to get partners."""


@dataclass(frozen=True)
class ClassPartners:
    """The bases of one class and, in one flat list, the partners of each.

    Attributes
    ----------
    bases : ndarray of int64, shape [n_bases]
        Row numbers in x.
    counts : ndarray of int64, shape [n_bases]
        Partners of each base, at least one.
    partners : ndarray of int64, shape [sum of counts]
        Row numbers in x, base after base.
    """

    bases: Rows64
    counts: Rows64
    partners: Rows64


def themselves(rows: Rows64) -> ClassPartners:
    """Every row its own partner."""
    return ClassPartners(rows, np.ones(len(rows), np.int64), rows)


def among(table: ClassPartners, rows: Rows64) -> ClassPartners:
    """Put a table's bases among all `rows` of their class, the others with themselves: never drawn.

    Both are in ascending order.
    """
    if len(table.bases) == len(rows):
        return table
    counts = np.ones(len(rows), np.int64)
    position = np.searchsorted(rows, table.bases)
    counts[position] = table.counts
    is_found = np.zeros(len(rows), bool)
    is_found[position] = True
    everyone = np.repeat(rows, counts)
    everyone[np.repeat(is_found, counts)] = table.partners
    return ClassPartners(rows, counts, everyone)


def nearest(index: Index, classes: Classes, k: int, relation: str) -> list[ClassPartners]:
    """Each row with its k nearest rows in the relation: one search for all classes."""
    found = _search(index, classes, k, relation)
    return [
        _keep(rows, near, near >= 0) for rows, near in zip(classes.values(), found, strict=True)
    ]


def friends(index: Index, classes: Classes, k: int) -> list[ClassPartners]:
    """Each row with its k nearest friends; the only row of a class with itself, with a warning."""
    assert index.codes is not None
    sizes = np.bincount(index.codes)
    alone = [label for label, rows in classes.items() if sizes[index.codes[rows[0]]] == 1]
    if alone:
        warnings.warn(
            f"the only row of {some_of('class', alone)} has no friend and is repeated", stacklevel=3
        )
    found = nearest(index, classes, k, "friend")
    return [
        table if len(table.bases) else themselves(rows)
        for table, rows in zip(found, classes.values(), strict=True)
    ]


def neighborhood(
    index: Index, classes: Classes, k: int, one_rank_too_close: bool
) -> list[ClassPartners]:
    """Each row with the enemies among its k nearest rows of any class (arXiv 2207.06080).

    Rows without one are dropped; classes without any fall back to `nearest`, with a warning.
    `one_rank_too_close` reproduces the paper's published code: it finds the enemies' columns in
    the neighbour table, then reads them from a table with the row itself put before the others.
    """
    assert index.codes is not None
    tables: dict[Any, ClassPartners] = {}
    alone: Classes = {}
    for (label, rows), found in zip(
        classes.items(), _search(index, classes, k, "any"), strict=True
    ):
        is_enemy = (found >= 0) & (index.codes[found] != index.codes[rows][:, None])
        if not is_enemy.any():
            alone[label] = rows
            continue
        if one_rank_too_close:
            found = np.concatenate([rows[:, None], found[:, :-1]], axis=1)
        tables[label] = _keep(rows, found, is_enemy)
    if alone:
        warnings.warn(
            f"no row of {some_of('class', alone)} has an enemy among its {k} nearest rows, so its "
            "nearest enemies are taken (raise k, or use enemies='nearest')",
            stacklevel=3,
        )
    tables |= zip(alone, nearest(index, alone, k, "enemy"), strict=True)
    return [tables[label] for label in classes]


def _search(index: Index, classes: Classes, k: int, relation: str) -> list[Rows64]:
    """Find the neighbours of all rows at once; a table for each class."""
    if not classes:
        return []
    k = min(k, index.rows.shape[0])  # more cannot be found, and would take memory
    _, found = index.find_rows(np.concatenate(list(classes.values())), k, relation)
    return np.split(found, np.cumsum([len(rows) for rows in classes.values()])[:-1])


def _keep(rows: Rows64, found: Rows64, kept: NDArray[np.bool_]) -> ClassPartners:
    """Flatten the kept entries of a neighbour table; rows with none are no bases."""
    counts = kept.sum(axis=1)
    return ClassPartners(rows[counts > 0], counts[counts > 0].astype(np.int64), found[kept])


def join(
    classes: list[ClassPartners], sizes: list[int], seed: int, expansion: tuple[float, float]
) -> Partners:
    """Put the classes one after the other; class c gets ``sizes[c]`` synthetic rows."""
    return Partners(
        sample_start=_starts(sizes),
        base_start=_starts([len(entry.bases) for entry in classes]),
        bases=_concatenate([entry.bases for entry in classes]),
        partner_start=_starts(_concatenate([entry.counts for entry in classes])),
        partners=_concatenate([entry.partners for entry in classes]),
        seed=seed,
        low=expansion[0],
        high=expansion[1],
    )


def check(tables: Partners, n_classes: int, n_rows: int) -> None:
    """Raise ValueError unless every entry of tables read from a file points to where it may.

    The kernels follow these numbers without looking, so a wrong one would read foreign memory.
    """
    levels = (
        ("sample_start", tables.sample_start, n_classes, None),
        ("base_start", tables.base_start, n_classes, len(tables.bases)),
        ("partner_start", tables.partner_start, len(tables.bases), len(tables.partners)),
    )
    for name, starts, n_groups, end in levels:
        fits = starts.shape == (n_groups + 1,) and starts.dtype == np.int64 and starts[0] == 0
        if not (fits and (np.diff(starts) > 0).all() and end in (None, starts[-1])):
            raise ValueError(f"{name} is not a list of growing starts")
    for name, rows in (("bases", tables.bases), ("partners", tables.partners)):
        fits = rows.ndim == 1 and rows.dtype == np.int64
        if not (fits and ((rows >= 0) & (rows < n_rows)).all()):
            raise ValueError(f"{name} holds numbers that are no rows")


def _starts(sizes: Any) -> Rows64:
    return np.concatenate([[0], np.cumsum(np.asarray(sizes, np.int64))]).astype(np.int64)


def _concatenate(parts: list[Rows64]) -> Rows64:
    return np.concatenate([np.zeros(0, np.int64), *parts])
