"""Phase 2: one plan of synthetic rows for the embeddings of the training rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from expansive.synthesis import SynthesisPlan

if TYPE_CHECKING:
    from torch import Tensor

    from expansive.train.embedding import Embeddings
    from expansive.train.settings import Settings


class Plan(Protocol):
    """What the phases ask of a plan; `SynthesisPlan` is one."""

    @property
    def n_samples(self) -> int:
        """Number of synthetic rows."""

    def labels(self, start: int, stop: int) -> NDArray[Any]:
        """Labels of the rows [start, stop)."""

    def generate(self, x: Any, start: int, stop: int) -> Any:
        """Make the rows [start, stop) from the embeddings `x`."""

    def generate_rows(self, x: Any, rows: NDArray[np.int64]) -> Any:
        """Make the given rows from the embeddings `x`."""
