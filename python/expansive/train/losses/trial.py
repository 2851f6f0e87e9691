"""Try a loss on a few rows before anything is trained with it."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from expansive.train.data import keeping_generators
from expansive.train.losses import Loss, NeedsEpoch, make_loss


def try_loss(
    loss: str | Loss | None, name: str, logits: Tensor, labels: Tensor, counts: Tensor
) -> None:
    """Call a copy of a loss of the caller's own, and refuse one that gives no scalar.

    Parameters
    ----------
    loss : str, callable or None
        Only a callable is tried. It stays as it is, and so do all random generators.
    name : str
        What error messages call it.
    logits : Tensor, shape [n, n_classes]
        What the network gives for a few rows.
    labels : Tensor of int64, shape [n]
        Their labels.
    counts : Tensor of int64, shape [n_classes]
        Rows per class, for a loss that looks at them.

    Raises
    ------
    ValueError
        When it gives no scalar tensor, or raises an error itself; says what came.
    """
    if loss is None or isinstance(loss, str):
        return
    try:
        tried = copy.deepcopy(loss)
    except Exception:
        return  # What cannot be copied would not stay as it is.
    n_rows, n_classes = logits.shape
    # As many rows as classes would let a loss pass that takes the labels for one more row.
    some = slice(max(1, n_rows - 1) if n_rows == n_classes else n_rows)
    wanted = f"{name} must give a scalar tensor for (logits [n, {n_classes}], int64 labels [n])"
    with keeping_generators(logits.device), torch.enable_grad():
        try:
            made = make_loss(tried, counts)
            if isinstance(made, NeedsEpoch):
                made.begin_epoch(0, 1)
            value = made(logits[some].detach().requires_grad_(), labels[some])
        except Exception as error:
            raise ValueError(f"{wanted}, and raised {type(error).__name__}: {error}") from error
    if not isinstance(value, Tensor) or value.ndim > 0:
        shape = f" of shape {list(value.shape)}" if isinstance(value, Tensor) else ""
        raise ValueError(f"{wanted}, not {type(value).__name__}{shape}")
