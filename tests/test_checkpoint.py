"""Checkpoints: resuming bit for bit, and refusing what is damaged or of another run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from expansive.train.checkpoint import CheckpointError, checkpoints
from training import blobs, network, trainer

pytestmark = pytest.mark.train


class Killed(Exception):
    pass


def kill_after(phase: str, epoch: int) -> Any:
    def on_epoch(record: dict[str, Any]) -> None:
        if (record["phase"], record["epoch"]) == (phase, epoch):
            raise Killed

    return on_epoch


def interrupted(folder: Path, phase: str = "backbone", epoch: int = 2, **settings: Any) -> None:
    killer = kill_after(phase, epoch)
    with pytest.raises(Killed):
        trainer(checkpoint_dir=folder, on_epoch=killer, **settings).fit(blobs())


@pytest.mark.parametrize("select", ["best", "last"])
@pytest.mark.parametrize(
    ("phase", "epoch"), [("backbone", 2), ("backbone", 4), ("head", 2), ("head", 4)]
)
def test_a_resumed_run_has_the_bits_of_an_uninterrupted_one(
    tmp_path: Path, phase: str, epoch: int, select: str
) -> None:
    straight = trainer(select=select).fit(blobs())
    interrupted(tmp_path, phase, epoch, select=select)
    # Other first weights and another state of the global generator: neither may matter.
    model = network(seed=9)
    resumed = trainer(model, checkpoint_dir=tmp_path, select=select).fit(blobs(), resume=True)
    expected = straight.model.state_dict()
    for name, value in model.state_dict().items():
        assert torch.equal(value, expected[name]), name
    before = straight.evaluate(blobs(seed=1)).head_norms_before
    assert (resumed.evaluate(blobs(seed=1)).head_norms_before == before).all()
    assert set(resumed.seconds) == {"backbone", "expand", "head"}


def test_momentum_is_part_of_the_checkpoint(tmp_path: Path) -> None:
    interrupted(tmp_path)
    state = torch.load(checkpoints(tmp_path)[-1] / "optimizer.pt", weights_only=True)
    assert any(value["momentum_buffer"].abs().sum() > 0 for value in state["state"].values())


def test_only_the_newest_checkpoints_are_kept_and_nothing_unfinished(tmp_path: Path) -> None:
    trainer(checkpoint_dir=tmp_path).fit(blobs())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2-head-00003", "2-head-00004"]


def test_a_failing_write_leaves_the_checkpoints_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(tmp_path)
    before = sorted(tmp_path.rglob("*"))

    def fail(*arguments: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("expansive.train.checkpoint.torch.save", fail)
    with pytest.raises(OSError, match="disk full"):
        trainer(checkpoint_dir=tmp_path).fit(blobs(), resume=True)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    "name", ["progress.json", "model.safetensors", "best.safetensors", "optimizer.pt"]
)
@pytest.mark.parametrize("damage", ["empty", "noise", "cut", "missing"])
def test_a_damaged_file_is_named_with_the_fix(tmp_path: Path, name: str, damage: str) -> None:
    interrupted(tmp_path)
    newest = checkpoints(tmp_path)[-1]
    path = newest / name
    content = path.read_bytes()
    if damage == "missing":
        path.unlink()
    else:
        changed = {"empty": b"", "noise": b"noise" * 20, "cut": content[: len(content) // 2]}
        path.write_bytes(changed[damage])
    with pytest.raises(CheckpointError, match=name) as error:
        trainer(checkpoint_dir=tmp_path).fit(blobs(), resume=True)
    assert f"delete the folder {str(newest)!r}" in str(error.value)


def test_the_fix_for_a_damaged_checkpoint_works(tmp_path: Path) -> None:
    straight = trainer().fit(blobs())
    interrupted(tmp_path, epoch=3)
    newest = checkpoints(tmp_path)[-1]
    for path in newest.iterdir():
        path.unlink()
    newest.rmdir()
    resumed = trainer(checkpoint_dir=tmp_path).fit(blobs(), resume=True)
    for name, value in resumed.model.state_dict().items():
        assert torch.equal(value, straight.model.state_dict()[name]), name


def test_a_pickle_that_runs_code_is_refused(tmp_path: Path) -> None:
    interrupted(tmp_path)
    torch.save({"state": Killed}, checkpoints(tmp_path)[-1] / "optimizer.pt")
    with pytest.raises(CheckpointError, match=r"optimizer\.pt"):
        trainer(checkpoint_dir=tmp_path).fit(blobs(), resume=True)


@pytest.mark.parametrize(
    ("change", "rows"),
    [({"lr": 0.5}, blobs()), ({"seed": 1}, blobs()), ({}, blobs((30, 20, 6)))],
)
def test_the_checkpoint_of_another_run_is_refused(
    tmp_path: Path, change: dict[str, Any], rows: Any
) -> None:
    interrupted(tmp_path)
    with pytest.raises(CheckpointError, match=f"written with {next(iter(change), 'train_counts')}"):
        trainer(checkpoint_dir=tmp_path, **change).fit(rows, resume=True)


def test_a_new_run_does_not_mix_with_an_old_one(tmp_path: Path) -> None:
    interrupted(tmp_path)
    with pytest.raises(FileExistsError, match="resume=True"):
        trainer(checkpoint_dir=tmp_path).fit(blobs())


def test_resume_without_a_checkpoint_begins_and_without_a_folder_is_refused(tmp_path: Path) -> None:
    trainer(checkpoint_dir=tmp_path / "new").fit(blobs(), resume=True)
    assert checkpoints(tmp_path / "new")
    with pytest.raises(ValueError, match="resume=True needs checkpoint_dir"):
        trainer().fit(blobs(), resume=True)
