"""Phase 1: the whole network on the imbalanced rows."""

from __future__ import annotations

from torch import nn

from expansive.train.data import Split
from expansive.train.loop import Phase
from expansive.train.settings import Settings


def backbone_phase(model: nn.Module, rows: Split, settings: Settings) -> Phase:
    """Describe phase 1: `model` on the training rows as they are, augmented by their data set."""
    return Phase(
        "backbone",
        model,
        rows.train,
        rows.val,
        rows.counts,
        settings.loss,
        settings.epochs,
        settings.num_workers,
    )
