"""Nearest neighbours by label relation, certified exact."""

from __future__ import annotations

import os
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from expansive import arguments, arrays
from expansive.arrays import Rows
from expansive.backends.registry import (
    METRICS,
    RELATIONS,
    Backend,
    Expected,
    backend_for,
    default_backend_name,
)

MINIMUM_BUDGET = 1 << 20
"""The least `memory_budget`, in bytes."""

_MOST_THREADS = 1024  # each costs memory; more than cores bring nothing

Found = tuple[Any, Any]  # distances and row numbers, each an ndarray or a DeviceArray

_MOST_BYTES = _MOST_QUERIES = 1 << 60  # sums of them stay within 64 bits

_NO_DIRECTION = 2.0**-500  # rows up to here have no usable norm; only float64 gets near


class Index:
    """A database made ready once for many searches.

    Parameters
    ----------
    x : array-like, shape [n, d]
        Database rows: float16, bfloat16, float32 or float64, of NumPy, torch or any DLPack library.
        Results of `search_rows` are of the same library, on the same device, those of `search` of
        the library of its `q` (JAX makes int64 int32 unless its x64 mode is on).
        Kept by reference and read during every search: do not change it in between.
    y : array-like, shape [n], optional
        Labels; needed for the relations "enemy" and "friend".
    metric : {"euclidean", "sqeuclidean", "cosine"}
        Cosine distance is 1 - cos(a, b), formed as half the squared distance of the unit vectors.
    backend : str, optional
        One of `expansive info`'s backends. None follows the data: rows on a CUDA device stay there
        if a GPU backend runs, rows on the host stay on the host, because nobody asked for their
        transfer or for the GPU's memory; name a GPU backend to have them uploaded.
    threads : int, optional
        CPU threads; None takes all cores this process may use, or ``OMP_NUM_THREADS``, which joblib
        and torchrun set for their workers, if that is fewer.
    memory_budget : int, optional
        Bytes of scratch memory beside the arrays passed in; None takes a quarter of the machine's.
    expected_queries : int, optional
        About how many queries will share the cost of making the database ready; None means as many
        as it has rows. Decides how much preparation pays, never the result. On the CPU an index
        for up to 16 (4 for float64 rows or "cosine") prepares nothing, and for each search of more
        it prepares anew.
    expected_k : int, optional
        About how many rows each query will ask for. Decides how roughly the CPU may look at rows
        first, never the result.
    expected_relation : {"any", "enemy", "friend"}, optional
        The relation that most searches will ask for. Decides the same: friends are few.

    Attributes
    ----------
    rows : Rows
        The database as the kernels take it.
    classes : ndarray or None
        The distinct labels, sorted.
    codes : ndarray of int64 or None, shape [n]
        For each row the position of its label in `classes`.

    Raises
    ------
    ValueError, TypeError
        Before any work, for bad input: the message names the argument, the value and the fix.

    Notes
    -----
    *Exactness.* A result holds the k rows with the smallest (squared distance, row number), the
    distance being the direct float64 sum of (a - b)**2 in one fixed order, then rounded to float32
    (float64 when rows or queries are float64). Indices and bits are the same on every backend,
    instruction set and thread count.
    """

    def __init__(
        self,
        x: Any,
        y: Any = None,
        *,
        metric: str = "euclidean",
        backend: str | None = None,
        threads: int | None = None,
        memory_budget: int | None = None,
        expected_queries: int | None = None,
        expected_k: int = 10,
        expected_relation: str = "any",
    ) -> None:
        self._backend_name = backend
        self._backend = backend_for(x, backend)
        self._metric = arguments.as_choice(metric, METRICS, "metric")
        self._threads = thread_count(threads)
        self._budget = _budget(memory_budget)
        if expected_queries is not None:
            expected_queries = arguments.as_count(expected_queries, "expected_queries")
            expected_queries = min(expected_queries, _MOST_QUERIES)
        expected_k = arguments.as_k(expected_k, "expected_k")
        expected_relation = arguments.as_choice(expected_relation, RELATIONS, "expected_relation")
        self.rows, largest = _checked_rows(x, "x", self._backend, self._metric, self._threads)
        self.classes: NDArray[Any] | None = None
        self.codes: NDArray[np.int64] | None = None
        n_classes = 0
        if y is not None:
            self.classes, self.codes = arrays.as_labels(y, len(self.rows.data))
            n_classes = len(self.classes)
        self._index = self._backend.build_index(
            self.rows,
            largest,
            self.codes,
            n_classes,
            self._metric,
            Expected(
                len(self.rows.data) if expected_queries is None else expected_queries,
                expected_k,
                expected_relation,
            ),
            self._threads,
            self._budget,
        )

    def search(
        self, q: Any, q_labels: Any = None, k: int = 10, relation: str = "enemy"
    ) -> tuple[Any, Any]:
        """Find the nearest rows of the database for points that are not in it.

        Parameters
        ----------
        q : array-like, shape [n_queries, d]
            Query points.
        q_labels : array-like, shape [n_queries], optional
            Their labels; a label the database lacks has only enemies. Not needed for "any".
        k : int
            Neighbours for each query.
        relation : {"enemy", "friend", "any"}
            Rows of another class, of the same class, or all rows.

        Returns
        -------
        dist : array, shape [n_queries, k]
            Ascending; infinity where fewer than k rows qualify. float64 if x or q is, else float32.
        idx : array of int64, shape [n_queries, k]
            Row numbers in x; -1 where fewer than k rows qualify.
        """
        k = arguments.as_k(k)
        relation = arguments.as_choice(relation, RELATIONS, "relation")
        queries = self._as_queries(q)
        if len(queries.data) == 0:
            result: Found = _empty_result(self.rows, queries, k)
        else:
            codes = None if relation == "any" else self._query_codes(q_labels, len(queries.data))
            result = self._search(queries, codes, None, k, relation)
        return queries.wrap(result[0]), queries.wrap(result[1])

    def search_rows(
        self, queries: Any = None, k: int = 10, relation: str = "enemy"
    ) -> tuple[Any, Any]:
        """Find the nearest other rows for rows of the database itself.

        Parameters
        ----------
        queries : array-like of int, shape [n_queries], optional
            Row numbers; None means every row.
        k, relation
            As in `search`. A row is never its own neighbour; its duplicates are.

        Returns
        -------
        dist, idx : array, shape [n_queries, k]
            As in `search`.
        """
        found = self._find_rows(queries, k, relation)
        return self.rows.wrap(found[0]), self.rows.wrap(found[1])

    def find_rows(
        self, queries: Any, k: int, relation: str
    ) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Do `search_rows` with results in NumPy, whatever the library and device of x."""
        dist, idx = self._find_rows(queries, k, relation)
        return arrays.to_host(dist), arrays.to_host(idx)

    def _find_rows(self, queries: Any, k: int, relation: str) -> Found:
        k = arguments.as_k(k)
        relation = arguments.as_choice(relation, RELATIONS, "relation")
        _check_classes(self.classes, relation)
        n = len(self.rows.data)
        rows = np.arange(n) if queries is None else _row_numbers(queries, n)
        if len(rows) == 0:
            return _empty_result(self.rows, self.rows, k)
        data = self.rows.of_now() if queries is None else self.rows.take(rows)
        codes = None if relation == "any" or self.codes is None else self.codes[rows]
        return self._search(data, codes, rows, k, relation)

    def __repr__(self) -> str:
        (n, d), classes = self.rows.shape, 0 if self.classes is None else len(self.classes)
        backend = self._backend_name or default_backend_name(self.rows.device != "cpu")
        return (
            f"Index({n} rows of {d} features in {self.rows.dtype}, {classes} classes, "
            f"metric={self._metric!r}, backend={backend!r})"
        )

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "an Index belongs to its process and cannot be pickled or copied; keep x and y, and "
            "make it again with Index(x, y)"
        )

    def _search(
        self,
        queries: Rows,
        codes: NDArray[np.int64] | None,
        own_rows: NDArray[np.int64] | None,
        k: int,
        relation: str,
    ) -> Found:
        return self._index.search(
            queries, codes, own_rows, k, relation, self._threads, self._budget
        )

    def _as_queries(self, q: Any) -> Rows:
        queries, _ = _checked_rows(q, "q", self._backend, self._metric, self._threads, least=0)
        _check_features(queries, self.rows)
        _check_device(queries, self.rows)
        return queries

    def _query_codes(self, labels: Any, n: int) -> NDArray[np.int64]:
        """Encode query labels by the database's classes; -1 for a class it lacks."""
        if self.classes is None or labels is None:
            raise ValueError(
                "enemy and friend need labels on both sides; pass y to Index and q_labels to "
                "search, or use relation='any'"
            )
        own, own_codes = arrays.as_labels(labels, n, "q_labels")
        arrays.require_one_kind(own, self.classes, ("q_labels", "y"))
        position = np.minimum(np.searchsorted(self.classes, own), len(self.classes) - 1)
        known = self.classes[position] == own
        codes: NDArray[np.int64] = np.where(known, position, -1).astype(np.int64)[own_codes]
        return codes


def neighbors(
    x: Any,
    y: Any,
    k: int,
    relation: str = "enemy",
    queries: Any = None,
    metric: str = "euclidean",
    backend: str | None = None,
    threads: int | None = None,
    memory_budget: int | None = None,
) -> tuple[Any, Any]:
    """Find the k nearest other rows in a label relation, for rows of x.

    Parameters
    ----------
    x : array-like, shape [n, d]
        Row vectors; see `Index` for libraries and dtypes.
    y : array-like, shape [n], or None
        Labels of any sortable kind; None is allowed for relation "any".
    k : int
        Neighbours for each query.
    relation : {"enemy", "friend", "any"}
        Rows of another class, of the same class, or all rows; never the row itself.
    queries : array-like of int, optional
        Row numbers to search for; None means every row.
    metric, backend, threads, memory_budget
        As in `Index`.

    Returns
    -------
    dist : array, shape [n_queries, k]
        Ascending, float32 (float64 for float64 rows); infinity where fewer than k qualify.
    idx : array of int64, shape [n_queries, k]
        Row numbers; -1 where fewer than k qualify. Ties go to the smaller row number.

    Raises
    ------
    ValueError, TypeError, IndexError
        For bad input, before any work.

    Notes
    -----
    Exact and bit-identical on every backend; see `Index`.
    """
    k = arguments.as_k(k)
    relation = arguments.as_choice(relation, RELATIONS, "relation")
    rows = arrays.as_rows(x, "x", backend_for(x, backend).TAKES_DEVICE_ARRAYS)
    labels = None if y is None else arrays.as_labels(y, len(rows.data))
    _check_classes(None if labels is None else labels.classes, relation)
    if queries is not None:
        queries = _row_numbers(queries, len(rows.data))
    index = Index(
        rows,
        labels,
        metric=metric,
        backend=backend,
        threads=threads,
        memory_budget=memory_budget,
        expected_queries=None if queries is None else max(1, len(queries)),
        expected_k=k,
        expected_relation=relation,
    )
    return index.search_rows(queries, k, relation)


def nearest_enemies(
    x: Any, y: Any, k: int = 10, queries: Any = None, **options: Any
) -> tuple[Any, Any]:
    """Find the k nearest rows of another class; `neighbors` with relation "enemy".

    Parameters
    ----------
    x, y, k, queries
        As in `neighbors`.
    **options
        Its other options: metric, backend, threads, memory_budget.

    Returns
    -------
    dist, idx : array, shape [n_queries, k]
        As in `neighbors`: where there are fewer than k enemies, inf and -1 fill up.
    """
    return neighbors(x, y, k, relation="enemy", queries=queries, **options)


def _checked_rows(
    x: Any, name: str, backend: Backend, metric: str, threads: int, least: int = 1
) -> tuple[Rows, float]:
    """Rows fit for a search, at least so many, and their largest magnitude."""
    rows = arrays.as_rows(x, name, backend.TAKES_DEVICE_ARRAYS, least)
    if len(rows.data) == 0:
        return rows, 0.0
    bad, largest = backend.scan(rows, threads)
    arrays.require_finite(rows, bad, largest, name)
    if metric == "cosine":
        weak = np.flatnonzero(rows.largest_in_rows() <= _NO_DIRECTION)
        if len(weak):
            raise ValueError(
                f"{name}[{weak[0]}] is all zeros, or so small that its squares underflow, and has "
                "no direction; drop or rescale such rows, or use metric='euclidean'"
            )
    return rows, largest


def _check_classes(classes: NDArray[Any] | None, relation: str) -> None:
    if relation != "any" and classes is None:
        raise ValueError(f"relation={relation!r} needs labels; pass y, or relation='any'")
    if relation == "enemy" and classes is not None and len(classes) == 1:
        raise ValueError(
            f"y holds one class only ({classes.tolist()[0]!r}), so no row has an enemy; "
            "give rows of at least two classes"
        )


def _row_numbers(queries: Any, n: int) -> NDArray[np.int64]:
    fix = "search other points with Index(x, y).search"
    return arrays.as_row_indices(queries, n, "queries", "x", fix)


def _check_features(queries: Rows, x: Rows) -> None:
    if queries.shape[1] != x.shape[1]:
        raise ValueError(
            f"q has {queries.shape[1]} features but the index has {x.shape[1]}; "
            "they must come from the same space"
        )


def _check_device(queries: Rows, x: Rows) -> None:
    if queries.device not in (x.device, "cpu") and x.device != "cpu":
        raise ValueError(
            f"q lies on {queries.device} but the index on {x.device}; bring q there first"
        )


def _empty_result(x: Rows, q: Rows, k: int) -> tuple[NDArray[Any], NDArray[np.int64]]:
    dtype = np.result_type(x.compute_dtype, q.compute_dtype)
    return np.zeros((0, k), dtype), np.zeros((0, k), np.int64)


def thread_count(threads: int | None) -> int:
    """Check a number of threads; None means `default_threads`."""
    if threads is None:
        return default_threads()
    return min(arguments.as_count(threads, "threads"), _MOST_THREADS)


def default_threads() -> int:
    """Count the cores this process may use; at most OMP_NUM_THREADS, as processes share cores."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS
    cores = len(affinity(0)) if affinity else os.cpu_count() or 1
    first = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0].strip()  # "4,2" nests regions
    limit = int(first) if first.isdecimal() else 0
    return min(cores, limit) if limit else cores


def _budget(memory_budget: int | None) -> int:
    if memory_budget is None:
        return max(MINIMUM_BUDGET, os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 4)
    n_bytes = arguments.as_count(memory_budget, "memory_budget, in bytes,", MINIMUM_BUDGET)
    return min(n_bytes, _MOST_BYTES)
