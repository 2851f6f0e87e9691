"""Synthesis: a pure function of (data, plan, seed, row), on every backend with the same bits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
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
    PLAN_METHODS,
    all_backends,
    assert_same_bits,
    blobs,
    cast,
    isa,
)
from expansive.backends import reference

Plan = ex.SynthesisPlan

backends = pytest.mark.parametrize("backend", BACKENDS_UNDER_TEST)
methods = pytest.mark.parametrize("method", PLAN_METHODS)


# ---- bits -------------------------------------------------------------------------------------


@backends
@pytest.mark.parametrize("isa_name", ISAS)
@methods
@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_have_the_bits_of_the_reference(
    backend: str, isa_name: str, method: str, dtype: str
) -> None:
    x, y = blobs(dtype=dtype, d=19)
    expected = PLAN_METHODS[method](x, y, seed=3, backend="reference")
    with isa(isa_name):
        plan = PLAN_METHODS[method](x, y, seed=3, backend=backend, threads=2)
        for name, a, b in zip(
            ("base", "partner", "weight"), plan.recipe(), expected.recipe(), strict=True
        ):
            assert_same_bits(a, b, name)
        for out_dtype in (None, *DTYPES):
            got = plan.generate(x, dtype=out_dtype)
            assert_same_bits(got, expected.generate(x, dtype=out_dtype), str(out_dtype))


@backends
@pytest.mark.parametrize("isa_name", ISAS)
@pytest.mark.parametrize("d", [1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 64, 100])
def test_every_feature_count(backend: str, isa_name: str, d: int) -> None:
    for dtype, out_dtype in zip(DTYPES, DTYPES[::-1], strict=True):
        x, y = blobs((20, 5), d, dtype)
        expected = Plan.eos(x, y, backend="reference")
        with isa(isa_name):
            got = Plan.eos(x, y, backend=backend).generate(x, dtype=out_dtype)
        assert_same_bits(got, expected.generate(x, dtype=out_dtype), f"{dtype} to {out_dtype}")


@backends
@pytest.mark.parametrize("isa_name", ISAS)
@pytest.mark.parametrize("scale", [1e-45, 1e-42, 1e-38, 1e-20, 1e-8, 1.0, 1e4, 6e4, 1e18, 3e38])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_magnitude(backend: str, isa_name: str, scale: float, dtype: str) -> None:
    """Denormal, overflowing and out-of-range results round like the reference's."""
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], [60, 20])
    x = cast(rng.uniform(-1, 1, (80, 9)) * scale, dtype)
    expected = Plan.eos(x, y, expansion=(-0.5, 1.5), backend="reference")
    with isa(isa_name), np.errstate(over="ignore"):
        plan = Plan.eos(x, y, expansion=(-0.5, 1.5), backend=backend)
        for out_dtype in DTYPES:
            got, wanted = plan.generate(x, dtype=out_dtype), expected.generate(x, dtype=out_dtype)
            assert_same_bits(got, wanted, out_dtype)


@all_backends
@settings(max_examples=60)
@given(data=st.data())
def test_any_rows_in_any_order(backend: str, data: st.DataObject) -> None:
    x, y = blobs()
    plan = Plan.eos(x, y, seed=11, backend=backend, threads=data.draw(st.integers(1, 3)))
    everything = plan.generate(x)
    n = plan.n_samples
    start = data.draw(st.integers(0, n))
    stop = data.draw(st.integers(start, n))
    assert_same_bits(plan.generate(x, start, stop), everything[start:stop])
    assert plan.labels(start, stop).tolist() == plan.labels()[start:stop].tolist()
    for a, b in zip(plan.recipe(start, stop), plan.recipe(), strict=True):
        assert_same_bits(a, b[start:stop])
    rows = data.draw(st.lists(st.integers(0, n - 1), max_size=40))
    assert_same_bits(plan.generate_rows(x, rows), everything[np.array(rows, np.int64)])
    assert plan.labels_of(rows).tolist() == plan.labels()[np.array(rows, np.int64)].tolist()


@backends
@pytest.mark.parametrize("isa_name", ISAS)
def test_rows_and_seeds_of_more_than_32_bits(backend: str, isa_name: str) -> None:
    x, y = blobs()
    wanted = {int(y.min()): 2**44}
    rows = [*range(2**32 - 20, 2**32 + 17), *range(2**43, 2**43 + 5), 2**44 - 1000]
    expected = Plan.eos(x, y, wanted, seed=2**63 + 5, backend="reference").generate_rows(x, rows)
    with isa(isa_name):
        plan = Plan.eos(x, y, wanted, seed=2**63 + 5, backend=backend)
        assert_same_bits(plan.generate_rows(x, rows), expected)


@backends
def test_many_rows_on_many_threads(backend: str) -> None:
    x, y = blobs((3000, 200, 40), 33)
    expected = Plan.eos(x, y, backend="reference")
    for threads in (1, 2, 3):
        plan = Plan.eos(x, y, backend=backend, threads=threads)
        assert_same_bits(plan.generate(x), expected.generate(x), f"{threads} threads")


@pytest.mark.parametrize(
    ("n", "d", "dtype"),
    [(70_000, 32, "float32"), (70_000, 32, "float64"), (1_200_000, 2, "float32")],
)
def test_rows_made_base_by_base_stand_where_they_belong(n: int, d: int, dtype: str) -> None:
    # Rows and output both outgrow the caches, which is when the kernel changes its order: a million
    # rows at a time.
    rng = np.random.default_rng(0)
    x = rng.standard_normal((n, d)).astype(dtype)
    plan = Plan.random(x, np.repeat([0, 1], [n - 1000, 1000]))
    partners = plan._partners
    links = rng.integers(0, n, 3000)
    plan._partners = replace(
        partners, partners=links, partner_start=np.arange(0, 3001, 3), high=0.5, seed=2**40 + 1
    )
    assert plan.n_samples == n - 2000
    made = plan.generate(x)
    some = np.unique(rng.integers(0, plan.n_samples, 500))
    plan._backend_name = "reference"
    assert_same_bits(made[some], plan.generate_rows(x, some))


@all_backends
@methods
def test_rows_follow_their_recipe(backend: str, method: str) -> None:
    x, y = blobs()
    plan = PLAN_METHODS[method](x, y, seed=5, backend=backend)
    base, partner, weight = plan.recipe()
    u = np.repeat(weight[:, None], x.shape[1], axis=1)
    made = plan.generate(x)
    assert_same_bits(made, reference.fma32(u, x[partner] - x[base], x[base]))
    assert (y[base] == plan.labels()).all()
    assert ((weight >= 0) & (weight < 1)).all()
    if method == "random":
        assert (base == partner).all()
    else:
        enemies = method != "smote"
        assert ((y[partner] != plan.labels()) == enemies).all()
        assert (base != partner).all()
    low, high = np.minimum(x[base], x[partner]), np.maximum(x[base], x[partner])
    assert ((made >= low - 1e-6) & (made <= high + 1e-6)).all()


@all_backends
def test_partners_are_the_nearest(backend: str) -> None:
    x, y = blobs((200, 30, 10))
    k = 4
    for method, relation in ((Plan.eos, "enemy"), (Plan.smote, "friend")):
        nearest = ex.neighbors(x, y, k, relation, backend="reference")[1]
        plan = method(x, y, {0: 400, 1: 4030, 2: 2010}, k=k, backend=backend)
        drawn = set(zip(plan.recipe().base.tolist(), plan.recipe().partner.tolist(), strict=True))
        allowed = {(b, p) for b in np.flatnonzero(y > 0) for p in nearest[b]}
        minority = {(b, p) for b, p in drawn if y[b] > 0}
        assert minority == allowed  # every one of them comes up, too


@pytest.mark.parametrize("method", ["eos", "smote"])
def test_only_rows_that_are_drawn_are_searched(
    method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    x, y = blobs((300, 200, 9))
    searched: list[int] = []
    find_rows = ex.Index.find_rows

    def spy(index: ex.Index, queries: Any, *rest: Any) -> Any:
        searched.extend(queries.tolist())
        return find_rows(index, queries, *rest)

    monkeypatch.setattr(ex.Index, "find_rows", spy)
    plan = PLAN_METHODS[method](x, y, {1: 260, 2: 12}, k=3)
    base, partner, _ = plan.recipe()
    assert sorted(set(base.tolist())) == sorted(searched)
    assert len(searched) < 70
    monkeypatch.undo()
    nearest = ex.neighbors(x, y, 3, "enemy" if method == "eos" else "friend")[1]
    assert (nearest[base] == partner[:, None]).any(axis=1).all()
    ranks = (nearest[base] == partner[:, None]).argmax(axis=1)
    assert set(ranks.tolist()) == {0, 1, 2}


@all_backends
@pytest.mark.parametrize("expansion", [(0.0, 0.5), (-1.0, 0.0), (0.5, 0.5), (1.0, 3.0)])
def test_weights_stay_within_the_expansion(backend: str, expansion: tuple[float, float]) -> None:
    x, y = blobs()
    weight = Plan.eos(x, y, expansion=expansion, backend=backend).recipe().weight
    assert weight.min() >= expansion[0]
    assert weight.max() <= expansion[1]


# ---- chance -----------------------------------------------------------------------------------


@all_backends
def test_draws_are_uniform(backend: str) -> None:
    from scipy.stats import chisquare

    x, y = blobs((60_000, 16), d=1)
    k = 8
    base, partner, weight = Plan.eos(x, y, k=k, seed=1, backend=backend).recipe()
    bins = np.histogram(weight, 64, (0, 1))[0]
    pairs = np.unique(base * len(x) + partner, return_counts=True)[1]
    assert len(pairs) == 16 * k
    rank = np.unique(base, return_inverse=True)[1]
    together = np.histogram2d(rank, weight, (16, 8))[0].ravel()
    for counts in (bins, np.unique(base, return_counts=True)[1], pairs, together):
        assert chisquare(counts).pvalue > 1e-3


@all_backends
def test_seeds_differ_and_repeat(backend: str) -> None:
    x, y = blobs()
    seeds = [0, 1, 2, 2**32, 2**64 - 1]
    made = [Plan.eos(x, y, seed=seed, backend=backend).generate(x).tobytes() for seed in seeds]
    again = [Plan.eos(x, y, seed=seed, backend=backend).generate(x).tobytes() for seed in seeds]
    assert len(set(made)) == len(seeds)
    assert made == again


# ---- labels and libraries ---------------------------------------------------------------------


def labelings() -> dict[str, Any]:
    import pandas as pd

    y = blobs()[1]
    names = np.array(["many", "fewer", "few"])[y]
    return {
        "strings": names,
        "objects": names.astype(object),
        "negative": -y - 5,
        "int8": (y * 100 - 100).astype(np.int8),
        "uint64": np.uint64(2**64 - 1) - y.astype(np.uint64),
        "int64 ends": np.array([-(2**63), 0, 2**63 - 1])[y],
        "floats": y - 1.0,
        "categorical": pd.Categorical(names),
        "categories of ints": pd.Series(y, dtype="category"),
        "object ints": pd.Series(y, dtype=object),
        "pandas strings": pd.Series(names, dtype="string"),
        "list": names.tolist(),
        "column": y[:, None],
    }


@all_backends
@pytest.mark.parametrize("kind", labelings())
def test_any_labels(backend: str, kind: str, tmp_path: Path) -> None:
    """The labels' type changes nothing but the labels, and survives a file."""
    x, codes = blobs()
    y = labelings()[kind]
    plan = Plan.eos(x, y, backend=backend)
    plan.save(tmp_path / "plan.npz")
    loaded = Plan.load(tmp_path / "plan.npz", backend=backend)
    values = np.asarray(y).reshape(-1).tolist()
    by_code = {code: values[row] for row, code in enumerate(codes.tolist())}
    assert plan.counts == {by_code[1]: 28, by_code[2]: 35}
    made = plan.labels().tolist()
    assert made == loaded.labels().tolist()
    assert sorted(made) == sorted([by_code[1]] * 28 + [by_code[2]] * 35)
    assert plan.labels().dtype == loaded.labels().dtype
    assert_same_bits(loaded.generate(x), plan.generate(x))
    base = plan.recipe().base
    assert [values[row] for row in base] == made


def test_two_boolean_classes() -> None:
    x, y = blobs((20, 5))
    plan = Plan.eos(x, y.astype(bool), {True: 12})
    assert plan.counts == {True: 7}
    assert plan.labels().dtype == bool
    assert plan.labels().all()


@pytest.mark.train
@all_backends
@pytest.mark.parametrize("dtype", DTYPES)
def test_torch_in_torch_out(backend: str, dtype: str) -> None:
    import torch

    x, y = blobs(dtype=dtype)
    tensor = torch.tensor(x.astype(np.float64)).to(getattr(torch, dtype))
    plan = Plan.eos(tensor, torch.tensor(y), backend=backend)
    expected = Plan.eos(x, y, backend="reference")
    made = plan.generate(tensor)
    assert made.dtype == tensor.dtype
    assert made.float().numpy().tolist() == expected.generate(x).astype(np.float32).tolist()
    assert_same_bits(plan.generate(x), expected.generate(x))  # the same rows in another library
    for out_dtype in DTYPES:
        want = expected.generate(x, dtype=out_dtype).astype(np.float64)
        for asked in (out_dtype, getattr(torch, out_dtype)):
            got = plan.generate(tensor, dtype=asked)
            assert got.dtype == getattr(torch, out_dtype)
            assert got.double().numpy().tolist() == want.tolist()
        out = torch.empty(plan.n_samples, 6, dtype=getattr(torch, out_dtype))
        assert plan.generate(tensor, out=out) is out
        assert out.double().numpy().tolist() == want.tolist()
