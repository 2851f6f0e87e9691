"""The sampler for imbalanced-learn."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from imblearn.over_sampling.base import BaseOverSampler
from numpy.typing import NDArray
from scipy.sparse import issparse, vstack  # type: ignore[import-untyped]
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions

from expansive.arguments import as_expansion, as_strategy
from expansive.arrays import (
    empty_aligned,
    host_array,
    is_of,
    is_pandas_frame,
    is_polars,
    is_torch,
    label_array,
    require_collected,
    require_number_columns,
    require_unmasked,
)
from expansive.exact_neighbors import threads_of
from expansive.synthesis import ENEMIES, SynthesisPlan


class EOS(BaseOverSampler):  # type: ignore[misc]
    """Expansive Over-Sampling: new rows between a class and its nearest enemies.

    Parameters
    ----------
    sampling_strategy : str, float, dict or callable, default="auto"
        Which classes get rows, and how many, as in every over-sampler of imbalanced-learn; "auto"
        raises every class to the size of the largest.
    k_neighbors : int, default=10
        Nearest enemies each row may be combined with (rows searched, for "neighborhood"). More than
        there are is no error.
    enemies : {"nearest", "neighborhood"}, default="nearest"
        "nearest": the k nearest rows of another class. "neighborhood", the algorithm of the paper:
        those among the k nearest rows of any class; rows without one are not used.
    expansion : (float, float), default=(0.0, 1.0)
        Range of the weight of the enemy: 0 is the row itself, 1 the enemy.
    random_state : int, RandomState or None, default=None
        An int is the plan's seed; otherwise a seed is drawn.
    n_jobs : int or None, default=None
        CPU threads; results do not depend on it. None and -1 take all cores this process may use,
        or ``OMP_NUM_THREADS`` if that is fewer; -2 is one less, and so on.
    backend : str or None, default=None
        One of `expansive info`'s backends; None takes the CPU's, beside a GPU too.

    Attributes
    ----------
    plan_ : SynthesisPlan
        What was made; ``plan_.recipe()`` gives base, enemy and weight of each new row, as row
        numbers in the X given to `fit_resample`.
    sampling_strategy_ : dict
        How many rows each class got.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of str
        Names of the features, when X had names.

    See Also
    --------
    SynthesisPlan : The same without imbalanced-learn, for rows that are streamed.

    Notes
    -----
    The result is X, to the last bit, followed by the new rows, class after class. Deterministic for
    a given `random_state`, on every backend and number of threads.

    Lists, pandas, polars and torch come back as what they were, with names, dtypes and device.
    New rows of integers are computed in float64 and truncated, as SMOTE does; of bfloat16 in
    float32. Sparse X is made dense for the search and the result is sparse again: new rows have
    the non-zeros of both parents.

    Source: Dablain, Bellinger, Krawczyk and Chawla, "Efficient Augmentation for Imbalanced Deep
    Learning", arXiv 2207.06080, section 3.

    Examples
    --------
    >>> from collections import Counter
    >>> from sklearn.datasets import make_classification
    >>> from expansive import EOS
    >>> X, y = make_classification(n_samples=200, weights=[0.9], random_state=0)
    >>> X_res, y_res = EOS(random_state=0).fit_resample(X, y)
    >>> sorted(Counter(y_res.tolist()).values())
    [180, 180]
    """

    sampling_strategy_: dict[Any, int]
    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **BaseOverSampler._parameter_constraints,
        "k_neighbors": [Interval(Integral, 1, None, closed="left")],
        "enemies": [StrOptions(set(ENEMIES))],
        "expansion": ["array-like"],
        "n_jobs": [Integral, None],
        "backend": [str, None],
    }

    def __init__(
        self,
        sampling_strategy: Any = "auto",
        *,
        k_neighbors: int = 10,
        enemies: str = "nearest",
        expansion: tuple[float, float] = (0.0, 1.0),
        random_state: Any = None,
        n_jobs: int | None = None,
        backend: str | None = None,
    ) -> None:
        super().__init__(sampling_strategy=sampling_strategy)
        self.k_neighbors = k_neighbors
        self.enemies = enemies
        self.expansion = expansion
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.backend = backend

    def fit_resample(self, X: Any, y: Any, **params: Any) -> tuple[Any, Any]:
        """Add the new rows to a data set.

        Parameters
        ----------
        X : array-like, tensor, data frame (pandas, polars) or sparse matrix, shape [n, d]
            Finite numbers.
        y : array-like, shape [n]
            Labels: integers, strings, booleans, categoricals; or one-vs-rest indicators [n, c].
        **params
            None are taken.

        Returns
        -------
        X_resampled, y_resampled
            X and y followed by the new rows, of the types given.

        Raises
        ------
        ValueError
            For one class only, NaN or infinity, a bad parameter, or an expansion beyond 0 and 1
            whose rows the type of X may not hold; before any work.
        TypeError
            For columns of a data frame that hold no numbers (but text, categories or arrays), for a
            Series of arrays, or for a LazyFrame.
        """
        require_number_columns(X, "X")
        require_collected(y, "y")
        require_unmasked(y, "y")
        _require_stacked(X)
        self._validate_params()
        _require_no_categories(X)
        _require_room(X, self.expansion)
        if isinstance(y, list | tuple) and not any(map(np.ndim, y[:1])):
            y = type(y)(label_array(y, "y").tolist())  # imbalanced-learn would make all strings
        numbers = X
        if is_pandas_frame(X) and not all(map(_is_plain, _types(X))):
            numbers = X.astype(np.float64)  # imbalanced-learn would fail to cast fractions back
        X_res, y_res = super().fit_resample(_as_numpy(numbers, "X"), _as_numpy(y, "y"), **params)
        if is_polars(X):
            self.feature_names_in_ = np.asarray(X.columns, dtype=object)
        return _with_own_rows(X, X_res), _like(y_res, y)

    def _check_X_y(self, X: Any, y: Any) -> Any:
        checked = super()._check_X_y(X, y)
        as_strategy(self.sampling_strategy, checked[1])  # imbalanced-learn takes any counts
        return checked

    def _fit_resample(self, X: Any, y: NDArray[Any]) -> tuple[Any, NDArray[Any]]:
        n = X.shape[0]
        # Counts may be whole floats so far.
        self.sampling_strategy_ = {
            label: int(extra) for label, extra in self.sampling_strategy_.items()
        }
        wanted = {
            label: extra + np.count_nonzero(y == label)
            for label, extra in self.sampling_strategy_.items()
        }
        # The result is made first and X copied into it: its first rows are then the plan's data,
        # dense, contiguous and of a dtype the kernels read, and the new rows are written in place.
        n_res = n + sum(self.sampling_strategy_.values())
        X_res = empty_aligned((n_res, X.shape[1]), _kernel_dtype(X.dtype))
        y_res = np.empty(n_res, y.dtype)
        data = X_res[:n]
        data[...] = X.toarray() if issparse(X) else X
        y_res[:n] = y
        self.plan_ = SynthesisPlan.eos(
            data,
            y,
            wanted,
            self.k_neighbors,
            self.enemies,
            self.expansion,
            _seed(self.random_state),
            backend=self.backend,
            threads=threads_of(self.n_jobs),
        )
        self.plan_.generate(data, out=X_res[n:])
        y_res[n:] = self.plan_.labels()
        return _joined(X, X_res), y_res


def _require_stacked(X: Any) -> None:
    """Refuse rows that are the elements of a Series, or of a one-dimensional array of objects."""
    is_series = any(is_of(library, ("Series",), X) for library in ("pandas", "polars"))
    is_objects = isinstance(X, np.ndarray) and X.dtype == object and X.ndim == 1
    if (is_series or is_objects) and np.ndim(next(iter(X), 0)) > 0:
        raise TypeError("X is a column of arrays; pass np.stack(X), one row of each")


def _require_no_categories(X: Any) -> None:
    for name, dtype in X.dtypes.items() if is_pandas_frame(X) else ():
        if is_of("pandas", ("CategoricalDtype",), dtype):
            raise TypeError(
                f"X has the categorical column {name!r}, between whose values there is nothing; "
                "encode it as numbers (one-hot, say), or make it one with .astype(float)"
            )


def _require_room(X: Any, expansion: Any) -> None:
    """Refuse an expansion beyond [0, 1] whose rows the type of X may not hold."""
    low, high = as_expansion(expansion)
    beyond = max(high - 1.0, -low, 0.0)
    for name, dtype, values in _columns(X) if beyond > 0.0 else ():
        if dtype.kind not in "iuf" or values.shape[0] == 0:
            continue
        held = np.iinfo(dtype) if dtype.kind in "iu" else np.finfo(dtype)
        least, most = float(values.min()), float(values.max())
        reach = beyond * (most - least)
        if least - reach < float(held.min) or most + reach > float(held.max):
            raise ValueError(
                f"expansion is {expansion!r}, and new rows may lie outside of {dtype}, the type of "
                f"{name}; pass X as a wider type (float64), or an expansion within 0 and 1"
            )


def _columns(X: Any) -> Iterator[tuple[str, Any, Any]]:
    """List name, NumPy's type and values of each column of a frame; of all else, of the whole."""
    if is_pandas_frame(X):
        for j, dtype in enumerate(X.dtypes):
            yield f"column {X.columns[j]!r}", getattr(dtype, "numpy_dtype", dtype), X.iloc[:, j]
    elif is_polars(X):
        for column in X.get_columns():
            yield f"column {column.name!r}", column.to_numpy().dtype, column
    else:
        array = X if issparse(X) else host_array(X, "X")
        yield "X", array.dtype, array


def _joined(X: Any, X_res: NDArray[Any]) -> Any:
    """Put the rows that follow X in `X_res` after X itself, whose own dtype may hold more."""
    new = X_res[X.shape[0] :]
    if issparse(X):
        return vstack([X, type(X)(new.astype(X.dtype, copy=False))], format=X.format)
    if X_res.dtype == X.dtype:
        return X_res
    return np.concatenate([X, new], dtype=X.dtype, casting="unsafe")


def _with_own_rows(X: Any, X_res: Any) -> Any:
    """Give the result the library, names, dtypes and device of X, and the very rows of X."""
    if is_polars(X):
        import polars

        new = polars.DataFrame(X_res[len(X) :], schema=X.columns, orient="row")
        return polars.concat([X, new.cast(dict(X.schema))])
    if not is_pandas_frame(X) or _is_exact_as_array(X):
        return _like(X_res, X)
    import pandas as pd

    return pd.concat([X, _cast(X_res.iloc[len(X) :], X.dtypes)], ignore_index=True)


def _is_exact_as_array(X: Any) -> bool:
    """Whether one array holds the numbers of a pandas frame exactly: of one type, or as float64."""
    types = _types(X)
    if not all(map(_is_plain, types)):
        return False
    return len(types) == 1 or all(dtype.itemsize < 8 or dtype == np.float64 for dtype in types)


def _types(X: Any) -> set[Any]:
    return {getattr(dtype, "subtype", dtype) for dtype in X.dtypes}  # that of sparse columns


def _is_plain(dtype: Any) -> bool:
    """Whether a column type is NumPy's for numbers, not a nullable one, a categorical or object."""
    return isinstance(dtype, np.dtype) and dtype.kind in "fiub"


def _cast(rows: Any, dtypes: Any) -> Any:
    """Cast columns computed in float64 as NumPy would: nullable types refuse fractions."""
    import pandas as pd

    values = rows.to_numpy(np.float64, copy=True)
    kinds = np.array([dtype.kind for dtype in dtypes])
    np.trunc(values, out=values, where=np.isin(kinds, ["i", "u"]))
    np.not_equal(values, 0, out=values, where=kinds == "b")
    return pd.DataFrame(values, columns=rows.columns).astype(dtypes)


def _kernel_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Give the dtype itself if kernels read it, else float64."""
    return dtype if dtype in (np.float16, np.float32, np.float64) else np.dtype(np.float64)


def _seed(random_state: Any) -> int:
    if isinstance(random_state, Integral):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**63 - 1, dtype=np.int64))


def _as_numpy(data: Any, name: str) -> Any:
    """Take as an array what imbalanced-learn would not give back, or would take for pandas'."""
    if is_polars(data):
        return data.to_numpy()
    if is_torch(data):
        return host_array(data, name)
    return data


def _like(result: Any, like: Any) -> Any:
    """Give a result the library, names, dtypes and device of what it came from."""
    if is_torch(like):
        import torch

        return torch.as_tensor(result, dtype=like.dtype, device=like.device)
    if not is_polars(like):
        return result
    import polars

    if isinstance(like, polars.Series):
        return polars.Series(like.name, result).cast(like.dtype)
    columns = result.reshape(len(result), -1)
    return polars.DataFrame(columns, schema=like.columns, orient="row").cast(dict(like.schema))
