"""The Triton backend: the bits of the reference, as on every backend.

Without a GPU the kernels run in Triton's interpreter (tests/conftest.py sees to that), where each
costs milliseconds whatever its size: hence fewer and smaller cases than for the CPU.
"""

from __future__ import annotations

import os
from itertools import cycle, islice, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import triton
import triton.language as tl
from hypothesis import given, settings

import expansive as ex
from cases import (
    DTYPES,
    LABELINGS,
    MAKERS,
    METRICS,
    MINIMUM_BUDGET,
    PLAN_METHODS,
    RELATIONS,
    assert_same_bits,
    assert_same_search,
    blobs,
    cast,
    expected_search,
    make_data,
)
from expansive.arrays import as_rows
from expansive.backends import reference, triton_tiles
from expansive.backends.registry import get_backend
from expansive.backends.triton_synthesis_kernels import bfloat16_bits
from test_neighbors import Case, pick_queries
from test_neighbors import cases as any_case
from test_philox import ROWS, SEEDS, draw_by_hand, tables

pytestmark = pytest.mark.train

Plan = ex.SynthesisPlan


def tile_rows() -> int:
    """Rows of a tile on what the kernels run on here."""
    from expansive.backends.triton_arrays import tiles

    return tiles().tile


# ---- search -----------------------------------------------------------------------------------


@settings(max_examples=40)
@given(case=any_case)
def test_any_search_has_the_bits_of_the_reference(case: Case) -> None:
    relation = "any" if case.n == 1 and case.relation == "enemy" else case.relation
    x, y, expected = expected_search(
        case.data, case.labeling, case.n, case.d, case.dtype, case.metric, relation, case.k,
        case.seed,
    )  # fmt: skip
    queries = pick_queries(case.queries, case.n, case.seed)
    got = ex.neighbors(
        x, y, case.k, relation, queries, case.metric, "triton", memory_budget=case.budget
    )
    rows = slice(None) if queries is None else queries
    assert_same_search(got, (expected[0][rows], expected[1][rows]))


COMBINATIONS = cycle(zip(cycle(DTYPES), cycle(METRICS), product(RELATIONS, (1, 4, 10))))
"""In an order that brings every kind of data to other ones."""


@pytest.mark.parametrize(
    ("data", "dtype", "metric", "relation", "k"),
    [(data, *c[:2], *c[2]) for data in sorted(MAKERS) for c in islice(COMBINATIONS, 2)],
)
def test_every_kind_of_data(data: str, dtype: str, metric: str, relation: str, k: int) -> None:
    x, y, expected = expected_search(data, "five_classes_sorted", 49, 9, dtype, metric, relation, k)
    assert_same_search(ex.neighbors(x, y, k, relation, metric=metric, backend="triton"), expected)


@pytest.mark.parametrize("labeling", sorted(LABELINGS))
def test_every_labeling(labeling: str) -> None:
    """Ties by the dozen, so that only the row number decides."""
    for relation in RELATIONS:
        x, y, expected = expected_search(
            "small_integers", labeling, 65, 5, "float32", "euclidean", relation, 7
        )
        assert_same_search(ex.neighbors(x, y, 7, relation, backend="triton"), expected, relation)


@pytest.mark.parametrize("d", [1, 8, 17, 100])
def test_every_feature_count(d: int) -> None:
    x, y, expected = expected_search(
        "shifted_1e4", "two_classes", 49, d, "float32", "cosine", "friend", 5
    )
    assert_same_search(ex.neighbors(x, y, 5, "friend", metric="cosine", backend="triton"), expected)


def test_points_that_are_not_in_the_database() -> None:
    """Some of them too far away for the screen, or of a class that the database lacks."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 7)), rng.integers(0, 3, 60)
    q = rng.normal(size=(9, 7)) * 10.0 ** np.arange(-60, 120, 20)[:, None]
    labels = np.arange(9) % 4
    for relation in RELATIONS:
        got, expected = (
            ex.Index(x, y, backend=b).search(q, labels, 6, relation)
            for b in ("triton", "reference")
        )
        assert_same_search(got, expected, relation)


@pytest.mark.parametrize("relation", RELATIONS)
@pytest.mark.parametrize("data", ["normal", "small_integers", "tight_clusters"])
@pytest.mark.parametrize(("group", "spare"), [(4, 4), (4, -6), (32, -6)])
def test_many_rows_in_rounds_and_batches(
    relation: str, data: str, group: int, spare: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several groups of tiles, more tiles than two rounds take, more queries than a batch holds."""
    from expansive.backends import triton_neighbors

    monkeypatch.setattr(triton_neighbors, "_GROUP", group)
    monkeypatch.setattr(triton_neighbors, "_SPARE_TILES", spare)
    n = 27 * tile_rows()
    x, y = make_data(data, "five_classes_sorted", n, 11, "float32", "euclidean", 0)
    few = np.r_[0, 1, n // 2 : n // 2 + 4, n - 2, n - 1]
    index = ex.Index(x, y, backend="triton", memory_budget=MINIMUM_BUDGET)
    monkeypatch.setattr(type(index._index), "_batch", lambda *_: 5)
    expected = ex.neighbors(x, y, 9, relation, few, backend="reference")
    assert_same_search(index.search_rows(few, 9, relation), expected)


# A GPU has the shared memory for its own sizes and the least; the interpreter takes all.
ARCHITECTURES = {*triton_tiles.TABLE} if os.environ.get("TRITON_INTERPRET") else {"default"}
SIZES = [(name, most) for name in sorted(ARCHITECTURES) for most in triton_tiles.TABLE[name]]


@pytest.mark.parametrize(("architecture", "most"), SIZES)
def test_the_block_sizes_of_every_architecture(
    architecture: str, most: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    from expansive.backends import triton_neighbors

    sizes = triton_tiles.TABLE[architecture][most]
    monkeypatch.setattr(triton_neighbors, "tiles", lambda *_: sizes)
    x, y, expected = expected_search(
        "normal", "one_in_twenty", 150, 70, "float32", "euclidean", "enemy", 3
    )
    queries = [0, 77, 149]
    got = ex.nearest_enemies(x, y, 3, queries, backend="triton")
    assert_same_search(got, (expected[0][queries], expected[1][queries]))


@pytest.mark.parametrize(("columns", "take"), [(1, 1), (40, 1), (40, 7), (40, 40), (200, 70)])
def test_the_smallest_are_found_once_each(columns: int, take: int) -> None:
    """Among ties and infinite values too, however many are taken."""
    import torch

    from expansive.backends.triton_arrays import device
    from expansive.backends.triton_selection import smallest

    rng = np.random.default_rng(0)
    values = rng.integers(0, 9, (5, columns)).astype(np.float32)
    values[1:3][rng.random((2, columns)) < 0.9] = np.inf
    values[3] = np.inf
    found = smallest(torch.from_numpy(values).to(device()), take).cpu().numpy()
    assert all(len(set(row)) == take for row in found.tolist())
    expected = np.sort(values, axis=1)[:, :take]
    np.testing.assert_array_equal(np.sort(np.take_along_axis(values, found, 1), axis=1), expected)


# ---- the screen -------------------------------------------------------------------------------


def screen(x: Any) -> tuple[Any, Any]:
    """Bounds and true distances, in the screen's scale, of each row to each tile of other rows."""
    import torch

    index = ex.Index(x, backend="triton")._index
    own = torch.arange(len(x), device=index.rows.device)
    batch = index._batch_of(index.rows, None, own)
    with np.errstate(over="ignore", invalid="ignore"):
        least = index._screen(batch, "any")
        every = torch.arange(len(x), device=least.device)
        groups = torch.arange(index._bounds(batch, least, every, None).shape[1]).to(every)
        bound = index._bounds(batch, least, every, groups.expand(len(x), -1).contiguous())
        bound = bound[:, : -(-len(x) // index.tiles.tile)].double().cpu().numpy()
    wide = reference.to_float64(as_rows(x))
    squared = torch.from_numpy(reference.squared_distances(wide, wide)).fill_diagonal_(torch.inf)
    exact = index.space.reach(squared.to(index.rows.device)).cpu().numpy()
    return bound, np.minimum.reduceat(exact, np.arange(0, len(x), index.tiles.tile), axis=1)


@pytest.mark.parametrize("data", sorted(set(MAKERS) - {"denormal_float64"}))
def test_bounds_are_never_above_the_distances(data: str) -> None:
    n = 3 * tile_rows() + 1
    x = make_data(data, "two_classes", n, 9, "float64", "euclidean", 1)[0]
    bound, exact = screen(x)
    assert exact.shape == (n, 4)
    assert (bound <= exact).all()


@pytest.mark.parametrize("scale", [1e-3, 1.0, 300.0])
def test_bounds_are_close_where_bfloat16_allows(scale: float) -> None:
    x = np.random.default_rng(0).normal(size=(4 * tile_rows(), 40)) * scale
    bound, exact = screen(x)
    assert (bound >= 0.97 * exact).all()


def test_few_tiles_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(0).normal(size=(100 * tile_rows(), 24)).astype(np.float32)
    index = ex.Index(x, backend="triton")
    measured = []
    refine = type(index._index)._refine

    def count(self: Any, batch: Any, active: Any, tile: Any, relation: str) -> Any:
        measured.append(int((tile >= 0).sum()))
        return refine(self, batch, active, tile, relation)

    monkeypatch.setattr(type(index._index), "_refine", count)
    index.search_rows(range(20), 2, "any")
    assert sum(measured) <= 20 * 10  # of 20 * 100


# ---- synthesis --------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", SEEDS)
def test_draw_follows_the_contract(seed: int) -> None:
    p = tables(seed)
    drawn = get_backend("triton").draw(p, np.array(ROWS), np.float32)
    assert list(zip(*(a.tolist() for a in drawn), strict=True)) == [
        draw_by_hand(p, row) for row in ROWS
    ]


@pytest.mark.parametrize("expansion", [(0.0, 1.0), (-0.5, 1.5), (0.1, 0.1), (0.1, 0.8)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_draws_have_the_bits_of_the_reference(expansion: tuple[float, float], dtype: Any) -> None:
    p = tables(42, *expansion)
    rows = np.random.default_rng(0).integers(0, 2**44, 3000)
    got, expected = (get_backend(b).draw(p, rows, dtype) for b in ("triton", "reference"))
    for name, a, b in zip(("base", "partner", "weight"), got, expected, strict=True):
        assert_same_bits(a, b, name)


def on_both(plan: Any, folder: Path) -> tuple[Any, Any]:
    """One plan, on this backend and on the reference."""
    plan.save(folder / "plan.npz")
    return tuple(Plan.load(folder / "plan.npz", backend=b) for b in ("triton", "reference"))


@pytest.mark.parametrize("method", PLAN_METHODS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_synthetic_rows_have_the_bits_of_the_reference(
    method: str, dtype: str, tmp_path: Path
) -> None:
    x, y = blobs(dtype=dtype, d=19)
    plan, expected = on_both(PLAN_METHODS[method](x, y, seed=3), tmp_path)
    for name, a, b in zip(
        ("base", "partner", "weight"), plan.recipe(), expected.recipe(), strict=True
    ):
        assert_same_bits(a, b, name)
    for out_dtype in (None, *DTYPES):
        got = plan.generate(x, dtype=out_dtype)
        assert_same_bits(got, expected.generate(x, dtype=out_dtype), str(out_dtype))


def test_a_plan_made_by_this_backend_is_the_same_plan() -> None:
    x, y = blobs()
    for method in PLAN_METHODS.values():
        for a, b in zip(
            method(x, y, backend="triton").recipe(), method(x, y, backend="reference").recipe(),
            strict=True,
        ):  # fmt: skip
            assert_same_bits(a, b)


@pytest.mark.parametrize("d", [1, 7, 8, 33, 300])
def test_synthesis_of_every_feature_count(d: int, tmp_path: Path) -> None:
    for dtype, out_dtype in zip(DTYPES, DTYPES[::-1], strict=True):
        x, y = blobs((20, 5), d, dtype)
        plan, expected = on_both(Plan.eos(x, y), tmp_path)
        got = plan.generate(x, dtype=out_dtype)
        assert_same_bits(got, expected.generate(x, dtype=out_dtype), f"{dtype} to {out_dtype}")


@pytest.mark.parametrize("scale", [1e-45, 1e-42, 1e-38, 1e-20, 1e-8, 1.0, 1e4, 6e4, 1e18, 3e38])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_synthesis_of_every_magnitude(scale: float, dtype: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], [60, 20])
    x = cast(rng.uniform(-1, 1, (80, 9)) * scale, dtype)
    plan, expected = on_both(Plan.eos(x, y, expansion=(-0.5, 1.5)), tmp_path)
    with np.errstate(over="ignore"):
        for out_dtype in DTYPES:
            got, wanted = plan.generate(x, dtype=out_dtype), expected.generate(x, dtype=out_dtype)
            assert_same_bits(got, wanted, out_dtype)


@pytest.mark.parametrize(("dtype", "bits"), [("float16", 11), ("bfloat16", 8), ("float32", 24)])
def test_results_are_rounded_once(dtype: str, bits: int, tmp_path: Path) -> None:
    """Float64 values a little beside the middle of two neighbours, which float32 would hide."""
    middle = (1 + np.arange(0, 64, 2) / 2 ** (bits - 1)) + 2.0**-bits
    x = np.concatenate([middle - 2.0**-45, middle, middle + 2.0**-45, -middle - 2.0**-45])[:, None]
    y = np.repeat([0, 1], [100, 28])
    plan, expected = on_both(Plan.random(x, y, {0: 300, 1: 300}), tmp_path)
    assert_same_bits(plan.generate(x, dtype=dtype), expected.generate(x, dtype=dtype))


@triton.jit
def bfloat16_kernel(values, out, COUNT: tl.constexpr) -> None:
    i = tl.arange(0, COUNT)
    tl.store(out + i, bfloat16_bits(tl.load(values + i)))


def test_what_is_no_number_stays_none() -> None:
    """Also the NaN that a GPU makes, nearly all ones, whose rounding would carry into the sign."""
    import torch

    from expansive.backends.triton_arrays import device

    bits = np.array([0x7FFFFFFF, 0xFFFFFFFF, 0x7F800001, 0xFFC00000, 0x7F800000], np.uint32)
    values = torch.from_numpy(np.resize(bits, 8).view(np.float32)).to(device())
    out = torch.zeros(8, dtype=torch.int16, device=device())
    bfloat16_kernel[(1,)](values, out, 8)
    found = out.view(torch.bfloat16)[:5]
    assert found.isnan().tolist() == [True] * 4 + [False]
    assert found[4].isposinf()


def test_any_rows_in_any_order() -> None:
    x, y = blobs()
    plan = Plan.random(x, y, seed=11, backend="triton")
    everything = plan.generate(x)
    for rows in ([], [5], [7, 7, 0, plan.n_samples - 1]):
        assert_same_bits(plan.generate_rows(x, rows), everything[np.array(rows, np.int64)])
    out = np.empty_like(everything[3:9])
    assert plan.generate(x, 3, 9, out=out) is out
    assert_same_bits(out, everything[3:9])


# ---- checks of the data -----------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (101, 33)])
def test_fingerprint_and_scan_are_those_of_the_reference(
    dtype: str, shape: tuple[int, int]
) -> None:
    data = cast(np.random.default_rng(0).normal(size=shape), dtype)
    for frozen in (False, True):
        data.flags.writeable = not frozen
        rows = as_rows(data)
        assert get_backend("triton").fingerprint(rows, 1) == reference.fingerprint(rows, 1)
        assert get_backend("triton").scan(rows, 1) == reference.scan(rows, 1)


def test_a_fingerprint_is_taken_in_slices_that_begin_anywhere(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import torch

    from expansive.backends import triton_arrays

    whole = np.random.default_rng(0).normal(size=(41, 7)).astype(np.float32)
    expected = reference.fingerprint(as_rows(whole[1:]), 1)
    monkeypatch.setattr(triton_arrays, "_WORDS", 16)
    assert triton_arrays.fingerprint(torch.from_numpy(whole)[1:]) == expected


def test_the_last_of_many_rows_is_sampled() -> None:
    """In float32 its number would be the next power of two times something: one too far."""
    import torch

    from expansive.backends import triton_bounds

    n = 20_000_000
    rows = torch.zeros(n, 1, dtype=torch.float16)
    rows[n // 2 :] = 3.0
    space = triton_bounds.make_space(rows, 3.0, torch.empty(0, dtype=torch.float64), 16)
    assert float(space.centre) in (0.0, 3.0)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_the_first_row_that_is_not_finite_is_named(bad: float) -> None:
    x = np.ones((9, 3), np.float32)
    x[[4, 7], 1] = bad
    with pytest.raises(ValueError, match=r"x\[4\] holds NaN or infinity"):
        ex.Index(x, backend="triton")
