"""Checkpoints: a folder per epoch, whole or not there, read without running code from it."""

from __future__ import annotations

import json
import pickle
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

FORMAT = 1
KEPT = 2
"""Newest checkpoints that are kept: should the last one be damaged, there is one before it."""

PHASES = ("backbone", "head")

Weights = dict[str, Tensor]


class CheckpointError(ValueError):
    """A checkpoint that cannot be read or does not belong to this run."""


@dataclass
class Progress:
    """How far a phase has come.

    Attributes
    ----------
    phase : {"backbone", "head"}
    epoch : int
        Epochs that are done.
    best_epoch : int
        The epoch (from 1) whose weights are best so far, 0 before the first.
    best_score : float
        Its balanced accuracy on the validation rows, -1 before the first.
    seconds : dict of str to float
        Time spent in each phase.
    settings : dict
        What is run, as JSON gives it back; another run's checkpoint is refused.
    """

    phase: str
    epoch: int = 0
    best_epoch: int = 0
    best_score: float = -1.0
    seconds: dict[str, float] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass
class Checkpoint:
    """The state after an epoch. Random numbers need none: each epoch is seeded by its number.

    Attributes
    ----------
    progress : Progress
    weights : dict
        State dictionaries by name: ``"model"``; ``"best"``, the best of what the phase trains, if
        it selects; ``"before"``, the head that phase 3 started from, in phase 3.
    optimizer : dict
        State of the optimizer.
    """

    progress: Progress
    weights: dict[str, Weights]
    optimizer: dict[str, Any]


def snapshot(module: nn.Module) -> Weights:
    """Copy the state of a module to the CPU."""
    return {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, value in module.state_dict().items()
    }


def save(folder: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint to a new folder in `folder`, and drop all but the newest `KEPT`.

    It is written under a temporary name and renamed when complete.
    """
    progress = checkpoint.progress
    folder.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=folder))
    try:
        for name, weights in checkpoint.weights.items():
            save_file(weights, temporary / f"{name}.safetensors")
        torch.save(checkpoint.optimizer, temporary / "optimizer.pt")
        names = sorted(checkpoint.weights)
        content = {"format": FORMAT, "weights": names, "progress": asdict(progress)}
        (temporary / "progress.json").write_text(json.dumps(content, indent=1) + "\n")
        temporary.chmod(0o755)
        number = PHASES.index(progress.phase) + 1
        temporary.rename(folder / f"{number}-{progress.phase}-{progress.epoch:05d}")
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    for old in checkpoints(folder)[:-KEPT]:
        shutil.rmtree(old)


def checkpoints(folder: Path) -> list[Path]:
    """List the checkpoints in a folder, oldest first."""
    return sorted(folder.glob("[0-9]-*-[0-9][0-9][0-9][0-9][0-9]"))


def load(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Parameters
    ----------
    path : Path
        One of `checkpoints(folder)`.

    Raises
    ------
    CheckpointError
        When a file is missing or damaged; names it and what to do.
    """
    content = _read(path / "progress.json", _read_progress)
    weights = {name: _read(path / f"{name}.safetensors", load_file) for name in content["weights"]}
    return Checkpoint(content["progress"], weights, _read(path / "optimizer.pt", _read_optimizer))


def check_same_run(path: Path, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Refuse a checkpoint that was written with other settings or other rows.

    Raises
    ------
    CheckpointError
        Names the first setting that differs.
    """
    for name in wanted:
        if found.get(name) != wanted[name]:
            raise CheckpointError(
                f"checkpoint {str(path)!r} was written with {name}={found.get(name)!r}, and this "
                f"run has {wanted[name]!r}: use the same, or another checkpoint_dir"
            )


def _read_progress(path: Path) -> dict[str, Any]:
    content = json.loads(path.read_text())
    if content["format"] != FORMAT:
        raise ValueError(f"format {content['format']}, this version reads {FORMAT}")
    return {"weights": content["weights"], "progress": Progress(**content["progress"])}


def _read_optimizer(path: Path) -> dict[str, Any]:
    state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return state


def _read(path: Path, reader: Callable[[Path], Any]) -> Any:
    try:
        return reader(path)
    except (
        OSError,
        EOFError,
        KeyError,
        TypeError,
        ValueError,
        RuntimeError,
        pickle.UnpicklingError,
        SafetensorError,
    ) as error:
        raise CheckpointError(
            f"checkpoint file {str(path)!r} cannot be read ({error}): delete the folder "
            f"{str(path.parent)!r} to resume from the one before, or to start anew"
        ) from error
