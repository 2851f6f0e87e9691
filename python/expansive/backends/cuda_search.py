"""Search on CUDA: what the kernels need is put together here."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from expansive import _cuda
from expansive.arrays import DeviceArray, Rows
from expansive.backends.cuda_memory import NOTHING, Buffer, Place, place_of
from expansive.backends.reference import finish

Codes = NDArray[np.int64]

_HostFound = tuple[NDArray[Any], NDArray[np.int64]]

_SMALL_CODES = 1 << 15  # 16-bit integers are sorted by their digits
_QUERIES_SHARE = 16  # of a device's memory that queries from the host take at a time
_MOST_SCRATCH = 4 << 30  # bytes: blocks of more queries are no faster, and others want memory too


@dataclass(frozen=True)
class Stretch:
    """Rows of the database that are on the device together.

    Attributes
    ----------
    first, n : int
        Its rows in the database.
    class_starts : ndarray of int64 or None, shape [n_classes + 1]
        Positions of the classes when the rows are in class order.
    database : _cuda.Database
        The rows made ready.
    kept : tuple
        What the database refers to.
    """

    first: int
    n: int
    class_starts: NDArray[np.int64] | None
    database: _cuda.Database
    kept: tuple[Any, ...] = field(repr=False)


@dataclass(frozen=True)
class Index:
    """A database on the device, or one that passes through it in stretches.

    Attributes
    ----------
    x : Rows
        All rows.
    largest : float
        Magnitude that none of their values exceeds.
    codes : ndarray of int64 or None
        Their classes.
    n_classes : int
        Number of classes.
    metric : str
        One of `METRICS`.
    place : Place
        Where rows on the host go, and where the stretch that stays lies.
    length : int
        Rows of a stretch.
    resident : Stretch or None
        The only stretch, if there is one only.
    """

    x: Rows
    largest: float
    codes: Codes | None
    n_classes: int
    metric: str
    place: Place
    length: int
    resident: Stretch | None

    def search(
        self,
        queries: Rows,
        codes: Codes | None,
        own_rows: NDArray[np.int64] | None,
        k: int,
        relation: str,
        threads: int,
        memory_budget: int,
    ) -> tuple[Any, Any]:
        """Distances and row numbers, [n_queries, k]; `own_rows` are excluded, one a query.

        `DeviceArray`s where database and queries lie on the device, from the queries' allocator and
        in the order of their stream, else ndarrays.
        """
        on_device = self.place.holds(queries)
        place = place_of(queries if on_device else self.x.of_now())
        memory = _cuda.total_memory(place.device)
        wide = "float64" in (self.x.dtype, queries.dtype)
        work = _Work(place, k, relation, min(memory_budget, memory // 4, _MOST_SCRATCH), wide)
        if on_device:
            assert self.resident is not None
            return work.search(self.resident, _Queries(queries, codes, own_rows), on_device=True)
        asked = _Queries(queries.on_host(), codes, own_rows)
        parts = asked.cut(memory // _QUERIES_SHARE, k)
        if self.resident is not None:
            return _joined([work.search(self.resident, part) for part in parts])
        squares, index = self._pass_through(work, parts)
        with np.errstate(over="ignore"):  # beyond the output's range: infinity
            distance = finish(squares, self.metric)
            return distance.astype(np.float64 if wide else np.float32), index

    def _pass_through(self, work: _Work, parts: list[_Queries]) -> _HostFound:
        """Search stretch by stretch for squared distances."""
        found = None
        for first in range(0, self.x.shape[0], self.length):
            # Inside a call, so that the stretch is gone before the next one comes.
            near = self._search_stretch(work, parts, first)
            found = near if found is None else _merge(found, near)
        assert found is not None
        return found

    def _search_stretch(self, work: _Work, parts: list[_Queries], first: int) -> _HostFound:
        stretch = self.stretch(first)
        squares, index = _joined([work.search(stretch, part, squared=True) for part in parts])
        index[index >= 0] += first
        return squares, index

    def stretch(self, first: int) -> Stretch:
        """Bring the rows from `first` on to the device and make them ready."""
        part = slice(first, first + self.length)
        whole = self.length >= self.x.shape[0]
        rows = self.x if whole else replace(self.x, data=self.x.data[part])
        order = starts = None
        if self.codes is not None:
            codes = self.codes[part]
            order = class_order(codes, self.n_classes).astype(np.uint32)
            counts = np.bincount(codes, minlength=self.n_classes)
            starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        n, d = rows.shape
        kept = (
            self.place.bring(rows),
            self.place.upload(order),
            self.place.empty(_cuda.database_bytes(n, d, self.metric)),
        )
        database = _cuda.Database(
            self.place.device,
            kept[0].address,
            n,
            d,
            rows.dtype,
            self.largest,
            kept[1].address,
            self.metric,
            kept[2].address,
            self.place.stream,
        )
        return Stretch(first, n, starts, database, kept)


@dataclass(frozen=True)
class _Queries:
    """Points to search for, their classes, and the rows of the database that they are."""

    rows: Rows
    codes: Codes | None
    own_rows: NDArray[np.int64] | None

    def cut(self, n_bytes: int, k: int) -> list[_Queries]:
        """Cut those on the host, so that parts and their results take at most so many bytes."""
        n, d = self.rows.shape
        step = max(1, n_bytes // (d * self.rows.data.itemsize + k * 16))
        return [self._part(slice(first, first + step)) for first in range(0, n, step)]

    def _part(self, part: slice) -> _Queries:
        return _Queries(
            replace(self.rows, data=self.rows.data[part]),
            None if self.codes is None else self.codes[part],
            None if self.own_rows is None else self.own_rows[part],
        )


@dataclass(frozen=True)
class _Work:
    """A search's side that is the same for all stretches and parts of the queries."""

    place: Place
    k: int
    relation: str
    budget: int
    wide: bool

    def search(
        self, stretch: Stretch, asked: _Queries, squared: bool = False, on_device: bool = False
    ) -> tuple[Any, Any]:
        """Find the nearest rows of a stretch, numbered as its own."""
        (q, d), upload = asked.rows.shape, self.place.upload
        wide = self.wide or squared
        output = _Output(self.place, (q, self.k), wide, on_device)
        order = begin = end = NOTHING
        if asked.codes is not None:
            assert stretch.class_starts is not None
            order, begin, end = map(upload, query_tables(asked.codes, stretch.class_starts))
        own = upload(None if asked.own_rows is None else _rows_within(asked.own_rows, stretch))
        workspace = self.place.empty(_cuda.workspace_bytes(stretch.n, q, d, self.k, self.budget))
        rows = self.place.bring(asked.rows)
        stretch.database.search(
            queries=rows.address,
            n=q,
            d=d,
            dtype=asked.rows.dtype,
            order=order.address,
            class_begin=begin.address,
            class_end=end.address,
            own_rows=own.address,
            k=self.k,
            relation=self.relation,
            squared=squared,
            budget=self.budget,
            workspace=workspace.address,
            distance=output.distance.address,
            index=output.index.address,
            wide=wide,
            stream=self.place.stream,
        )
        return output.result()


class _Output:
    """Where distances and row numbers go, and from there to the caller."""

    def __init__(self, place: Place, shape: tuple[int, int], wide: bool, on_device: bool) -> None:
        self._place, self._shape, self._on_device = place, shape, on_device
        self._dtype = np.dtype(np.float64 if wide else np.float32)
        self.distance = self._make(self._dtype)
        self.index = self._make(np.dtype(np.int64))

    def _make(self, dtype: np.dtype[Any]) -> Buffer:
        if self._on_device:
            assert self._place.allocate is not None
            array = self._place.allocate(self._shape, dtype.name)
            return Buffer(array.pointer, array)
        return self._place.empty(self._shape[0] * self._shape[1] * dtype.itemsize)

    def result(self) -> tuple[Any, Any]:
        """Give the arrays where the caller wants them; waits only for those on the host."""
        if self._on_device:
            return self.distance.owner, self.index.owner
        distance, index = np.empty(self._shape, self._dtype), np.empty(self._shape, np.int64)
        self._place.download(self.distance, distance)
        self._place.download(self.index, index)
        return distance, index


def build(x: Rows, largest: float, codes: Codes | None, n_classes: int, metric: str) -> Index:
    """Make rows ready: all of them if they are on the device or fit there, else none yet."""
    place, (n, d) = place_of(x), x.shape
    length = n
    if not isinstance(x.data, DeviceArray):
        length = stretch_length(n, d, x.data.itemsize, metric, _cuda.total_memory(place.device))
    index = Index(x, largest, codes, n_classes, metric, place, length, None)
    return replace(index, resident=index.stretch(0)) if length >= n else index


def stretch_length(n: int, d: int, itemsize: int, metric: str, device_bytes: int) -> int:
    """Say how many rows to keep on a device at a time: they may take half of its memory."""
    row_bytes = d * itemsize + 8 + -(-_cuda.database_bytes(n, d, metric) // n)
    return min(n, max(1, device_bytes // 2 // row_bytes))


def class_order(codes: Codes, n_classes: int) -> NDArray[np.int64]:
    """Give row numbers by class, in each class ascending; code -1 comes first."""
    small = codes.astype(np.int16) if n_classes < _SMALL_CODES else codes
    return np.argsort(small, kind="stable")


def query_tables(
    codes: Codes, class_starts: NDArray[np.int64]
) -> tuple[NDArray[np.uint32], NDArray[np.uint32], NDArray[np.uint32]]:
    """Give the queries' class order and, in it, the first and last position of each one's class.

    A class that the database lacks, code -1, has no position: it begins and ends at 0.
    """
    order = class_order(codes, len(class_starts) - 1)
    ordered = codes[order]
    begin = np.where(ordered >= 0, class_starts[ordered], 0)
    end = np.where(ordered >= 0, class_starts[ordered + 1], 0)
    return order.astype(np.uint32), begin.astype(np.uint32), end.astype(np.uint32)


def _rows_within(rows: NDArray[np.int64], stretch: Stretch) -> NDArray[np.int64]:
    """Renumber rows of the database as those of the stretch; -1 for rows elsewhere."""
    within = rows - stretch.first
    return np.where((within >= 0) & (within < stretch.n), within, -1)


def _joined(parts: list[_HostFound]) -> _HostFound:
    """Put the results of parts of the queries one after the other."""
    distance, index = map(np.concatenate, zip(*parts, strict=True))
    return distance, index


def _merge(a: _HostFound, b: _HostFound) -> _HostFound:
    """Keep the k nearest of two searches for the same queries."""
    squares, index = (np.concatenate(pair, axis=1) for pair in zip(a, b, strict=True))
    nearest = np.lexsort((index, squares), axis=1)[:, : a[0].shape[1]]
    return np.take_along_axis(squares, nearest, 1), np.take_along_axis(index, nearest, 1)
