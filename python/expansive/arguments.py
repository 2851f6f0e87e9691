"""Checks of plain arguments: each gives the value, or an error with its name and the fix."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from numbers import Integral, Real
from typing import Any

_LARGEST_WEIGHT = 1e30  # far from float32's overflow


def as_count(value: Any, name: str, least: int = 1) -> int:
    """Check a count: an integer of at least `least`."""
    if not _is_integer(value) or value < least:
        raise ValueError(f"{name} must be an integer of at least {least}; got {value!r}")
    return int(value)


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


def _is_integer(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)
