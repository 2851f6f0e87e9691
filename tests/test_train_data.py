"""The rows of a training run: labels, split, augmentation, batches, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, Subset, TensorDataset

from expansive.train.data import labels_of, split
from expansive.train.embedding import embed
from training import COUNTS, blobs, differing, network, states, trainer

pytestmark = pytest.mark.train


def test_the_split_is_stratified_and_leaves_a_single_row_in_training() -> None:
    rows = split(blobs((40, 20, 2, 1)), None, None, 0.1, 0)
    assert rows.counts.tolist() == [36, 18, 1, 1]
    val = labels_of(rows.val, "val")
    assert np.bincount(val, minlength=4).tolist() == [4, 2, 1, 0]
    assert not set(rows.train.indices) & set(rows.val.indices)
    again = split(blobs((40, 20, 2, 1)), None, None, 0.1, 1)
    assert again.val.indices != rows.val.indices


@pytest.mark.parametrize("method", ["eos", "random"])
def test_a_class_of_one_row_and_none_in_validation_is_trained(method: str) -> None:
    fitted = trainer(network(4), method=method).fit(blobs((40, 20, 6, 1)))
    found = fitted.evaluate(blobs((20, 20, 20, 20), seed=1))
    assert found.train_counts[3] == 1
    assert np.isfinite(found.gap_after).all()


def test_a_given_validation_set_may_lack_a_class() -> None:
    fitted = trainer().fit(blobs(), blobs((10, 10), seed=2))
    assert fitted.evaluate(blobs(seed=1)).train_counts.tolist() == list(COUNTS)


class Augmented(Dataset[Any]):
    """`rows` with noise from torch's global generator, and a count of what was read."""

    def __init__(self, rows: TensorDataset) -> None:
        self.rows, self.targets, self.read = rows, rows.tensors[1], 0
        self.classes = ["one", "two", "three"]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        self.read += 1
        x, y = self.rows[row]
        return x + 10 * torch.rand(1), y


class WithoutTargets(Dataset[Any]):
    """Its labels are known from its rows alone; counts how many it gave."""

    def __init__(self) -> None:
        self.rows, self.read = blobs(), 0

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        self.read += 1
        return self.rows[row]


def test_labels_are_read_in_one_pass() -> None:
    rows = WithoutTargets()
    split(rows, None, None, 0.1, 0)
    assert rows.read == len(rows) + 1, "one item is looked at for its form"


def test_embeddings_come_from_the_rows_without_augmentation() -> None:
    augmented = Augmented(blobs())
    fitted = trainer(val_fraction=0.0, select="last")
    fitted.expand(augmented, embed_set=blobs())
    plain = embed(fitted.model, "classifier.1", blobs(), fitted.accelerator(), batch_size=16)
    assert torch.equal(fitted.embeddings.x, plain.x)
    assert augmented.read == 1, "labels come from targets; one item is looked at for its form"
    fitted.fit_head()
    assert fitted.evaluate(blobs(seed=1)).classes == ["one", "two", "three"]


def test_loading_in_processes_gives_the_same_bits() -> None:
    one, two = network(), network()
    trainer(one).fit_backbone(blobs())
    trainer(two, num_workers=1, epochs=4).fit_backbone(blobs())
    assert not differing(one, two.state_dict())


def test_a_last_batch_of_one_row_does_not_stop_batch_norm() -> None:
    trainer(val_fraction=0.0, select="last", epochs=1, batch_size=13).fit(blobs())
    assert sum(COUNTS) % 13 == 1


class Stream(IterableDataset[Any]):
    def __iter__(self) -> Any:
        return iter(())


def relabelled(change: Callable[[Tensor], Tensor]) -> TensorDataset:
    x, y = blobs().tensors
    return TensorDataset(x, change(y))


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        (Subset(blobs(), []), ValueError, "train_set is empty"),
        (Stream(), TypeError, "must be a torch Dataset with a length, not Stream"),
        (TensorDataset(torch.zeros(3, 2)), TypeError, "pairs"),
        (relabelled(lambda y: y - 1), ValueError, "must be 0 ... n_classes - 1, not -1"),
        (relabelled(lambda y: y * 0), ValueError, "one class only"),
        (relabelled(lambda y: y * 2), ValueError, "no row of class 1"),
        (blobs((1, 1, 1)), ValueError, "needs validation rows"),
    ],
)
def test_bad_training_sets_are_refused_before_any_work(
    rows: Any, error: type[Exception], message: str
) -> None:
    model = network()
    before = states(model)
    with pytest.raises(error, match=message):
        trainer(model).fit(rows)
    assert not differing(model, before)


def test_validation_and_plain_rows_must_fit_the_training_rows() -> None:
    with pytest.raises(ValueError, match="val_set has the label 3"):
        trainer().fit(blobs(), blobs((5, 5, 5, 5)))
    with pytest.raises(ValueError, match="embed_set must hold the rows"):
        trainer().fit(blobs(), embed_set=blobs((40, 20, 7)))


def test_test_sets_must_hold_every_class_and_no_other() -> None:
    fitted = trainer().fit(blobs())
    with pytest.raises(ValueError, match="test_set has no row of class '2'"):
        fitted.evaluate(blobs((5, 5)))
    with pytest.raises(ValueError, match="test_set has the label 3"):
        fitted.evaluate(blobs((5, 5, 5, 5)))
