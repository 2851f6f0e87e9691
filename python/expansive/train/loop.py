"""The epochs of a phase: what backbone and head training have in common."""

from __future__ import annotations

import inspect
import math
import time
from collections.abc import Callable, Iterator, Sized
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from accelerate.utils import set_seed
from numpy.typing import NDArray
from rich import progress as bars
from torch import nn

from expansive.metrics import balanced_accuracy
from expansive.train.checkpoint import PHASES, Progress, Weights, snapshot, without_numpy
from expansive.train.data import Pairs, Shuffle, batches_of, keeping_generators, loader
from expansive.train.embedding import keeping_modes, logits_of, predict
from expansive.train.losses import Loss, NeedsEpoch, make_loss
from expansive.train.schedule import factor
from expansive.train.settings import Settings

Record = dict[str, Any]


@dataclass(frozen=True)
class Phase:
    """What to train on what.

    Attributes
    ----------
    name : {"backbone", "head"}
        Which phase it is.
    module : Module
        What is trained: the whole network, or its head.
    rows, val : Dataset
        (input, label) pairs to train on; the same to validate on, or None.
    counts : ndarray of int64, shape [n_classes]
        Rows per class in `rows`.
    loss : str or callable
        As `make_loss` takes it; made for `counts`.
    epochs, num_workers : int
        Passes over the rows; processes that load them.
    """

    name: str
    module: nn.Module
    rows: Pairs
    val: Pairs | None
    counts: NDArray[np.int64]
    loss: str | Loss
    epochs: int
    num_workers: int = 0


@dataclass
class State:
    """What an epoch leaves to the next, besides the weights of the module.

    Attributes
    ----------
    progress : Progress
        How far the phase has come.
    best : dict or None
        Weights of the best epoch, when the phase selects and one is done.
    optimizer : dict or None
        State of the optimizer after the last epoch.
    """

    progress: Progress
    best: Weights | None = None
    optimizer: dict[str, Any] | None = None


def train(
    phase: Phase,
    settings: Settings,
    state: State,
    finish_epoch: Callable[[Record], None],
) -> None:
    """Train the module of a phase from `state` to its last epoch, or until patience is at its end.

    Parameters
    ----------
    phase : Phase
        Its module holds the weights that belong to `state`; afterwards those of the best or of
        the last epoch, as the settings select. Its modes are restored, also after an error.
    settings : Settings
        Device, optimizer, schedule, selection and seed.
    state : State
        Where to begin; brought up to date before each `finish_epoch`.
    finish_epoch : callable (record) -> None
        Called after each epoch, to save and to log.

    Raises
    ------
    ValueError
        When no parameter is trainable, or the optimizer needs a closure.
    FloatingPointError
        When the loss is not finite.

    Notes
    -----
    Each epoch draws its random numbers from streams seeded by (seed, phase, epoch), one to train
    and one to validate, so a resumed run continues bit for bit where the device computes
    deterministically, as the CPU does. The global generators are as before after each epoch.
    """
    progress = state.progress
    loop = _Loop(phase, settings)
    bar = _bar(phase, progress.epoch, loop.shown)
    with closing(loop), keeping_modes(phase.module), torch.enable_grad(), bar as advance:
        if state.optimizer is not None:
            loop.optimizer.load_state_dict(state.optimizer)
        while progress.epoch < phase.epochs and not _waited(progress, settings.patience):
            started, epoch = time.perf_counter(), progress.epoch
            record = loop.epoch(epoch) | loop.validate(epoch)
            progress.epoch = epoch + 1
            score = record.get("val_balanced_accuracy", -1.0)
            # Of equals the latest: it has been trained for longer.
            if settings.select == "best" and score >= progress.best_score:
                progress.best_epoch, progress.best_score = epoch + 1, score
                state.best = snapshot(phase.module)
            state.optimizer = loop.optimizer.state_dict()
            record["seconds"] = time.perf_counter() - started
            spent = progress.seconds.get(phase.name, 0.0)
            progress.seconds[phase.name] = spent + record["seconds"]
            advance(record)
            finish_epoch({"phase": phase.name, "epoch": epoch + 1} | record)
    if state.best is not None:
        phase.module.load_state_dict(state.best)


def _waited(progress: Progress, patience: int | None) -> bool:
    """Say whether the best epoch is `patience` epochs back, by what a checkpoint holds alone."""
    return patience is not None and progress.epoch - progress.best_epoch >= patience


class _Loop:
    """A phase made ready on its device."""

    def __init__(self, phase: Phase, settings: Settings) -> None:
        self.phase, self.settings = phase, settings
        self.accelerator = accelerator = settings.accelerator()
        self.device = accelerator.device  # it may say another once `on_epoch` has made one
        self.shown = settings.progress and accelerator.is_main_process
        number = PHASES.index(phase.name)
        self.order = Shuffle(len(cast(Sized, phase.rows)), (settings.seed, number))
        batches = loader(
            phase.rows, settings.batch_size, phase.num_workers, self.order, settings.collate_fn
        )
        self.frozen = _frozen(phase.module)
        # Some optimizers make their state at once, where the parameters are.
        phase.module.to(self.device)
        optimizer = _optimizer(phase, settings)
        self.rates = [without_numpy(group["lr"]) for group in optimizer.param_groups]
        counts = torch.as_tensor(phase.counts, device=self.device)
        self.loss = make_loss(phase.loss, counts)
        self.own_forward = {k: v for k, v in vars(phase.module).items() if k == "forward"}
        self.module, self.optimizer, self.batches = accelerator.prepare(
            phase.module, optimizer, batches
        )

    def close(self) -> None:
        """Take off what accelerate put around the module."""
        self.accelerator.unwrap_model(self.module, keep_fp32_wrapper=False)
        # It leaves a method of the class as an attribute, which copies of the module would share.
        vars(self.phase.module).pop("forward", None)
        vars(self.phase.module).update(self.own_forward)

    def epoch(self, epoch: int) -> Record:
        """Pass once over the rows; gives the learning rate and the mean loss."""
        settings, phase = self.settings, self.phase
        share = factor(settings.schedule, epoch, phase.epochs, settings.warmup_epochs)
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * share
        self.order.epoch = epoch
        if isinstance(self.loss, NeedsEpoch):
            self.loss.begin_epoch(epoch, phase.epochs)
        self.module.train()
        for part in self.frozen:
            part.training = False
        with seeded((*self.order.seed, epoch), self.device):
            total, rows = self._steps()
        loss = total / rows
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"the loss of the {phase.name} is {loss} in epoch {epoch + 1}: lower lr (now "
                f"{settings.lr}), lengthen warmup_epochs (now {settings.warmup_epochs}), or look "
                "for NaN in the rows"
            )
        return {"lr": self.rates[0] * share, "loss": loss}

    def validate(self, epoch: int) -> Record:
        """Give the balanced accuracy on the validation rows, if there are any."""
        phase, settings = self.phase, self.settings
        if phase.val is None:
            return {}
        # Validation rows may be augmented too.
        with seeded((*self.order.seed, epoch, 1), self.device):
            truth, predicted = predict(
                phase.module,
                phase.val,
                len(phase.counts),
                # A new one: `on_epoch` may have trained elsewhere, or in another precision.
                settings.accelerator(),
                settings.batch_size,
                phase.num_workers,
                settings.collate_fn,
            )
        return {"val_balanced_accuracy": balanced_accuracy(truth, predicted)}

    def _steps(self) -> list[float]:
        total = torch.zeros(2, dtype=torch.float64, device=self.device)
        for inputs, labels in batches_of(self.batches):
            self.optimizer.zero_grad()
            logits = logits_of(self.module(inputs), len(self.phase.counts))
            loss = self.loss(logits, labels.long())
            self.accelerator.backward(loss)
            self.optimizer.step()
            total[0] += loss.detach() * len(labels)
            total[1] += len(labels)
        sums: list[float] = self.accelerator.reduce(total, "sum").tolist()
        return sums


def _frozen(module: nn.Module) -> list[nn.Module]:
    """List what stays in evaluation mode: frozen parts that are in it, and what they hold.

    A part without parameters, such as Dropout, is none by itself: a whole network may come in
    evaluation mode and is to be trained with it.
    """
    found = [part for part in module.modules() if not part.training and _has_only_frozen(part)]
    return [held for part in found for held in part.modules() if not held.training]


def _has_only_frozen(part: nn.Module) -> bool:
    trainable = [weight.requires_grad for weight in part.parameters()]
    return bool(trainable) and not any(trainable)


def require_trainable(module: nn.Module, name: str) -> list[nn.Parameter]:
    """Give what is to be trained, and refuse a module without it."""
    parameters = [weight for weight in module.parameters() if weight.requires_grad]
    if not parameters:
        raise ValueError(
            f"the {name} has no parameter with requires_grad=True, so nothing to train: "
            "unfreeze it first"
        )
    return parameters


def _optimizer(phase: Phase, settings: Settings) -> torch.optim.Optimizer:
    parameters = require_trainable(phase.module, phase.name)
    if settings.optimizer is not None:
        made = settings.optimizer(parameters)
        if not isinstance(made, torch.optim.Optimizer):
            raise TypeError(
                f"optimizer must give an optimizer, such as torch.optim.AdamW(parameters), not "
                f"{made!r}"
            )
        _require_no_closure(made)
        return made
    return torch.optim.SGD(
        parameters, settings.lr, settings.momentum, weight_decay=settings.weight_decay
    )


def _require_no_closure(optimizer: torch.optim.Optimizer) -> None:
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    if closure is not None and closure.default is inspect.Parameter.empty:
        raise ValueError(
            f"optimizer gives {type(optimizer).__name__}, whose step needs a closure, and it is "
            "called without one: give another, such as torch.optim.SGD or torch.optim.AdamW"
        )


@contextmanager
def seeded(key: tuple[int, ...], device: torch.device) -> Iterator[None]:
    """Seed Python's, NumPy's and torch's generators; they are as before when the block ends."""
    with keeping_generators(device):
        set_seed(int(np.random.SeedSequence(key).generate_state(1)[0]), device_specific=True)
        yield


@contextmanager
def _bar(phase: Phase, done: int, shown: bool) -> Iterator[Callable[[Record], None]]:
    """Show a progress bar over epochs; gives what to call after each."""
    columns = (
        bars.TextColumn("{task.description:<8}"),
        bars.BarColumn(),
        bars.MofNCompleteColumn(),
        bars.TimeRemainingColumn(),
        bars.TextColumn("{task.fields[result]}"),
    )
    with bars.Progress(*columns, disable=not shown) as bar:
        task = bar.add_task(phase.name, total=phase.epochs, completed=done, result="")

        def advance(record: Record) -> None:
            names = {"loss": "loss", "val_balanced_accuracy": "validation"}
            found = [f"{names[key]} {record[key]:.3f}" for key in names if key in record]
            bar.update(task, advance=1, result="  ".join(found))

        yield advance
