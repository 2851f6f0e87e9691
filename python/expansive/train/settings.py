"""The settings of three-phase training, checked before any work."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from functools import partial
from numbers import Real
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from expansive.arguments import as_choice, as_count, as_expansion, as_k, as_seed
from expansive.synthesis import ENEMIES, METHODS
from expansive.train.accelerators import launched_precision, make_accelerator
from expansive.train.checkpoint import without_numpy
from expansive.train.data import Collate
from expansive.train.expand import Plan
from expansive.train.losses import LOSSES, Loss
from expansive.train.schedule import SCHEDULES

_COUNTS = {
    "epochs": 1,
    "head_epochs": 1,
    "batch_size": 1,
    "warmup_epochs": 0,
    "num_workers": 0,
}
_CHOICES: dict[str, Collection[Any]] = {
    "loss": LOSSES,
    "head_loss": (None, *LOSSES),
    "schedule": SCHEDULES,
    "method": METHODS,
    "enemies": ENEMIES,
    "select": ("best", "last"),
    "mixed_precision": (None, "no", "bf16"),
}
_OR_CALLABLE = ("loss", "head_loss", "method")
_CALLABLES = {
    "optimizer": "lambda parameters: torch.optim.SGD(parameters, lr=0.1)",
    "collate_fn": "torch.utils.data.default_collate",
    "on_epoch": "print",
}


@dataclass(kw_only=True, eq=False)
class Settings:
    """Everything that decides how the phases run; see `ThreePhaseTrainer` for each setting."""

    loss: str | Loss = "ce"
    head_loss: str | Loss | None = None
    epochs: int = 200
    head_epochs: int = 10
    batch_size: int = 128
    optimizer: Callable[[list[nn.Parameter]], torch.optim.Optimizer] | None = None
    lr: float = 0.1
    momentum: float = 0.9
    weight_decay: float = 2e-4
    schedule: str = "cosine"
    warmup_epochs: int = 5
    method: str | Callable[[Tensor, Tensor], Plan] = "eos"
    sampling_strategy: str | float | Mapping[int, int] = "auto"
    k: int | None = None
    enemies: str = "nearest"
    expansion: tuple[float, float] = (0.0, 1.0)
    reinit_head: bool = False
    val_fraction: float = 0.1
    select: str = "best"
    patience: int | None = None
    seed: int = 0
    about: Mapping[str, Any] = field(default_factory=dict)
    checkpoint_dir: str | os.PathLike[str] | None = None
    log_path: str | os.PathLike[str] | None = None
    cpu: bool = False
    mixed_precision: str | None = None
    num_workers: int = 0
    collate_fn: Collate | None = None
    progress: bool = True
    on_epoch: Callable[[dict[str, Any]], None] | None = None

    def __post_init__(self) -> None:
        for name, least in _COUNTS.items():
            setattr(self, name, as_count(getattr(self, name), name, least))
        if self.k is not None:
            self.k = as_k(self.k)
        self.seed = as_seed(self.seed)
        self.expansion = as_expansion(self.expansion)
        for name in ("lr", "momentum", "weight_decay", "val_fraction"):
            setattr(self, name, _as_float(getattr(self, name), name))
        if not self.lr > 0:
            raise ValueError(f"lr must be above 0, not {self.lr}")
        for name in ("momentum", "weight_decay"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} must be at least 0, not {getattr(self, name)}")
        if not 0 <= self.val_fraction < 1:
            raise ValueError(f"val_fraction must be in [0, 1), not {self.val_fraction}")
        for name in ("loss", "head_loss"):
            if isinstance(getattr(self, name), type):
                given = getattr(self, name).__name__
                raise TypeError(f"{name} must be an instance, such as {given}(), not the class")
        for name, choices in _CHOICES.items():
            if name not in _OR_CALLABLE or not callable(getattr(self, name)):
                as_choice(getattr(self, name), choices, name)
        for name, example in _CALLABLES.items():
            value = getattr(self, name)
            if value is not None and not callable(value):
                shown = (
                    repr(value) if isinstance(value, str) else f"a {type(value).__name__} object"
                )
                raise TypeError(f"{name} must be a function, such as {example}, not {shown}")
        if self.patience is not None:
            self.patience = _as_patience(self.patience, self.select)
        self.about = _as_about(self.about)
        if self.mixed_precision is None:
            self.mixed_precision = launched_precision()
        if self.checkpoint_dir is not None:
            _check_no_file(Path(self.checkpoint_dir))
        if self.log_path is not None and Path(self.log_path).is_dir():
            raise IsADirectoryError(
                f"log_path is {str(self.log_path)!r}, a folder; name a file, which may be new"
            )
        if self.log_path is not None and not Path(self.log_path).parent.is_dir():
            raise FileNotFoundError(
                f"log_path is {str(self.log_path)!r}, and its folder does not exist; "
                "create it first"
            )

    def accelerator(self) -> Accelerator:
        """Make the accelerator that gives device, precision and the share of this process.

        As `make_accelerator`.
        """
        return make_accelerator(self.cpu, self.mixed_precision)

    def record(self) -> dict[str, Any]:
        """Give the settings that decide the result, ready for JSON; a callable by its name.

        A dataclass, such as a configured loss, and a `functools.partial` with their parameters.
        What `about` names stands beside them.
        """
        names = [setting.name for setting in fields(Settings) if setting.name not in _NOT_RECORDED]
        return dict(self.about) | {name: _plain(getattr(self, name)) for name in names}


_NOT_RECORDED = {"about", "checkpoint_dir", "log_path", "num_workers", "progress", "on_epoch"}

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


def _as_float(value: Any, name: str) -> float:
    number = without_numpy(value)
    if not isinstance(number, Real):
        raise TypeError(f"{name} must be a number, such as 0.1, not {value!r}")
    return float(number)


def _as_patience(value: Any, select: str) -> int:
    patience = as_count(value, "patience")
    if select != "best":
        raise ValueError(
            f"patience={patience} waits for a better epoch on validation rows, and select is "
            f"{select!r}: set select='best' and give validation rows (rebalance_head needs a "
            "val_set), or set patience=None"
        )
    return patience


def _as_about(about: Any) -> dict[str, Any]:
    """Check what the caller says of the run, since it goes to checkpoints and results."""
    plain = without_numpy(about)
    try:
        json.dumps(plain, allow_nan=False)
        plain = dict(plain)
    except (TypeError, ValueError) as error:
        example = {"data": "digits"}
        raise TypeError(
            f"about must be a dict ready for JSON, such as {example}, not {about!r}: {error}"
        ) from None
    taken = [name for name in plain if name in {setting.name for setting in fields(Settings)}]
    if taken:
        raise ValueError(f"about names {taken[0]!r}, which is a setting: call it something else")
    return plain


def _check_no_file(folder: Path) -> None:
    for part in (folder, *folder.parents):
        if part.is_file():
            raise NotADirectoryError(
                f"checkpoint_dir is {str(folder)!r}, and {str(part)!r} is a file: name a folder, "
                "which may be new"
            )


def _plain(value: Any) -> Any:
    if is_dataclass(value) or isinstance(value, partial):
        # An address would be another one in the process that resumes.
        return _ADDRESS.sub("", repr(value))
    if callable(value):
        return getattr(value, "__qualname__", type(value).__qualname__)
    if isinstance(value, Mapping):
        return {str(key): without_numpy(count) for key, count in value.items()}
    return list(value) if isinstance(value, tuple) else without_numpy(value)
