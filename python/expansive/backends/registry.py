"""Which backends there are, which one runs, and what each must offer."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from expansive.arguments import as_choice
from expansive.arrays import Rows, device_of

RELATIONS = ("enemy", "friend", "any")
METRICS = ("euclidean", "sqeuclidean", "cosine")

_MODULES = {
    "cpu": "expansive.backends.cpu",
    "cuda": "expansive.backends.cuda",
    "triton": "expansive.backends.triton",
    "reference": "expansive.backends.reference",
}
_PREFERRED = ("cpu", "reference")
_PREFERRED_ON_DEVICE = ("cuda", "triton", *_PREFERRED)


class Expected(NamedTuple):
    """About what an index will be asked for: how many queries, for how many rows, related how."""

    queries: int
    k: int
    relation: str


RowNumbers = range | NDArray[np.int64]
"""Numbers of synthetic rows: one after the other, or any in any order."""


@dataclass(frozen=True)
class Partners:
    """The drawing tables of a synthesis plan (design: class → base → partner).

    Attributes
    ----------
    sample_start : ndarray of int64, shape [n_classes + 1]
        Class c owns the synthetic rows ``sample_start[c]`` to ``sample_start[c + 1]``.
    base_start : ndarray of int64, shape [n_classes + 1]
        Its bases are ``bases[base_start[c]:base_start[c + 1]]``.
    bases : ndarray of int64, shape [n_bases]
        Row numbers in x.
    partner_start : ndarray of int64, shape [n_bases + 1]
        Partners of base b are ``partners[partner_start[b]:partner_start[b + 1]]``.
    partners : ndarray of int64
        Row numbers in x.
    seed : int
        Key of the random stream, 64 bits.
    low, high : float
        The range the interpolation weight is drawn from.
    """

    sample_start: NDArray[np.int64]
    base_start: NDArray[np.int64]
    bases: NDArray[np.int64]
    partner_start: NDArray[np.int64]
    partners: NDArray[np.int64]
    seed: int
    low: float
    high: float


class BackendIndex(Protocol):
    """A database of rows made ready for search.

    Results are ndarrays, or `DeviceArray`s where the queries lie on a device.
    """

    def search(
        self,
        queries: Rows,
        codes: NDArray[np.int64] | None,
        own_rows: NDArray[np.int64] | None,
        k: int,
        relation: str,
        threads: int,
        memory_budget: int,
    ) -> tuple[Any, Any]:
        """Distances and row numbers, [n_queries, k]; `own_rows` are excluded, one a query."""


class Backend(Protocol):
    """What a backend offers; each is a module.

    Codes, row numbers and drawing tables are host arrays, small against the rows; a backend for a
    device brings them there itself, as it does with rows that lie on the host.

    Attributes
    ----------
    TAKES_DEVICE_ARRAYS : bool
        Whether `Rows` may lie on a CUDA device; otherwise they are copied to the host before.
    """

    TAKES_DEVICE_ARRAYS: bool

    def unavailable(self) -> str | None:
        """Say why this backend cannot run here, or None when it can."""

    def describe(self) -> str:
        """Say in a line what it would run on."""

    def scan(self, x: Rows, threads: int) -> tuple[int, float]:
        """Give the first row with NaN or infinity (or -1) and the largest magnitude."""

    def fingerprint(self, x: Rows, threads: int) -> int:
        """Give a 64-bit hash of the matrix's bytes."""

    def build_index(
        self,
        x: Rows,
        largest: float,
        codes: NDArray[np.int64] | None,
        n_classes: int,
        metric: str,
        expected: Expected,
        threads: int,
        memory_budget: int,
    ) -> BackendIndex:
        """Make rows ready for the searches expected, which change no result."""

    def draw(
        self, partners: Partners, rows: RowNumbers, weight_dtype: type[np.floating[Any]]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[Any]]:
        """Give base, partner and weight of each synthetic row."""

    def synthesize(
        self, x: Rows, partners: Partners, rows: RowNumbers, out: Rows, threads: int
    ) -> None:
        """Write the synthetic rows into `out`."""


def picked_and_first(rows: RowNumbers) -> tuple[NDArray[np.int64] | None, int]:
    """Tell numbers that have to be read, or none, and where they begin otherwise."""
    return (None, rows.start) if isinstance(rows, range) else (rows, 0)


def get_backend(name: str | None = None, on_device: bool = False) -> Backend:
    """Find a backend by name; None takes the fastest one that can run here on such data.

    Parameters
    ----------
    name : str, optional
        One of the names `describe` lists.
    on_device : bool
        Whether the data lie on a CUDA device; looked at for `name` None only. Data on a device
        prefer the backends that take them there. Data on the host stay on the host's backends even
        next to a GPU: nobody asked for the transfer or for the GPU's memory.

    Raises
    ------
    ValueError
        For an unknown name; lists the choices.
    RuntimeError
        For a known backend that cannot run here; an explicit request never falls back.
    """
    if name is None:
        name = default_backend_name(on_device)
    backend = _load(as_choice(name, _MODULES, "backend"))
    reason = backend.unavailable()
    if reason is not None:
        raise RuntimeError(f"backend {name!r} cannot run here: {reason}")
    return backend


def backend_for(x: Any, name: str | None = None) -> Backend:
    """Find a backend for an array-like of any library; see `get_backend`."""
    return get_backend(name, device_of(x) != "cpu")


def default_backend_name(on_device: bool = False) -> str:
    """Name the backend that runs when none is asked for."""
    preferred = _PREFERRED_ON_DEVICE if on_device else _PREFERRED
    return next(name for name in preferred if _load(name).unavailable() is None)


def describe() -> list[tuple[str, bool, str]]:
    """List every backend: name, whether it can run here, and on what or why not."""
    rows = []
    for name in _MODULES:
        backend = _load(name)
        reason = backend.unavailable()
        rows.append((name, reason is None, reason or backend.describe()))
    return rows


def _load(name: str) -> Backend:
    return cast(Backend, importlib.import_module(_MODULES[name]))
