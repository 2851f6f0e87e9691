"""Phase 3: the head alone on real and synthetic embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import Dataset

from expansive.train.data import Pairs
from expansive.train.embedding import Embeddings
from expansive.train.expand import Plan
from expansive.train.loop import Phase
from expansive.train.settings import Settings


class Expanded(Dataset[Any]):
    """Real embeddings, then the synthetic ones of a plan, which are made when asked for.

    Row i < n is real row i; row n + j is synthetic row j. A DataLoader takes a whole batch at
    once, so memory holds the real rows and one batch.
    """

    def __init__(self, real: Embeddings, plan: Plan) -> None:
        self.real, self.plan = real, plan
        synthetic = torch.as_tensor(plan.labels(0, plan.n_samples), dtype=torch.int64)
        self.labels = torch.cat([real.y, synthetic])

    def __len__(self) -> int:
        return len(self.labels)

    def __getitems__(self, numbers: Sequence[int]) -> tuple[Tensor, Tensor]:
        rows = torch.as_tensor(numbers)
        n_real = len(self.real.x)
        synthetic = rows >= n_real
        x = self.real.x.new_empty(len(rows), self.real.x.shape[1])
        x[~synthetic] = self.real.x[rows[~synthetic]]
        if synthetic.any():
            x[synthetic] = self.plan.generate_rows(self.real.x, (rows[synthetic] - n_real).numpy())
        return x, self.labels[rows]


def head_phase(
    head: nn.Module, real: Embeddings, plan: Plan, val: Pairs | None, settings: Settings
) -> Phase:
    """Describe phase 3: `head` on `real` and the rows of `plan`; `val` holds embeddings too."""
    rows = Expanded(real, plan)
    counts = np.bincount(rows.labels.numpy())
    loss = settings.loss if settings.head_loss is None else settings.head_loss
    return Phase("head", head, rows, val, counts, loss, settings.head_epochs, collate=_as_it_is)


def reinitialise(head: nn.Module) -> None:
    """Draw the weights of a head anew, by the rule of each of its layers."""
    for part in head.modules():
        reset = getattr(part, "reset_parameters", None)
        if callable(reset):
            reset()


def weight_norms(head: nn.Module, n_classes: int) -> NDArray[np.float64] | None:
    """Give the norm of each row of the head's weight, or None without a [n_classes, d] weight."""
    weight = getattr(head, "weight", None)
    if not isinstance(weight, Tensor) or weight.ndim != 2 or len(weight) != n_classes:
        return None
    norms: NDArray[np.float64] = weight.detach().double().norm(dim=1).cpu().numpy()
    return norms


def _as_it_is(batch: Any) -> Any:
    return batch
