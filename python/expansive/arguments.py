"""Checks of plain arguments: each gives the value, or an error with its name and the fix."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from numbers import Integral, Real
from typing import Any

STRATEGIES = ("auto", "minority", "not minority", "not majority", "all")
"""Sampling strategies that imbalanced-learn knows by name."""
_LARGEST_WEIGHT = 1e30  # far from float32's overflow


def as_count(value: Any, name: str, least: int = 1) -> int:
    """Check a count: an integer of at least `least`."""
    if not _is_integer(value) or value < least:
        raise ValueError(f"{name} must be an integer of at least {least}; got {value!r}")
    return int(value)


def as_k(value: Any, name: str = "k") -> int:
    """Check a number of neighbours: it fits the integers of the kernels."""
    k = as_count(value, name)
    if k >= 2**63:
        raise ValueError(f"{name} must be below 2**63; got {value!r}")
    return k


def as_choice(value: Any, choices: Collection[Any], name: str) -> str:
    """Check one of several names."""
    if value not in choices:
        listed = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"unknown {name} {value!r}; choose one of {listed}")
    return str(value)


def as_seed(value: Any) -> int:
    """Check the key of a random stream: an integer of 64 bits, not negative."""
    if not _is_integer(value) or not 0 <= value < 2**64:
        raise ValueError(f"seed must be an integer in [0, 2**64); got {value!r}")
    return int(value)


def as_expansion(value: Any) -> tuple[float, float]:
    """Check the range of the interpolation weight."""
    ends = tuple(value) if isinstance(value, Iterable) else ()
    numbers = len(ends) == 2 and all(isinstance(end, Real) for end in ends)
    if not (numbers and -_LARGEST_WEIGHT <= ends[0] <= ends[1] <= _LARGEST_WEIGHT):
        raise ValueError(
            f"expansion must be two numbers (low, high) with low <= high, such as (0.0, 1.0), "
            f"within {_LARGEST_WEIGHT:g} of zero; got {value!r}"
        )
    return float(ends[0]), float(ends[1])


def as_strategy(value: Any, labels: Any) -> str | float | dict[Any, int]:
    """Check a sampling strategy: a name, a ratio, or rows of each class (of a function: of y)."""
    given = value(labels) if callable(value) else value
    if isinstance(given, Mapping):
        return {label: _as_rows_of(label, rows) for label, rows in given.items()}
    if isinstance(value, str) and value in STRATEGIES:
        return value
    if isinstance(value, Real) and 0 < float(value) <= 1:
        return float(value)
    got = f"a function that returned {given!r}" if callable(value) else repr(value)
    raise ValueError(
        f"sampling_strategy must be one of {', '.join(map(repr, STRATEGIES))}, a ratio in (0, 1], "
        f"or a dict of the rows that each class shall have, or a function of y that returns such a "
        f"dict; got {got}"
    )


def _as_rows_of(label: Any, rows: Any) -> int:
    if not (_is_integer(rows) or (isinstance(rows, Real) and float(rows).is_integer())):
        raise ValueError(
            f"sampling_strategy asks for {rows!r} rows of class {label!r}; give an integer"
        )
    return int(rows)


def _is_integer(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)
