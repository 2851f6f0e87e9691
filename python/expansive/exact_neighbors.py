"""Exact neighbours for the samplers that imbalanced-learn already has."""

from __future__ import annotations

from numbers import Integral
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix, issparse  # type: ignore[import-untyped]
from sklearn.base import BaseEstimator, _fit_context
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted
from sklearn_compat.utils.validation import validate_data  # type: ignore[import-untyped]

from expansive.arguments import as_count
from expansive.arrays import require_number_columns
from expansive.backends.registry import METRICS
from expansive.neighbors import Index, default_threads

_SPARSE = ("csr", "csc")


class ExactNeighbors(BaseEstimator):  # type: ignore[misc]
    """Nearest neighbours with scikit-learn's interface and this package's search.

    It goes where imbalanced-learn takes a neighbours object. Such an object must find one neighbour
    more than the integer it replaces, because the row itself is found too:
    ``SMOTE(k_neighbors=ExactNeighbors(6))`` is ``SMOTE(k_neighbors=5)``.

    Parameters
    ----------
    n_neighbors : int, default=5
        Neighbours for each query.
    metric : {"euclidean", "sqeuclidean", "cosine"}, default="euclidean"
        As in `Index`.
    n_jobs : int or None, default=None
        CPU threads; as in `EOS`.
    backend : str or None, default=None
        One of `expansive info`'s backends; None takes the CPU's, beside a GPU too.

    Attributes
    ----------
    n_samples_fit_ : int
        Number of rows.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of str
        Names of the features, when X had names.

    Notes
    -----
    Results are exact for float64 sums and the same everywhere. Equally distant rows come in order
    of their row numbers; scikit-learn leaves their order to the algorithm.

    Where it works in imbalanced-learn: SMOTE, BorderlineSMOTE, SVMSMOTE, KMeansSMOTE and ADASYN;
    EditedNearestNeighbours and RepeatedEditedNearestNeighbours; NearMiss; and SMOTEENN through its
    `enn`. Where it cannot, because the sampler searches with an object of its own: AllKNN (reads
    `n_neighbors` alone), CondensedNearestNeighbour, OneSidedSelection and
    NeighbourhoodCleaningRule (need a classifier), SMOTEN (needs a precomputed metric), and
    TomekLinks, whose links are found in two lines::

        nearest = ExactNeighbors(1).fit(X).kneighbors(return_distance=False)[:, 0]
        is_link = TomekLinks.is_tomek(y, nearest, [majority_label])
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "n_neighbors": [Interval(Integral, 1, None, closed="left")],
        "metric": [StrOptions(set(METRICS))],
        "n_jobs": [Integral, None],
        "backend": [str, None],
    }

    def __init__(
        self,
        n_neighbors: int = 5,
        *,
        metric: str = "euclidean",
        n_jobs: int | None = None,
        backend: str | None = None,
    ) -> None:
        self.n_neighbors = n_neighbors
        self.metric = metric
        self.n_jobs = n_jobs
        self.backend = backend

    @_fit_context(prefer_skip_nested_validation=True)  # type: ignore[untyped-decorator]
    def fit(self, X: Any, y: Any = None) -> ExactNeighbors:
        """Keep the rows to search.

        Parameters
        ----------
        X : array-like, data frame or sparse matrix, shape [n, d]
            Finite numbers. Sparse rows are made dense. Kept by reference where no copy is needed
            and read during every search: do not change it in between.
        y : object
            Not used.

        Returns
        -------
        ExactNeighbors
            The object itself.
        """
        require_number_columns(X, "X")
        self._rows = _dense(validate_data(self, X=X, accept_sparse=_SPARSE))
        self.n_samples_fit_ = len(self._rows)
        self._index = self._make_index()
        return self

    def kneighbors(
        self, X: Any = None, n_neighbors: int | None = None, return_distance: bool = True
    ) -> Any:
        """Find the nearest rows.

        Parameters
        ----------
        X : array-like, shape [n_queries, d], optional
            Query points, which find themselves at distance zero if they are among the rows; None
            means every row, and then no row finds itself.
        n_neighbors : int, optional
            Neighbours for each query; None takes the object's.
        return_distance : bool, default=True
            Whether to return distances too.

        Returns
        -------
        dist : ndarray, shape [n_queries, n_neighbors]
            Ascending; float32 for float32 rows and queries, else float64. Only if asked for.
        idx : ndarray of int64, shape [n_queries, n_neighbors]
            Row numbers.

        Raises
        ------
        ValueError
            When more neighbours are asked for than there are.
        """
        check_is_fitted(self)
        k = as_count(self.n_neighbors if n_neighbors is None else n_neighbors, "n_neighbors")
        available = self.n_samples_fit_ - (X is None)
        if k > available:
            raise ValueError(
                f"Expected n_neighbors <= {available}, the rows that can be found (n_samples_fit "
                f"is {self.n_samples_fit_}), but n_neighbors = {k}; ask for fewer"
            )
        if X is None:
            dist, idx = self._index.search_rows(k=k, relation="any")
        else:
            require_number_columns(X, "X")
            queries = _dense(validate_data(self, X=X, accept_sparse=_SPARSE, reset=False))
            dist, idx = self._index.search(queries, k=k, relation="any")
        return (dist, idx) if return_distance else idx

    def kneighbors_graph(
        self, X: Any = None, n_neighbors: int | None = None, mode: str = "connectivity"
    ) -> csr_matrix:
        """Give the neighbours as a sparse graph.

        Parameters
        ----------
        X, n_neighbors
            As in `kneighbors`.
        mode : {"connectivity", "distance"}, default="connectivity"
            Whether an edge weighs one or its distance.

        Returns
        -------
        csr_matrix, shape [n_queries, n_samples_fit_]
            Row i holds the edges of query i.
        """
        if mode not in ("connectivity", "distance"):
            raise ValueError(f"mode must be 'connectivity' or 'distance'; got {mode!r}")
        dist, idx = self.kneighbors(X, n_neighbors)
        weights = dist if mode == "distance" else np.ones(dist.shape)
        starts = np.arange(0, idx.size + 1, idx.shape[1])
        return csr_matrix(
            (weights.ravel(), idx.ravel(), starts), shape=(len(idx), self.n_samples_fit_)
        )

    def _make_index(self) -> Index:
        return Index(
            self._rows,
            metric=self.metric,
            backend=self.backend,
            threads=threads_of(self.n_jobs),
            expected_k=self.n_neighbors,
        )

    def __getstate__(self) -> dict[str, Any]:
        # The index belongs to the backend and this machine; it is made again from the rows.
        return {name: value for name, value in super().__getstate__().items() if name != "_index"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        if hasattr(self, "_rows"):
            self._index = self._make_index()

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def threads_of(n_jobs: int | None) -> int | None:
    """Turn scikit-learn's number of jobs into a number of threads; None means the default."""
    if n_jobs == 0:
        raise ValueError("n_jobs=0 has no meaning; give a number of threads, -1 or None for all")
    if n_jobs is None or n_jobs > 0:
        return n_jobs
    return max(1, default_threads() + 1 + n_jobs)


def _dense(X: Any) -> NDArray[Any]:
    dense: NDArray[Any] = X.toarray() if issparse(X) else X
    return dense
