"""What a loss is, and what it may ask of the trainer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

Loss = Callable[[Tensor, Tensor], Tensor]


@runtime_checkable
class NeedsCounts(Protocol):
    """A loss that looks at the rows per class; a loss of your own may have this method too."""

    def with_counts(self, counts: Tensor) -> Loss:
        """Give the loss for `counts`, int64 [n_classes] on the device of the logits, all above 0.

        Called once before each phase; the object itself stays as it is.
        """


@runtime_checkable
class NeedsEpoch(Protocol):
    """A loss that changes while it trains; a loss of your own may have this method too."""

    def begin_epoch(self, epoch: int, epochs: int) -> None:
        """Hear that epoch 0 <= `epoch` < `epochs` of the phase begins.

        What the loss is must follow from these two numbers alone, since a run that is resumed
        begins at a later epoch.
        """


def wide(logits: Tensor) -> Tensor:
    """Give logits in float32, or float64 if they are: halves are too coarse for sums of powers."""
    return logits if logits.dtype == torch.float64 else logits.float()


def require(holds: bool, name: str, allowed: str, value: float) -> None:
    """Raise ValueError with the name of a parameter and what it may be, unless it is."""
    if not holds:
        raise ValueError(f"{name} must be {allowed}, not {value!r}")
