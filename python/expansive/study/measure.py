"""Phases 2 and 3 of one cell, and what is measured of it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict

import numpy as np
import torch
from torch import nn

from expansive.metrics import ClassRanges, class_ranges, scores
from expansive.report.numbers import plain
from expansive.study.cells import Result
from expansive.study.methods import HEAD_RULES, Rows, make_rows
from expansive.study.networks import Trained, head_of
from expansive.study.plan import Cell
from expansive.train.checkpoint import Progress
from expansive.train.embedding import Embeddings, predict
from expansive.train.expand import slices
from expansive.train.head import head_phase, reinitialise, weight_norms
from expansive.train.loop import State, seeded, train
from expansive.train.settings import Settings

REFUSALS = (ValueError, RuntimeError, ArithmeticError)
"""What a method raises when it cannot work with these rows; the study goes on."""


class Seconds:
    """Wall and CPU seconds by phase."""

    def __init__(self) -> None:
        self.wall: dict[str, float] = {}
        self.cpu: dict[str, float] = {}

    @contextmanager
    def of(self, phase: str) -> Iterator[None]:
        """Measure a block."""
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.wall[phase] = time.perf_counter() - wall
        self.cpu[phase] = time.process_time() - cpu


def measure(cell: Cell, kept: Trained, cpu: bool) -> Result:
    """Run the method of a cell and score it, or record why it refused.

    Parameters
    ----------
    cell : Cell
    kept : Trained
        Its network.
    cpu : bool
        Use the CPU even where there is an accelerator.

    Returns
    -------
    dict
        Ready for JSON; ``status`` is ``"done"``, or ``"failed"`` with the `error`.
    """
    try:
        return _measured(cell, kept, cpu)
    except REFUSALS as error:
        return failed(error)


def failed(error: Exception) -> Result:
    """Give the result of a cell that could not be run."""
    return {"status": "failed", "error": f"{type(error).__name__}: {error}"}


def settings_of(cell: Cell, cpu: bool) -> Settings:
    """Make the settings of phase 3."""
    own = dict(cell.head)
    epochs, loss = own.pop("epochs"), own.pop("loss") or cell.network.loss
    return Settings(
        loss=loss,
        head_epochs=epochs,
        seed=cell.network.seed,
        val_fraction=0.0,
        select="last",
        cpu=cpu,
        progress=False,
        **own,
    )


def rebalanced(cell: Cell, kept: Trained, cpu: bool) -> tuple[nn.Module, Rows | None, Seconds]:
    """Run phases 2 and 3: gives the head, the rows it was trained on, and the seconds."""
    seconds = Seconds()
    head = head_of(cell.network, kept)
    if cell.method in HEAD_RULES:
        with seconds.of("head"), torch.no_grad():
            weights = {name: weight.numpy().copy() for name, weight in head.named_parameters()}
            changed = HEAD_RULES[cell.method](weights, **cell.parameters)
            head.load_state_dict({name: torch.as_tensor(value) for name, value in changed.items()})
        return head, None, seconds
    settings = settings_of(cell, cpu)
    with seconds.of("expand"):
        seed = cell.network.seed
        rows = make_rows(cell.method, kept.train_x, kept.train_y, cell.parameters, seed)
    with seconds.of("head"), _one_thread():
        if rows.reinit_head:
            with seeded((seed,), settings.accelerator().device):
                reinitialise(head)
        phase = head_phase(head, rows.real, rows.plan, None, settings)
        train(phase, settings, State(Progress("head")), lambda record: None)
    return head, rows, seconds


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute on one CPU thread: a head's steps are too small to gain from more."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _measured(cell: Cell, kept: Trained, cpu: bool) -> Result:
    head, rows, seconds = rebalanced(cell, kept, cpu)
    n_classes = len(kept.facts["classes"])
    classes = np.arange(n_classes)
    counts = np.bincount(kept.train_y, minlength=n_classes)
    test = Embeddings(torch.as_tensor(kept.test_x), torch.as_tensor(kept.test_y))
    accelerator = settings_of(cell, cpu).accelerator()
    truth, predicted = predict(head, test.rows(), n_classes, accelerator, 4096)
    found = scores(truth, predicted, classes=classes, train_counts=counts)
    gap = ranges(kept, rows).gap(class_ranges(kept.test_x, kept.test_y, classes))
    norms = weight_norms(head, n_classes)
    facts = kept.facts
    return {
        "status": "done",
        "scores": plain(asdict(found)),
        "gap": gap.tolist(),
        "head_norms": None if norms is None else norms.tolist(),
        "classes": facts["classes"],
        "train_counts": counts.tolist(),
        "test_rows": len(kept.test_y),
        "synthetic_rows": 0 if rows is None else rows.plan.n_samples,
        "seconds": facts["seconds"] | seconds.wall,
        "cpu_seconds": facts["cpu_seconds"] | seconds.cpu,
        "parameters": facts["parameters"],
        "generator_parameters": 0 if rows is None else rows.generator_parameters,
    }


def ranges(kept: Trained, rows: Rows | None) -> ClassRanges:
    """Take the ranges of each class over the training rows and the synthetic ones."""
    classes = np.arange(len(kept.facts["classes"]))
    covered = class_ranges(kept.train_x, kept.train_y, classes)
    if rows is not None:
        for x, y in slices(rows.plan, rows.real.x):
            covered = covered.union(class_ranges(x, y, classes))
    return covered
