"""Checkpoints: resuming bit for bit, and refusing what is damaged or of another run."""

from __future__ import annotations

import copy
import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from expansive.train import rebalance_head
from expansive.train.checkpoint import (
    STALE_SECONDS,
    Checkpoint,
    CheckpointError,
    Progress,
    checkpoints,
    load,
    save,
    snapshot,
    without_numpy,
)
from training import (
    Killed,
    blobs,
    differing,
    interrupted,
    kill_after,
    network,
    states,
    trainer,
)

pytestmark = pytest.mark.train


AFTER_BOTH = ["1-backbone-00004", "2-head-00003", "2-head-00004"]


def contents(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


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


@pytest.mark.parametrize("epoch", [2, 4])
def test_the_phases_by_hand_resume_an_interrupted_head(tmp_path: Path, epoch: int) -> None:
    straight = trainer().fit(blobs())
    interrupted(tmp_path, "head", epoch)
    resumed = trainer(network(seed=9), checkpoint_dir=tmp_path)
    resumed.fit_backbone(blobs(), resume=True)
    resumed.expand(blobs())
    resumed.fit_head()
    assert differing(resumed.model, states(straight.model)) == set()
    before = straight.evaluate(blobs(seed=1)).head_norms_before
    assert (resumed.evaluate(blobs(seed=1)).head_norms_before == before).all()
    assert [path.name for path in checkpoints(tmp_path)] == AFTER_BOTH


def test_a_checkpoint_is_resumed_once(tmp_path: Path) -> None:
    interrupted(tmp_path, "head", 2)
    resumed = trainer(checkpoint_dir=tmp_path, on_epoch=kill_after("head", 3))
    resumed.fit_backbone(blobs(), resume=True)
    resumed.expand(blobs())
    with pytest.raises(Killed):
        resumed.fit_head()
    with pytest.raises(FileExistsError, match="resume=True"):
        resumed.fit_head()


def test_a_new_backbone_forgets_the_phase_three_that_was_to_be_resumed(tmp_path: Path) -> None:
    interrupted(tmp_path, "head", 2)
    epochs: list[tuple[str, int]] = []
    fitted = trainer(
        checkpoint_dir=tmp_path,
        on_epoch=lambda record: epochs.append((record["phase"], record["epoch"])),
    )
    fitted.fit_backbone(blobs(), resume=True)
    assert epochs == []
    for folder in checkpoints(tmp_path):
        shutil.rmtree(folder)
    fitted.fit(blobs())
    assert epochs == [(phase, epoch) for phase in ("backbone", "head") for epoch in (1, 2, 3, 4)]


def test_a_second_phase_three_leaves_the_checkpoints_of_the_first(tmp_path: Path) -> None:
    fitted = trainer(checkpoint_dir=tmp_path).fit(blobs())
    files, weights = contents(tmp_path), states(fitted.model)
    with pytest.raises(FileExistsError, match="2-head-00003, 2-head-00004: continue it with resu"):
        fitted.fit_head()
    assert contents(tmp_path) == files
    assert differing(fitted.model, weights) == set()


def test_rebalance_head_refuses_checkpoints_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rebalance() -> None:
        settings = {"head_epochs": 3, "k": 3, "progress": False, "cpu": True}
        model = network()
        rebalance_head(model, "classifier.1", data=blobs(), checkpoint_dir=tmp_path, **settings)

    rebalance()
    files = contents(tmp_path)
    monkeypatch.delattr("expansive.train.trainer.embed")
    with pytest.raises(FileExistsError, match="give another folder, or remove them"):
        rebalance()
    assert contents(tmp_path) == files


@pytest.mark.parametrize(("epoch", "reinit"), [(2, False), (2, True), (3, False)])
def test_rebalance_head_continues_where_it_was_interrupted(
    tmp_path: Path, epoch: int, reinit: bool
) -> None:
    trained = network()
    trainer(trained).fit_backbone(blobs())

    def rebalance(**more: Any) -> nn.Module:
        model, rows = copy.deepcopy(trained), {"data": blobs(), "val_set": blobs(seed=4)}
        settings = {"head_epochs": 3, "k": 3, "progress": False, "cpu": True} | more
        return rebalance_head(model, "classifier.1", reinit_head=reinit, **rows, **settings)

    straight = rebalance()
    # Without a checkpoint it begins.
    with pytest.raises(Killed):
        rebalance(checkpoint_dir=tmp_path, on_epoch=kill_after("head", epoch), resume=True)
    resumed = rebalance(checkpoint_dir=tmp_path, resume=True)
    assert differing(resumed, states(straight)) == set()
    assert [path.name for path in checkpoints(tmp_path)] == ["2-head-00002", "2-head-00003"]
    with pytest.raises(CheckpointError, match="written with lr"):
        rebalance(checkpoint_dir=tmp_path, resume=True, lr=0.5)


def test_rebalance_head_does_not_continue_a_backbone(tmp_path: Path) -> None:
    model = network()
    trainer(model, checkpoint_dir=tmp_path).fit_backbone(blobs())
    settings = {"head_epochs": 3, "k": 3, "progress": False, "cpu": True}
    rebalance_head(
        model, "classifier.1", data=blobs(), checkpoint_dir=tmp_path, resume=True, **settings
    )
    assert [path.name for path in checkpoints(tmp_path)] == [
        "1-backbone-00004",
        "2-head-00002",
        "2-head-00003",
    ]


def test_the_seconds_before_an_interruption_count(tmp_path: Path) -> None:
    interrupted(tmp_path)
    path = checkpoints(tmp_path)[-1] / "progress.json"
    content = json.loads(path.read_text())
    content["progress"]["seconds"]["backbone"] = 1e6
    path.write_text(json.dumps(content))
    started = time.perf_counter()
    resumed = trainer(checkpoint_dir=tmp_path).fit(blobs(), resume=True)
    elapsed = time.perf_counter() - started
    assert resumed.seconds["backbone"] > 1e6
    assert 0 < sum(resumed.seconds.values()) - 1e6 < elapsed
    saved = load(checkpoints(tmp_path)[-1]).progress.seconds
    assert saved == resumed.seconds


def one(number: float) -> Checkpoint:
    """Make a checkpoint of one number, always of the same name."""
    return Checkpoint(Progress("head", epoch=1), {"model": {"w": torch.tensor(number)}}, {})


def test_saving_replaces_a_checkpoint_of_the_same_name(tmp_path: Path) -> None:
    for number in (1.0, 2.0):
        save(tmp_path, one(number))
    assert [path.name for path in tmp_path.iterdir()] == ["2-head-00001"]
    assert load(tmp_path / "2-head-00001").weights["model"]["w"] == 2.0


def test_a_failing_write_leaves_the_checkpoint_that_it_would_replace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path, one(1.0))
    before = contents(tmp_path)

    def fail(*arguments: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("expansive.train.checkpoint.torch.save", fail)
    with pytest.raises(OSError, match="disk full"):
        save(tmp_path, one(2.0))
    assert contents(tmp_path) == before


def test_a_folder_in_folders_that_are_missing_is_made(tmp_path: Path) -> None:
    save(tmp_path / "runs" / "first", one(1.0))
    assert load(tmp_path / "runs" / "first" / "2-head-00001").weights["model"]["w"] == 1.0


def test_weights_in_another_memory_format_are_saved(tmp_path: Path) -> None:
    layer = nn.Conv2d(3, 4, 3).to(memory_format=torch.channels_last)
    assert not layer.weight.is_contiguous()
    save(tmp_path, Checkpoint(Progress("backbone", epoch=1), {"model": snapshot(layer)}, {}))
    found = load(tmp_path / "1-backbone-00001").weights["model"]
    assert differing(layer, found) == set()


class Noting(nn.Linear):
    """A layer that changes the state beside its tensors in place."""

    def __init__(self) -> None:
        super().__init__(2, 2)
        self.notes = {"calls": [1]}

    def get_extra_state(self) -> dict[str, list[int]]:
        return self.notes


def test_a_snapshot_stays_as_it_is_when_the_network_goes_on() -> None:
    layer = Noting()
    taken, before = snapshot(layer), layer.weight.detach().clone()
    layer.notes["calls"].append(2)
    nn.init.zeros_(layer.weight)
    assert taken["_extra_state"] == {"calls": [1]}
    assert torch.equal(taken["weight"], before)


def test_an_unfinished_folder_that_another_run_removes_meanwhile_is_no_error(
    tmp_path: Path,
) -> None:
    # A link to nothing: listed like a folder, and gone when it is looked at.
    (tmp_path / ".unfinished-gone").symlink_to(tmp_path / "nowhere")
    save(tmp_path, one(1.0))
    assert [path.name for path in checkpoints(tmp_path)] == ["2-head-00001"]


def test_unfinished_folders_are_removed_when_no_run_can_still_write_them(tmp_path: Path) -> None:
    stale, fresh = tmp_path / ".unfinished-stale", tmp_path / ".unfinished-fresh"
    for left, age in ((stale, STALE_SECONDS + 60), (fresh, STALE_SECONDS - 60)):
        (left / "written").mkdir(parents=True)
        os.utime(left, (time.time() - age,) * 2)
    trainer(checkpoint_dir=tmp_path).fit_backbone(blobs())
    assert [path.name for path in tmp_path.glob(".unfinished-*")] == [fresh.name]


def test_numbers_of_numpy_are_made_plain_however_deep_they_lie() -> None:
    given = {np.int64(1): (np.float32(0.5), [np.arange(2), "name"])}
    # Keys and numbers of NumPy equal plain ones, and do not look like them.
    assert repr(without_numpy(given)) == "{1: (0.5, [[0, 1], 'name'])}"


def adam(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    betas = (np.float64(0.9), np.float64(0.99))
    return torch.optim.Adam(parameters, lr=np.float32(0.01), betas=betas)


@pytest.mark.parametrize("settings", [{"lr": np.float64(0.05)}, {"optimizer": adam}])
def test_numbers_of_numpy_can_be_read_back(tmp_path: Path, settings: dict[str, Any]) -> None:
    straight = trainer(**settings).fit(blobs())
    interrupted(tmp_path, **settings)
    resumed = trainer(checkpoint_dir=tmp_path, log_path=tmp_path / "log.jsonl", **settings)
    resumed.fit(blobs(), resume=True)
    assert differing(resumed.model, states(straight.model)) == set()


@pytest.mark.usefixtures("_own_accelerator_state")
def test_the_network_is_unwrapped_when_its_optimizer_does_not_fit(tmp_path: Path) -> None:
    interrupted(tmp_path, optimizer=sgd(1), mixed_precision="bf16")
    model = network()
    settings = {"optimizer": sgd(2), "mixed_precision": "bf16"}
    with pytest.raises(ValueError, match="parameter groups"):
        trainer(model, checkpoint_dir=tmp_path, **settings).fit(blobs(), resume=True)
    assert not {"forward", "_original_forward"} & set(vars(model))


def sgd(n_groups: int) -> Any:
    def make(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        groups = [{"params": parameters[group::n_groups]} for group in range(n_groups)]
        return torch.optim.SGD(groups, lr=0.1)

    return make


def test_momentum_is_part_of_the_checkpoint(tmp_path: Path) -> None:
    interrupted(tmp_path)
    state = torch.load(checkpoints(tmp_path)[-1] / "optimizer.pt", weights_only=True)
    assert any(value["momentum_buffer"].abs().sum() > 0 for value in state["state"].values())


def test_only_the_newest_checkpoints_are_kept_and_nothing_unfinished(tmp_path: Path) -> None:
    fitted = trainer(checkpoint_dir=tmp_path)
    fitted.fit_backbone(blobs())
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["1-backbone-00003", "1-backbone-00004"]
    fitted.expand(blobs())
    fitted.fit_head()
    assert sorted(path.name for path in tmp_path.iterdir()) == AFTER_BOTH


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


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{}", "'format'"),
        ("[1]", "list indices"),
        ('{"format": 2}', "format 2, this version reads 1"),
        ('{"format": 1, "weights": [], "progress": {"stage": 1}}', "'stage'"),
    ],
)
def test_a_description_of_another_form_is_named_with_the_fix(
    tmp_path: Path, text: str, said: str
) -> None:
    save(tmp_path, one(1.0))
    (tmp_path / "2-head-00001" / "progress.json").write_text(text)
    wanted = rf"progress\.json' cannot be read \(.*{said}.*\): delete the folder"
    with pytest.raises(CheckpointError, match=wanted):
        load(tmp_path / "2-head-00001")


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
    [
        ({"lr": 0.5}, blobs()),
        ({"seed": 1}, blobs()),
        ({"data": "others"}, blobs()),
        ({}, blobs((30, 20, 6))),
    ],
)
def test_the_checkpoint_of_another_run_is_refused(
    tmp_path: Path, change: dict[str, Any], rows: Any
) -> None:
    interrupted(tmp_path, about={"data": "blobs"})
    about = {"data": change.pop("data", "blobs")}
    name = next(iter(change), "data" if about["data"] == "others" else "train_counts")
    with pytest.raises(CheckpointError, match=f"written with {name}"):
        trainer(checkpoint_dir=tmp_path, about=about, **change).fit(rows, resume=True)


def test_the_checkpoint_of_another_head_is_refused(tmp_path: Path) -> None:
    interrupted(tmp_path)
    with pytest.raises(CheckpointError, match=r"written with head='classifier\.1', and this run"):
        trainer(checkpoint_dir=tmp_path, head="classifier").fit(blobs(), resume=True)


def test_labels_in_another_order_are_of_another_run(tmp_path: Path) -> None:
    killed = trainer(checkpoint_dir=tmp_path, on_epoch=kill_after("backbone", 2))
    with pytest.raises(Killed):
        killed.fit(blobs(), blobs(seed=3))
    turned = TensorDataset(*(tensor.flip(0) for tensor in blobs().tensors))
    with pytest.raises(CheckpointError, match="written with train_labels='sha256:"):
        trainer(checkpoint_dir=tmp_path).fit(turned, blobs(seed=3), resume=True)
    with pytest.raises(CheckpointError, match="written with val_labels='sha256:"):
        trainer(checkpoint_dir=tmp_path).fit(blobs(), turned, resume=True)
    trainer(checkpoint_dir=tmp_path).fit(blobs(), blobs(seed=3), resume=True)


def test_a_checkpoint_that_names_less_can_be_resumed(tmp_path: Path) -> None:
    straight = trainer().fit(blobs())
    interrupted(tmp_path)
    path = checkpoints(tmp_path)[-1] / "progress.json"
    content = json.loads(path.read_text())
    for name in ("train_labels", "val_labels", "about"):
        del content["progress"]["settings"][name]
    path.write_text(json.dumps(content))
    resumed = trainer(checkpoint_dir=tmp_path, about={"data": "blobs"})
    resumed.fit(blobs(), resume=True)
    assert differing(resumed.model, states(straight.model)) == set()


def test_the_checkpoint_of_another_network_is_refused_and_changes_nothing(tmp_path: Path) -> None:
    interrupted(tmp_path)
    wider, longer = network(), network()
    wider.body[0], wider.body[1] = nn.Linear(6, 8), nn.BatchNorm1d(8)
    wider.classifier[1] = nn.Linear(8, 3)
    longer.body.append(nn.Linear(16, 16))
    for model, message in [
        (wider, r"the shape of body\.0\.weight is \[16, 6\] there and \[8, 6\] here; resume with"),
        (longer, r"shape of body\.4\.weight is missing there and \[16, 16\] here"),
    ]:
        before = states(model)
        with pytest.raises(CheckpointError, match=message):
            trainer(model, checkpoint_dir=tmp_path).fit(blobs(), resume=True)
        assert differing(model, before) == set()


def test_a_new_run_does_not_mix_with_an_old_one(tmp_path: Path) -> None:
    interrupted(tmp_path)
    with pytest.raises(FileExistsError, match="resume=True"):
        trainer(checkpoint_dir=tmp_path).fit(blobs())


def test_resume_without_a_checkpoint_begins_and_without_a_folder_is_refused(tmp_path: Path) -> None:
    trainer(checkpoint_dir=tmp_path / "new").fit(blobs(), resume=True)
    assert checkpoints(tmp_path / "new")
    with pytest.raises(ValueError, match="resume=True needs checkpoint_dir"):
        trainer().fit(blobs(), resume=True)


def test_what_else_a_run_is_must_be_the_same(tmp_path: Path) -> None:
    killed = trainer(
        checkpoint_dir=tmp_path, about={"data": "a"}, on_epoch=kill_after("backbone", 2)
    )
    with pytest.raises(Killed):
        killed.fit(blobs())
    for other in ({}, {"data": "a", "more": 1}, {"data": "b"}):
        with pytest.raises(CheckpointError, match=r"written with (about|data)="):
            trainer(checkpoint_dir=tmp_path, about=other).fit(blobs(), resume=True)
    trainer(checkpoint_dir=tmp_path, about={"data": "a"}).fit(blobs(), resume=True)


def test_epochs_beyond_five_digits_are_found_in_order(tmp_path: Path) -> None:
    for epoch in (99_999, 100_000, 100_001):
        save(tmp_path, Checkpoint(Progress("backbone", epoch), {"model": {}}, {}))
    (tmp_path / "1-backbone-00001.bak").mkdir()
    assert [path.name[-6:] for path in checkpoints(tmp_path)] == ["100000", "100001"]
