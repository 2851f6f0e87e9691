"""The synthetic set as a pure function of (data, plan, seed, row number)."""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from expansive import arrays, partners
from expansive.backends.registry import Backend, Partners, get_backend
from expansive.files import atomic_write
from expansive.fingerprints import FingerprintCheck
from expansive.neighbors import Index, thread_count
from expansive.partners import ClassPartners, check

ENEMIES = ("nearest", "neighborhood")

_FORMAT = 1
_LARGEST_WEIGHT = 1e30  # far from float32's overflow


class Recipe(NamedTuple):
    """How synthetic rows are made: ``x[base] + weight * (x[partner] - x[base])``.

    Attributes
    ----------
    base, partner : ndarray of int64
        Row numbers in x. The partner is an enemy for EOS, a friend for SMOTE, the base itself for
        random over-sampling.
    weight : ndarray of float32 (float64 for float64 data)
        Drawn uniformly from the plan's `expansion`.
    """

    base: NDArray[np.int64]
    partner: NDArray[np.int64]
    weight: NDArray[Any]


class SynthesisPlan:
    """Which synthetic rows to make; any slice can be made anywhere, in any order, with equal bits.

    Make one with `eos`, `smote` or `random`; each draws row i from Philox4x32-10 with key = seed
    and counter = i (Dablain et al., arXiv 2207.06080, section 3, with counters for a stream).

    Attributes
    ----------
    n_samples : int
        Number of synthetic rows.
    classes : ndarray
        Classes that get synthetic rows, in the order of their row ranges.
    counts : dict
        Synthetic rows of each class.
    """

    def __init__(
        self,
        partners: Partners,
        classes: NDArray[Any],
        shape: tuple[int, int],
        dtype: str,
        fingerprint: int,
        backend: str | None = None,
        threads: int | None = None,
    ) -> None:
        self._partners = partners
        self.classes = classes
        self._shape = shape
        self._dtype = dtype
        self._check = FingerprintCheck(shape, dtype, fingerprint)
        get_backend(backend)
        self._backend_name = backend
        self._threads = thread_count(threads)

    # ---- making a plan ------------------------------------------------------------------------

    @classmethod
    def eos(
        cls,
        x: Any,
        y: Any,
        sampling_strategy: Any = "auto",
        k: int = 10,
        enemies: str = "nearest",
        expansion: tuple[float, float] = (0.0, 1.0),
        seed: int = 0,
        *,
        reference_compat: bool = False,
        backend: str | None = None,
        threads: int | None = None,
    ) -> SynthesisPlan:
        """Plan Expansive Over-Sampling: partners are nearest enemies.

        Parameters
        ----------
        x : array-like, shape [n, d]
            Embeddings; see `Index` for libraries and dtypes.
        y : array-like, shape [n]
            Labels.
        sampling_strategy : str, float, dict or callable
            As in imbalanced-learn; "auto" raises every class to the size of the largest.
        k : int
            Enemies for each base (or rows searched, for "neighborhood").
        enemies : {"nearest", "neighborhood"}
            "nearest": each row's k nearest enemies. "neighborhood": the enemies among its k nearest
            rows of any class (the paper's algorithm); rows without one are no bases, and a class in
            which no row has one falls back to nearest, with a warning.
        expansion : (float, float)
            Range of the interpolation weight, from the base (0) to the enemy (1).
        seed : int
            64-bit key of the random stream.
        reference_compat : bool
            Draw as the paper's published code does, for comparison only: its neighbour table still
            holds the row itself in column 0, so it draws one rank too close and some partners are
            friends or the base itself. Needs enemies="neighborhood".
        backend, threads
            As in `Index`.

        Returns
        -------
        SynthesisPlan

        Raises
        ------
        ValueError, TypeError
            For bad input, before any work.
        """
        arrays.as_choice(enemies, ENEMIES, "enemies")
        k = arrays.as_positive(k, "k")
        if reference_compat and enemies != "neighborhood":
            raise ValueError("reference_compat=True needs enemies='neighborhood'")
        draft = _Draft(x, y, sampling_strategy, expansion, seed, backend, threads)
        index = Index(x, y, backend=backend, threads=threads)
        if enemies == "nearest":
            return draft.plan(lambda _, rows: partners.nearest(index, rows, k, "enemy"))
        return draft.plan(
            lambda label, rows: partners.neighborhood(index, rows, label, k, reference_compat)
        )

    @classmethod
    def smote(
        cls,
        x: Any,
        y: Any,
        sampling_strategy: Any = "auto",
        k: int = 5,
        expansion: tuple[float, float] = (0.0, 1.0),
        seed: int = 0,
        *,
        backend: str | None = None,
        threads: int | None = None,
    ) -> SynthesisPlan:
        """Plan SMOTE (Chawla et al., JAIR 2002): partners are the k nearest friends.

        Parameters and errors as in `eos`. A class of one row has no friend: its only row is its own
        partner, with a warning.
        """
        k = arrays.as_positive(k, "k")
        draft = _Draft(x, y, sampling_strategy, expansion, seed, backend, threads)
        index = Index(x, y, backend=backend, threads=threads)
        return draft.plan(lambda label, rows: partners.friends(index, rows, label, k))

    @classmethod
    def random(
        cls,
        x: Any,
        y: Any,
        sampling_strategy: Any = "auto",
        seed: int = 0,
        *,
        backend: str | None = None,
        threads: int | None = None,
    ) -> SynthesisPlan:
        """Plan random over-sampling: every row is its own partner, so rows are repeated.

        Parameters and errors as in `eos`.
        """
        draft = _Draft(x, y, sampling_strategy, (0.0, 1.0), seed, backend, threads)
        return draft.plan(lambda _, rows: partners.themselves(rows))

    # ---- using a plan -------------------------------------------------------------------------

    @property
    def n_samples(self) -> int:
        """Number of synthetic rows."""
        return int(self._partners.sample_start[-1])

    @property
    def counts(self) -> dict[Any, int]:
        """Synthetic rows of each class that gets some."""
        sizes = np.diff(self._partners.sample_start)
        return dict(zip(self.classes.tolist(), sizes.tolist(), strict=True))

    def labels(self, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """Labels of the synthetic rows [start, stop), in the type of y."""
        return self.labels_of(self._rows(start, stop))

    def labels_of(self, rows: Any) -> NDArray[Any]:
        """Labels of the given synthetic rows, any row numbers in any order."""
        rows = arrays.as_row_indices(rows, self.n_samples, "rows", "the plan")
        group = np.searchsorted(self._partners.sample_start, rows, side="right") - 1
        picked: NDArray[Any] = self.classes[group]
        return picked

    def recipe(self, start: int = 0, stop: int | None = None) -> Recipe:
        """Base, partner and weight of the synthetic rows [start, stop): their provenance."""
        weight_dtype = np.float64 if self._dtype == "float64" else np.float32
        return Recipe(*self._backend().draw(self._partners, self._rows(start, stop), weight_dtype))

    def generate(
        self, x: Any, start: int = 0, stop: int | None = None, out: Any = None, dtype: Any = None
    ) -> Any:
        """Make the synthetic rows [start, stop).

        Parameters
        ----------
        x : array-like, shape [n, d]
            The rows the plan was made from; others are refused by fingerprint.
        start, stop : int
            Slice of the synthetic set; stop=None means its end.
        out : array, shape [stop - start, d], optional
            NumPy array or torch tensor (on the CPU) to write to, contiguous.
        dtype : optional
            Output dtype (NumPy's or torch's, or its name): "float16", "bfloat16", "float32" or
            "float64"; by default that of x.

        Returns
        -------
        array, shape [stop - start, d]
            Of x's library, on x's device. Values are ``fma(weight, partner - base, base)`` in
            float32 (float64 for float64 rows), then rounded to `dtype`.
        """
        return self.generate_rows(x, self._rows(start, stop), out=out, dtype=dtype)

    def generate_rows(self, x: Any, rows: Any, out: Any = None, dtype: Any = None) -> Any:
        """Make the given synthetic rows, any row numbers in any order; see `generate`."""
        rows = arrays.as_row_indices(rows, self.n_samples, "rows", "the plan")
        data = arrays.as_rows(x)
        self._check(x, data, self._backend(), self._threads)
        target = arrays.as_output(out, (len(rows), self._shape[1]), dtype, data)
        if len(rows):
            self._backend().synthesize(data, self._partners, rows, target, self._threads)
        return data.wrap(target.data) if out is None else out

    def _backend(self) -> Backend:
        """Look the backend up by name: a plan stays picklable."""
        return get_backend(self._backend_name)

    def _rows(self, start: int, stop: int | None) -> NDArray[np.int64]:
        stop = self.n_samples if stop is None else stop
        if not 0 <= start <= stop <= self.n_samples:
            raise IndexError(
                f"slice [{start}, {stop}) is not within the plan's {self.n_samples} rows"
            )
        return np.arange(start, stop, dtype=np.int64)

    # ---- keeping a plan -----------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the plan to an .npz file (no pickle), whole or not at all."""
        p = self._partners
        if self.classes.dtype.hasobject:
            kind = type(self.classes[0]).__name__
            raise TypeError(
                f"labels of type {kind} cannot be saved without pickle; make the plan from labels "
                "that are numbers or strings"
            )
        settings = {
            "format": _FORMAT,
            "seed": p.seed,
            "low": p.low,
            "high": p.high,
            "shape": list(self._shape),
            "dtype": self._dtype,
            "fingerprint": self._check.fingerprint,
        }
        with atomic_write(path) as temporary, temporary.open("wb") as file:
            np.savez(
                file,
                settings=np.array(json.dumps(settings)),
                classes=self.classes,
                sample_start=p.sample_start,
                base_start=p.base_start,
                bases=p.bases,
                partner_start=p.partner_start,
                partners=p.partners,
            )

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        backend: str | None = None,
        threads: int | None = None,
    ) -> SynthesisPlan:
        """Read a plan written by `save`.

        Raises
        ------
        ValueError
            When the file is not a plan, or is damaged.
        """
        try:
            with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
                stored: Mapping[str, NDArray[Any]] = dict(file)
            settings = json.loads(str(stored["settings"]))
            if settings["format"] != _FORMAT:
                raise ValueError(f"format {settings['format']}, this version reads {_FORMAT}")
            tables = Partners(
                **{name: stored[name] for name in _TABLES},
                seed=_as_seed(settings["seed"]),
                low=settings["low"],
                high=settings["high"],
            )
            n_rows, n_features = settings["shape"]
            check(tables, len(stored["classes"]), n_rows)
            dtype = arrays.as_choice(settings["dtype"], arrays.DTYPES, "dtype")
            fingerprint = settings["fingerprint"]
        except _DAMAGE as error:
            raise ValueError(
                f"{os.fspath(path)!r} is no readable synthesis plan ({error}); make it again with "
                "SynthesisPlan.eos(...).save(path)"
            ) from error
        shape = (n_rows, n_features)
        return cls(tables, stored["classes"], shape, dtype, fingerprint, backend, threads)


_TABLES = ("sample_start", "base_start", "bases", "partner_start", "partners")
_DAMAGE = (
    AttributeError,
    EOFError,
    IndexError,
    KeyError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)


class _Draft:
    """The checked input of a plan: which classes get how many rows, and from which rows of x."""

    def __init__(
        self,
        x: Any,
        y: Any,
        sampling_strategy: Any,
        expansion: tuple[float, float],
        seed: int,
        backend: str | None,
        threads: int | None,
    ) -> None:
        self._expansion = _as_expansion(expansion)
        self._seed = _as_seed(seed)
        self._backend = backend
        self._threads = threads
        self._x = arrays.as_rows(x)
        classes, codes = arrays.as_labels(y, len(self._x.data))
        if len(classes) == 1:
            raise ValueError(
                f"y holds one class only ({classes.tolist()[0]!r}); over-sampling needs at least two"
            )
        engine, n_threads = get_backend(backend), thread_count(threads)
        arrays.require_finite(self._x, *engine.scan(self._x, n_threads))
        self._fingerprint = engine.fingerprint(self._x, n_threads)
        wanted = _rows_per_class(sampling_strategy, classes[codes])
        self._sizes = {label: wanted[label] for label in classes.tolist() if wanted.get(label)}
        position = {label: code for code, label in enumerate(classes.tolist())}
        self._rows = {label: np.flatnonzero(codes == position[label]) for label in self._sizes}
        self._classes = classes[[position[label] for label in self._sizes]]

    def plan(self, find: Callable[[Any, NDArray[np.int64]], ClassPartners]) -> SynthesisPlan:
        """Find each class's partners (from its label and rows) and join them into a plan."""
        tables = []
        for label, rows in self._rows.items():  # no comprehension: warnings count stack frames
            tables.append(find(label, rows))
        joined = partners.join(tables, list(self._sizes.values()), self._seed, self._expansion)
        shape = (self._x.data.shape[0], self._x.data.shape[1])
        return SynthesisPlan(
            joined,
            self._classes,
            shape,
            self._x.dtype,
            self._fingerprint,
            self._backend,
            self._threads,
        )


def _rows_per_class(sampling_strategy: Any, labels: NDArray[Any]) -> dict[Any, int]:
    """How many synthetic rows each class gets, by imbalanced-learn's rules."""
    from imblearn.utils import check_sampling_strategy

    wanted = check_sampling_strategy(sampling_strategy, labels, "over-sampling")
    return {
        label.item() if isinstance(label, np.generic) else label: int(count)
        for label, count in wanted.items()
    }


def _as_expansion(expansion: Any) -> tuple[float, float]:
    try:
        low, high = (float(end) for end in expansion)
    except (TypeError, ValueError):
        low, high = np.nan, np.nan
    if not -_LARGEST_WEIGHT <= low <= high <= _LARGEST_WEIGHT:
        raise ValueError(
            f"expansion must be two numbers (low, high) with low <= high, such as (0.0, 1.0), "
            f"within {_LARGEST_WEIGHT:g} of zero; got {expansion!r}"
        )
    return low, high


def _as_seed(seed: Any) -> int:
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or not 0 <= seed < 2**64:
        raise ValueError(f"seed must be an integer in [0, 2**64); got {seed!r}")
    return int(seed)
