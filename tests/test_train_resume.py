"""A finished phase 1 is kept, for another phase 3 than the one it was trained with."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from expansive.train import rebalance_head
from expansive.train.checkpoint import AFTER_BACKBONE, CheckpointError, checkpoints, load
from expansive.train.settings import Settings
from training import Killed, blobs, differing, interrupted, kill_after, network, states, trainer

pytestmark = pytest.mark.train

OTHERS: dict[str, Any] = {
    "k": 2,
    "method": "smote",
    "enemies": "neighborhood",
    "expansion": (0.0, 0.5),
    "sampling_strategy": {2: 20},
    "head_epochs": 3,
    "head_loss": "focal",
    "reinit_head": True,
}
"""Each setting of phases 2 and 3 alone, with a value that is not the one of `trainer`."""


def names(folder: Path) -> list[str]:
    return [path.name for path in checkpoints(folder)]


def resumed(folder: Path, **settings: Any) -> nn.Module:
    fitted = trainer(network(seed=9), checkpoint_dir=folder, **settings)
    return fitted.fit(blobs(), resume=True).model


def straight(**settings: Any) -> nn.Module:
    return trainer(**settings).fit(blobs()).model


def test_every_setting_after_phase_one_is_tried() -> None:
    assert set(OTHERS) == AFTER_BACKBONE
    for name, value in OTHERS.items():
        assert getattr(trainer(), name) != value
        assert name in Settings().record()


@pytest.mark.parametrize("epoch", [2, 4])
def test_phase_one_goes_on_with_another_phase_three(tmp_path: Path, epoch: int) -> None:
    interrupted(tmp_path, "backbone", epoch)
    assert differing(resumed(tmp_path, **OTHERS), states(straight(**OTHERS))) == set()
    with pytest.raises(CheckpointError, match="written with head_loss='focal', and this run has N"):
        resumed(tmp_path, **(OTHERS | {"head_loss": None}))


def test_a_checkpoint_names_the_settings_that_it_was_resumed_with(tmp_path: Path) -> None:
    interrupted(tmp_path, k=3)
    again = trainer(checkpoint_dir=tmp_path, on_epoch=kill_after("backbone", 3), k=2)
    with pytest.raises(Killed):
        again.fit(blobs(), resume=True)
    found = [load(path).progress.settings["k"] for path in checkpoints(tmp_path)]
    assert found == [3, 2]


@pytest.mark.parametrize("name", ["lr", "loss", "epochs"])
def test_another_phase_one_is_refused(tmp_path: Path, name: str) -> None:
    interrupted(tmp_path)
    with pytest.raises(CheckpointError, match=f"written with {name}=.*: use the same, or another"):
        resumed(tmp_path, **{name: {"lr": 0.5, "loss": "focal", "epochs": 5}[name]})


@pytest.mark.parametrize("epoch", [1, 4])
def test_phase_one_is_kept_beside_phase_three(tmp_path: Path, epoch: int) -> None:
    interrupted(tmp_path, "head", epoch)
    heads = [f"2-head-{number:05d}" for number in range(max(1, epoch - 1), epoch + 1)]
    assert names(tmp_path) == ["1-backbone-00004", *heads]


@pytest.mark.parametrize("name", sorted(OTHERS))
def test_another_phase_three_is_refused_with_what_keeps_phase_one(
    tmp_path: Path, name: str
) -> None:
    interrupted(tmp_path, "head")
    fix = r"use the same, or delete the folders '2-head-\*' to keep phase 1 and run .*, or another"
    with pytest.raises(CheckpointError, match=f"written with {name}=.* {fix} checkpoint_dir"):
        resumed(tmp_path, **{name: OTHERS[name]})


@pytest.mark.parametrize("select", ["best", "last"])
def test_what_the_error_says_gives_the_bits_of_an_uninterrupted_run(
    tmp_path: Path, select: str
) -> None:
    trainer(checkpoint_dir=tmp_path, select=select).fit(blobs())
    for folder in tmp_path.glob("2-head-*"):
        shutil.rmtree(folder)
    settings = OTHERS | {"select": select}
    model = resumed(tmp_path, **settings)
    assert differing(model, states(straight(**settings))) == set()
    assert names(tmp_path) == ["1-backbone-00004", "2-head-00002", "2-head-00003"]


def test_without_a_phase_one_there_is_none_to_keep(tmp_path: Path) -> None:
    settings = {"head_epochs": 2, "k": 3, "progress": False, "cpu": True}
    folder = {"data": blobs(), "checkpoint_dir": tmp_path}
    rebalance_head(network(), "classifier.1", **folder, **settings)
    with pytest.raises(CheckpointError, match=r"with k=3, and .*: use the same, or another"):
        rebalance_head(network(), "classifier.1", **folder, **(settings | {"k": 2}), resume=True)
