"""A test set before and after the head was rebalanced."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor, nn

from expansive.metrics import (
    ClassRanges,
    EmbeddingSample,
    Evaluation,
    Scores,
    class_ranges,
    scores,
)
from expansive.train.data import Split
from expansive.train.embedding import Embeddings, predict
from expansive.train.expand import Plan, slices
from expansive.train.head import weight_norms
from expansive.train.settings import Settings

SAMPLE_ROWS = 300
"""About as many embeddings of each kind are kept for drawing."""


def check_labels(labels: NDArray[np.int64], classes: list[str]) -> None:
    """Raise ValueError when a test set has unknown labels, or no row of some class."""
    unknown = labels[(labels < 0) | (labels >= len(classes))]
    if len(unknown):
        raise ValueError(f"test_set has the label {unknown[0]}, which the training set lacks")
    missing = np.flatnonzero(np.bincount(labels, minlength=len(classes)) == 0)
    if len(missing):
        raise ValueError(
            f"test_set has no row of class {classes[missing[0]]!r}, so its recall and its "
            "generalization gap are undefined: add rows of it"
        )


def evaluate(
    heads: tuple[nn.Module, nn.Module],
    rows: Split,
    real: Embeddings,
    plan: Plan,
    test: Embeddings,
    settings: Settings,
    accelerator: Accelerator,
    seconds: dict[str, float],
) -> Evaluation:
    """Compare the two heads (before, after) on the embeddings of a test set.

    The synthetic rows are looked at slice by slice, never all at once.
    """
    before, after = heads
    n_classes = len(rows.classes)

    def scored(head: nn.Module) -> Scores:
        truth, predicted = predict(head, test.rows(), n_classes, accelerator, settings.batch_size)
        classes = np.arange(n_classes)
        return scores(truth, predicted, classes=classes, train_counts=rows.counts)

    real_ranges = _ranges(real, n_classes)
    all_ranges = real_ranges
    for x, y in slices(plan, real.x):
        all_ranges = all_ranges.union(class_ranges(x, y, np.arange(n_classes)))
    test_ranges = _ranges(test, n_classes)
    return Evaluation(
        classes=rows.classes,
        train_counts=rows.counts,
        before=scored(before),
        after=scored(after),
        gap_before=real_ranges.gap(test_ranges),
        gap_after=all_ranges.gap(test_ranges),
        head_norms_before=weight_norms(before, n_classes),
        head_norms_after=weight_norms(after, n_classes),
        seconds=dict(seconds),
        settings=settings.record(),
        sample=_sample(real, plan, test, n_classes, settings.seed),
    )


def _ranges(embeddings: Embeddings, n_classes: int) -> ClassRanges:
    return class_ranges(embeddings.x, embeddings.y, np.arange(n_classes))


def _sample(
    real: Embeddings, plan: Plan, test: Embeddings, n_classes: int, seed: int
) -> EmbeddingSample:
    generator = np.random.default_rng([seed, 2])
    synthetic_y = np.asarray(plan.labels(0, plan.n_samples), dtype=np.int64)

    def some(labels: NDArray[np.int64]) -> NDArray[np.int64]:
        share = -(-SAMPLE_ROWS // n_classes)
        order = generator.permutation(len(labels))
        order = order[np.argsort(labels[order], kind="stable")]
        rank = np.arange(len(order)) - np.searchsorted(labels[order], labels[order])
        return np.sort(order[rank < share])

    def taken(embeddings: Embeddings) -> tuple[Any, Any]:
        labels = embeddings.y.cpu().numpy()
        rows = some(labels)
        return _drawn(embeddings.x[torch.as_tensor(rows, device=embeddings.x.device)]), labels[rows]

    rows = some(synthetic_y)
    synthetic_x = _drawn(plan.generate_rows(real.x, rows))
    return EmbeddingSample(*taken(real), synthetic_x, synthetic_y[rows], *taken(test))


def _drawn(x: Tensor) -> NDArray[Any]:
    """Bring a sample to NumPy, which has no bfloat16."""
    values: NDArray[Any] = (x.float() if x.dtype == torch.bfloat16 else x).cpu().numpy()
    return values
