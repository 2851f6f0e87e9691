"""Index.search: points that need not be rows of the database."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import expansive as ex
from cases import (
    BACKENDS_UNDER_TEST,
    DTYPES,
    ISAS,
    LABELINGS,
    MAKERS,
    METRICS,
    RELATIONS,
    all_backends,
    assert_same_search,
    cast,
    isa,
    make_data,
)
from expansive.backends import reference

backends = pytest.mark.parametrize("backend", BACKENDS_UNDER_TEST)


@backends
@pytest.mark.parametrize("isa_name", ISAS)
@settings(max_examples=100)
@given(
    data=st.sampled_from(sorted(MAKERS)),
    query_data=st.sampled_from(sorted(MAKERS)),
    labeling=st.sampled_from(sorted(LABELINGS)),
    n=st.integers(2, 50),
    n_queries=st.sampled_from([1, 2, 11, 12, 13, 25]),
    d=st.sampled_from([1, 5, 8, 9]),
    dtypes=st.tuples(st.sampled_from(DTYPES), st.sampled_from(DTYPES)),
    metric=st.sampled_from(METRICS),
    relation=st.sampled_from(RELATIONS),
    k=st.sampled_from([1, 4, 80]),
    threads=st.integers(1, 3),
    expected_queries=st.sampled_from([None, 1, 1000]),
)
def test_points_from_elsewhere(
    backend: str,
    isa_name: str,
    data: str,
    query_data: str,
    labeling: str,
    n: int,
    n_queries: int,
    d: int,
    dtypes: tuple[str, str],
    metric: str,
    relation: str,
    k: int,
    threads: int,
    expected_queries: int | None,
) -> None:
    """Any data against any other, of any two dtypes, some query labels unknown to the index."""
    x, y = make_data(data, labeling, n, d, dtypes[0], metric, 0)
    q, _ = make_data(query_data, labeling, n_queries, d, dtypes[1], metric, 5)
    q_labels = np.random.default_rng(0).integers(-1, 4, n_queries)
    expected = ex.Index(x, y, metric=metric, backend="reference").search(q, q_labels, k, relation)
    with isa(isa_name):
        index = ex.Index(
            x,
            y,
            metric=metric,
            backend=backend,
            threads=threads,
            expected_queries=expected_queries,
        )
        assert_same_search(index.search(q, q_labels, k, relation), expected)
        wide = "float64" in dtypes
        assert expected[0].dtype == (np.float64 if wide else np.float32)


@all_backends
@pytest.mark.parametrize("data", ["normal", "small_integers", "shifted_1e6"])
def test_results_do_not_depend_on_the_batch_or_on_k(backend: str, data: str) -> None:
    x, y = make_data(data, "two_classes", 80, 7, "float32", "euclidean", 0)
    q, labels = make_data(data, "two_classes", 30, 7, "float32", "euclidean", 9)
    index = ex.Index(x, y, backend=backend)
    dist, idx = index.search(q, labels, 10)
    assert_same_search(index.search(q, labels, 3), (dist[:, :3], idx[:, :3]))
    for row in range(30):
        one = slice(row, row + 1)
        assert_same_search(index.search(q[one], labels[one], 10), (dist[one], idx[one]))


@all_backends
def test_rows_of_the_database_find_themselves_and_search_rows_does_not(backend: str) -> None:
    x, y = make_data("normal", "two_classes", 40, 5, "float32", "euclidean", 0)
    index = ex.Index(x, y, backend=backend)
    dist, idx = index.search(x, None, 4, "any")
    assert idx[:, 0].tolist() == list(range(40))
    assert not dist[:, 0].any()
    assert_same_search(index.search_rows(None, 3, "any"), (dist[:, 1:].copy(), idx[:, 1:].copy()))


@all_backends
def test_points_far_outside(backend: str) -> None:
    x, y = make_data("normal", "two_classes", 40, 5, "float64", "euclidean", 0)
    q = np.full((3, 5), [[1e30], [-1e30], [1e100]])
    dist, idx = ex.Index(x, y, backend=backend).search(q, None, 40, "any")
    assert np.sort(idx, axis=1).tolist() == [list(range(40))] * 3
    np.testing.assert_allclose(dist, np.abs(q[:, :1]) * np.sqrt(5) * np.ones(40))


@all_backends
def test_an_unknown_label_has_only_enemies(backend: str) -> None:
    x, y = make_data("normal", "two_classes", 20, 3, "float32", "euclidean", 0)
    index = ex.Index(x, y, backend=backend)
    q = x[:2] + 1
    anyone = index.search(q, None, 20, "any")
    for unknown in ([-7, -7], [99, 99]):
        assert_same_search(index.search(q, unknown, 20, "enemy"), anyone)
        dist, idx = index.search(q, unknown, 2, "friend")
        assert idx.tolist() == [[-1, -1]] * 2
        assert np.isinf(dist).all()


@all_backends
def test_string_labels_on_both_sides(backend: str) -> None:
    x, y = make_data("normal", "two_classes", 20, 3, "float32", "euclidean", 0)
    names = np.array(["cat", "dog"])
    expected = ex.Index(x, y, backend=backend).search(x + 1, 1 - y, 3, "enemy")
    index = ex.Index(x, names[y], backend=backend)
    assert_same_search(index.search(x + 1, names[1 - y], 3, "enemy"), expected)
    assert_same_search(index.search(x + 1, names[1 - y].astype(object), 3, "enemy"), expected)


@all_backends
def test_a_database_of_one_class_serves_queries_of_others(backend: str) -> None:
    x = np.eye(4, dtype=np.float32)
    index = ex.Index(x, [7] * 4, backend=backend)
    assert index.search(x[:1], [8], 2, "enemy")[1].tolist() == [[0, 1]]
    assert index.search(x[:1], [7], 2, "enemy")[1].tolist() == [[-1, -1]]
    assert index.search(x[:1], [7], 2, "friend")[1].tolist() == [[0, 1]]


@all_backends
@pytest.mark.parametrize("dtype", DTYPES)
def test_no_queries(backend: str, dtype: str) -> None:
    index = ex.Index(cast(np.eye(3), dtype), [0, 1, 2], backend=backend)
    dist, idx = index.search(cast(np.zeros((0, 3)), dtype), [], 2)
    assert dist.shape == idx.shape == (0, 2)
    assert dist.dtype == (np.float64 if dtype == "float64" else np.float32)
    assert idx.dtype == np.int64


@pytest.mark.train
def test_no_queries_are_still_of_a_library_a_dtype_and_a_space() -> None:
    import torch

    index = ex.Index(np.eye(3, dtype=np.float32), ["a", "b", "c"])
    dist, idx = index.search(torch.zeros(0, 3, dtype=torch.float64), [], 2)
    assert dist.shape == idx.shape == (0, 2)
    assert (dist.dtype, idx.dtype) == (torch.float64, torch.int64)
    with pytest.raises(ValueError, match="q has 4 features but the index has 3"):
        index.search(np.zeros((0, 4)), [], 2)


@all_backends
def test_points_may_be_lists(backend: str) -> None:
    index = ex.Index(np.eye(3), [0, 1, 2], backend=backend)
    dist, idx = index.search([[2, 0, 0], [0, 0, 2]], None, 1, "any")
    assert (dist.tolist(), idx.tolist()) == ([[1.0], [1.0]], [[0], [2]])


@backends
def test_an_index_serves_many_searches(backend: str) -> None:
    x, y = make_data("normal", "five_classes_sorted", 200, 12, "float32", "euclidean", 0)
    index = ex.Index(x, y, backend=backend)
    for relation in RELATIONS:
        for k in (1, 7, 300):
            expected = ex.neighbors(x, y, k, relation, [0, 50, 199], backend="reference")
            assert_same_search(index.search_rows([0, 50, 199], k, relation), expected)


@all_backends
def test_classes_and_codes(backend: str) -> None:
    index = ex.Index(np.eye(4), ["b", "a", "c", "a"], backend=backend)
    assert index.classes is not None
    assert index.codes is not None
    assert index.classes.tolist() == ["a", "b", "c"]
    assert index.codes.tolist() == [1, 0, 2, 0]


def test_an_expectation_that_is_no_relation_is_refused() -> None:
    with pytest.raises(ValueError, match="unknown expected_relation 'foe'; choose one of"):
        ex.Index(np.eye(3), expected_relation="foe")


@pytest.mark.parametrize("expected", [0, -1, 2.5, "many"])
@pytest.mark.parametrize("name", ["expected_queries", "expected_k"])
def test_an_expectation_that_is_no_count_is_refused(name: str, expected: Any) -> None:
    with pytest.raises(ValueError, match=f"{name} must be an integer of at least 1"):
        ex.Index(np.eye(3), **{name: expected})


def test_the_backend_gets_the_memory_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[int] = []
    build_index = reference.build_index

    def spy(*arguments: Any) -> Any:
        given.append(arguments[-1])
        return build_index(*arguments)

    monkeypatch.setattr(reference, "build_index", spy)
    monkeypatch.setattr(os, "sysconf", {"SC_PAGE_SIZE": 4096, "SC_PHYS_PAGES": 1 << 20}.get)
    for budget in (None, 1 << 20, 1 << 30, 10**30):
        ex.neighbors(np.eye(3), None, 1, "any", backend="reference", memory_budget=budget)
    assert given[:3] == [1 << 30, 1 << 20, 1 << 30]
    assert 1 << 50 < given[3] < 1 << 62


@pytest.mark.parametrize("copy", [pickle.dumps, deepcopy])
def test_an_index_is_not_copied(copy: Callable[[ex.Index], object]) -> None:
    with pytest.raises(TypeError, match=r"keep x and y, and make it again with Index\(x, y\)"):
        copy(ex.Index(np.eye(4), [0, 1, 0, 1]))


@pytest.mark.train
@all_backends
@pytest.mark.parametrize("library", ["torch", "numpy"])
def test_results_are_of_the_queries_library(backend: str, library: str) -> None:
    import torch

    x, y = make_data("normal", "two_classes", 20, 3, "float32", "euclidean", 0)
    to: dict[str, Any] = {"torch": torch.tensor, "numpy": np.array}
    other = "numpy" if library == "torch" else "torch"
    dist, idx = ex.Index(to[other](x), y, backend=backend).search(to[library](x), y, 2)
    kind = torch.Tensor if library == "torch" else np.ndarray
    assert isinstance(dist, kind)
    assert isinstance(idx, kind)
