"""Checkpoints: a folder per epoch, whole or not there, read without running code from it."""

from __future__ import annotations

import copy
import io
import json
import pickle
import re
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
"""Newest checkpoints that are kept of a phase: should the last one be damaged, there is one before.

Of the phase before it the newest alone: all that another phase 3 needs.
"""

PHASES = ("backbone", "head")

AFTER_BACKBONE = frozenset(
    {
        "head_loss",
        "head_epochs",
        "method",
        "sampling_strategy",
        "k",
        "enemies",
        "expansion",
        "reinit_head",
    }
)
"""Settings that decide phases 2 and 3 alone: a phase 1 is the same with others."""

_NAME = re.compile(r"\d-[a-z]+-\d{5,}")

UNFINISHED = ".unfinished-"
STALE_SECONDS = 24 * 3600.0
"""An unfinished folder this old is of a killed run: writing a checkpoint takes far less.

Whether its process still lives cannot be asked, since it may run on another machine.
"""

Weights = dict[str, Any]
"""A state dictionary: tensors, and what a `get_extra_state` gives."""


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
    """Copy the state of a module, its tensors to the CPU."""
    return {
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        if isinstance(value, Tensor)
        else copy.deepcopy(value)
        for name, value in module.state_dict().items()
    }


def require_savable(module: nn.Module) -> None:
    """Raise TypeError when a checkpoint of a module could not be read without running code."""
    for name, value in _extras(module.state_dict()).items():
        try:
            written = io.BytesIO()
            torch.save(value, written)
            written.seek(0)
            torch.load(written, weights_only=True)
        except Exception as error:
            raise TypeError(
                f"checkpoint_dir is given, and {name} in the state_dict of model is a "
                f"{type(value).__name__} that cannot be read without running code: let its "
                "get_extra_state give tensors, numbers, strings, or lists and dicts of them, or "
                "set checkpoint_dir=None"
            ) from error


def save(folder: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint to its folder in `folder`, and drop all but the newest, see `KEPT`.

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
    for phase in PHASES:
        for old in checkpoints(folder, phase)[: -KEPT if phase == progress.phase else -1]:
            shutil.rmtree(old)
    _drop_stale(folder)


def checkpoints(folder: Path, phase: str = "*") -> list[Path]:
    """List the checkpoints in a folder, of one phase or of all, oldest first."""
    found = [path for path in folder.glob(f"[0-9]-{phase}-*") if _NAME.fullmatch(path.name)]
    return sorted(found, key=lambda path: (path.name[0], int(path.name.rpartition("-")[2])))


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
    weights: dict[str, Weights] = {
        name: _read(path / f"{name}.safetensors", load_file) for name in content["weights"]
    }
    for name in content["extras"]:
        weights[name] |= _read(path / f"{name}.extras.pt", _read_pickle)
    return Checkpoint(content["progress"], weights, _read(path / "optimizer.pt", _read_pickle))


def restore(module: nn.Module, weights: Weights, folder: object) -> None:
    """Load the weights of a checkpoint in `folder` into the network that they belong to.

    Raises
    ------
    CheckpointError
        When they are of another network, which stays as it is; names the first difference.
    """
    here = {name: _shape(value) for name, value in module.state_dict().items()}
    there = {name: _shape(value) for name, value in weights.items()}
    for name in here | there:
        if here.get(name) != there.get(name):
            raise CheckpointError(
                f"the checkpoints in {str(folder)!r} are of another network: the shape of {name} "
                f"is {there.get(name, 'missing')} there and {here.get(name, 'missing')} here; "
                "resume with the network that they were written with, or give another "
                "checkpoint_dir"
            )
    module.load_state_dict(weights)


def check_same_run(path: Path, progress: Progress, wanted: dict[str, Any]) -> None:
    """Refuse a checkpoint that was written with other settings or other rows.

    Of phase 1 only what decides it is compared. What a checkpoint does not name, such as one of
    an older version, is not.

    Raises
    ------
    CheckpointError
        Names the first setting that differs.
    """
    found = progress.settings
    compared = wanted.keys() - (AFTER_BACKBONE if progress.phase == "backbone" else ())
    for name in wanted:
        if name in compared and name in found and found[name] != wanted[name]:
            ways = ["use the same", "another checkpoint_dir"]
            if name in AFTER_BACKBONE and checkpoints(path.parent, "backbone"):
                ways[1:1] = ["delete the folders '2-head-*' to keep phase 1 and run the rest anew"]
            raise CheckpointError(
                f"checkpoint {str(path)!r} was written with {name}={found[name]!r}, and this "
                f"run has {wanted[name]!r}: {', or '.join(ways)}"
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
        tensors = {key: value for key, value in weights.items() if isinstance(value, Tensor)}
        save_file(tensors, folder / f"{name}.safetensors")
    extras = {name: found for name, w in checkpoint.weights.items() if (found := _extras(w))}
    for name, found in extras.items():
        torch.save(found, folder / f"{name}.extras.pt")
    torch.save(without_numpy(checkpoint.optimizer), folder / "optimizer.pt")
    content = {
        "format": FORMAT,
        "weights": sorted(checkpoint.weights),
        "extras": sorted(extras),
        "progress": asdict(checkpoint.progress),
    }
    (folder / "progress.json").write_text(json.dumps(content, indent=1) + "\n")


def _extras(weights: Weights) -> Weights:
    """Take what is no tensor out of a state dictionary."""
    return {name: value for name, value in weights.items() if not isinstance(value, Tensor)}


def _shape(value: Any) -> list[int] | str:
    return list(value.shape) if isinstance(value, Tensor) else type(value).__name__


def _drop_stale(folder: Path) -> None:
    for left in folder.glob(f"{UNFINISHED}*"):
        with suppress(OSError):  # another run may have finished with it in between
            if time.time() - left.stat().st_mtime > STALE_SECONDS:
                shutil.rmtree(left)


def _read_progress(path: Path) -> dict[str, Any]:
    content = json.loads(path.read_text())
    if content["format"] != FORMAT:
        raise ValueError(f"format {content['format']}, this version reads {FORMAT}")
    return {
        "weights": content["weights"],
        "extras": content.get("extras", []),
        "progress": Progress(**content["progress"]),
    }


def _read_pickle(path: Path) -> dict[str, Any]:
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
