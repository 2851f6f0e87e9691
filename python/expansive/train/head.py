"""Phase 3: the head alone on real and synthetic embeddings."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from expansive.train.data import Batches, Pairs
from expansive.train.embedding import Embeddings
from expansive.train.expand import Plan
from expansive.train.loop import Phase, seeded
from expansive.train.settings import Settings


class Expanded(Batches):
    """Real embeddings, then the synthetic ones of a plan, which are made when asked for.

    Row i < n is real row i; row n + j is synthetic row j. A DataLoader takes a whole batch at
    once, so memory holds the real rows and one batch. Where the embeddings lie on a device, so do
    labels and batches: only row numbers travel.
    """

    def __init__(self, real: Embeddings, plan: Plan) -> None:
        self.real, self.plan, self.device = real, plan, real.x.device
        synthetic = plan.labels(0, plan.n_samples)
        made = torch.as_tensor(synthetic, dtype=torch.int64, device=self.device)
        self.labels = torch.cat([real.y, made])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitems__(self, numbers: Sequence[int]) -> tuple[Tensor, Tensor]:
        rows = np.asarray(numbers)
        real, n_real = self.real.x, len(self.real.x)
        is_synthetic = rows >= n_real
        x = real.new_empty(len(rows), real.shape[1])
        x[self._there(np.flatnonzero(~is_synthetic))] = real[self._there(rows[~is_synthetic])]
        if is_synthetic.any():
            made = self.plan.generate_rows(real, rows[is_synthetic] - n_real)
            x[self._there(np.flatnonzero(is_synthetic))] = made
        return x, self.labels[self._there(rows)]

    def _there(self, rows: NDArray[np.int64]) -> Tensor:
        return torch.from_numpy(rows).to(self.device)


def head_phase(
    head: nn.Module, real: Embeddings, plan: Plan, val: Pairs | None, settings: Settings
) -> Phase:
    """Describe phase 3: `head` on `real` and the rows of `plan`; `val` holds embeddings too."""
    rows = Expanded(real, plan)
    counts = torch.bincount(rows.labels).cpu().numpy()
    loss = settings.loss if settings.head_loss is None else settings.head_loss
    return Phase("head", head, rows, val, counts, loss, settings.head_epochs)


def reinitialise(head: nn.Module) -> None:
    """Draw the weights of a head anew, by the rule of each of its layers."""
    for part in head.modules():
        reset = getattr(part, "reset_parameters", None)
        if callable(reset):
            reset()


def require_reinitialisable(head: nn.Module, name: str, device: torch.device) -> None:
    """Raise ValueError when `reinitialise` leaves a trainable parameter of the head as it is.

    The head itself stays as it is: two copies, one of zeros and one of ones, must become the same.
    """
    copies = copy.deepcopy(head), copy.deepcopy(head)
    for value, copied in enumerate(copies):
        for weight in copied.parameters():
            weight.detach().fill_(value)
        with seeded((0,), device):
            reinitialise(copied)
    one, other = (dict(copied.named_parameters()) for copied in copies)
    for part, weight in one.items():
        if weight.requires_grad and not torch.equal(weight, other[part]):
            raise ValueError(
                f"reinit_head is True, and {name}.{part} would stay as it is, since no "
                "reset_parameters draws it anew: give the module that holds it one (a parametrized "
                "layer needs its own, which sets what is parametrized), or set reinit_head=False"
            )


def weight_norms(head: nn.Module, n_classes: int) -> NDArray[np.float64] | None:
    """Give the norm of each row of the head's weight, or None without a [n_classes, d] weight."""
    weight = getattr(head, "weight", None)
    if not isinstance(weight, Tensor) or weight.ndim != 2 or len(weight) != n_classes:
        return None
    norms: NDArray[np.float64] = weight.detach().double().norm(dim=1).cpu().numpy()
    return norms
