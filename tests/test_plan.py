"""Plans: how many rows of which class, and from whom."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import expansive as ex
from cases import (
    PLAN_METHODS,
    all_backends,
    assert_same_bits,
    blobs,
)
from expansive.backends import reference

Plan = ex.SynthesisPlan

methods = pytest.mark.parametrize("method", PLAN_METHODS)


@pytest.mark.parametrize("method", ["eos", "smote", "random"])
def test_a_plan_by_the_name_of_its_method(method: str) -> None:
    x, y = blobs()
    arguments = {"k": 3, "enemies": "neighborhood", "expansion": (0.25, 0.5)}
    known = {"eos": {*arguments}, "smote": {"k", "expansion"}, "random": set[str]()}[method]
    own = {name: value for name, value in arguments.items() if name in known}
    plan = Plan.by_method(method, x, y, seed=5, **arguments)
    assert_same_bits(
        plan.generate(x), PLAN_METHODS[method](x, y, seed=5, **own).generate(x), method
    )
    with pytest.raises(ValueError, match="unknown method 'adasyn'; choose one of 'eos', 'smote'"):
        Plan.by_method("adasyn", x, y)


@pytest.mark.parametrize("method", ["eos", "smote", "random"])
def test_a_plan_scans_its_rows_once(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scanned = []
    scan = reference.scan
    monkeypatch.setattr(reference, "scan", lambda *given: scanned.append(1) or scan(*given))
    Plan.by_method(method, *blobs(), backend="reference")
    assert len(scanned) == 1


@pytest.mark.parametrize("method", ["eos", "smote"])
def test_more_neighbours_than_rows_are_all_of_them(method: str) -> None:
    x, y = blobs()
    everyone, beyond = (PLAN_METHODS[method](x, y, k=k, seed=5) for k in (len(x), 2**62))
    assert_same_bits(everyone.generate(x), beyond.generate(x), method)


def test_a_plan_and_an_index_say_what_they_are() -> None:
    x, y = blobs()
    said = "Index(57 rows of 6 features in float32, 3 classes, metric='cosine', backend='cpu')"
    assert repr(ex.Index(x, y, metric="cosine")) == said
    assert repr(ex.Index(x, backend="reference")).endswith(
        "0 classes, metric='euclidean', backend='reference')"
    )
    plan = Plan.eos(x, y, seed=5)
    assert len(plan) == plan.n_samples
    assert repr(plan) == (
        f"SynthesisPlan({plan.n_samples} rows of 2 classes, from 57 rows of 6 features in float32, "
        "seed=5, backend=None)"
    )


def test_rows_of_their_own_class_may_be_asked_for() -> None:
    x, _ = blobs()
    assert Plan.eos(x, np.arange(57), {3: 5}).counts == {3: 4}


# ---- how many ---------------------------------------------------------------------------------

STRATEGIES: dict[str, Any] = {
    "auto": "auto",
    "all": "all",
    "minority": "minority",
    "not majority": "not majority",
    "not minority": "not minority",
    "dict": {1: 30, 2: 7},
    "dict, some unchanged": {0: 40, 1: 13},
    "dict of whole floats": {1: 30.0, 2: np.float32(7)},
    "callable": lambda y: {2: 20},
}


@methods
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_counts_are_those_of_imbalanced_learn(method: str, strategy: str) -> None:
    from imblearn.utils import check_sampling_strategy

    x, y = blobs()
    wanted = check_sampling_strategy(STRATEGIES[strategy], y, "over-sampling")
    wanted = {int(label): int(n) for label, n in wanted.items() if n}
    plan = PLAN_METHODS[method](x, y, STRATEGIES[strategy])
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
    plan = PLAN_METHODS[method](x, y, backend=backend)
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
    with pytest.warns(
        UserWarning, match=r"of class 1 .*3 nearest rows.*enemies='nearest'"
    ) as caught:
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
    with pytest.warns(UserWarning, match="only row of class 2 has no friend") as caught:
        smote = Plan.smote(x, y, backend=backend)
    assert [warning.filename for warning in caught] == [__file__]
    only = np.flatnonzero(y == 2)
    assert_same_bits(smote.generate(x)[smote.labels() == 2], x[only].repeat(19, axis=0))
    eos = Plan.eos(x, y, backend=backend)
    assert set(eos.recipe().base[eos.labels() == 2].tolist()) == set(only.tolist())


def test_many_classes_without_friends_warn_once() -> None:
    x, y = np.arange(25.0)[:, None], np.repeat(np.arange(6), [20, 1, 1, 1, 1, 1])
    with pytest.warns(UserWarning, match=r"row of 5 classes \(1, 2, 3, \.\.\.\) has no") as caught:
        plan = Plan.smote(x, y)
    assert [warning.filename for warning in caught] == [__file__]
    assert_same_bits(plan.generate(x), x[20:].repeat(19, axis=0))


def test_many_classes_far_from_enemies_warn_once() -> None:
    x = np.concatenate([np.arange(20.0), 1000 * np.arange(1, 11).repeat(2)])[:, None]
    y = np.repeat(np.arange(11), [20, *[2] * 10])
    wanted = dict.fromkeys(range(1, 11), 6)
    with pytest.warns(UserWarning, match=r"row of 10 classes \(1, 2, 3, \.\.\.\) has") as caught:
        plan = Plan.eos(x, y, wanted, 1, "neighborhood")
    assert [warning.filename for warning in caught] == [__file__]
    assert_same_bits(plan.generate(x), Plan.eos(x, y, wanted, 1).generate(x))


@all_backends
def test_a_class_of_two_rows(backend: str) -> None:
    x, y = blobs((20, 5, 2))
    base, partner, _ = Plan.smote(x, y, {2: 40}, backend=backend).recipe()
    assert set(base.tolist()) == set(np.flatnonzero(y == 2).tolist())
    assert (base != partner).all()


@all_backends
def test_more_neighbors_than_there_are(backend: str) -> None:
    x, y = blobs((9, 4))
    plan = Plan.eos(x, y, {1: 404}, k=1000, backend=backend)
    assert set(plan.recipe().partner.tolist()) == set(np.flatnonzero(y == 0).tolist())
    friends = Plan.smote(x, y, {1: 404}, k=1000, backend=backend)
    assert set(friends.recipe().partner.tolist()) == set(np.flatnonzero(y == 1).tolist())


def test_more_rows_than_a_number_can_count_are_refused() -> None:
    with pytest.raises(ValueError, match=r"sampling_strategy asks for \d+ rows; .* 2\*\*63"):
        Plan.eos(np.eye(4), [0, 0, 1, 1], {0: 2**63 - 1, 1: 2**62}, k=1)


def test_a_plan_is_not_made_from_rows_directly() -> None:
    with pytest.raises(TypeError, match=r"made by SynthesisPlan\.eos\(x, y\)"):
        Plan(np.eye(4))


def test_a_slice_past_the_end_says_where_to_stop() -> None:
    x, y = blobs((9, 4))
    with pytest.raises(IndexError, match=r"slice \[0, 6\) .* 5 rows; stop at min\(stop, plan"):
        Plan.eos(x, y, k=2).generate(x, 0, 6)
