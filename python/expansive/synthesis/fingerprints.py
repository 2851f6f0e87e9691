"""A plan belongs to one data set: cheap proof that the data passed in is that one."""

from __future__ import annotations

import weakref
from dataclasses import replace
from typing import Any

import numpy as np

from expansive.arrays import Rows
from expansive.backends.registry import Backend

_SAMPLED_ROWS = 64


class FingerprintCheck:
    """Refuses any matrix but the one with the given shape, dtype and fingerprint.

    The whole matrix is hashed the first time an array object is seen; after that, while the same
    object is passed, only a sample of its rows is, so that streaming small slices stays cheap.
    """

    def __init__(self, shape: tuple[int, int], dtype: str, fingerprint: int) -> None:
        self.shape = shape
        self.dtype = dtype
        self.fingerprint = fingerprint
        self._seen: weakref.ref[Any] | None = None
        self._sample = 0

    def __getstate__(self) -> dict[str, Any]:
        """Forget the array seen: a weak reference cannot be pickled."""
        return {**self.__dict__, "_seen": None}

    def __call__(self, x: Any, rows: Rows, backend: Backend, threads: int) -> None:
        """Raise ValueError unless `rows`, the view of the user's `x`, is the plan's data."""
        if rows.data.shape != self.shape or rows.dtype != self.dtype:
            raise ValueError(
                f"x is {rows.dtype} {rows.data.shape} but this plan was made from {self.dtype} "
                f"{self.shape}; pass the same rows, or make a new plan"
            )
        sample = _hash_sample(rows, backend)
        if self._seen is not None and self._seen() is x and self._sample == sample:
            return
        if backend.fingerprint(rows, threads) != self.fingerprint:
            raise ValueError(
                "x is not the data this plan was made from (its fingerprint differs); pass the "
                "same rows, or make a new plan"
            )
        self._sample = sample
        try:
            self._seen = weakref.ref(x)
        except TypeError:
            self._seen = None


def _hash_sample(rows: Rows, backend: Backend) -> int:
    n = len(rows.data)
    picked = np.linspace(0, n - 1, min(n, _SAMPLED_ROWS)).astype(np.int64)
    return backend.fingerprint(replace(rows, data=rows.data[picked]), 1)
