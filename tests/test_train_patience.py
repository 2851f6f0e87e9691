"""Stopping early: when a phase ends, what it ends with, and that it can be resumed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from expansive.train import rebalance_head
from expansive.train.checkpoint import checkpoints, load
from training import blobs, differing, interrupted, network, states, trainer

pytestmark = pytest.mark.train

VAL = blobs((30, 30, 30), seed=3)

ROUGH = {"lr": 1.0, "schedule": "constant", "epochs": 30, "head_epochs": 30}
"""A learning rate at which the score goes up and down."""


def lines_of(**settings: Any) -> dict[str, list[float]]:
    """Give the validation scores of each phase."""
    found: dict[str, list[float]] = {"backbone": [], "head": []}

    def keep(record: dict[str, Any]) -> None:
        found[record["phase"]].append(record["val_balanced_accuracy"])

    trainer(on_epoch=keep, **(ROUGH | settings)).fit(blobs(), VAL)
    return found


def first_end(scores: list[float], patience: int) -> int:
    """Say after how many epochs a phase with these scores ends."""
    best = 0
    for epoch in range(1, len(scores) + 1):
        if scores[epoch - 1] >= max(scores[:epoch]):
            best = epoch
        if epoch - best >= patience:
            return epoch
    return len(scores)


@pytest.mark.parametrize("patience", [1, 3])
def test_a_phase_ends_after_so_many_epochs_without_a_better_one(patience: int) -> None:
    every, found = lines_of(), lines_of(patience=patience)
    ended = first_end(every["backbone"], patience)
    assert ended < len(every["backbone"]) == 30
    assert found["backbone"] == every["backbone"][:ended]
    assert len(found["head"]) == first_end(found["head"], patience)


def test_it_ends_with_the_best_weights_and_the_next_phases_go_on(tmp_path: Path) -> None:
    stopped = trainer(patience=2, checkpoint_dir=tmp_path, **ROUGH).fit(blobs(), VAL)
    ended = load(checkpoints(tmp_path, "backbone")[-1])
    progress = ended.progress
    assert progress.epoch == progress.best_epoch + 2 < 30
    now = stopped.model.state_dict()
    body = [name for name in now if name.startswith("body")]
    assert all(torch.equal(now[name], ended.weights["best"][name]) for name in body)
    assert not all(torch.equal(now[name], ended.weights["model"][name]) for name in body)
    assert load(checkpoints(tmp_path, "head")[-1]).progress.settings["patience"] == 2


@pytest.mark.parametrize(("phase", "back"), [("backbone", 1), ("backbone", 0), ("head", 0)])
def test_a_resumed_run_ends_where_an_uninterrupted_one_does(
    tmp_path: Path, phase: str, back: int
) -> None:
    settings = ROUGH | {"patience": 2}
    ended = len(lines_of(patience=2)[phase]) if phase == "backbone" else 1
    rows = {"val_set": VAL}
    straight = trainer(**settings).fit(blobs(), **rows)
    interrupted(tmp_path, phase, ended - back, val_set=VAL, **settings)
    more: list[tuple[str, int]] = []
    resumed = trainer(
        network(seed=9),
        checkpoint_dir=tmp_path,
        on_epoch=lambda line: more.append((line["phase"], line["epoch"])),
        **settings,
    ).fit(blobs(), VAL, resume=True)
    assert differing(resumed.model, states(straight.model)) == set()
    assert [epoch for name, epoch in more if name == "backbone"] == [ended] * back


def test_a_checkpoint_that_names_no_patience_can_be_resumed(tmp_path: Path) -> None:
    interrupted(tmp_path, val_set=VAL, **ROUGH)
    path = checkpoints(tmp_path)[-1] / "progress.json"
    content = json.loads(path.read_text())
    for name in ("patience", "collate_fn"):
        del content["progress"]["settings"][name]
    del content["extras"]
    path.write_text(json.dumps(content))
    model, straight = network(), network()
    trainer(straight, patience=2, **ROUGH).fit(blobs(), VAL)
    resumed = trainer(model, checkpoint_dir=tmp_path, patience=2, **ROUGH)
    resumed.fit(blobs(), VAL, resume=True)
    assert differing(model, states(straight)) == set()


def test_patience_is_part_of_which_run_it_is(tmp_path: Path) -> None:
    interrupted(tmp_path, patience=2)
    with pytest.raises(ValueError, match="written with patience=2, and this run has 3"):
        trainer(checkpoint_dir=tmp_path, patience=3).fit(blobs(), resume=True)


def test_patience_without_validation_rows_is_refused_before_any_work() -> None:
    with pytest.raises(ValueError, match=r"patience=2 waits .* is 'last': set select='best'"):
        trainer(patience=2, select="last")
    with pytest.raises(ValueError, match="needs validation rows: give val_set"):
        trainer(patience=2, val_fraction=0.0).fit(blobs())
    with pytest.raises(ValueError, match="rebalance_head needs a val_set"):
        rebalance_head(network(), "classifier.1", data=blobs(), patience=2, cpu=True)
    for value in (0, 1.5, True):
        with pytest.raises(ValueError, match="patience must be an integer of at least 1"):
            trainer(patience=value)
