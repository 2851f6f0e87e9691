"""Search on every backend: the reference's row numbers, and its distances bit for bit."""

from __future__ import annotations

from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import expansive as ex
from cases import (
    BACKENDS_UNDER_TEST,
    DTYPES,
    ISAS,
    LABELINGS,
    MAKERS,
    METRICS,
    MINIMUM_BUDGET,
    RELATIONS,
    SLOW_IN_REFERENCE,
    assert_same_bits,
    assert_same_search,
    cast,
    expected_search,
    isa,
    make_data,
    run_python,
)

backends = pytest.mark.parametrize("backend", BACKENDS_UNDER_TEST)
isas = pytest.mark.parametrize("isa_name", ISAS)

# ---- any search -------------------------------------------------------------------------------

# Feature counts around the eight lanes, row counts around the kernels' tiles.
FEATURES = [1, 2, 3, 7, 8, 9, 15, 16, 17, 33, 100]
ROW_COUNTS = [1, 2, 3, 12, 13, 24, 31, 32, 33, 47, 48, 49, 63, 64, 65]


class Case(NamedTuple):
    data: str
    labeling: str
    n: int
    d: int
    dtype: str
    metric: str
    relation: str
    k: int
    seed: int
    queries: str
    threads: int
    budget: int | None
    expected: int | None

    def kept_cheap(self) -> Case:
        if self.data not in SLOW_IN_REFERENCE:
            return self
        return self._replace(n=min(self.n, 25), d=min(self.d, 9))


cases = st.builds(
    Case,
    data=st.sampled_from(sorted(MAKERS)),
    labeling=st.sampled_from(sorted(LABELINGS)),
    n=st.sampled_from(ROW_COUNTS) | st.integers(1, 80),
    d=st.sampled_from(FEATURES),
    dtype=st.sampled_from(DTYPES),
    metric=st.sampled_from(METRICS),
    relation=st.sampled_from(RELATIONS),
    k=st.sampled_from([1, 2, 3, 10, 200]) | st.integers(1, 90),
    seed=st.integers(0, 3),
    queries=st.sampled_from(["all", "subset", "repeated", "reversed", "one"]),
    threads=st.integers(1, 3),
    budget=st.sampled_from([None, MINIMUM_BUDGET]),
    expected=st.sampled_from([None, 1, 1000]),
).map(Case.kept_cheap)


def pick_queries(kind: str, n: int, seed: int) -> Any:
    rng = np.random.default_rng(seed)
    return {
        "all": None,
        "subset": np.sort(rng.choice(n, (n + 1) // 2, replace=False)),
        "repeated": rng.integers(0, n, 2 * n).tolist(),
        "reversed": np.arange(n)[::-1].astype(np.int32),
        "one": [n - 1],
    }[kind]


@backends
@isas
@settings(max_examples=200)
@given(case=cases)
@example(
    Case("normal", "two_classes", 1, 1, "float32", "cosine", "any", 3, 0, "all", 2, None, None)
)
def test_any_search_has_the_bits_of_the_reference(backend: str, isa_name: str, case: Case) -> None:
    relation = "any" if case.n == 1 and case.relation == "enemy" else case.relation
    x, y, expected = expected_search(
        case.data, case.labeling, case.n, case.d, case.dtype, case.metric, relation, case.k,
        case.seed,
    )  # fmt: skip
    queries = pick_queries(case.queries, case.n, case.seed)
    with isa(isa_name):
        index = ex.Index(
            x,
            y,
            metric=case.metric,
            backend=backend,
            threads=case.threads,
            memory_budget=case.budget,
            expected_queries=case.expected,
        )
        got = index.search_rows(queries, case.k, relation)
    rows = slice(None) if queries is None else queries
    assert_same_search(got, (expected[0][rows], expected[1][rows]))


# ---- every kind of data -----------------------------------------------------------------------


@backends
@isas
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("data", sorted(MAKERS))
def test_every_kind_of_data(backend: str, isa_name: str, dtype: str, data: str) -> None:
    for metric, relation in product(METRICS, RELATIONS):
        x, y, expected = expected_search(
            data, "five_classes_sorted", 49, 9, dtype, metric, relation, 4
        )
        with isa(isa_name):
            got = ex.neighbors(x, y, 4, relation, metric=metric, backend=backend, threads=2)
        assert_same_search(got, expected, f"{metric} {relation}")


@backends
@isas
@pytest.mark.parametrize("labeling", sorted(LABELINGS))
@pytest.mark.parametrize("n", [2, 13, 64, 257])
def test_every_labeling(backend: str, isa_name: str, labeling: str, n: int) -> None:
    for relation in RELATIONS:
        x, y, expected = expected_search(
            "small_integers", labeling, n, 5, "float32", "euclidean", relation, 7
        )
        with isa(isa_name):
            got = ex.neighbors(x, y, 7, relation, backend=backend, threads=3)
        assert_same_search(got, expected, relation)


@backends
@isas
@pytest.mark.parametrize("d", FEATURES)
def test_every_feature_count(backend: str, isa_name: str, d: int) -> None:
    for dtype in DTYPES:
        x, y, expected = expected_search(
            "shifted_1e4", "two_classes", 49, d, dtype, "euclidean", "enemy", 5
        )
        with isa(isa_name):
            got = ex.neighbors(x, y, 5, "enemy", backend=backend, threads=1)
        assert_same_search(got, expected, dtype)


# ---- many rows --------------------------------------------------------------------------------


@backends
@isas
@pytest.mark.parametrize("data", ["normal", "tight_clusters", "norms_spread", "small_integers"])
@pytest.mark.parametrize("relation", RELATIONS)
def test_many_rows(backend: str, isa_name: str, data: str, relation: str) -> None:
    """Some thousands of rows, in many blocks; the reference checks a few queries of them."""
    x, y = make_data(data, "five_classes_sorted", 6011, 35, "float32", "euclidean", 0)
    few = np.r_[0, 1, 11, 12, 1500:1506, 4444, 6009, 6010]
    expected = ex.neighbors(x, y, 9, relation, few, backend="reference")
    with isa(isa_name):
        for threads, budget in ((1, None), (3, MINIMUM_BUDGET)):
            dist, idx = ex.neighbors(x, y, 9, relation, None, "euclidean", backend, threads, budget)
            assert_same_search((dist[few], idx[few]), expected, f"{threads} threads, {budget}")
            got = ex.neighbors(x, y, 9, relation, few, "euclidean", backend, threads, budget)
            assert_same_search(got, expected, f"few queries, {threads} threads, {budget}")


@backends
@isas
def test_wide_rows(backend: str, isa_name: str) -> None:
    x, y = make_data("rectified", "two_classes", 60, 3072, "float32", "euclidean", 0)
    expected = ex.neighbors(x, y, 3, "enemy", [0, 59], backend="reference")
    with isa(isa_name):
        got = ex.neighbors(x, y, 3, "enemy", backend=backend)
    assert_same_search((got[0][[0, 59]], got[1][[0, 59]]), expected)


@backends
@isas
@pytest.mark.parametrize("expected_queries", [2, 1000])
@pytest.mark.parametrize("budget", [None, MINIMUM_BUDGET])
def test_more_neighbors_than_a_heap_likes(
    backend: str, isa_name: str, expected_queries: int, budget: int | None
) -> None:
    x, y = make_data("normal", "one_in_twenty", 9000, 8, "float32", "euclidean", 0)
    expected = ex.neighbors(x, y, 9100, "enemy", [3, 700], backend="reference")
    with isa(isa_name):
        index = ex.Index(
            x, y, backend=backend, memory_budget=budget, expected_queries=expected_queries
        )
        got = index.search_rows([3, 700], 9100, "enemy")
    assert_same_search(got, expected)


# ---- laws that need no reference --------------------------------------------------------------


@pytest.mark.parametrize("backend", ["reference", *BACKENDS_UNDER_TEST])
@pytest.mark.parametrize("data", ["normal", "small_integers", "norms_mixed"])
@pytest.mark.parametrize("relation", RELATIONS)
def test_results_do_not_depend_on_the_batch_or_on_k(backend: str, data: str, relation: str) -> None:
    x, y = make_data(data, "five_classes_sorted", 70, 11, "float32", "euclidean", 1)
    dist, idx = ex.neighbors(x, y, 10, relation, backend=backend)
    few = ex.neighbors(x, y, 3, relation, backend=backend)
    assert_same_search(few, (dist[:, :3], idx[:, :3]))
    for row in range(0, 70, 7):
        alone = ex.neighbors(x, y, 10, relation, [row], backend=backend)
        assert_same_search(alone, (dist[row : row + 1], idx[row : row + 1]))


@pytest.mark.parametrize("backend", ["reference", *BACKENDS_UNDER_TEST])
@pytest.mark.parametrize("data", sorted(MAKERS))
def test_neighbors_are_sorted_allowed_and_never_the_row_itself(backend: str, data: str) -> None:
    x, y = make_data(data, "two_classes", 50, 4, "float64", "euclidean", 0)
    for relation in RELATIONS:
        dist, idx = ex.neighbors(x, y, 60, relation, backend=backend)
        for row in range(50):
            found = idx[row][idx[row] >= 0]
            same = y[found] == y[row]
            allowed = {"enemy": ~same, "friend": same, "any": same | True}[relation]
            assert allowed.all()
            assert row not in found
            assert len(set(found.tolist())) == len(found)
            assert np.isinf(dist[row, len(found) :]).all()
            order = list(zip(dist[row].tolist(), found.tolist(), strict=False))
            assert [d for d, _ in order] == sorted(d for d, _ in order)


@pytest.mark.parametrize("backend", ["reference", *BACKENDS_UNDER_TEST])
def test_duplicates_are_neighbors_and_ties_go_to_the_smaller_row(backend: str) -> None:
    x = np.zeros((6, 3), np.float32)
    dist, idx = ex.neighbors(x, [0, 0, 1, 1, 0, 1], 3, "any", backend=backend)
    assert dist.tolist() == [[0.0] * 3] * 6
    assert idx.tolist() == [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2], [0, 1, 2], [0, 1, 2]]
    assert ex.nearest_enemies(x, [0, 0, 1, 1, 0, 1], 2, backend=backend)[1].tolist() == [
        [2, 3], [2, 3], [0, 1], [0, 1], [2, 3], [0, 1],
    ]  # fmt: skip


@pytest.mark.parametrize("backend", ["reference", *BACKENDS_UNDER_TEST])
def test_distances_beyond_float32_are_infinite_but_their_rows_are_found(backend: str) -> None:
    x = np.array([[3e38], [-3e38], [1.0], [3e38]], np.float32)
    dist, idx = ex.neighbors(x, None, 3, "any", metric="sqeuclidean", backend=backend)
    assert idx.tolist() == [[3, 2, 1], [2, 0, 3], [0, 1, 3], [0, 2, 1]]
    assert dist[0].tolist() == [0.0, np.inf, np.inf]


@pytest.mark.parametrize("backend", ["reference", *BACKENDS_UNDER_TEST])
@pytest.mark.parametrize("queries", [[], np.zeros(0, np.int64)])
def test_no_queries(backend: str, queries: Any) -> None:
    dist, idx = ex.neighbors(np.eye(3), [0, 1, 2], 2, queries=queries, backend=backend)
    assert dist.shape == idx.shape == (0, 2)
    assert (dist.dtype, idx.dtype) == (np.float64, np.int64)


# ---- layouts in memory ------------------------------------------------------------------------


def layouts(x: Any, folder: Path) -> dict[str, Any]:
    """One matrix, laid out in every way NumPy knows."""
    n, d = x.shape
    apart = np.zeros((2 * n, 3 * d), x.dtype)
    apart[::2, ::3] = x
    frozen = x.copy()
    frozen.flags.writeable = False
    mapped = np.memmap(folder / "x.bin", x.dtype, "w+", shape=x.shape)
    mapped[:] = x
    unaligned = np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(x.dtype).reshape(n, d)
    return {
        "strided": apart[::2, ::3],
        "fortran": np.asfortranarray(x),
        "read-only": frozen,
        "backwards": x[::-1, ::-1].copy()[::-1, ::-1],
        "big-endian": x.astype(x.dtype.newbyteorder(">")),
        "memmap": mapped,
        "unaligned": unaligned,
    }


@pytest.mark.parametrize("backend", ["reference", *BACKENDS_UNDER_TEST])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_any_layout_in_memory(backend: str, dtype: str, tmp_path: Path) -> None:
    x, y, expected = expected_search("normal", "two_classes", 40, 9, dtype, "euclidean", "enemy", 3)
    for name, same in layouts(x, tmp_path).items():
        before = same.copy()
        assert_same_search(ex.nearest_enemies(same, y, 3, backend=backend), expected, name)
        assert_same_bits(np.asarray(same), before, f"{name}: x itself")


@pytest.mark.parametrize("backend", ["reference", *BACKENDS_UNDER_TEST])
def test_bfloat16_in_fortran_order(backend: str) -> None:
    x, y, expected = expected_search(
        "normal", "two_classes", 40, 9, "bfloat16", "euclidean", "enemy", 3
    )
    assert_same_search(ex.nearest_enemies(np.asfortranarray(x), y, 3, backend=backend), expected)


# ---- torch ------------------------------------------------------------------------------------


@pytest.mark.train
@pytest.mark.parametrize("backend", ["reference", *BACKENDS_UNDER_TEST])
@pytest.mark.parametrize("dtype", DTYPES)
def test_torch_in_torch_out(backend: str, dtype: str) -> None:
    import torch

    x, y, expected = expected_search(
        "normal", "five_classes_sorted", 65, 10, dtype, "cosine", "friend", 4
    )
    tensor = torch.tensor(x.astype(np.float64)).to(getattr(torch, dtype)).requires_grad_()
    for rows, labels in ((tensor, torch.tensor(y)), (tensor.t().contiguous().t(), y.tolist())):
        dist, idx = ex.neighbors(rows, labels, 4, "friend", metric="cosine", backend=backend)
        assert isinstance(dist, torch.Tensor)
        assert isinstance(idx, torch.Tensor)
        assert_same_search((dist.numpy(), idx.numpy()), expected)


FLUSH = """
import os
import numpy as np, torch
import expansive as ex
rng = np.random.default_rng(0)
y = rng.integers(0, 3, 60)
counts = {0: 50, 1: 50, 2: 50}
def work(backend):
    plan = ex.SynthesisPlan.eos(x, y, counts, backend=backend, threads=2)
    return *ex.neighbors(x, y, 4, backend=backend, threads=2), plan.generate(x)
for dtype, scale in (("float32", 1e-42), ("float64", 1e-310), ("float64", 1e-161)):
    x = (rng.integers(-9, 10, (60, 9)) * scale).astype(dtype)
    expected = work("reference")
    for os.environ["EXPANSIVE_ISA"] in ISAS:
        torch.set_flush_denormal(True)
        got = work("BACKEND")
        torch.set_flush_denormal(False)
        for a, b in zip(got, expected):
            assert a.tobytes() == b.tobytes(), (dtype, scale, os.environ["EXPANSIVE_ISA"])
print("same bits")
"""


@pytest.mark.parametrize("isa_name", ISAS)
@pytest.mark.parametrize("d", [1, 3, 8, 20])
def test_points_whose_distance_underflows(isa_name: str, d: int) -> None:
    rng = np.random.default_rng(0)
    x = rng.integers(-9, 10, (50, d)) * 5e-324
    for magnitude in (1e-170, 3e-162, 1e-155, 1e-100, 1.0, 1e149):
        q = rng.standard_normal((6, d)) * magnitude
        expected = ex.Index(x, backend="reference").search(q, k=4, relation="any")
        with isa(isa_name):
            got = ex.Index(x, backend="cpu").search(q, k=4, relation="any")
        assert_same_search(got, expected, str(magnitude))


@pytest.mark.train
@backends
def test_a_caller_that_flushes_denormals_gets_the_same_bits(backend: str) -> None:
    """In a fresh process, so that the pool's threads start under the caller's setting."""
    script = FLUSH.replace("BACKEND", backend).replace("ISAS", repr(ISAS))
    assert "same bits" in run_python(script)


# ---- public signature -------------------------------------------------------------------------


def test_nearest_enemies_is_neighbors_with_enemies() -> None:
    x = cast(MAKERS["normal"](np.random.default_rng(0), 30, 4), "float32")
    y = np.arange(30) % 3
    assert_same_search(ex.nearest_enemies(x, y), ex.neighbors(x, y, 10, "enemy"))
    assert_same_search(
        ex.nearest_enemies(x, y, 2, [4, 1], metric="cosine", threads=1),
        ex.neighbors(x, y, 2, "enemy", [4, 1], "cosine"),
    )
