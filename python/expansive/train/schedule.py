"""Learning rates: a pure function of the epoch, so that resuming needs no state."""

from __future__ import annotations

import math
from collections.abc import Callable


def _constant(epoch: int, epochs: int, warmup: int) -> float:
    return 1.0


def _cosine(epoch: int, epochs: int, warmup: int) -> float:
    return 0.5 * (1.0 + math.cos(math.pi * (epoch - warmup) / (epochs - warmup)))


def _step(epoch: int, epochs: int, warmup: int) -> float:
    # Whole numbers, so that no rounding moves a step to the next epoch.
    if 10 * epoch >= 9 * epochs:
        return 1e-4
    return 1e-2 if 10 * epoch >= 8 * epochs else 1.0


SCHEDULES: dict[str, Callable[[int, int, int], float]] = {
    "constant": _constant,
    "cosine": _cosine,
    "step": _step,
}


def factor(schedule: str, epoch: int, epochs: int, warmup: int) -> float:
    """Give the factor on the learning rate during one epoch.

    Parameters
    ----------
    schedule : str
        ``"constant"``, ``"cosine"`` (to zero), or ``"step"``: x 0.01 after 80 % of the epochs and
        x 0.0001 after 90 %, which is 160 and 180 of 200 as in LDAM-DRW (Cao et al. 2019,
        arXiv 1906.07413).
    epoch : int
        0 <= epoch < epochs.
    epochs : int
        Epochs of the phase.
    warmup : int
        Epochs at the start over which the factor grows linearly, as LDAM-DRW's does; at most
        half of `epochs` are used.

    Returns
    -------
    float
        In (0, 1].
    """
    warmup = min(warmup, epochs // 2)
    if epoch < warmup:
        return (epoch + 1) / warmup
    return SCHEDULES[schedule](epoch, epochs, warmup)
