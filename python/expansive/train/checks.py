"""What is refused before any work."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import nn

from expansive.synthesis.draft import rows_per_class
from expansive.train.checkpoint import require_savable
from expansive.train.data import Split
from expansive.train.embedding import check_head, find_head
from expansive.train.head import require_reinitialisable
from expansive.train.loop import require_trainable
from expansive.train.losses.trial import try_loss
from expansive.train.settings import Settings


def check(settings: Settings, model: nn.Module, head: str, rows: Split) -> None:
    """Refuse rows, a network or settings that some phase would refuse later.

    Parameters
    ----------
    settings : Settings
    model : Module
        Moved to the device, as training does, and left alone otherwise.
    head : str
        Dotted name of its last module.
    rows : Split

    Raises
    ------
    ValueError, TypeError
        Says what does not fit, and what to do.
    """
    if settings.select == "best" and rows.val is None:
        raise ValueError(
            "select='best' needs validation rows: give val_set, a val_fraction above 0 with "
            "two rows in some class, or select='last'"
        )
    _require_own_parameters(model, head)
    if settings.checkpoint_dir is not None:
        require_savable(model)
    rows_per_class(settings.sampling_strategy, np.repeat(np.arange(len(rows.counts)), rows.counts))
    accelerator = settings.accelerator()
    logits, labels = check_head(
        model, head, rows.plain, len(rows.counts), accelerator, settings.collate_fn
    )
    require_trainable(find_head(model, head), "head")
    if rows.val is not None:
        check_head(
            model,
            head,
            rows.val,
            len(rows.counts),
            accelerator,
            settings.collate_fn,
            "rows of val_set",
        )
    if settings.reinit_head:
        require_reinitialisable(find_head(model, head), head, accelerator.device)
    counts = torch.as_tensor(rows.counts, device=logits.device)
    try_loss(settings.loss, "loss", logits, labels, counts)
    try_loss(settings.head_loss, "head_loss", logits, labels, counts)
    if settings.checkpoint_dir is not None:
        _make_folder(Path(settings.checkpoint_dir))


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(
            f"checkpoint_dir {str(folder)!r} cannot be made ({error.strerror}): give a folder that "
            "can be written to"
        ) from error


def _require_own_parameters(model: nn.Module, head: str) -> None:
    """Refuse a head that shares what phase 3 trains: the embeddings would change under it."""
    module = find_head(model, head)
    trained = {
        id(weight): name for name, weight in module.named_parameters() if weight.requires_grad
    }
    for name, weight in _parameters_outside(module, model):
        if id(weight) in trained:
            own = f"{head}.{trained[id(weight)]}"
            raise ValueError(
                f"the head shares its parameter {own} with {name}, so that phase 3 would change "
                f"the embeddings: give the head its own, nn.Parameter({own}.detach().clone())"
            )


def _parameters_outside(
    head: nn.Module, part: nn.Module, prefix: str = ""
) -> Iterator[tuple[str, nn.Parameter]]:
    """List the parameters that are reached without passing through the head, with their names."""
    if part is head:
        return
    for name, weight in part.named_parameters(recurse=False):
        yield f"{prefix}{name}", weight
    for name, child in part.named_children():
        yield from _parameters_outside(head, child, f"{prefix}{name}.")
