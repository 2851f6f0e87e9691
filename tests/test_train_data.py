"""The rows of a training run: labels, split, augmentation, batches, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from expansive.train import rebalance_head
from expansive.train.data import COMPARED_ROWS, labels_of, split
from expansive.train.embedding import embed
from expansive.train.head import weight_norms
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


class Changed(Dataset[Any]):
    """`blobs` whose rows give changed labels; counts how many it gave."""

    def __init__(self, change: Callable[[int], Any] = int) -> None:
        self.rows, self.change, self.read = blobs(), change, 0

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> tuple[Tensor, Any]:
        self.read += 1
        x, y = self.rows[row]
        return x, self.change(int(y))


def test_labels_are_read_in_one_pass() -> None:
    rows = Changed()
    split(rows, None, None, 0.1, 0)
    assert rows.read == len(rows)


def test_of_a_subset_only_its_own_rows_are_read() -> None:
    rows = Changed()
    assert labels_of(Subset(rows, [60, 0, 41]), "rows").tolist() == [2, 0, 1]
    assert labels_of(Subset(Subset(rows, range(30, 66)), [35, 0]), "rows").tolist() == [2, 0]
    assert rows.read == 3 + 2


def with_targets(targets: Any, change: Callable[[int], Any] = int) -> Changed:
    rows = Changed(change)
    rows.targets = targets
    return rows


@pytest.mark.parametrize(
    "rows",
    [
        Subset(with_targets(blobs().tensors[1]), range(20, 66)),
        Subset(Subset(with_targets(blobs().tensors[1].numpy()), range(10, 66)), range(10, 56)),
        Subset(with_targets(list(blobs().tensors[1])), range(20, 66)),
    ],
)
def test_a_subset_has_the_targets_of_its_data_set(rows: Subset[Any]) -> None:
    assert np.bincount(labels_of(rows, "rows")).tolist() == [20, 20, 6]
    base = rows.dataset.dataset if isinstance(rows.dataset, Subset) else rows.dataset
    assert 0 < base.read <= 2 * COMPARED_ROWS


TARGETS = blobs().tensors[1].tolist()


@pytest.mark.parametrize(
    ("targets", "change", "counts"),
    [
        (TARGETS, lambda y: (2, 0, 1)[y], [20, 6, 40]),
        (TARGETS, lambda y: int(y > 0), [40, 26]),
        (["cat", "dog", "emu"] * 22, int, [40, 20, 6]),
        ([[1, 0, 0]] * 66, int, [40, 20, 6]),
        (np.full(66, np.nan), int, [40, 20, 6]),
    ],
)
def test_labels_are_those_that_the_rows_give(
    targets: Any, change: Callable[[int], int], counts: list[int]
) -> None:
    rows = with_targets(targets, change)
    assert np.bincount(labels_of(rows, "rows")).tolist() == counts
    subset = Subset(rows, range(66))
    assert np.bincount(labels_of(subset, "rows")).tolist() == counts


@pytest.mark.parametrize(
    ("row", "label"), [(60, 2), (29, 1)], ids=["its class is rare", "its class has more rows"]
)
def test_a_row_with_another_label_than_its_target_is_found(row: int, label: int) -> None:
    given = [0] * 61 + [1] * 5
    targets = [*given[:row], label, *given[row + 1 :]]
    rows = with_targets(targets)
    rows.rows = TensorDataset(torch.zeros(66, 6), torch.tensor(given))
    assert labels_of(rows, "rows").tolist() == given


def test_labels_that_differ_from_the_targets_after_all_are_refused() -> None:
    rows = with_targets(TARGETS)
    x, y = rows.rows.tensors
    rows.rows = TensorDataset(x, y.index_fill(0, torch.tensor([1]), 2))
    with pytest.raises(ValueError, match=r"\[39, 20, 7\] rows .* but \[40, 20, 6\] were counted"):
        trainer(val_fraction=0.0, select="last").expand(rows)


def test_reading_labels_draws_no_random_number() -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    labels_of(Augmented(blobs()), "rows")
    assert torch.rand(1) == expected


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.float64])
def test_whole_numbers_of_any_type_are_labels(dtype: torch.dtype) -> None:
    fitted = trainer().fit(relabelled(lambda y: y.to(dtype)))
    assert fitted.embeddings.y.dtype == torch.int64
    assert fitted.evaluate(relabelled(lambda y: y.to(dtype))).train_counts.tolist() == [32, 16, 5]


@pytest.mark.parametrize("label", [None, "", 7])
def test_rows_to_predict_need_no_labels(label: Any) -> None:
    fitted = trainer().fit(blobs())
    expected = fitted.predict(blobs())
    assert np.array_equal(fitted.predict(Changed(lambda y: label)), expected)
    with pytest.raises(TypeError, match="rows must be a torch Dataset, not a DataLoader"):
        fitted.predict(DataLoader(blobs()))
    for rows in (pd.DataFrame(np.eye(6)), {"x": torch.eye(6)}):
        with pytest.raises(TypeError, match=r"rows must be a torch Dataset, .* TensorDataset"):
            fitted.predict(rows)
    with pytest.raises(TypeError, match=r"rows must give inputs, .* alone or in pairs .* 3:"):
        fitted.predict(TensorDataset(*blobs().tensors, torch.zeros(66)))
    with pytest.raises(TypeError, match=r"rows must give inputs, each a .* not str: wrap it"):
        fitted.predict(["image"])


@pytest.mark.parametrize("rows", [TensorDataset(blobs().tensors[0]), blobs().tensors[0]])
def test_rows_to_predict_may_be_inputs_alone(rows: Any) -> None:
    fitted = trainer().fit(blobs())
    assert np.array_equal(fitted.predict(rows), fitted.predict(blobs()))


class OfParts(nn.Module):
    """A network of blobs that come in two halves, as a dict or a pair."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = network()

    def forward(self, batch: Any) -> Tensor:
        halves = list(batch.values()) if isinstance(batch, dict) else batch
        return self.inner(torch.cat(halves, dim=1))


class Parts(Dataset[Any]):
    """The halves of `blobs`, made to an input, with the label or without."""

    def __init__(self, make: Callable[..., Any], labelled: bool = True) -> None:
        self.rows, self.make, self.labelled = blobs(), make, labelled

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> Any:
        x, y = self.rows[row]
        made = self.make(x[:3], x[3:])
        return (made, y) if self.labelled else made


def as_dict(left: Tensor, right: Tensor) -> dict[str, Tensor]:
    return {"left": left, "right": right}


def test_inputs_may_be_dicts_and_those_to_predict_need_no_label() -> None:
    fitted = trainer(OfParts(), head="inner.classifier.1").fit(Parts(as_dict))
    found = fitted.predict(Parts(as_dict))
    assert np.array_equal(found, trainer().fit(blobs()).predict(blobs()))
    assert np.array_equal(fitted.predict(Parts(as_dict, labelled=False)), found)
    pair = Parts(lambda left, right: (left, right))
    assert np.array_equal(fitted.predict(pair), found)


def test_a_network_that_was_only_loaded_predicts() -> None:
    fitted = trainer().fit(blobs())
    loaded = network(seed=9)
    loaded.load_state_dict(fitted.model.state_dict())
    found = trainer(loaded).predict(blobs(seed=1))
    assert np.array_equal(found, fitted.predict(blobs(seed=1)))
    assert found.dtype == np.int64


def test_rebalance_head_names_its_own_argument() -> None:
    model = network()
    trainer(model).fit_backbone(blobs())
    for rows, error, message in [
        (DataLoader(blobs()), TypeError, "data must be a torch Dataset, not a DataLoader"),
        (relabelled(lambda y: y * 2), ValueError, "data has no row of class 1"),
        (relabelled(lambda y: y - 1), ValueError, "labels of data must be 0"),
        (relabelled(lambda y: y * 0), ValueError, "data has one class only"),
    ]:
        with pytest.raises(error, match=message):
            rebalance_head(model, "classifier.1", data=rows, cpu=True, progress=False)
    with pytest.raises(ValueError, match="val_set has the label 3, which data does not have"):
        rebalance_head(model, "classifier.1", data=blobs(), val_set=blobs((5, 5, 5, 5)), cpu=True)


def test_embeddings_come_from_the_rows_without_augmentation() -> None:
    augmented = Augmented(blobs())
    fitted = trainer(val_fraction=0.0, select="last")
    fitted.expand(augmented, embed_set=blobs())
    plain = embed(fitted.model, "classifier.1", blobs(), fitted.accelerator(), batch_size=16)
    assert torch.equal(fitted.embeddings.x, plain.x)
    assert augmented.read <= 2 * COMPARED_ROWS, "labels come from targets, and some are compared"
    fitted.fit_head()
    assert fitted.evaluate(blobs(seed=1)).classes == ["one", "two", "three"]


def test_a_part_of_a_data_set_has_the_names_of_its_classes() -> None:
    part = Subset(Subset(Augmented(blobs()), range(66)), range(66))
    assert split(part, None, None, 0.2, 0, "train_set").classes == ["one", "two", "three"]


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


class StreamOfKnownLength(Stream):
    def __len__(self) -> int:
        return 3


def relabelled(change: Callable[[Tensor], Tensor]) -> TensorDataset:
    x, y = blobs().tensors
    return TensorDataset(x, change(y))


@pytest.mark.parametrize(
    ("rows", "error", "message"),
    [
        (Subset(blobs(), []), ValueError, "train_set is empty"),
        (Stream(), TypeError, "must be a torch Dataset with a length, not Stream"),
        (StreamOfKnownLength(), TypeError, "with a length, not StreamOfKnownLength: streams"),
        (DataLoader(blobs()), TypeError, r"not a DataLoader: pass its data set, `loader\.dataset`"),
        (TensorDataset(torch.zeros(3, 2)), TypeError, "pairs, not tuple of 1: wrap it"),
        (TensorDataset(*blobs().tensors, torch.zeros(66)), TypeError, "not tuple of 3: wrap it"),
        ([{"image": 0}], TypeError, "pairs, not dict: wrap it in a Dataset"),
        (relabelled(lambda y: y + 0.4), ValueError, r"whole numbers .* not tensor\(0\.4000\): enc"),
        (Changed(lambda y: y + 0.4), ValueError, "labels of train_set must be whole .* not 0.4"),
        (Changed("abc".__getitem__), ValueError, r"not 'a': encode them, .* np\.unique"),
        (relabelled(lambda y: y[:, None]), ValueError, r"not tensor\(\[0\]\): encode them"),
        (Changed(str), ValueError, "not '0': encode them"),
        (Changed(lambda y: None), ValueError, "not None: encode them"),
        (Changed(lambda y: np.eye(3)[y]), ValueError, r"not array\(\[1., 0., 0.\]\)"),
        (with_targets([0, 1, 2]), ValueError, "train_set has 66 rows and 3 targets: give one each"),
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
    with pytest.raises(ValueError, match="test_set has the label -1"):
        fitted.evaluate(relabelled(lambda y: y - 1))


# The evaluation -------------------------------------------------------------------------------


def test_the_norms_are_those_of_the_rows_of_both_heads() -> None:
    fitted = trainer()
    fitted.fit_backbone(blobs())
    fitted.expand(blobs())
    before = fitted.model.classifier[1].weight.detach().clone()
    fitted.fit_head()
    found = fitted.evaluate(blobs(seed=1))
    after = fitted.model.classifier[1].weight.detach()
    for norms, weight in ((found.head_norms_before, before), (found.head_norms_after, after)):
        np.testing.assert_allclose(norms, np.linalg.norm(weight.numpy(), axis=1), rtol=1e-6)


@pytest.mark.parametrize(
    "head",
    [nn.Identity(), nn.Sequential(nn.Linear(4, 3)), nn.Linear(4, 5), nn.BatchNorm1d(3)],
    ids=lambda head: type(head).__name__,
)
def test_a_head_without_a_row_for_each_class_has_no_norms(head: nn.Module) -> None:
    assert weight_norms(head, 3) is None


def test_the_sample_keeps_each_row_with_its_label() -> None:
    fitted, rows = trainer().fit(blobs()), blobs((500, 20, 20), seed=1)
    sample = fitted.evaluate(rows).sample
    test = embed(fitted.model, fitted.head, rows, fitted.accelerator(), fitted.batch_size)
    for whole, x, y in (
        (fitted.embeddings, sample.train_x, sample.train_y),
        (test, sample.test_x, sample.test_y),
    ):
        labels = dict(zip(map(bytes, whole.x.numpy()), whole.y.tolist(), strict=True))
        assert [labels[bytes(row)] for row in x] == y.tolist()
