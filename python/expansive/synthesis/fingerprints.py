"""A plan belongs to one data set: cheap proof that the data passed in is that one."""

from __future__ import annotations

import weakref
from typing import Any

import numpy as np
from numpy.typing import NDArray

from expansive.arrays import Rows, as_rows, is_torch
from expansive.backends.registry import Backend

_SAMPLED_ROWS = 64


class FingerprintCheck:
    """Refuses any matrix but the one with the given shape, dtype and fingerprint.

    The whole matrix is hashed the first time an array object is seen; after that, while the same
    object is passed, only a sample of its rows is, so that streaming small slices stays cheap. For
    a torch tensor on a device its count of writes in place is looked at instead, which does not
    wait for the device.
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
        if rows.shape != self.shape or rows.dtype != self.dtype:
            raise ValueError(
                f"x is {rows.dtype} {rows.shape} but this plan was made from {self.dtype} "
                f"{self.shape}; pass the same rows, or make a new plan"
            )
        sample = _mark(x, rows, backend)
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

    def has_passed(self, x: NDArray[Any], backend: Backend) -> bool:
        """Whether the last call was given this array, by the rows of it that a call looks at.

        These alone are converted. False is no refusal: a call looks at the rest.
        """
        if self._seen is None or self._seen() is not x or x.shape != self.shape:
            return False
        return self._sample == backend.fingerprint(as_rows(x[_sampled(len(x))]), 1)


def _mark(x: Any, rows: Rows, backend: Backend) -> int:
    """Give a number that changes when the values do, as a rule."""
    if rows.device != "cpu" and is_torch(x) and not x.is_inference():
        return int(x._version)
    return _hash_sample(rows, backend)


def _hash_sample(rows: Rows, backend: Backend) -> int:
    return backend.fingerprint(rows.take(_sampled(len(rows.data))), 1)


def _sampled(n: int) -> NDArray[np.int64]:
    return np.linspace(0, n - 1, min(n, _SAMPLED_ROWS)).astype(np.int64)
