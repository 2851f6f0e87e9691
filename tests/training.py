"""Small networks and data sets for the tests of training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, TensorDataset

from expansive.train import ThreePhaseTrainer

# Batches this small are slower on two threads than on one.
torch.set_num_threads(1)

COUNTS = (40, 20, 6)


def blobs(counts: tuple[int, ...] = COUNTS, seed: int = 0) -> TensorDataset:
    """Overlapping Gaussian classes in six dimensions, `counts` rows of each."""
    generator = np.random.default_rng(seed)
    centres = 2.0 * np.eye(6)[: len(counts)]
    x = np.concatenate([generator.normal(centres[c], 1.0, (n, 6)) for c, n in enumerate(counts)])
    y = np.repeat(np.arange(len(counts)), counts)
    return TensorDataset(torch.tensor(x, dtype=torch.float32), torch.tensor(y))


def network(n_classes: int = 3, inputs: int = 6, seed: int = 0) -> nn.Sequential:
    """Make an MLP with BatchNorm, Dropout and a nested head, ``"classifier.1"``."""
    torch.manual_seed(seed)
    body = nn.Sequential(nn.Linear(inputs, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2))
    classifier = nn.Sequential(nn.Identity(), nn.Linear(16, n_classes))
    model = nn.Sequential()
    model.add_module("body", body)
    model.add_module("classifier", classifier)
    return model


def trainer(model: nn.Module | None = None, **settings: Any) -> ThreePhaseTrainer:
    """Make a quick, silent trainer on the CPU."""
    small = {"epochs": 4, "head_epochs": 4, "batch_size": 16, "warmup_epochs": 1, "k": 3}
    quiet = {"progress": False, "cpu": True, "head": "classifier.1", "val_fraction": 0.2}
    return ThreePhaseTrainer(model or network(), **(small | quiet | settings))


def states(module: nn.Module) -> dict[str, Tensor]:
    """Copy the state of a module."""
    return {name: value.clone() for name, value in module.state_dict().items()}


def differing(module: nn.Module, before: dict[str, Tensor]) -> set[str]:
    """Name the tensors whose bits are not those of `before`."""
    return {name for name, now in module.state_dict().items() if not torch.equal(now, before[name])}


def training_modes(body: nn.Module) -> set[tuple[str, bool]]:
    """Watch in which mode each part is trained; the set grows meanwhile."""
    seen: set[tuple[str, bool]] = set()

    def watch(part: nn.Module, *rest: Any) -> None:
        if torch.is_grad_enabled():
            seen.add((type(part).__name__, part.training))

    for part in body.children():
        part.register_forward_hook(watch)
    return seen


class Killed(Exception):
    """What ends a run in between."""


def kill_after(phase: str, epoch: int) -> Any:
    """Make an `on_epoch` that ends the run after an epoch."""

    def on_epoch(record: dict[str, Any]) -> None:
        if (record["phase"], record["epoch"]) == (phase, epoch):
            raise Killed

    return on_epoch


def interrupted(
    folder: Path,
    phase: str = "backbone",
    epoch: int = 2,
    rows: Dataset[Any] | None = None,
    val_set: Dataset[Any] | None = None,
    model: nn.Module | None = None,
    **settings: Any,
) -> None:
    """Leave the checkpoints of a run that was ended after an epoch."""
    run = trainer(model, checkpoint_dir=folder, on_epoch=kill_after(phase, epoch), **settings)
    with pytest.raises(Killed):
        run.fit(blobs() if rows is None else rows, val_set)
