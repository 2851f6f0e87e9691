"""What a run leaves on disk: a checkpoint and a line of the log after each epoch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from torch import nn

from expansive.train import checkpoint
from expansive.train.checkpoint import Checkpoint, Weights
from expansive.train.data import Split
from expansive.train.loop import Record, State
from expansive.train.settings import Settings


class Journal:
    """Checkpoints and log of one run, written by the main process.

    Parameters
    ----------
    settings : Settings
        Says where they go, and which run it is.
    head : str
        Name of the head: part of which run it is.
    """

    def __init__(self, settings: Settings, head: str) -> None:
        self.settings, self.head = settings, head
        self.writes = settings.accelerator().is_main_process
        folder = settings.checkpoint_dir
        self.folder = None if folder is None else Path(folder)
        self.log_path = None if settings.log_path is None else Path(settings.log_path)

    def run(self, rows: Split) -> dict[str, Any]:
        """Describe the run on these rows, as JSON gives it back: what resuming compares."""
        of_rows = {"train_counts": rows.counts.tolist()} | rows.label_hashes
        about = {"about": sorted(self.settings.about)}  # what they say stands in the record
        run = self.settings.record() | about | {"head": self.head} | of_rows
        described: dict[str, Any] = json.loads(json.dumps(run))
        return described

    def newest(self, rows: Split, phase: str = "*") -> Checkpoint | None:
        """Read the newest checkpoint of this run, of one phase or of all; None without one.

        Raises
        ------
        ValueError
            Without `checkpoint_dir`.
        CheckpointError
            When it is damaged or belongs to another run.
        """
        if self.folder is None:
            raise ValueError("resume=True needs checkpoint_dir, the folder of the checkpoints")
        found = checkpoint.checkpoints(self.folder, phase)
        if not found:
            return None
        saved = checkpoint.load(found[-1])
        checkpoint.check_same_run(found[-1], saved.progress, self.run(rows))
        return saved

    def require_empty(self, phase: str = "*") -> None:
        """Raise FileExistsError when there are checkpoints, of one phase or of all.

        A new run would mix its own with them.
        """
        found = [] if self.folder is None else checkpoint.checkpoints(self.folder, phase)
        if found:
            names = ", ".join(path.name for path in found)
            raise FileExistsError(
                f"checkpoint_dir {str(self.folder)!r} holds the checkpoints of a run, {names}: "
                "continue it with resume=True in what wrote them (fit, fit_backbone or "
                "rebalance_head), give another folder, or remove them"
            )

    def enter(
        self, model: nn.Module, state: State, weights: dict[str, Weights], record: Record
    ) -> None:
        """Save the state after an epoch, write its line, and tell the caller's `on_epoch`."""
        if self.writes:
            self._save(model, state, weights)
            self._log(record)
        if self.settings.on_epoch is not None:
            self.settings.on_epoch(record)

    def _save(self, model: nn.Module, state: State, weights: dict[str, Weights]) -> None:
        if self.folder is None:
            return
        weights = {"model": checkpoint.snapshot(model)} | weights
        if state.best is not None:
            weights["best"] = state.best
        saved = Checkpoint(state.progress, weights, state.optimizer or {})
        checkpoint.save(self.folder, saved)

    def _log(self, record: Record) -> None:
        if self.log_path is not None:
            with self.log_path.open("a") as log:
                log.write(json.dumps(record) + "\n")
