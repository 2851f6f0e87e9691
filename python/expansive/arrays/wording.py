"""Phrases that messages share."""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice
from typing import Any

_NAMED_AT_MOST = 3


def some_of(kind: str, names: Collection[Any]) -> str:
    """Name things for a message: "class 'a'", or "9 classes ('a', 'b', 'c', ...)"."""
    if len(names) == 1:
        return f"{kind} {next(iter(names))!r}"
    first = ", ".join(repr(name) for name in islice(names, _NAMED_AT_MOST))
    more = ", ..." if len(names) > _NAMED_AT_MOST else ""
    return f"{len(names)} {kind}{'es' if kind.endswith('s') else 's'} ({first}{more})"
