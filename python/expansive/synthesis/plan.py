"""The plan: how to make one, and how to make rows from it."""

from __future__ import annotations

import operator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from expansive import arguments, arrays
from expansive.backends import cpu
from expansive.backends.registry import RowNumbers, backend_for, get_backend
from expansive.files import PathLike
from expansive.neighbors import thread_count
from expansive.synthesis import partners, plan_file
from expansive.synthesis.draft import Draft
from expansive.synthesis.fingerprints import FingerprintCheck
from expansive.synthesis.plan_file import Contents

METHODS = ("eos", "smote", "random")
ENEMIES = ("nearest", "neighborhood")

_FEW = 4  # rows of x for each synthetic one, of which two are taken: half of x at most


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
    shape : (int, int)
        Shape of the data the plan was made from.
    classes : ndarray
        Classes that get synthetic rows, in the order of their row ranges.
    counts : dict
        Synthetic rows of each class.
    """

    def __init__(
        self, contents: Contents, backend: str | None = None, threads: int | None = None
    ) -> None:
        if not isinstance(contents, Contents):
            raise TypeError(
                "a plan is made by SynthesisPlan.eos(x, y), smote, random or load, not directly"
            )
        self._contents = contents
        self._partners = contents.partners
        self.classes = contents.classes
        self._check = FingerprintCheck(contents.shape, contents.dtype, contents.fingerprint)
        get_backend(backend)
        self._backend_name = backend  # looked up at each use: a plan stays picklable
        thread_count(threads)
        self._threads = threads  # a default is counted at each use: where the plan is by then

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
            Labels: whole numbers, strings, booleans, categoricals.
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
        arguments.as_choice(enemies, ENEMIES, "enemies")
        k = arguments.as_k(k)
        if reference_compat and enemies != "neighborhood":
            raise ValueError("reference_compat=True needs enemies='neighborhood'")
        draft = Draft(x, y, sampling_strategy, expansion, seed, backend, threads)
        if enemies == "nearest":
            drawn = draft.drawn_rows()
            found = partners.nearest(draft.index(drawn, k, "enemy"), drawn, k, "enemy")
            tables = draft.among_all(found)
        else:
            index = draft.index(draft.rows, k, "any")
            tables = partners.neighborhood(index, draft.rows, k, reference_compat)
        return cls(draft.finish(tables), backend, threads)

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
        k = arguments.as_k(k)
        draft = Draft(x, y, sampling_strategy, expansion, seed, backend, threads)
        drawn = draft.drawn_rows()
        tables = draft.among_all(partners.friends(draft.index(drawn, k, "friend"), drawn, k))
        return cls(draft.finish(tables), backend, threads)

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
        draft = Draft(x, y, sampling_strategy, (0.0, 1.0), seed, backend, threads)
        draft.require_finite()
        tables = [partners.themselves(rows) for rows in draft.rows.values()]
        return cls(draft.finish(tables), backend, threads)

    @classmethod
    def by_method(
        cls,
        method: str,
        x: Any,
        y: Any,
        sampling_strategy: Any = "auto",
        k: int | None = None,
        enemies: str = "nearest",
        expansion: tuple[float, float] = (0.0, 1.0),
        seed: int = 0,
        *,
        backend: str | None = None,
        threads: int | None = None,
    ) -> SynthesisPlan:
        """Plan by the name of a method, one of `METHODS`, which takes the arguments it knows.

        Parameters and errors as in `eos`; a `k` of None is the method's own.
        """
        arguments.as_choice(method, METHODS, "method")
        options: dict[str, Any] = {"seed": seed, "backend": backend, "threads": threads}
        if method == "random":
            return cls.random(x, y, sampling_strategy, **options)
        options |= {"expansion": expansion} | ({} if k is None else {"k": k})
        if method == "smote":
            return cls.smote(x, y, sampling_strategy, **options)
        return cls.eos(x, y, sampling_strategy, enemies=enemies, **options)

    # ---- using a plan -------------------------------------------------------------------------

    @property
    def n_samples(self) -> int:
        """Number of synthetic rows."""
        return int(self._partners.sample_start[-1])

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the data the plan was made from."""
        return self._contents.shape

    @property
    def counts(self) -> dict[Any, int]:
        """Synthetic rows of each class that gets some."""
        sizes = np.diff(self._partners.sample_start)
        return dict(zip(self.classes.tolist(), sizes.tolist(), strict=True))

    def __len__(self) -> int:
        return self.n_samples

    def __repr__(self) -> str:
        n, d = self.shape
        return (
            f"SynthesisPlan({self.n_samples} rows of {len(self.classes)} classes, from {n} rows of "
            f"{d} features in {self._contents.dtype}, seed={self._partners.seed}, "
            f"backend={self._backend_name!r})"
        )

    def labels(self, start: int = 0, stop: int | None = None) -> NDArray[Any]:
        """Give the labels of the synthetic rows [start, stop); see `generate`.

        Returns
        -------
        ndarray, shape [stop - start]
            In NumPy whatever the library of y: numbers of its dtype, strings as ``str``, the values
            of a categorical.
        """
        rows = self._slice(start, stop)
        ends = np.clip(self._partners.sample_start, rows.start, rows.stop)
        repeated: NDArray[Any] = np.repeat(self.classes, np.diff(ends))
        return repeated

    def labels_of(self, rows: Any) -> NDArray[Any]:
        """Give the labels of synthetic rows of any numbers in any order; see `labels`."""
        rows = self._row_numbers(rows)
        group = np.searchsorted(self._partners.sample_start, rows, side="right") - 1
        picked: NDArray[Any] = self.classes[group]
        return picked

    def recipe(self, start: int = 0, stop: int | None = None) -> Recipe:
        """Give base, partner and weight of the synthetic rows [start, stop): their provenance."""
        return self._recipe(self._slice(start, stop))

    def generate(
        self, x: Any, start: int = 0, stop: int | None = None, out: Any = None, dtype: Any = None
    ) -> Any:
        """Make the synthetic rows [start, stop).

        Parameters
        ----------
        x : array-like, shape [n, d]
            The rows the plan was made from. Shape and dtype are compared at each call. All values
            are compared, by fingerprint, when another array object is passed than in the last
            call; of the same object only 64 rows, evenly spread, so that small slices stay cheap
            (of a torch tensor on a device its count of writes in place). A change in place of
            other rows is therefore not seen: make a new plan after it.
        start, stop : int
            Slice of the synthetic set; stop=None means its end.
        out : array, shape [stop - start, d], optional
            Contiguous array to write to: NumPy's or torch's on the CPU; torch's or CuPy's on the
            device of x where the rows are made there.
        dtype : optional
            Output dtype (NumPy's or torch's, or its name): "float16", "bfloat16", "float32" or
            "float64"; by default that of `out`, if it is given, else that of x.

        Returns
        -------
        array, shape [stop - start, d]
            Of x's library, on x's device. Values are ``fma(weight, partner - base, base)`` in
            float32 (float64 for float64 rows), then rounded to `dtype`.

        Raises
        ------
        ValueError
            When x is found not to be the plan's data, or out has another shape or cannot be
            written in place.
        TypeError
            When out is not of `dtype`.
        IndexError
            When the slice is not within the plan.
        """
        return self._generate(x, self._slice(start, stop), out, dtype)

    def generate_rows(self, x: Any, rows: Any, out: Any = None, dtype: Any = None) -> Any:
        """Make synthetic rows of any numbers in any order; see `generate`."""
        return self._generate(x, self._row_numbers(rows), out, dtype)

    def _generate(self, x: Any, rows: RowNumbers, out: Any, dtype: Any) -> Any:
        backend = backend_for(x, self._backend_name)
        threads = thread_count(self._threads)
        shape = len(rows), self._contents.shape[1]
        if backend is cpu and self._needs_few(x, rows):
            data, recipe = self._few(x, rows)
            target = arrays.as_output(out, shape, dtype, data)
            cpu.interpolate(data, *recipe, target, threads)
        else:
            data = arrays.as_rows(x, device=backend.TAKES_DEVICE_ARRAYS)
            self._check(x, data, backend, threads)
            target = arrays.as_output(out, shape, dtype, data)
            if len(rows):
                backend.synthesize(data, self._partners, rows, target, threads)
        return data.wrap(target.data) if out is None else out

    def _needs_few(self, x: Any, rows: RowNumbers) -> bool:
        """Whether `x` has passed the check and would be converted whole for a few of its rows."""
        is_small = 0 < _FEW * len(rows) < self._contents.shape[0]
        return is_small and arrays.is_converted(x) and self._check.has_passed(x, cpu)

    def _few(self, x: NDArray[Any], rows: RowNumbers) -> tuple[arrays.Rows, Recipe]:
        """Take the rows of `x` that synthetic ones are made of, and a recipe that numbers these."""
        recipe = self._recipe(rows)
        numbers, place = np.unique(
            np.concatenate([recipe.base, recipe.partner]), return_inverse=True
        )
        base, partner = np.split(place, 2)
        return arrays.as_rows(x[numbers]), Recipe(base, partner, recipe.weight.astype(np.float64))

    def _recipe(self, rows: RowNumbers) -> Recipe:
        weight_dtype = np.float64 if self._contents.dtype == "float64" else np.float32
        return Recipe(*get_backend(self._backend_name).draw(self._partners, rows, weight_dtype))

    def _row_numbers(self, rows: Any) -> NDArray[np.int64]:
        fix = "give integers"
        return arrays.as_row_indices(rows, self.n_samples, "rows", "the plan", fix)

    def _slice(self, start: int, stop: int | None) -> range:
        start = operator.index(start)
        stop = self.n_samples if stop is None else operator.index(stop)
        if not 0 <= start <= stop <= self.n_samples:
            raise IndexError(
                f"slice [{start}, {stop}) is not within the plan's {self.n_samples} rows; "
                f"stop at min(stop, plan.n_samples)"
            )
        return range(start, stop)

    # ---- keeping a plan -----------------------------------------------------------------------

    def save(self, path: PathLike) -> None:
        """Write the plan to an .npz file (no pickle), whole or not at all.

        Raises
        ------
        TypeError
            When the labels are objects that only pickle could hold.
        OSError
            When the file cannot be written.
        """
        plan_file.write(path, self._contents)

    @classmethod
    def load(
        cls, path: PathLike, *, backend: str | None = None, threads: int | None = None
    ) -> SynthesisPlan:
        """Read a plan written by `save`.

        Raises
        ------
        ValueError
            When the file is not a plan, or is damaged.
        """
        return cls(plan_file.read(path), backend, threads)
