"""Losses for imbalanced data, by name or configured.

A loss is a callable (logits [batch, n_classes], int64 labels [batch]) -> scalar. One that looks at
the class sizes is given the rows per class **of the phase that it trains**. Phase 3 trains on real
and synthetic rows, so once these are balanced nothing is corrected twice:

====================  ================================  ==========================================
name                  on imbalanced rows (phase 1)      on balanced rows (phase 3)
====================  ================================  ==========================================
ce                    cross-entropy                     the same
focal                 easy rows count less              the same
ldam, ldam_drw        margins; then weights as well     one margin for all, no weights
asl                   see `Asymmetric`                  the same
cb, cb_focal          weights for effective numbers     cross-entropy; focal
logit_adjustment,     cross-entropy of logits shifted   cross-entropy
balanced_softmax      by the log of the class sizes
====================  ================================  ==========================================

Classes that the sampling strategy leaves unequal are corrected for what is left. All losses compute
in float32, or float64 for float64 logits, also under autocast, and draw no random numbers.
"""

from __future__ import annotations

from torch import Tensor

from expansive.arguments import as_choice
from expansive.train.losses.counted import LDAM, ClassBalanced, DeferredLDAM, LogitAdjustment
from expansive.train.losses.focusing import Asymmetric, Focal, cross_entropy
from expansive.train.losses.protocol import Loss, NeedsCounts, NeedsEpoch

__all__ = [
    "LDAM",
    "LOSSES",
    "Asymmetric",
    "ClassBalanced",
    "DeferredLDAM",
    "Focal",
    "LogitAdjustment",
    "Loss",
    "NeedsCounts",
    "NeedsEpoch",
    "cross_entropy",
    "make_loss",
]

LOSSES: dict[str, Loss] = {
    "ce": cross_entropy,
    "focal": Focal(),
    "ldam": LDAM(),
    "ldam_drw": DeferredLDAM(),
    "asl": Asymmetric(),
    "cb": ClassBalanced(),
    "cb_focal": ClassBalanced(gamma=2.0),
    "logit_adjustment": LogitAdjustment(),
    "balanced_softmax": LogitAdjustment(),
}


def make_loss(loss: str | Loss, counts: Tensor) -> Loss:
    """Give the loss of a phase.

    Parameters
    ----------
    loss : str or callable
        A name in `LOSSES`, or a callable (logits [batch, n_classes], labels [batch]) -> scalar. One
        that has `with_counts` is given the counts; any other is given back as it is.
    counts : Tensor of int64, shape [n_classes], on the device of the logits
        Rows per class that the phase trains on.

    Raises
    ------
    ValueError
        For an unknown name; lists the names.
    """
    if isinstance(loss, str):
        as_choice(loss, LOSSES, "loss")
    named = LOSSES[loss] if isinstance(loss, str) else loss
    return named.with_counts(counts) if isinstance(named, NeedsCounts) else named
