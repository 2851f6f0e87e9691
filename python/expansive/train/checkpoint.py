"""Checkpoints: a folder per epoch, whole or not there, read without running code from it."""

from __future__ import annotations

import json
import pickle
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

FORMAT = 1
KEPT = 2
"""Newest checkpoints that are kept: should the last one be damaged, there is one before it."""

PHASES = ("backbone", "head")

UNFINISHED = ".unfinished-"
STALE_SECONDS = 24 * 3600.0
"""An unfinished folder this old is of a killed run: writing a checkpoint takes far less.

Whether its process still lives cannot be asked, since it may run on another machine.
"""

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
    """Write a checkpoint to its folder in `folder`, and drop all but the newest `KEPT`.

    It is written under a temporary name and renamed when complete; one of the same name is
    replaced.
    """
    progress = checkpoint.progress
    number = PHASES.index(progress.phase) + 1
    target = folder / f"{number}-{progress.phase}-{progress.epoch:05d}"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(
        prefix=UNFINISHED, dir=folder, ignore_cleanup_errors=True
    ) as temporary:
        written, replaced = Path(temporary) / "written", Path(temporary) / "replaced"
        written.mkdir()
        _write(written, checkpoint)
        if target.exists():
            target.rename(replaced)
        written.rename(target)
    for old in checkpoints(folder)[:-KEPT]:
        shutil.rmtree(old)
    _drop_stale(folder)


def checkpoints(folder: Path, phase: str = "*") -> list[Path]:
    """List the checkpoints in a folder, of one phase or of all, oldest first."""
    return sorted(folder.glob(f"[0-9]-{phase}-[0-9][0-9][0-9][0-9][0-9]"))


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


def restore(module: nn.Module, weights: Weights, folder: object) -> None:
    """Load the weights of a checkpoint in `folder` into the network that they belong to.

    Raises
    ------
    CheckpointError
        When they are of another network, which stays as it is; names the first difference.
    """
    here = {name: list(value.shape) for name, value in module.state_dict().items()}
    there = {name: list(value.shape) for name, value in weights.items()}
    for name in here | there:
        if here.get(name) != there.get(name):
            raise CheckpointError(
                f"the checkpoints in {str(folder)!r} are of another network: the shape of {name} "
                f"is {there.get(name, 'missing')} there and {here.get(name, 'missing')} here; "
                "resume with the network that they were written with, or give another "
                "checkpoint_dir"
            )
    module.load_state_dict(weights)


def check_same_run(path: Path, found: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Refuse a checkpoint that was written with other settings or other rows.

    What a checkpoint does not name, such as one of an older version, is not compared.

    Raises
    ------
    CheckpointError
        Names the first setting that differs.
    """
    for name in wanted:
        if name in found and found[name] != wanted[name]:
            raise CheckpointError(
                f"checkpoint {str(path)!r} was written with {name}={found[name]!r}, and this "
                f"run has {wanted[name]!r}: use the same, or another checkpoint_dir"
            )


def without_numpy(value: Any) -> Any:
    """Give a value with NumPy's scalars and arrays in it made plain.

    JSON takes none of them, and reading a pickle of them would run code.
    """
    if isinstance(value, np.generic | np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return {without_numpy(key): without_numpy(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        parts = [without_numpy(part) for part in value]
        return parts if isinstance(value, list) else tuple(parts)
    return value


def _write(folder: Path, checkpoint: Checkpoint) -> None:
    for name, weights in checkpoint.weights.items():
        save_file(weights, folder / f"{name}.safetensors")
    torch.save(without_numpy(checkpoint.optimizer), folder / "optimizer.pt")
    names = sorted(checkpoint.weights)
    content = {"format": FORMAT, "weights": names, "progress": asdict(checkpoint.progress)}
    (folder / "progress.json").write_text(json.dumps(content, indent=1) + "\n")


def _drop_stale(folder: Path) -> None:
    for left in folder.glob(f"{UNFINISHED}*"):
        with suppress(OSError):  # another run may have finished with it in between
            if time.time() - left.stat().st_mtime > STALE_SECONDS:
                shutil.rmtree(left)


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
