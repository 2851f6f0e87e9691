"""Rows that are augmented everywhere: the seed alone decides the network, and it can be resumed."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from expansive import SynthesisPlan, datasets
from training import blobs, differing, interrupted, network, states, trainer

pytestmark = pytest.mark.train


class Augmented(Dataset[Any]):
    """`blobs` with noise from every global generator."""

    def __init__(self) -> None:
        self.rows = blobs()
        self.targets = self.rows.tensors[1]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, row: int) -> tuple[Tensor, Tensor]:
        x, y = self.rows[row]
        noise = torch.rand(1) + np.random.rand() + random.random()  # noqa: NPY002
        return x + 2 * noise.float(), y


def seed_globally(seed: int) -> None:
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    random.seed(seed)


def fitted(seed: int, **settings: Any) -> dict[str, Tensor]:
    model = network()
    seed_globally(seed)
    trainer(model, **settings).fit(Augmented())
    return states(model)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_the_global_generators_decide_nothing(num_workers: int) -> None:
    quick = {"num_workers": num_workers, "epochs": 2, "head_epochs": 2}
    first, second = fitted(1, **quick), fitted(2, **quick)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_validation_pass_draws_the_same_in_whatever_state_the_generators_are() -> None:
    def scores(seed: int) -> list[float]:
        found: list[dict[str, Any]] = []
        model = network()
        seed_globally(seed)
        trainer(model, on_epoch=found.append).fit(blobs(), Augmented())
        return [line["val_balanced_accuracy"] for line in found]

    assert scores(1) == scores(2)


@pytest.mark.parametrize("num_workers", [0, 1])
@pytest.mark.parametrize("phase", ["backbone", "head"])
def test_a_resumed_run_has_the_same_bits(tmp_path: Path, phase: str, num_workers: int) -> None:
    quick = {"num_workers": num_workers, "epochs": 3, "head_epochs": 3}
    straight = fitted(1, **quick)
    seed_globally(2)
    interrupted(tmp_path, phase, rows=Augmented(), **quick)
    model = network(seed=9)
    seed_globally(3)
    trainer(model, checkpoint_dir=tmp_path, **quick).fit(Augmented(), resume=True)
    assert differing(model, straight) == set()


def test_a_method_that_draws_is_seeded_too() -> None:
    def drawn(x: Tensor, y: Tensor) -> SynthesisPlan:
        return SynthesisPlan.eos(x, y, k=3, seed=int(torch.randint(1000, (1,))))

    first, second = fitted(1, method=drawn), fitted(2, method=drawn)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_augmented_rows_leave_the_global_generators_alone() -> None:
    def drawn() -> tuple[Any, ...]:
        return torch.rand(1), np.random.rand(), random.random()  # noqa: NPY002

    seed_globally(5)
    expected = drawn()
    fitted(5)
    assert drawn() == expected


@pytest.fixture
def default_device() -> Iterator[Callable[[str], None]]:
    yield torch.set_default_device
    torch.set_default_device(None)


@pytest.mark.parametrize("augmented", [False, True])
def test_a_default_device_of_torch_changes_nothing(
    default_device: Callable[[str], None], augmented: bool
) -> None:
    """As notebooks set "cuda"; "meta" finds every tensor made without a device of its own."""
    x = np.random.default_rng(0).random((90, 6, 6, 1), dtype=np.float32)
    y = np.repeat([0, 1, 2], [50, 30, 10])
    rows = datasets.ArrayData(x, y, ["a", "b", "c"])
    data = datasets.to_torch(rows, augment=augmented)
    finds = []
    for device in ("cpu", "meta"):
        with torch.device("cpu"):
            model = nn.Sequential(nn.Flatten(), network(inputs=36))
        default_device(device)
        t = trainer(model, head="1.classifier.1", epochs=2, head_epochs=2)
        t.fit(data)
        scores = t.evaluate(data).after.balanced_accuracy
        finds.append((states(model), scores, t.predict_logits(data)))
    (weights, *before), (others, *after) = finds
    assert all(torch.equal(weights[name], others[name]) for name in weights)
    assert before[0] == after[0]
    assert np.array_equal(before[1], after[1])
