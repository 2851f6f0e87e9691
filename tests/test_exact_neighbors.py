import pickle

import numpy as np
import pandas as pd
import pytest
from imblearn.combine import SMOTEENN
from imblearn.over_sampling import ADASYN, SMOTE, SVMSMOTE, BorderlineSMOTE, KMeansSMOTE
from imblearn.under_sampling import (
    AllKNN,
    EditedNearestNeighbours,
    NearMiss,
    RepeatedEditedNearestNeighbours,
    TomekLinks,
)
from scipy import sparse
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.neighbors import NearestNeighbors
from sklearn.utils import estimator_checks

from expansive import ExactNeighbors, exact_neighbors

# Runs only with SCIPY_ARRAY_API set, and for estimators that take other array libraries.
NOT_APPLICABLE = "check_array_api_input"


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def data(rng):
    """Two overlapping classes, 150 and 30 rows of 4 features."""
    y = rng.permutation(np.repeat([0, 1], [150, 30]))
    return rng.normal(size=(180, 4)) + 1.2 * y[:, None], y


@pytest.mark.parametrize(
    ("neighbors", "check"),
    [
        pytest.param(neighbors, check, id=check.func.__name__)
        for neighbors, check in estimator_checks.estimator_checks_generator(ExactNeighbors())
        if check.func.__name__ != NOT_APPLICABLE
    ],
)
def test_scikit_learn_checks(neighbors, check):
    check(neighbors)


@pytest.mark.parametrize("metric", ["euclidean", "sqeuclidean", "cosine"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equals_scikit_learn(rng, metric, dtype):
    x, q = rng.normal(size=(80, 6)).astype(dtype), rng.normal(size=(20, 6)).astype(dtype)
    ours = ExactNeighbors(7, metric=metric).fit(x)
    theirs = NearestNeighbors(n_neighbors=7, metric=metric, algorithm="brute").fit(x)
    for queries in (q, x, None):
        dist, idx = ours.kneighbors(queries)
        expected_dist, expected_idx = theirs.kneighbors(queries)
        np.testing.assert_array_equal(idx, expected_idx)
        np.testing.assert_allclose(dist, expected_dist, rtol=1e-4, atol=2e-3)
        assert dist.dtype == dtype
    fewer = ours.kneighbors(q, 3, return_distance=False)
    np.testing.assert_array_equal(fewer, ours.kneighbors(q)[1][:, :3])


def test_rows_find_themselves_only_when_passed(rng):
    x = rng.normal(size=(30, 3))
    neighbors = ExactNeighbors(3).fit(x)
    dist, idx = neighbors.kneighbors(x)
    np.testing.assert_array_equal(idx[:, 0], np.arange(30))
    assert not dist[:, 0].any()
    np.testing.assert_array_equal(neighbors.kneighbors(None, 2)[1], idx[:, 1:])


def test_ties_go_to_the_smaller_row_number(rng):
    x = rng.integers(0, 3, size=(60, 2)).astype(np.float64)
    dist, idx = ExactNeighbors(60).fit(x).kneighbors(x)
    reference = NearestNeighbors(n_neighbors=60, algorithm="kd_tree").fit(x).kneighbors(x)
    np.testing.assert_allclose(dist, reference[0], rtol=1e-15)
    for one_dist, one_idx in zip(dist, idx, strict=True):
        np.testing.assert_array_equal(one_idx, one_idx[np.lexsort((one_idx, one_dist))])
    np.testing.assert_array_equal(np.sort(idx), np.tile(np.arange(60), (60, 1)))


@pytest.mark.parametrize("mode", ["connectivity", "distance"])
def test_graph_equals_scikit_learn(data, mode):
    x, _ = data
    ours = ExactNeighbors(4).fit(x)
    theirs = NearestNeighbors(n_neighbors=4).fit(x)
    for queries in (None, x[:9]):
        graph = ours.kneighbors_graph(queries, mode=mode)
        expected = theirs.kneighbors_graph(queries, mode=mode)
        np.testing.assert_allclose(graph.toarray(), expected.toarray())


@pytest.mark.parametrize(
    ("sampler", "parameter", "k", "extra"),
    [
        (SMOTE(random_state=0), "k_neighbors", 5, 1),
        (BorderlineSMOTE(random_state=0), "k_neighbors", 5, 1),
        (BorderlineSMOTE(random_state=0), "m_neighbors", 10, 1),
        (KMeansSMOTE(random_state=0, cluster_balance_threshold=0.1), "k_neighbors", 2, 1),
        (SVMSMOTE(random_state=0), "k_neighbors", 5, 1),
        (SVMSMOTE(random_state=0), "m_neighbors", 10, 1),
        (ADASYN(random_state=0), "n_neighbors", 5, 1),
        (EditedNearestNeighbours(), "n_neighbors", 3, 1),
        (RepeatedEditedNearestNeighbours(), "n_neighbors", 3, 1),
        (AllKNN(), "n_neighbors", 3, 1),
        (NearMiss(version=1), "n_neighbors", 3, 0),
        (NearMiss(version=2), "n_neighbors", 3, 0),
        (NearMiss(version=3), "n_neighbors_ver3", 10, 0),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_drop_in_for_imbalanced_learn(data, sampler, parameter, k, extra):
    expected = clone(sampler).set_params(**{parameter: k}).fit_resample(*data)
    exact = clone(sampler).set_params(**{parameter: ExactNeighbors(k + extra)})
    result = exact.fit_resample(*data)
    assert len(expected[0]) != len(data[0])
    np.testing.assert_array_equal(result[0], expected[0])
    np.testing.assert_array_equal(result[1], expected[1])


def test_drop_in_through_combined_samplers(data):
    expected = SMOTEENN(random_state=0).fit_resample(*data)
    exact = SMOTEENN(
        smote=SMOTE(random_state=0, k_neighbors=ExactNeighbors(6)),
        enn=EditedNearestNeighbours(sampling_strategy="all", n_neighbors=ExactNeighbors(4)),
        random_state=0,
    ).fit_resample(*data)
    np.testing.assert_array_equal(exact[0], expected[0])


def test_tomek_links_as_documented(data):
    x, y = data
    tomek = TomekLinks()
    tomek.fit_resample(x, y)
    nearest = ExactNeighbors(1).fit(x).kneighbors(return_distance=False)[:, 0]
    is_link = TomekLinks.is_tomek(y, nearest, [0])
    assert is_link.any()
    np.testing.assert_array_equal(np.flatnonzero(~is_link), tomek.sample_indices_)


def test_sparse_rows_and_frames(data):
    x, _ = data
    x = np.where(x > 0, x, 0)
    expected = ExactNeighbors(3).fit(x).kneighbors(x)[1]
    np.testing.assert_array_equal(
        ExactNeighbors(3).fit(sparse.csr_matrix(x)).kneighbors(sparse.csc_matrix(x))[1], expected
    )
    frame = pd.DataFrame(x, columns=list("abcd"))
    neighbors = ExactNeighbors(3).fit(frame)
    np.testing.assert_array_equal(neighbors.kneighbors(frame)[1], expected)
    assert list(neighbors.feature_names_in_) == list("abcd")


def test_survives_pickling(data):
    x, _ = data
    neighbors = ExactNeighbors(3, metric="cosine", n_jobs=1).fit(x)
    copy = pickle.loads(pickle.dumps(neighbors))
    for ours, theirs in zip(neighbors.kneighbors(x), copy.kneighbors(x), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_too_many_neighbors(data):
    x = data[0][:5]
    neighbors = ExactNeighbors(5).fit(x)
    assert neighbors.kneighbors(x)[1].shape == (5, 5)
    with pytest.raises(ValueError, match=r"n_neighbors <= 4.*n_neighbors = 5"):
        neighbors.kneighbors()
    with pytest.raises(ValueError, match="n_neighbors <= 5"):
        neighbors.kneighbors(x, 6)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"n_neighbors": 0}, "n_neighbors"),
        ({"metric": "manhattan"}, "metric.*cosine"),
        ({"n_jobs": 0}, "n_jobs"),
        ({"backend": "abacus"}, "abacus.*choose one of"),
    ],
)
def test_bad_parameters(data, changed, message):
    with pytest.raises(ValueError, match=message):
        ExactNeighbors(**changed).fit(data[0])


def test_columns_of_text_are_named(data):
    frame = pd.DataFrame(data[0], columns=list("abcd"))
    neighbors = ExactNeighbors().fit(frame)
    for call in (ExactNeighbors().fit, neighbors.kneighbors):
        with pytest.raises(TypeError, match=r"X must hold .* not 'x' as in column 'c'; encode"):
            call(frame.assign(c="x"))


@pytest.mark.parametrize(
    ("n_jobs", "threads"), [(None, None), (3, 3), (20, 20), (-1, 8), (-2, 7), (-8, 1), (-100, 1)]
)
def test_jobs_are_counted_as_in_scikit_learn(monkeypatch, n_jobs, threads):
    monkeypatch.setattr(exact_neighbors, "default_threads", lambda: 8)
    assert exact_neighbors.threads_of(n_jobs) == threads


def test_rows_are_needed_first():
    with pytest.raises(NotFittedError, match="not fitted yet"):
        ExactNeighbors().kneighbors()


def test_bad_queries(data):
    neighbors = ExactNeighbors().fit(data[0])
    with pytest.raises(ValueError, match="features"):
        neighbors.kneighbors(data[0][:, :2])
    named = ExactNeighbors().fit(pd.DataFrame(data[0], columns=list("abcd")))
    with pytest.raises(ValueError, match="feature names should match"):
        named.kneighbors(pd.DataFrame(data[0], columns=list("wxyz")))
    with pytest.raises(ValueError, match="at least 1"):
        neighbors.kneighbors(n_neighbors=0)
    with pytest.raises(ValueError, match="mode"):
        neighbors.kneighbors_graph(mode="weights")
    with pytest.raises(ValueError, match="all zeros"):
        ExactNeighbors(metric="cosine").fit(np.zeros((3, 2)))


def test_masked_values_are_refused() -> None:
    x = np.random.default_rng(0).normal(size=(30, 4))
    masked = np.ma.masked_greater(x, 1.0)
    with pytest.raises(ValueError, match="X has masked values"):
        ExactNeighbors(3).fit(masked)
    with pytest.raises(ValueError, match="X has masked values"):
        ExactNeighbors(3).fit(x).kneighbors(masked)


@pytest.mark.parametrize("n_neighbors", [0, "3", 2.5])
def test_a_bad_number_of_neighbors_is_named(n_neighbors: object) -> None:
    fitted = ExactNeighbors(3).fit(np.random.default_rng(0).normal(size=(30, 4)))
    with pytest.raises(ValueError, match=f"n_neighbors must be an integer .*; got {n_neighbors!r}"):
        fitted.kneighbors(n_neighbors=n_neighbors)
