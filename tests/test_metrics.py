"""Scores and gaps against values worked out by hand."""

import subprocess
import sys

import numpy as np
import pytest

from expansive import metrics

TRUTH = [0, 0, 0, 0, 1, 1, 2, 2]
PREDICTED = [0, 0, 0, 1, 1, 0, 2, 2]
COUNTS = [101, 100, 19]


def test_scores_match_hand_computed_values() -> None:
    found = metrics.scores(TRUTH, PREDICTED, classes=[0, 1, 2], train_counts=COUNTS)
    np.testing.assert_allclose(found.recall, [0.75, 0.5, 1.0])
    assert found.balanced_accuracy == pytest.approx(0.75)
    assert found.g_mean == pytest.approx((0.75 * 0.5 * 1.0) ** (1 / 3))
    assert found.macro_f1 == pytest.approx((0.75 + 0.5 + 1.0) / 3)
    np.testing.assert_array_equal(found.confusion, [[3, 1, 0], [1, 1, 0], [0, 0, 2]])
    assert (found.many, found.medium, found.few) == (0.75, 0.5, 1.0)


def test_scores_of_a_class_without_rows_and_of_empty_groups_are_nan() -> None:
    found = metrics.scores(["a", "a"], ["a", "c"], classes=["a", "b", "c"], train_counts=[20, 5, 6])
    np.testing.assert_array_equal(found.recall, [0.5, np.nan, np.nan])
    assert found.balanced_accuracy == found.medium == found.g_mean == 0.5
    assert found.macro_f1 == pytest.approx(2 / 3)
    np.testing.assert_array_equal(found.confusion, [[1, 0, 1], [0, 0, 0], [0, 0, 0]])
    assert np.isnan(found.many)
    assert np.isnan(found.few)


def test_balanced_accuracy_is_over_the_classes_that_have_rows() -> None:
    assert metrics.balanced_accuracy(["a", "a", "b"], ["a", "c", "b"]) == 0.75
    assert metrics.balanced_accuracy(["a", "a", "b"], ["a", "a", "c"]) == 0.5


def test_a_class_that_is_never_recognised_makes_the_g_mean_zero() -> None:
    found = metrics.scores([0, 0, 1], [0, 0, 0], classes=[0, 1], train_counts=[2, 1])
    assert found.g_mean == 0.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y_true": []}, "one shape"),
        ({"y_pred": [0]}, "one shape"),
        ({"y_true": [], "y_pred": []}, "n > 0"),
        ({"y_true": [TRUTH], "y_pred": [PREDICTED]}, r"one shape \[n\]"),
        ({"classes": [1, 0, 2]}, "sorted"),
        ({"train_counts": [1]}, "one count for each of the 3 classes"),
        ({"y_true": [7] * 8}, "y_true has the label 7"),
        ({"y_pred": [-1] * 8}, "y_pred has the label -1"),
    ],
)
def test_scores_refuse_bad_input(change: dict[str, list[int]], message: str) -> None:
    good = {"y_true": TRUTH, "y_pred": PREDICTED, "classes": [0, 1, 2], "train_counts": COUNTS}
    arguments = good | change
    truth, predicted = arguments.pop("y_true"), arguments.pop("y_pred")
    with pytest.raises(ValueError, match=message):
        metrics.scores(truth, predicted, **arguments)


TRAIN_X = np.array([[0.0, 0.0], [2.0, 1.0], [5.0, 5.0], [5.0, 7.0]])
TRAIN_Y = np.array([3, 3, -1, -1])
TEST_X = np.array([[-1.0, 0.5], [4.0, 1.5], [5.0, 6.0]])
TEST_Y = np.array([3, 3, -1])


def test_gap_matches_hand_computed_values() -> None:
    # Class -1 lies inside; class 3 reaches 1 below and 2 above in one feature, 0.5 in the other.
    gap = metrics.generalization_gap(TRAIN_X, TRAIN_Y, TEST_X, TEST_Y)
    np.testing.assert_array_equal(gap, [0.0, 3.5])
    assert gap.dtype == np.float64


def test_gap_takes_string_labels_and_any_row_order() -> None:
    names = np.where(TRAIN_Y == 3, "x", "a")
    order = [2, 0, 3, 1]
    gap = metrics.generalization_gap(TRAIN_X[order], names[order], TEST_X, ["x", "x", "a"])
    np.testing.assert_array_equal(gap, [0.0, 3.5])


def test_gap_agrees_with_one_class_at_a_time() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(300, 7)), rng.integers(0, 5, 300)
    test_x, test_y = rng.normal(size=(200, 7)) * 1.3, rng.integers(0, 5, 200)
    expected = []
    for label in range(5):
        train, test = x[y == label], test_x[test_y == label]
        below = np.maximum(0, train.min(axis=0) - test.min(axis=0))
        above = np.maximum(0, test.max(axis=0) - train.max(axis=0))
        expected.append((below + above).sum())
    np.testing.assert_allclose(metrics.generalization_gap(x, y, test_x, test_y), expected)


@pytest.mark.train
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_gap_takes_torch_tensors(dtype: str) -> None:
    import torch

    kind = getattr(torch, dtype)
    train_x, test_x = torch.tensor(TRAIN_X, dtype=kind), torch.tensor(TEST_X, dtype=kind)
    train_x.requires_grad_()
    gap = metrics.generalization_gap(train_x, torch.tensor(TRAIN_Y), test_x, torch.tensor(TEST_Y))
    np.testing.assert_array_equal(gap, [0.0, 3.5])


def test_ranges_of_slices_join_to_the_ranges_of_all() -> None:
    whole = metrics.class_ranges(TRAIN_X, TRAIN_Y, [-1, 3])
    first = metrics.class_ranges(TRAIN_X[:1], TRAIN_Y[:1], [-1, 3])
    joined = first.union(metrics.class_ranges(TRAIN_X[1:], TRAIN_Y[1:], [-1, 3]))
    np.testing.assert_array_equal(joined.low, whole.low)
    np.testing.assert_array_equal(joined.high, whole.high)
    assert np.isinf(first.low[0]).all()


@pytest.mark.parametrize(
    ("labels", "classes", "message"),
    [
        ([0, 1, 2], [0, 2], "labels of x have the label 1, which is not among classes: add it"),
        ([0, 1, 5], [0, 1], "label 5"),
        (["a", "b", "z"], ["a", "b"], "label z"),
        ([0, 1, 2], [2, 0, 1], r"classes must be sorted and unique, not \[2, 0, 1\]"),
    ],
)
def test_ranges_refuse_labels_that_are_no_classes(
    labels: list[int], classes: list[int], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        metrics.class_ranges(np.eye(3), labels, classes)


NOT_FINITE = np.where(np.arange(6).reshape(3, 2) == 2, np.nan, 0.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((TRAIN_X, TRAIN_Y, TEST_X, [3, 3, 3]), "test_y has no row of class -1"),
        ((TRAIN_X, [3, 3, 3, 3], TEST_X, TEST_Y), "train_y has no row of class -1"),
        ((TRAIN_X, TRAIN_Y, TEST_X[:, :1], TEST_Y), "2 features and test_x has 1"),
        (
            (TRAIN_X, TRAIN_Y, TEST_X[:, 0], TEST_Y),
            r"test_x must be a matrix .* got shape \(3,\)",
        ),
        ((TRAIN_X[:3], TRAIN_Y, TEST_X, TEST_Y), "labels of train_x has 4 labels for 3 rows"),
        ((TRAIN_X, TRAIN_Y, NOT_FINITE, TEST_Y), r"test_x\[1\] holds NaN or infinity"),
        ((TRAIN_X[:0], [], TEST_X[:0], []), "train_x is empty"),
    ],
)
def test_gap_refuses_bad_input(arguments: tuple[object, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        metrics.generalization_gap(*arguments)


def test_importing_metrics_imports_numpy_alone() -> None:
    code = (
        "import sys, expansive.metrics; "
        "print(sorted({'torch', 'sklearn', 'imblearn', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_numbers_and_text_for_the_same_labels_are_refused() -> None:
    x, y = np.zeros((4, 2)), np.array([0, 0, 1, 1])
    with pytest.raises(TypeError, match=r"train_y are int64 but test_y is .*use one type"):
        metrics.generalization_gap(x, y, x, y.astype(str))
