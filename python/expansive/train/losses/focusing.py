"""Losses that tell easy rows from hard ones and do not look at the class sizes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from expansive.train.losses.protocol import require, wide


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy, which does not look at the class sizes."""
    return F.cross_entropy(wide(logits), labels)


@dataclass(eq=False)
class Focal:
    """Focal loss: mean of -(1 - p)^gamma log p (Lin et al. 2017, arXiv 1708.02002, equation 4).

    Parameters
    ----------
    gamma : float
        How much less an easy row counts; 0 gives cross-entropy.

    Raises
    ------
    ValueError
        For a negative `gamma`.
    """

    gamma: float = 2.0

    def __post_init__(self) -> None:
        require(self.gamma >= 0, "gamma", "at least 0", self.gamma)

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Give the mean loss of a batch."""
        return focal_losses(logits, labels, self.gamma).mean()


@dataclass(eq=False)
class Asymmetric:
    r"""Asymmetric loss for one label per row (Ridnik et al. 2021, arXiv 2009.14119).

    The single-label form of the authors' code (ASLSingleLabel), which the EOS paper trains with:
    with softmax probabilities p and smoothed labels t, the mean over rows of
    -Σ_j t_j w_j log p_j, where w = (1 - p)^gamma_pos for the true class and p^gamma_neg for others.

    Parameters
    ----------
    gamma_pos, gamma_neg : float
        Focusing on the true class and on the others.
    smoothing : float
        Share of the label spread over all classes. At 0 the other classes have no part, so that
        this is `Focal` with `gamma_pos`.

    Raises
    ------
    ValueError
        For a negative exponent, or `smoothing` outside [0, 1).
    """

    gamma_pos: float = 0.0
    gamma_neg: float = 4.0
    smoothing: float = 0.1

    def __post_init__(self) -> None:
        require(self.gamma_pos >= 0, "gamma_pos", "at least 0", self.gamma_pos)
        require(self.gamma_neg >= 0, "gamma_neg", "at least 0", self.gamma_neg)
        require(0 <= self.smoothing < 1, "smoothing", "in [0, 1)", self.smoothing)

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Give the mean loss of a batch."""
        log_p = F.log_softmax(wide(logits), dim=1)
        hit = F.one_hot(labels, log_p.shape[1]).bool()
        targets = hit * (1 - self.smoothing) + self.smoothing / log_p.shape[1]
        weights = torch.where(
            hit, _miss(log_p) ** self.gamma_pos, _above_zero(log_p.exp()) ** self.gamma_neg
        )
        return -(targets * weights * log_p).sum(dim=1).mean()


def focal_losses(logits: Tensor, labels: Tensor, gamma: float) -> Tensor:
    """Give -(1 - p)^gamma log p of each row, shape [batch]."""
    log_p = -F.cross_entropy(wide(logits), labels, reduction="none")
    return -(_miss(log_p) ** gamma) * log_p


def _miss(log_p: Tensor) -> Tensor:
    """Give 1 - p."""
    return _above_zero(-torch.expm1(log_p))


def _above_zero(share: Tensor) -> Tensor:
    # At 0 the slope of a power below 1 is infinite, and the gradient would be 0 x inf.
    return share.clamp_min(torch.finfo(share.dtype).tiny)
