"""Batches of the caller's own making: sequences of different lengths."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from torch.utils.data import Dataset

from expansive.train import ThreePhaseTrainer, rebalance_head
from training import COUNTS, blobs, network, states, trainer

pytestmark = pytest.mark.train


class Sequences(Dataset[Any]):
    """Each row of `blobs`, repeated one to four times, so of different lengths."""

    def __init__(self, counts: tuple[int, ...] = COUNTS, seed: int = 0) -> None:
        self.rows = blobs(counts, seed)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        x, y = self.rows[row]
        return x.repeat(1 + row % 4, 1), y


def padded(pairs: list[Any]) -> tuple[dict[str, Tensor], Tensor]:
    steps = pad_sequence([x for x, _ in pairs], batch_first=True)
    lengths = torch.tensor([len(x) for x, _ in pairs])
    return {"steps": steps, "lengths": lengths}, torch.tensor([int(y) for _, y in pairs])


class MeanOfSteps(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner = network()

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return self.inner(batch["steps"].sum(dim=1) / batch["lengths"][:, None])


def of_sequences(**settings: Any) -> ThreePhaseTrainer:
    return trainer(MeanOfSteps(), head="inner.classifier.1", collate_fn=padded, **settings)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_sequences_are_padded_in_every_phase(num_workers: int) -> None:
    quick = {"epochs": 2, "head_epochs": 2}
    fitted = of_sequences(num_workers=num_workers, **quick).fit(Sequences())
    expected = trainer(**quick).fit(blobs())
    for name, value in states(fitted.model.inner).items():
        torch.testing.assert_close(value, expected.model.state_dict()[name])
    test = (20, 20, 20)
    found = fitted.evaluate(Sequences(test, 1)).after.balanced_accuracy
    assert found == expected.evaluate(blobs(test, 1)).after.balanced_accuracy
    predicted = fitted.predict(Sequences(test, 1))
    assert np.array_equal(predicted, expected.predict(blobs(test, 1)))


def test_the_validation_set_and_rebalance_head_have_it_too() -> None:
    fitted = of_sequences().fit(Sequences(), Sequences(seed=3))
    settings = {"head_epochs": 2, "k": 3, "progress": False, "cpu": True}
    rows = {"data": Sequences(), "val_set": Sequences(seed=3)}
    rebalance_head(fitted.model, "inner.classifier.1", collate_fn=padded, **rows, **settings)


def test_it_is_recorded_by_its_name() -> None:
    assert of_sequences().record()["collate_fn"] == "padded"
    assert trainer().record()["collate_fn"] is None


@pytest.mark.parametrize(
    ("collate_fn", "given"),
    [
        (lambda pairs: padded(pairs)[0], "dict"),
        (lambda pairs: (*padded(pairs), 0), "tuple"),
        (lambda pairs: (padded(pairs)[0], [y for _, y in pairs]), "labels list"),
        (lambda pairs: (padded(pairs)[0], torch.zeros(1)), r"labels of shape \[1\]"),
    ],
)
def test_what_gives_no_inputs_and_labels_is_refused_before_any_work(
    collate_fn: Any, given: str
) -> None:
    fitted = trainer(MeanOfSteps(), head="inner.classifier.1", collate_fn=collate_fn)
    message = rf"collate_fn must give \(inputs, labels\), .* the 4 pairs .*, not {given}$"
    with pytest.raises(TypeError, match=message):
        fitted.fit(Sequences())
    assert fitted.seconds == {}


def test_what_is_no_function_is_refused() -> None:
    with pytest.raises(TypeError, match=r"collate_fn must be a function, .*, not 'pad'"):
        trainer(collate_fn="pad")
