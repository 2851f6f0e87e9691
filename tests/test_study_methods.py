"""The rows that each method of a study trains the head on."""

import numpy as np
import pytest
import torch
from imblearn import over_sampling

from expansive.study import methods
from expansive.synthesis import SynthesisPlan

pytestmark = pytest.mark.train

torch.set_num_threads(1)


def embeddings(counts=(60, 25, 12), seed=0):
    rng = np.random.default_rng(seed)
    y = np.repeat(np.arange(len(counts)), counts)
    x = rng.normal(size=(len(y), 5)).astype(np.float32) + y[:, None].astype(np.float32)
    order = rng.permutation(len(y))
    return x[order], y[order].astype(np.int64)


@pytest.mark.parametrize("name", sorted({*methods.METHODS} - {"crt", "mixup", "remix", "adasyn"}))
def test_over_samplers_keep_the_rows_and_balance_the_classes(name):
    x, y = embeddings()
    rows = methods.make_rows(name, x, y, {}, 3)
    np.testing.assert_array_equal(rows.real.x, x)
    made = np.asarray(rows.plan.labels(0, rows.plan.n_samples))
    assert np.bincount(np.concatenate([y, made])).tolist() == [60, 60, 60]
    picked = [30, 3, 30]
    some = rows.plan.generate_rows(rows.real.x, np.array(picked))
    assert some.shape == (3, 5)
    assert torch.equal(torch.as_tensor(some[0]), torch.as_tensor(some[2]))
    again = methods.make_rows(name, x, y, {}, 3)
    np.testing.assert_array_equal(again.plan.generate_rows(again.real.x, picked), some)


def test_eos_is_the_plan_of_the_package():
    x, y = embeddings()
    parameters = {"enemies": "neighborhood", "k": 7, "expansion": [0.0, 0.5]}
    rows = methods.make_rows("eos", x, y, parameters, 3)
    plan_ = SynthesisPlan.eos(x, y, k=7, enemies="neighborhood", expansion=(0, 0.5), seed=3)
    np.testing.assert_array_equal(
        rows.plan.generate_rows(rows.real.x, np.arange(9)), plan_.generate(x, 0, 9)
    )


def test_eos_can_be_that_of_the_published_code():
    x, y = embeddings()
    around = {"enemies": "neighborhood", "k": 7}
    rows = methods.make_rows("eos", x, y, {**around, "reference_compat": True}, 3)
    plan_ = SynthesisPlan.eos(x, y, **around, seed=3, reference_compat=True)
    np.testing.assert_array_equal(
        rows.plan.generate_rows(rows.real.x, np.arange(9)), plan_.generate(x, 0, 9)
    )


@pytest.mark.parametrize(
    ("name", "sampler", "around"),
    [
        ("smote", over_sampling.SMOTE(k_neighbors=3, random_state=5), {}),
        (
            "borderline_smote",
            over_sampling.BorderlineSMOTE(k_neighbors=3, m_neighbors=4, random_state=5),
            {"m": 4},
        ),
        (
            "svm_smote",
            over_sampling.SVMSMOTE(k_neighbors=3, m_neighbors=4, random_state=5),
            {"m": 4},
        ),
        ("adasyn", over_sampling.ADASYN(n_neighbors=3, random_state=5), {}),
    ],
)
def test_samplers_of_imbalanced_learn_get_neighbours_and_seed(name, sampler, around):
    x, y = embeddings((60, 40, 30))
    rows = methods.make_rows(name, x, y, {"k": 3} | around, 5)
    made_x, made_y = sampler.fit_resample(x, y)
    assert rows.plan.labels(0, rows.plan.n_samples).tolist() == made_y[len(y) :].tolist()
    made = rows.plan.generate_rows(rows.real.x, np.arange(rows.plan.n_samples))
    np.testing.assert_allclose(made, made_x[len(x) :], rtol=1e-6)


def test_adasyn_fills_the_small_classes():
    x, y = embeddings((60, 40, 30))
    rows = methods.make_rows("adasyn", x, y, {}, 0)
    assert set(np.asarray(rows.plan.labels(0, rows.plan.n_samples))) == {1, 2}


def test_crt_draws_every_class_equally_often_and_begins_anew():
    x, y = embeddings()
    rows = methods.make_rows("crt", x, y, {}, 0)
    assert rows.reinit_head
    assert rows.plan.n_samples == 0
    assert np.bincount(rows.real.y).tolist() == [60, 60, 60]
    known = {row.tobytes() for row in x}
    assert {row.tobytes() for row in rows.real.x.numpy()} <= known


def test_mixup_labels_by_share_and_remix_for_the_smaller_class():
    # In one dimension the class is the value, so a mixed row says what share it has of each.
    y = np.repeat([0, 1], [3000, 100]).astype(np.int64)
    x = y[:, None].astype(np.float32)

    def labels(name, low, high):
        rows = methods.make_rows(name, x, y, {}, 0)
        share = rows.plan.generate_rows(x, np.arange(rows.plan.n_samples)).numpy()[:, 0]
        drawn = rows.plan.labels(0, rows.plan.n_samples)
        return drawn[(share > low) & (share < high)]

    assert 0.2 < labels("mixup", 0.2, 0.4).mean() < 0.4
    assert 0.6 < labels("mixup", 0.6, 0.8).mean() < 0.8
    assert 0.2 < labels("remix", 0.2, 0.4).mean() < 0.4  # the larger class has the larger share
    assert labels("remix", 0.51, 0.8).mean() == 1.0


@pytest.mark.parametrize("name", ["mixup", "remix"])
def test_as_many_rows_are_mixed_as_balance_needs_and_labelled_by_the_sizes(name):
    # The features are the classes, so that a row of two classes shows its share of each.
    counts = np.array([3000, 1500, 500])
    y = np.repeat(np.arange(3), counts)
    rows = methods.make_rows(name, np.eye(3, dtype=np.float32)[y], y, {}, 0)
    made = rows.plan.generate_rows(None, np.arange(rows.plan.n_samples)).numpy()
    labels = rows.plan.labels(0, rows.plan.n_samples)
    assert len(made) == len(labels) == 1500 + 2500
    np.testing.assert_allclose(made.sum(axis=1), 1.0, rtol=1e-5)
    for larger, smaller in ((0, 1), (0, 2), (1, 2)):
        share = made[:, larger]
        mixed = (share > 0) & (made[:, smaller] > 0)
        assert set(labels[mixed & (share > 0.5)]) == {larger, smaller}
        # Remix takes the smaller of two classes of which one has three times the rows.
        unequal = name == "remix" and smaller == 2
        expected = {smaller} if unequal else {larger, smaller}
        assert set(labels[mixed & (share < 0.5)]) == expected


@pytest.mark.parametrize("name", ["random", "mixup", "crt"])
def test_another_seed_draws_other_rows(name):
    x, y = embeddings()

    def made(seed):
        rows = methods.make_rows(name, x, y, {}, seed)
        plan = rows.plan.generate_rows(rows.real.x, np.arange(rows.plan.n_samples))
        return np.concatenate([rows.real.x, plan])

    np.testing.assert_array_equal(made(1), made(1))
    assert not np.array_equal(made(1), made(2))


def test_tau_norm_makes_the_norms_equal_and_leaves_out_the_bias():
    weight = np.array([[3.0, 4.0], [0.6, 0.8]], np.float32)
    head = {"weight": weight, "bias": np.array([2.0, -1.0], np.float32)}
    even = methods.tau_norm(head)
    np.testing.assert_allclose(np.linalg.norm(even["weight"], axis=1), 1.0, rtol=1e-6)
    assert even["bias"].tolist() == [0.0, 0.0]
    half = methods.tau_norm({"weight": weight}, tau=0.5)
    np.testing.assert_allclose(np.linalg.norm(half["weight"], axis=1), [5**0.5, 1.0], rtol=1e-6)
    assert set(half) == {"weight"}
