"""Results on disk: one JSON file per cell, whole or not there, in a folder that one run holds."""

from __future__ import annotations

import fcntl
import json
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from expansive import __version__
from expansive.files import atomic_write, check_folder
from expansive.study.plan import Cell

Result = dict[str, Any]

PACKAGES = ("numpy", "scipy", "torch", "scikit-learn", "imbalanced-learn")


class Cells:
    """The finished cells in a folder.

    Parameters
    ----------
    folder : Path
        Made if missing.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def sweep(self) -> None:
        """Remove what a killed run left half-written; only for the holder of the study's folder."""
        for path in self.folder.glob(".*.json"):
            path.unlink()

    def path(self, cell: Cell) -> Path:
        """Give the result file of a cell."""
        return self.folder / f"{cell.file_stem}.json"

    def done(self, cell: Cell) -> bool:
        """Tell whether a cell has a result, a failure included."""
        return self.path(cell).is_file()

    def write(self, cell: Cell, result: Result) -> None:
        """Keep the result of a cell together with what it is and where it was made."""
        content = describe(cell) | result | {"environment": environment()}
        with atomic_write(self.path(cell)) as temporary:
            text = json.dumps(content, indent=1, allow_nan=False)
            temporary.write_text(text + "\n", encoding="utf-8")

    def read(self, cell: Cell) -> Result:
        """Give the result of a finished cell.

        Raises
        ------
        ValueError
            When the file is damaged; names it.
        """
        path = self.path(cell)
        try:
            content: Result = json.loads(path.read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise ValueError(
                f"the result {str(path)!r} is damaged ({error}): delete it and run again"
            ) from error
        return content


def describe(cell: Cell) -> Result:
    """Say what a cell is: names for people, settings for its key."""
    network = cell.network
    return {
        "name": cell.name,
        "data": network.data_name,
        "backbone": network.backbone_name,
        "loss": network.loss,
        "method": cell.method_name,
        "seed": network.seed,
        "settings": cell.settings(),
    }


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a study's folder; the system lets go of it when the process ends, however it ends.

    Raises
    ------
    BlockingIOError
        When another process holds it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    check_folder(folder)
    with (folder / ".lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.seek(0)
            raise BlockingIOError(
                f"the study in {str(folder)!r} is being run by process {lock.read().strip()}: "
                "wait for it, end it, or give another folder"
            ) from error
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield


@cache
def environment() -> dict[str, Any]:
    """Describe the machine and the versions that results depend on, times above all."""
    import torch

    return {
        "expansive": __version__,
        "python": platform.python_version(),
        **{package: metadata.version(package) for package in PACKAGES},
        "processor": _processor(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
    }


def _processor() -> str:
    """Read the processor's name where Linux gives it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
