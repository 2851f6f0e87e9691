"""Phases 2 and 3 alone, for a network that is already trained."""

from __future__ import annotations

from typing import Any

from torch import nn

from expansive.train.data import Pairs
from expansive.train.trainer import ThreePhaseTrainer


def rebalance_head(
    model: nn.Module,
    head: str = "fc",
    data: Pairs | None = None,
    *,
    val_set: Pairs | None = None,
    resume: bool = False,
    **settings: Any,
) -> nn.Module:
    """Run phases 2 and 3 on a network that is already trained.

    Parameters
    ----------
    model : Module
        The trained network, moved to the device that accelerate gives. Its head is trained in
        place, nothing else changes.
    head : str
        Dotted name of its last module.
    data : Dataset
        The rows it was trained on, without augmentation: (input tensor, int label) pairs.
    val_set : Dataset or None
        Rows it was not trained on, to select the best epoch by; None: the last epoch is taken,
        since a network has nothing to select by on rows that it knows.
    resume : bool
        Continue from the newest checkpoint of a phase 3 in `checkpoint_dir`, if there is one, with
        the whole network as it is there.
    **settings
        As for `ThreePhaseTrainer`, but for its `epochs`, which are of phase 1.

    Returns
    -------
    Module
        `model`.

    Raises
    ------
    ValueError, TypeError
        As `ThreePhaseTrainer` and its `fit` do, before any work; without `data`; for `epochs`.
    CheckpointError
        When the checkpoint is damaged or belongs to another run.
    FileExistsError
        When `checkpoint_dir` holds checkpoints of a phase 3 and `resume` is False.

    Examples
    --------
    >>> rebalance_head(network, "classifier.2", data=train_set, head_epochs=10)  # doctest: +SKIP
    """
    if data is None:
        raise TypeError("data is missing; give the rows that the network was trained on")
    if "epochs" in settings:
        raise TypeError(
            f"epochs={settings['epochs']!r} are of phase 1, which is not run; set head_epochs"
        )
    select: dict[str, Any] = {"select": "last", "val_fraction": 0.0} if val_set is None else {}
    trainer = ThreePhaseTrainer(model, head, **(select | settings))
    trainer.rebalance(data, val_set, resume=resume)
    return model
