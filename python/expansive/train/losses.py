"""Losses by name: one entry each, made from the number of rows per class."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

Loss = Callable[[Tensor, Tensor], Tensor]


def cross_entropy(counts: Tensor) -> Loss:
    """Plain cross-entropy, which does not look at `counts`."""
    return F.cross_entropy


LOSSES: dict[str, Callable[[Tensor], Loss]] = {"ce": cross_entropy}


def make_loss(loss: str | Loss, counts: Tensor) -> Loss:
    """Give the loss of a phase.

    Parameters
    ----------
    loss : str or callable
        A name in `LOSSES`, or a callable (logits [batch, n_classes], labels [batch]) -> scalar,
        which is given back as it is.
    counts : Tensor of int64, shape [n_classes]
        Rows per class that the phase trains on.

    Raises
    ------
    ValueError
        For an unknown name; lists the names.
    """
    if callable(loss):
        return loss
    if loss not in LOSSES:
        raise ValueError(f"loss must be a callable or one of {sorted(LOSSES)}, not {loss!r}")
    return LOSSES[loss](counts)
