"""Losses made from the rows per class."""

from __future__ import annotations

import copy
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from expansive.train.losses.focusing import focal_losses
from expansive.train.losses.protocol import Loss, require, wide


def effective_weights(counts: Tensor, beta: float) -> Tensor:
    """Give (1 - beta) / (1 - beta^n) of each class, scaled to sum to the number of classes."""
    effective = 1.0 - beta**counts
    return len(counts) * (1.0 / effective) / (1.0 / effective).sum()


@dataclass(eq=False)
class _Counted(ABC):
    """A loss with one number per class, made from the rows per class."""

    _of_class: Tensor | None = field(default=None, init=False, repr=False)

    @abstractmethod
    def _from_counts(self, counts: Tensor) -> Tensor:
        """Make the numbers [n_classes] from float64 counts."""

    def with_counts(self, counts: Tensor) -> Loss:
        """Give the loss for these rows per class; see `NeedsCounts`."""
        bound = copy.copy(self)
        bound._bind(counts)
        return bound

    @abstractmethod
    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Give the mean loss of a batch."""

    def _bind(self, counts: Tensor) -> None:
        # In float64 on the CPU, since not every device has it.
        numbers = self._from_counts(counts.cpu().double())
        self._of_class = numbers.to(counts.device, torch.float32)

    def _numbers(self, logits: Tensor) -> Tensor:
        if self._of_class is None:
            raise RuntimeError(
                f"{self!r} needs the rows per class: call with_counts first, as the trainer does"
            )
        return self._of_class.to(logits.dtype)


@dataclass(eq=False)
class ClassBalanced(_Counted):
    """Weights for the effective number of rows (Cui et al. 2019, arXiv 1901.05555).

    A row of a class with n rows weighs (1 - beta) / (1 - beta^n), scaled so that the weights of all
    classes sum to their number. The mean divides by the weights of the batch, as torch's
    cross-entropy does.

    Parameters
    ----------
    beta : float
        0 weighs all classes alike, near 1 by the inverse of their sizes.
    gamma : float
        Of the focal loss that is weighted; 0: of cross-entropy.

    Raises
    ------
    ValueError
        For `beta` outside [0, 1), or a negative `gamma`.
    """

    beta: float = 0.9999
    gamma: float = 0.0

    def __post_init__(self) -> None:
        require(0 <= self.beta < 1, "beta", "in [0, 1)", self.beta)
        require(self.gamma >= 0, "gamma", "at least 0", self.gamma)

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Give the weighted mean loss of a batch."""
        losses = focal_losses(logits, labels, self.gamma)
        weights = self._numbers(losses)[labels]
        return (weights * losses).sum() / weights.sum()

    def _from_counts(self, counts: Tensor) -> Tensor:
        return effective_weights(counts, self.beta)


@dataclass(eq=False)
class LogitAdjustment(_Counted):
    """Logit-adjusted cross-entropy (Menon et al. 2021, arXiv 2007.07314).

    Cross-entropy of logits + tau log(share of the class). At tau = 1 it is balanced softmax
    (Ren et al. 2020, arXiv 2007.10740), which adds log n: a softmax does not see a
    shift common to all classes. Both names are kept.

    Parameters
    ----------
    tau : float
        Strength of the shift; 0 gives cross-entropy.

    Raises
    ------
    ValueError
        For a negative `tau`.
    """

    tau: float = 1.0

    def __post_init__(self) -> None:
        require(0 <= self.tau < math.inf, "tau", "finite and at least 0", self.tau)

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Give the mean loss of a batch."""
        z = wide(logits)
        return F.cross_entropy(z + self._numbers(z), labels)

    def _from_counts(self, counts: Tensor) -> Tensor:
        return self.tau * (counts / counts.sum()).log()


@dataclass(eq=False)
class LDAM(_Counted):
    """Label-distribution-aware margins (Cao et al. 2019, arXiv 1906.07413).

    Cross-entropy of scale x logits, where that of the true class is first lowered by a margin
    proportional to n^(-1/4) for a class with n rows; the smallest class has `max_margin`.
    The paper's logits are cosines: give the network a `expansive.train.models.NormedLinear` for a
    head, as ``norm_head(model, "fc")`` and ``by_name(..., normed_head=True)`` do. A plain linear
    head trains as well, but its margin is then relative to logits of any size.

    Parameters
    ----------
    max_margin : float
        Margin of the smallest class.
    scale : float
        Factor on the logits.

    Raises
    ------
    ValueError
        For a negative `max_margin`, or `scale` not above 0.
    """

    max_margin: float = 0.5
    scale: float = 30.0
    _weights: Tensor | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        require(self.max_margin >= 0, "max_margin", "at least 0", self.max_margin)
        require(self.scale > 0, "scale", "above 0", self.scale)

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Give the mean loss of a batch."""
        z = wide(logits)
        lowered = z - self._numbers(z) * F.one_hot(labels, z.shape[1])
        weights = None if self._weights is None else self._weights.to(z.dtype)
        return F.cross_entropy(self.scale * lowered, labels, weight=weights)

    def _from_counts(self, counts: Tensor) -> Tensor:
        return self.max_margin * (counts.min() / counts) ** 0.25


@dataclass(eq=False)
class DeferredLDAM(LDAM):
    """LDAM with deferred re-weighting, LDAM-DRW (Cao et al. 2019, algorithm 1).

    From the first epoch that has `share` of the epochs behind it, rows weigh as in `ClassBalanced`;
    at the default this is where ``schedule="step"`` first lowers the learning rate, as published.

    Parameters
    ----------
    max_margin, scale : float
        As for `LDAM`.
    share : float
        Share of the epochs without weights: 0.8 is 160 of 200.
    beta : float
        As for `ClassBalanced`.

    Raises
    ------
    ValueError
        As for both, or for `share` outside [0, 1].
    """

    share: float = 0.8
    beta: float = 0.9999
    _late_weights: Tensor | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.share <= 1, "share", "in [0, 1]", self.share)
        require(0 <= self.beta < 1, "beta", "in [0, 1)", self.beta)

    def begin_epoch(self, epoch: int, epochs: int) -> None:
        """Switch the weights on when it is time; see `NeedsEpoch`."""
        # Rounded, so that a share of 0.07 of 100 is 7 and not a little more.
        late = epoch >= round(self.share * epochs, 6)
        self._weights = self._late_weights if late else None

    def _bind(self, counts: Tensor) -> None:
        super()._bind(counts)
        weights = effective_weights(counts.cpu().double(), self.beta)
        self._late_weights = weights.to(counts.device, torch.float32)
