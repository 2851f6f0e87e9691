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
    assert_same_bits,
    bits,
    blobs,
    cast,
    isa,
)
from expansive.arrays import as_rows
from expansive.backends import reference

Plan = ex.SynthesisPlan
METHODS = {
    "eos": Plan.eos,
    "neighborhood": lambda *a, **o: Plan.eos(*a, enemies="neighborhood", k=15, **o),
    "smote": Plan.smote,
    "random": Plan.random,
}

backends = pytest.mark.parametrize("backend", BACKENDS_UNDER_TEST)
all_backends = pytest.mark.parametrize("backend", ["reference", *BACKENDS_UNDER_TEST])
methods = pytest.mark.parametrize("method", METHODS)


@pytest.mark.parametrize("method", ["eos", "smote", "random"])
def test_a_plan_by_the_name_of_its_method(method: str) -> None:
    x, y = blobs()
    arguments = {"k": 3, "enemies": "neighborhood", "expansion": (0.25, 0.5)}
    known = {"eos": {*arguments}, "smote": {"k", "expansion"}, "random": set[str]()}[method]
    own = {name: value for name, value in arguments.items() if name in known}
    plan = Plan.by_method(method, x, y, seed=5, **arguments)
    assert_same_bits(plan.generate(x), METHODS[method](x, y, seed=5, **own).generate(x), method)
    with pytest.raises(ValueError, match="unknown method 'adasyn'; choose one of 'eos', 'smote'"):
        Plan.by_method("adasyn", x, y)


@pytest.mark.parametrize("method", ["eos", "smote", "random"])
def test_a_plan_scans_its_rows_once(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scanned = []
    scan = reference.scan
    monkeypatch.setattr(reference, "scan", lambda *given: scanned.append(1) or scan(*given))
    Plan.by_method(method, *blobs(), backend="reference")
    assert len(scanned) == 1


# ---- bits -------------------------------------------------------------------------------------


@backends
@pytest.mark.parametrize("isa_name", ISAS)
@methods
@pytest.mark.parametrize("dtype", DTYPES)
def test_rows_have_the_bits_of_the_reference(
    backend: str, isa_name: str, method: str, dtype: str
) -> None:
    x, y = blobs(dtype=dtype, d=19)
    expected = METHODS[method](x, y, seed=3, backend="reference")
    with isa(isa_name):
        plan = METHODS[method](x, y, seed=3, backend=backend, threads=2)
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
def test_many_rows_on_many_threads(backend: str) -> None:
    x, y = blobs((3000, 200, 40), 33)
    expected = Plan.eos(x, y, backend="reference")
    for threads in (1, 2, 3):
        plan = Plan.eos(x, y, backend=backend, threads=threads)
        assert_same_bits(plan.generate(x), expected.generate(x), f"{threads} threads")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_rows_made_base_by_base_stand_where_they_belong(dtype: str) -> None:
    # Rows and output both outgrow the caches, which is when the kernel changes its order.
    rng = np.random.default_rng(0)
    x = rng.standard_normal((70_000, 32)).astype(dtype)
    plan = Plan.random(x, np.repeat([0, 1], [69_000, 1000]))
    partners = plan._partners
    links = rng.integers(0, len(x), 3000)
    plan._partners = replace(
        partners, partners=links, partner_start=np.arange(0, 3001, 3), high=0.5, seed=2**40 + 1
    )
    assert plan.n_samples == 68_000
    made = plan.generate(x)
    some = np.unique(rng.integers(0, plan.n_samples, 500))
    plan._backend_name = "reference"
    assert_same_bits(made[some], plan.generate_rows(x, some))


@all_backends
@methods
def test_rows_follow_their_recipe(backend: str, method: str) -> None:
    x, y = blobs()
    plan = METHODS[method](x, y, seed=5, backend=backend)
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
    plan = METHODS[method](x, y, {1: 260, 2: 12}, k=3)
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


# ---- how many ---------------------------------------------------------------------------------

STRATEGIES: dict[str, Any] = {
    "auto": "auto",
    "all": "all",
    "minority": "minority",
    "not majority": "not majority",
    "not minority": "not minority",
    "dict": {1: 30, 2: 7},
    "dict, some unchanged": {0: 40, 1: 13},
    "callable": lambda y: {2: 20},
}


@methods
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_counts_are_those_of_imbalanced_learn(method: str, strategy: str) -> None:
    from imblearn.utils import check_sampling_strategy

    x, y = blobs()
    wanted = check_sampling_strategy(STRATEGIES[strategy], y, "over-sampling")
    wanted = {int(label): int(n) for label, n in wanted.items() if n}
    plan = METHODS[method](x, y, STRATEGIES[strategy])
    assert plan.counts == wanted
    assert plan.n_samples == sum(wanted.values())
    labels, counts = np.unique(plan.labels(), return_counts=True)
    assert dict(zip(labels.tolist(), counts.tolist(), strict=True)) == wanted
    assert (np.diff(plan.labels()) >= 0).all()  # classes own contiguous ranges


def test_a_ratio_for_two_classes() -> None:
    x, y = blobs((40, 8))
    assert Plan.eos(x, y, 0.5).counts == {1: 12}


@all_backends
@methods
def test_balanced_classes_need_no_rows(backend: str, method: str, tmp_path: Path) -> None:
    x, y = blobs((9, 9))
    plan = METHODS[method](x, y, backend=backend)
    plan.save(tmp_path / "plan.npz")
    for empty in (plan, Plan.load(tmp_path / "plan.npz", backend=backend)):
        assert empty.n_samples == 0
        assert empty.counts == {}
        assert empty.generate(x).shape == (0, 6)
        assert len(empty.labels()) == 0
        assert len(empty.recipe().base) == 0


# ---- neighborhoods ----------------------------------------------------------------------------


@all_backends
def test_neighborhood_draws_enemies_among_the_nearest_of_any_class(backend: str) -> None:
    x, y = blobs((60, 20))
    nearest = ex.neighbors(x, y, 6, "any", backend="reference")[1]
    plan = Plan.eos(x, y, {1: 2020}, k=6, enemies="neighborhood", backend=backend)
    base, partner, _ = plan.recipe()
    expected = {(b, p) for b in np.flatnonzero(y == 1) for p in nearest[b] if y[p] != 1}
    assert set(zip(base.tolist(), partner.tolist(), strict=True)) == expected


@all_backends
def test_a_class_far_from_its_enemies_falls_back_with_a_warning(backend: str) -> None:
    x = np.concatenate([np.arange(20.0), 1000 + np.arange(5.0), [3.4, 3.6]])[:, None]
    y = np.repeat([0, 1, 2], [20, 5, 2])
    with pytest.warns(UserWarning, match=r"class 1 .*3 nearest rows.*enemies='nearest'") as caught:
        plan = Plan.eos(x, y, k=3, enemies="neighborhood", backend=backend)
    assert [warning.filename for warning in caught] == [__file__]
    nearest = Plan.eos(x, y, k=3, backend=backend)
    for a, b in zip(plan.recipe(0, 15), nearest.recipe(0, 15), strict=True):
        assert_same_bits(a, b)


@all_backends
def test_reference_compat_draws_one_rank_too_close(backend: str) -> None:
    x = np.array([[0.0], [1.0], [2.1], [3.3], [10.0], [11.0]])
    y = np.array([1, 0, 0, 0, 1, 0])
    options: Any = {"k": 3, "enemies": "neighborhood", "backend": backend}
    # Row 0 finds enemies 1, 2, 3; row 4 finds 5, 3, 2. One rank closer: 0, 1, 2 and 4, 5, 3.
    for compat, expected in (
        (False, {0: {1, 2, 3}, 4: {5, 3, 2}}),
        (True, {0: {0, 1, 2}, 4: {4, 5, 3}}),
    ):
        plan = Plan.eos(x, y, {1: 202}, reference_compat=compat, **options)
        base, partner, _ = plan.recipe()
        assert {b: set(partner[base == b].tolist()) for b in (0, 4)} == expected
    with pytest.raises(ValueError, match=r"reference_compat.*enemies='neighborhood'"):
        Plan.eos(x, y, k=3, reference_compat=True)


@all_backends
def test_a_class_of_one_row(backend: str) -> None:
    x, y = blobs((20, 5, 1))
    with pytest.warns(UserWarning, match="class 2 has one row") as caught:
        smote = Plan.smote(x, y, backend=backend)
    assert [warning.filename for warning in caught] == [__file__]
    only = np.flatnonzero(y == 2)
    assert_same_bits(smote.generate(x)[smote.labels() == 2], x[only].repeat(19, axis=0))
    eos = Plan.eos(x, y, backend=backend)
    assert set(eos.recipe().base[eos.labels() == 2].tolist()) == set(only.tolist())


@all_backends
def test_more_neighbors_than_there_are(backend: str) -> None:
    x, y = blobs((9, 4))
    plan = Plan.eos(x, y, {1: 404}, k=1000, backend=backend)
    assert set(plan.recipe().partner.tolist()) == set(np.flatnonzero(y == 0).tolist())
    friends = Plan.smote(x, y, {1: 404}, k=1000, backend=backend)
    assert set(friends.recipe().partner.tolist()) == set(np.flatnonzero(y == 1).tolist())


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
        "floats": y / 2 - 0.25,
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


# ---- out= -------------------------------------------------------------------------------------


@all_backends
@pytest.mark.parametrize("dtype", DTYPES)
def test_out_is_filled_and_returned(backend: str, dtype: str) -> None:
    x, y = blobs()
    plan = Plan.eos(x, y, backend=backend)
    whole = cast(np.zeros((plan.n_samples + 2, 6)), dtype)
    out = whole[1:-1]
    assert plan.generate(x, out=out) is out
    assert_same_bits(out, plan.generate(x, dtype=dtype))
    assert not whole[[0, -1]].any()


def refused_outputs() -> dict[str, Any]:
    frozen = np.zeros((63, 6), np.float32)
    frozen.flags.writeable = False
    return {
        "too short": (np.zeros((62, 6), np.float32), r"out has shape \(62, 6\).*\(63, 6\)"),
        "one dimension": (np.zeros(63 * 6, np.float32), r"out has shape"),
        "integers": (np.zeros((63, 6), np.int64), "out must be"),
        "big-endian": (np.zeros((63, 6), ">f4"), "out must be"),
        "fortran": (np.zeros((63, 6), np.float32, "F"), "out must be"),
        "strided": (np.zeros((126, 6), np.float32)[::2], "out must be"),
        "read-only": (frozen, "out must be"),
        "a list": ([[0.0] * 6] * 63, "out must be"),
    }


@pytest.mark.parametrize("kind", refused_outputs())
def test_out_that_cannot_be_written_in_place_is_refused(kind: str) -> None:
    out, message = refused_outputs()[kind]
    x, y = blobs()
    with pytest.raises(ValueError, match=message):
        Plan.eos(x, y).generate(x, out=out)
    assert not np.any(out)


def test_out_with_another_dtype_is_refused() -> None:
    x, y = blobs()
    plan = Plan.eos(x, y)
    with pytest.raises(TypeError, match="out holds float32 but dtype is float16"):
        plan.generate(x, out=np.zeros((63, 6), np.float32), dtype="float16")


def test_out_that_overlaps_x_is_refused() -> None:
    x, y = blobs((40, 39))
    before = x.copy()
    with pytest.raises(ValueError, match="out overlaps x"):
        Plan.eos(x, y).generate(x, out=x[:1])
    assert_same_bits(x, before)


@pytest.mark.train
def test_torch_out_that_cannot_be_written_in_place_is_refused() -> None:
    import torch

    x, y = blobs()
    plan = Plan.eos(x, y)
    for dtype in (torch.bfloat16, torch.float32):
        with pytest.raises(ValueError, match="out must be"):
            plan.generate(x, out=torch.zeros(6, 63, dtype=dtype).t())


# ---- a plan and its data ----------------------------------------------------------------------


@all_backends
def test_other_data_is_refused(backend: str) -> None:
    x, y = blobs()
    plan = Plan.eos(x, y, backend=backend)
    plan.generate(x)
    other = x.copy()
    other[17, 3] = np.nextafter(other[17, 3], np.float32(9))
    with pytest.raises(ValueError, match=r"fingerprint differs.*make a new plan"):
        plan.generate(other)
    with pytest.raises(ValueError, match="fingerprint differs"):
        plan.generate(x[::-1])
    with pytest.raises(ValueError, match=r"x is float64 \(57, 6\).*float32 \(57, 6\)"):
        plan.generate(x.astype(np.float64))
    with pytest.raises(ValueError, match=r"x is float32 \(56, 6\).*\(57, 6\)"):
        plan.generate(x[1:])
    assert_same_bits(plan.generate(x.copy()), plan.generate(x))
    assert_same_bits(plan.generate(np.asfortranarray(x)), plan.generate(x))


@all_backends
def test_data_changed_in_place_is_refused(backend: str) -> None:
    x, y = blobs((300, 12))
    plan = Plan.eos(x, y, backend=backend)
    first = plan.generate(x, 0, 5)
    x += 1
    with pytest.raises(ValueError, match="fingerprint differs"):
        plan.generate(x, 0, 5)
    x -= 1
    x[:] = blobs((300, 12))[0]
    assert_same_bits(plan.generate(x, 0, 5), first)


def test_fingerprints_agree_between_backends() -> None:
    from expansive.backends.registry import get_backend

    rng = np.random.default_rng(0)
    for dtype in DTYPES:
        for shape in ((1, 1), (3, 5), (101, 33), (5000, 7)):
            rows = as_rows(cast(rng.normal(size=shape), dtype))
            expected = reference.fingerprint(rows, 1)
            for backend in BACKENDS_UNDER_TEST:
                for threads in (1, 2, 3):
                    assert get_backend(backend).fingerprint(rows, threads) == expected


def test_bits_tell_zeros_apart() -> None:
    """The comparison these tests rest on."""
    assert bits(np.array([0.0])) != bits(np.array([-0.0]))
    with pytest.raises(AssertionError, match="1 of 2 differ"):
        assert_same_bits(np.array([0.0, 1.0]), np.array([-0.0, 1.0]))
