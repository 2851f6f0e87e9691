"""What to measure on imbalanced data: class-balanced scores and the generalization gap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from expansive.arrays import as_labels, as_rows, label_array, require_finite, require_one_kind

MANY_ABOVE = 100
FEW_BELOW = 20


@dataclass(frozen=True)
class Scores:
    """Class-balanced scores of one set of predictions, each in [0, 1].

    Attributes
    ----------
    balanced_accuracy : float
        Mean recall over the classes that have rows.
    g_mean : float
        Geometric mean of their recalls; 0 when one class is never recognised.
    macro_f1 : float
        Mean F1 over them.
    recall : ndarray of float64, shape [n_classes]
        Recall per class, in the order of `classes`; nan for a class without rows.
    many, medium, few : float
        Mean recall of the classes with more than 100, 20 to 100 and fewer than 20 training rows
        (the split of Liu et al. 2019, "Large-Scale Long-Tailed Recognition in an Open World");
        nan when a group is empty.
    confusion : ndarray of int64, shape [n_classes, n_classes]
        Counts; a row per true class, a column per predicted class.
    """

    balanced_accuracy: float
    g_mean: float
    macro_f1: float
    recall: NDArray[np.float64]
    many: float
    medium: float
    few: float
    confusion: NDArray[np.int64]


@dataclass(frozen=True)
class EmbeddingSample:
    """A few hundred embeddings of each kind, for a projection to two dimensions.

    Attributes
    ----------
    train_x, synthetic_x, test_x : ndarray of float32, shape [n, d]
        Embeddings.
    train_y, synthetic_y, test_y : ndarray of int64, shape [n]
        Their class numbers.
    """

    train_x: NDArray[np.float32]
    train_y: NDArray[np.int64]
    synthetic_x: NDArray[np.float32]
    synthetic_y: NDArray[np.int64]
    test_x: NDArray[np.float32]
    test_y: NDArray[np.int64]


@dataclass(frozen=True)
class Evaluation:
    """A network on a test set before and after its head was rebalanced.

    Attributes
    ----------
    classes : list of str
        Names of the classes, in the order of every per-class array.
    train_counts : ndarray of int64, shape [n_classes]
        Training rows per class.
    before, after : Scores
        With the head of phase 1 and with the head of phase 3.
    gap_before, gap_after : ndarray of float64, shape [n_classes]
        Generalization gap of the training rows, and of training and synthetic rows together,
        against the test rows.
    head_norms_before, head_norms_after : ndarray of float64, shape [n_classes], or None
        Norms of the rows of the head's weight; None when it has no [n_classes, d] weight.
    seconds : dict of str to float
        Time spent in the phases ``"backbone"``, ``"expand"`` and ``"head"``.
    settings : dict
        What was run, ready for JSON.
    sample : EmbeddingSample or None
        Embeddings to draw.
    """

    classes: list[str]
    train_counts: NDArray[np.int64]
    before: Scores
    after: Scores
    gap_before: NDArray[np.float64]
    gap_after: NDArray[np.float64]
    head_norms_before: NDArray[np.float64] | None
    head_norms_after: NDArray[np.float64] | None
    seconds: dict[str, float]
    settings: dict[str, Any]
    sample: EmbeddingSample | None

    def __repr__(self) -> str:
        """Give the two figures that tell most; `expansive.report` shows all."""
        accuracy = self.before.balanced_accuracy, self.after.balanced_accuracy
        gap = float(np.mean(self.gap_before)), float(np.mean(self.gap_after))
        return (
            f"<Evaluation of {len(self.classes)} classes: balanced accuracy "
            f"{accuracy[0]:.3f} -> {accuracy[1]:.3f}, mean generalization gap "
            f"{gap[0]:.3g} -> {gap[1]:.3g}; expansive.report.table(it) for all>"
        )


class ClassRanges(NamedTuple):
    """Smallest and largest value of every feature in every class.

    Attributes
    ----------
    low, high : ndarray of float64, shape [n_classes, d]
        A class without rows has the empty range (inf, -inf).
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]

    def union(self, other: ClassRanges) -> ClassRanges:
        """Ranges of the rows of both: ranges of a stream are the union over its slices."""
        return ClassRanges(np.minimum(self.low, other.low), np.maximum(self.high, other.high))

    def gap(self, test: ClassRanges) -> NDArray[np.float64]:
        """How far the ranges of `test` reach outside these, summed over features: [n_classes]."""
        below = np.maximum(0.0, self.low - test.low)
        above = np.maximum(0.0, test.high - self.high)
        total: NDArray[np.float64] = (below + above).sum(axis=1)
        return total


def scores(
    y_true: ArrayLike, y_pred: ArrayLike, *, classes: ArrayLike, train_counts: ArrayLike
) -> Scores:
    """Score predictions with every class counting the same.

    Parameters
    ----------
    y_true, y_pred : array-like, shape [n]
        True and predicted labels.
    classes : array-like, shape [n_classes]
        All labels, sorted and unique.
    train_counts : array-like of int, shape [n_classes]
        Training rows per class, which decide between many, medium and few.

    Returns
    -------
    Scores

    Raises
    ------
    ValueError
        For empty input, lengths that differ, unsorted `classes`, or a label not among them.

    Notes
    -----
    Deterministic. Recall, F1 and the confusion matrix are scikit-learn's, the geometric mean is
    imbalanced-learn's.
    """
    from imblearn.metrics import geometric_mean_score
    from sklearn.metrics import confusion_matrix, f1_score, recall_score

    truth, predicted = np.asarray(y_true), np.asarray(y_pred)
    labels, counts = np.asarray(classes), np.asarray(train_counts)
    _check_scores_input(truth, predicted, labels, counts)
    present = np.unique(truth)
    recall = recall_score(truth, predicted, labels=labels, average=None, zero_division=np.nan)
    recall[~np.isin(labels, present)] = np.nan
    return Scores(
        balanced_accuracy=_mean(recall),
        g_mean=float(geometric_mean_score(truth, predicted, labels=present)),
        macro_f1=float(
            f1_score(truth, predicted, labels=present, average="macro", zero_division=0.0)
        ),
        recall=recall,
        many=_mean(recall[counts > MANY_ABOVE]),
        medium=_mean(recall[(counts >= FEW_BELOW) & (counts <= MANY_ABOVE)]),
        few=_mean(recall[counts < FEW_BELOW]),
        confusion=confusion_matrix(truth, predicted, labels=labels).astype(np.int64),
    )


def generalization_gap(train_x: Any, train_y: Any, test_x: Any, test_y: Any) -> NDArray[np.float64]:
    """How far the test rows of each class reach outside the range of its training rows.

    For a class c it is the sum over features of
    ``max(0, min_train - min_test) + max(0, max_test - max_train)``
    (Dablain et al. 2022, arXiv 2207.06080, Algorithm 1).

    Parameters
    ----------
    train_x, test_x : array or tensor, shapes [n, d] and [m, d]
        Embeddings, of any float or integer dtype.
    train_y, test_y : array-like or tensor, shapes [n] and [m]
        Their labels.

    Returns
    -------
    ndarray of float64, shape [n_classes]
        One gap per class, classes sorted, in the units of the embeddings.

    Raises
    ------
    ValueError
        For a class that only one side has, empty input, shapes that do not fit, or a row that is
        not finite.

    Notes
    -----
    Deterministic, and independent of the order of the rows.
    """
    train, test = label_array(train_y, "train_y"), label_array(test_y, "test_y")
    require_one_kind(train, test, ("train_y", "test_y"))
    classes = np.union1d(train, test)
    for name, other, side in (("train_y", train, "training"), ("test_y", test, "test")):
        missing = np.setdiff1d(classes, other)
        if len(missing):
            raise ValueError(
                f"{name} has no row of class {missing[0]!s}, so its gap is undefined: "
                f"add {side} rows of it or leave the class out of both sets"
            )
    trained = class_ranges(train_x, train, classes, name="train_x")
    tested = class_ranges(test_x, test, classes, name="test_x")
    if trained.low.shape != tested.low.shape:
        raise ValueError(
            f"train_x has {trained.low.shape[1]} features and test_x has "
            f"{tested.low.shape[1]}: embed both with the same network"
        )
    return trained.gap(tested)


def class_ranges(x: Any, y: Any, classes: ArrayLike, name: str = "x") -> ClassRanges:
    """Take the smallest and largest value of every feature in every class.

    Parameters
    ----------
    x : array or tensor, shape [n, d]
        Embeddings.
    y : array-like or tensor, shape [n]
        Their labels, each among `classes`.
    classes : array-like, shape [n_classes]
        All labels, sorted and unique.
    name : str
        What error messages call `x`.

    Returns
    -------
    ClassRanges

    Raises
    ------
    ValueError
        When `x` is not of shape [n, d], is empty, does not match `y`, or has a row that is not
        finite; for unsorted `classes`, or a label not among them.
    """
    known = np.asarray(classes)
    _check_classes(known)
    matrix = as_rows(x, name)
    rows = matrix.widened()
    finite = np.isfinite(rows).all(axis=1)
    require_finite(matrix, -1 if finite.all() else int(np.argmin(finite)), name=name)
    own, own_codes = as_labels(y, len(rows), f"labels of {name}")
    _check_known(f"labels of {name} have", own, known)
    codes = np.searchsorted(known, own)[own_codes]
    order = np.argsort(codes, kind="stable")
    present, starts = np.unique(codes[order], return_index=True)
    shape = (len(known), rows.shape[1])
    low, high = np.full(shape, np.inf), np.full(shape, -np.inf)
    grouped = rows[order]
    low[present] = np.minimum.reduceat(grouped, starts, axis=0)
    high[present] = np.maximum.reduceat(grouped, starts, axis=0)
    return ClassRanges(low, high)


def balanced_accuracy(y_true: ArrayLike, y_pred: ArrayLike) -> float:
    """Mean recall over the classes that have rows in `y_true`; in [0, 1]."""
    from sklearn.metrics import recall_score

    present = np.unique(np.asarray(y_true))
    return float(recall_score(y_true, y_pred, labels=present, average="macro", zero_division=0.0))


def _mean(recall: NDArray[np.float64]) -> float:
    """Mean of the recalls that are defined, nan when none is."""
    known = recall[~np.isnan(recall)]
    return float(known.mean()) if len(known) else float("nan")


def _check_scores_input(
    truth: NDArray[Any], predicted: NDArray[Any], classes: NDArray[Any], counts: NDArray[Any]
) -> None:
    if truth.ndim != 1 or truth.shape != predicted.shape or len(truth) == 0:
        raise ValueError(
            f"y_true and y_pred must be of one shape [n] with n > 0, not {list(truth.shape)} "
            f"and {list(predicted.shape)}"
        )
    _check_classes(classes)
    if counts.shape != classes.shape:
        raise ValueError(
            f"train_counts must give one count for each of the {len(classes)} classes, "
            f"not an array of shape {list(counts.shape)}"
        )
    _check_known("y_true has", truth, classes)
    _check_known("y_pred has", predicted, classes)


def _check_classes(classes: NDArray[Any]) -> None:
    if not np.array_equal(classes, np.unique(classes)):
        raise ValueError(f"classes must be sorted and unique, not {_brief(classes)}")


def _check_known(who_has: str, labels: NDArray[Any], classes: NDArray[Any]) -> None:
    unknown = np.setdiff1d(labels, classes)
    if len(unknown):
        raise ValueError(
            f"{who_has} the label {unknown[0]!s}, which is not among classes: add it to them"
        )


def _brief(values: Sequence[Any] | NDArray[Any]) -> str:
    shown = ", ".join(str(value) for value in values[:6])
    return f"[{shown}, ...]" if len(values) > 6 else f"[{shown}]"
