"""Settings: what they take, and what they are made to."""

from __future__ import annotations

import copy
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from expansive.train import ThreePhaseTrainer
from expansive.train.data import Shuffle
from expansive.train.schedule import factor
from expansive.train.settings import Settings
from training import blobs, differing, network, states, trainer

pytestmark = pytest.mark.train


def test_schedules() -> None:
    published = [factor("step", epoch, 200, 5) for epoch in (0, 3, 4, 5, 159, 160, 179, 180, 199)]
    assert published == [0.2, 0.8, 1.0, 1.0, 1.0, 1e-2, 1e-2, 1e-4, 1e-4]
    cosine = [factor("cosine", epoch, 12, 2) for epoch in range(12)]
    assert cosine[:3] == [0.5, 1.0, 1.0]
    assert cosine[7] == pytest.approx(0.5)
    assert cosine[1:] == sorted(cosine[1:], reverse=True)
    assert min(cosine) > 0
    assert [factor("constant", epoch, 3, 5) for epoch in range(3)] == [1.0, 1.0, 1.0]
    half = [factor("constant", epoch, 8, 5) for epoch in range(5)]
    assert half == [0.25, 0.5, 0.75, 1.0, 1.0]


# Steps ------------------------------------------------------------------------------------------


def test_each_epoch_takes_the_steps_of_a_plain_loop() -> None:
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    twin = copy.deepcopy(model)
    sgd = {"lr": 0.05, "momentum": 0.5, "weight_decay": 0.1}
    lines: list[dict[str, Any]] = []
    plain = {"head": "2", "epochs": 3, "val_fraction": 0.0, "select": "last"}
    trainer(model, on_epoch=lines.append, **plain, **sgd).fit_backbone(blobs())
    x, y = blobs().tensors
    optimizer, order = torch.optim.SGD(twin.parameters(), **sgd), Shuffle(len(y), (0, 0))
    # A warm-up of one epoch, then the cosine over two.
    for epoch, share in enumerate([1.0, 1.0, 0.5]):
        order.epoch, losses = epoch, []
        optimizer.param_groups[0]["lr"] = 0.05 * share
        for rows in torch.tensor(list(order)).split(16):
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(twin(x[rows]), y[rows])
            loss.backward()
            optimizer.step()
            losses += [loss.item()] * len(rows)
        assert lines[epoch]["loss"] == pytest.approx(np.mean(losses))
    assert differing(model, states(twin)) == set()


def test_each_group_of_an_optimizer_follows_the_schedule_from_its_own_rate() -> None:
    made: list[torch.optim.Optimizer] = []

    def two_rates(parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
        groups = [{"params": parameters[:1], "lr": 0.2}, {"params": parameters[1:], "lr": 0.1}]
        made.append(torch.optim.SGD(groups))
        return made[-1]

    seen: list[list[float]] = []

    def look(record: dict[str, Any]) -> None:
        seen.append([group["lr"] for group in made[-1].param_groups])
        assert record["lr"] == seen[-1][0]

    trainer(optimizer=two_rates, epochs=10, schedule="step", on_epoch=look).fit_backbone(blobs())
    assert seen == [[0.2, 0.1]] * 8 + [[0.2 * 1e-2, 0.1 * 1e-2], [0.2 * 1e-4, 0.1 * 1e-4]]


def test_the_last_epoch_is_that_of_a_run_without_validation() -> None:
    # With steps this large the last epoch is not the best.
    wild = {"lr": 30.0, "schedule": "constant", "select": "last"}
    validated, plain = trainer(**wild), trainer(val_fraction=0.0, **wild)
    validated.fit_backbone(blobs(), blobs(seed=3))
    plain.fit_backbone(blobs())
    assert differing(validated.model, states(plain.model)) == set()


# Log and bars -----------------------------------------------------------------------------------


def test_the_log_has_a_line_per_epoch(tmp_path: Path) -> None:
    trainer(log_path=tmp_path / "log.jsonl").fit(blobs())
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [(line["phase"], line["epoch"]) for line in lines] == [
        (phase, epoch) for phase in ("backbone", "head") for epoch in (1, 2, 3, 4)
    ]
    assert {"lr", "loss", "val_balanced_accuracy", "seconds"} <= set(lines[0])
    assert lines[0]["lr"] == 0.1


def test_progress_bars_are_shown_unless_silenced(capsys: pytest.CaptureFixture[str]) -> None:
    trainer().fit(blobs())
    assert capsys.readouterr().out == ""
    trainer(progress=True).fit(blobs())
    shown = capsys.readouterr().out
    assert "backbone" in shown
    assert "head" in shown
    assert "4/4" in shown
    assert "validation 0." in shown


# NumPy's numbers --------------------------------------------------------------------------------

FROM_NUMPY: dict[str, Any] = {
    "epochs": np.int64(2),
    "batch_size": np.int32(16),
    "lr": np.float64(0.05),
    "momentum": np.float32(0.5),
    "weight_decay": np.array(0.25),
    "k": np.int64(3),
    "sampling_strategy": {np.int64(2): np.int64(20)},
    "expansion": np.array([0.0, 0.5]),
    "reinit_head": np.bool_(False),
    "val_fraction": np.float64(0.2),
    "seed": np.uint64(3),
}
PLAIN: dict[str, Any] = {
    "epochs": 2,
    "batch_size": 16,
    "lr": 0.05,
    "momentum": 0.5,
    "weight_decay": 0.25,
    "k": 3,
    "sampling_strategy": {2: 20},
    "expansion": (0.0, 0.5),
    "reinit_head": False,
    "val_fraction": 0.2,
    "seed": 3,
}


def test_numbers_of_numpy_are_recorded_as_plain_ones() -> None:
    made = trainer(**FROM_NUMPY)
    assert json.dumps(made.record()) == json.dumps(trainer(**PLAIN).record())
    for name in ("epochs", "batch_size", "lr", "weight_decay", "k", "expansion", "seed"):
        assert type(getattr(made, name)) is type(PLAIN[name])
    strategy = {"sampling_strategy": np.float32(0.5)}
    assert json.loads(json.dumps(trainer(**strategy).record()))["sampling_strategy"] == 0.5


def test_numbers_of_numpy_train_the_same_network(tmp_path: Path) -> None:
    rows, folder = blobs(), tmp_path / "checkpoints"
    found = trainer(**FROM_NUMPY, checkpoint_dir=folder).fit(rows).model.state_dict()
    expected = trainer(**PLAIN).fit(rows).model.state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_what_the_run_is_about_is_recorded_beside_the_settings(tmp_path: Path) -> None:
    about = {"data": "digits", "width": np.int64(4)}
    fitted = trainer(about=about, checkpoint_dir=tmp_path).fit(blobs())
    recorded = fitted.evaluate(blobs(seed=1)).settings
    assert json.loads(json.dumps(recorded)) == recorded
    assert recorded | {"data": "digits", "width": 4, "lr": 0.1} == recorded


def test_the_defaults_are_those_of_the_published_schedule() -> None:
    expected: dict[str, Any] = {
        "loss": "ce",
        "head_loss": None,
        "epochs": 200,
        "head_epochs": 10,
        "batch_size": 128,
        "optimizer": None,
        "lr": 0.1,
        "momentum": 0.9,
        "weight_decay": 2e-4,
        "schedule": "cosine",
        "warmup_epochs": 5,
        "method": "eos",
        "sampling_strategy": "auto",
        "k": None,
        "enemies": "nearest",
        "expansion": [0.0, 1.0],
        "reinit_head": False,
        "val_fraction": 0.1,
        "select": "best",
        "patience": None,
        "seed": 0,
        "cpu": False,
        "mixed_precision": "no",
        "collate_fn": None,
    }
    assert Settings(mixed_precision="no").record() == expected


def test_what_decides_no_result_is_not_recorded(tmp_path: Path) -> None:
    others: dict[str, Any] = {
        "checkpoint_dir": tmp_path,
        "log_path": tmp_path / "log.jsonl",
        "num_workers": 2,
        "progress": True,
        "on_epoch": print,
    }
    assert trainer(**others).record() == trainer().record()


# Callables --------------------------------------------------------------------------------------


def test_a_partial_is_recorded_with_its_function_and_parameters() -> None:
    made = [partial(torch.optim.SGD, lr=lr) for lr in (0.1, 0.2)]
    first, second = (trainer(optimizer=optimizer).record()["optimizer"] for optimizer in made)
    assert first != second
    assert "SGD" in first
    assert "lr=0.1" in first


def test_no_record_holds_an_address() -> None:
    def make(parameters: list[nn.Parameter], helper: Any) -> Any:
        raise NotImplementedError

    recorded = trainer(optimizer=partial(make, helper=object())).record()["optimizer"]
    assert "make" in recorded
    assert " at 0x" not in recorded


# Refusals ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"head": ""}, "head must name a module of the model, and '' does not"),
        ({"head": "classifier.9"}, "its last are body.2, body.3, classifier, .*0, classifier.1$"),
        ({"loss": "hinge"}, "unknown loss 'hinge'; choose one of 'ce'"),
        ({"method": "adasyn"}, "unknown method 'adasyn'; choose one of 'eos', 'smote', 'random'"),
        (
            {"schedule": "poly"},
            "unknown schedule 'poly'; choose one of 'constant', 'cosine', 'step'",
        ),
        ({"select": "first"}, "unknown select 'first'; choose one of 'best', 'last'"),
        ({"mixed_precision": "fp8"}, "unknown mixed_precision 'fp8'; choose one of None, 'no'"),
        ({"enemies": "far"}, "unknown enemies 'far'; choose one of 'nearest'"),
        ({"expansion": (1.0, 0.0)}, "expansion must be two numbers"),
        ({"epochs": 0}, "epochs must be an integer of at least 1; got 0"),
        ({"head_epochs": 0}, "head_epochs must be an integer of at least 1"),
        ({"batch_size": 2.5}, "batch_size must be an integer of at least 1; got 2.5"),
        ({"k": 0}, "k must be an integer of at least 1"),
        ({"lr": 0.0}, "lr must be above 0"),
        ({"warmup_epochs": -1}, "warmup_epochs must be an integer of at least 0"),
        ({"seed": -1}, r"seed must be an integer in \[0, 2\*\*64\)"),
        ({"momentum": -0.1}, "momentum must be at least 0"),
        ({"val_fraction": 1.0}, r"val_fraction must be in \[0, 1\)"),
        ({"val_fraction": -0.1}, r"val_fraction must be in \[0, 1\), not -0.1"),
        ({"val_fraction": np.nan}, r"val_fraction must be in \[0, 1\), not nan"),
        ({"lr": np.nan}, "lr must be above 0, not nan"),
        ({"momentum": np.nan}, "momentum must be at least 0, not nan"),
        ({"weight_decay": -1e-4}, "weight_decay must be at least 0, not -0.0001"),
        ({"num_workers": -1}, "num_workers must be an integer of at least 0; got -1"),
        ({"schedule": print}, "unknown schedule <built-in function print>; choose one of"),
        ({"about": {"lr": 1}}, "about names 'lr', which is a setting: call it something else"),
    ],
)
def test_bad_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        trainer(**settings)


@pytest.mark.parametrize(
    "name", ["momentum", "weight_decay", "val_fraction", "warmup_epochs", "num_workers"]
)
def test_zero_is_enough_where_nothing_is_a_choice(name: str) -> None:
    assert getattr(trainer(**{name: 0}), name) == 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimizer": "adam"}, r"optimizer must be a function, such as lambda pa.*, not 'adam'"),
        (
            {"optimizer": torch.optim.SGD(network().parameters())},
            r"optim\.SGD\(.*, not a SGD object",
        ),
        ({"on_epoch": "x"}, "on_epoch must be a function, such as print, not 'x'"),
        ({"about": {"folder": Path()}}, "about must be a dict ready for JSON, such as {'data': 'd"),
        ({"about": {"imbalance": float("nan")}}, "about must be a dict ready for JSON"),
        ({"about": "digits"}, "about must be a dict ready for JSON"),
    ],
)
def test_what_is_no_function_or_no_dict_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        trainer(**settings)


@pytest.mark.parametrize("inside", ["", "checkpoints"])
def test_a_file_in_place_of_the_folder_of_checkpoints_is_refused(
    tmp_path: Path, inside: str
) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(NotADirectoryError, match=r"checkpoint_dir is .*taken' is a file: name a f"):
        trainer(checkpoint_dir=tmp_path / "taken" / inside)


def test_a_log_in_no_folder_and_a_model_that_is_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="log_path"):
        trainer(log_path=tmp_path / "missing" / "log.jsonl")
    with pytest.raises(TypeError, match="model must be a torch module, not list"):
        ThreePhaseTrainer([])  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ["fast", None, [0.1], np.array([0.1]), 1j])
def test_what_is_no_number_is_refused(value: Any) -> None:
    with pytest.raises(TypeError, match=r"momentum must be a number, such as 0\.1, not"):
        trainer(momentum=value)
