"""Phase 2: one plan of synthetic rows for the embeddings of the training rows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from expansive.synthesis import SynthesisPlan

if TYPE_CHECKING:
    from expansive.train.settings import Settings

DEFAULT_K = {"eos": 100, "smote": 5, "random": 1}
"""Neighbours to draw from where the settings name none.

Of 10, 50, 100 and 300 enemies the larger numbers gave more accuracy and narrower gaps on embeddings
(benchmarks/RESULTS.md); 5 is SMOTE's own (Chawla et al., JAIR 2002); "random" draws from none.
"""

SLICE_ROWS = 1 << 16
"""Synthetic rows that are made at a time where all of them are looked at."""


@runtime_checkable
class Plan(Protocol):
    """What the phases ask of a plan; `SynthesisPlan` is one."""

    @property
    def n_samples(self) -> int:
        """Number of synthetic rows."""

    def labels(self, start: int, stop: int) -> NDArray[Any]:
        """Labels of the rows [start, stop)."""

    def generate_rows(self, x: Any, rows: Any) -> Any:
        """Make the rows of the given numbers from the embeddings `x`, on its device."""


def make_plan(x: Tensor, y: Tensor, settings: Settings) -> Plan:
    """Plan the synthetic rows by the method of the settings.

    Parameters
    ----------
    x : Tensor, shape [n, d]
        Embeddings of the training rows; the plan is made on their device, in their dtype.
    y : Tensor of int64, shape [n]
        Their labels, copied to the host once.
    settings : Settings
        Its `method` is a name in `synthesis.METHODS`, or a callable (x, y) -> plan.

    Returns
    -------
    Plan
        Deterministic for given embeddings and seed, as far as a callable is.

    Raises
    ------
    TypeError
        When a callable gives something else than a plan.
    """
    if callable(settings.method):
        plan = settings.method(x, y)
        if not isinstance(plan, Plan):
            raise TypeError(
                "method must give a SynthesisPlan, or an object that has n_samples, labels(start, "
                f"stop) and generate_rows(x, rows) as it does, not {type(plan).__name__}"
            )
        return plan
    return SynthesisPlan.by_method(
        settings.method,
        x,
        y,
        settings.sampling_strategy,
        DEFAULT_K[settings.method] if settings.k is None else settings.k,
        settings.enemies,
        settings.expansion,
        settings.seed,
    )


def slices(plan: Plan, x: Tensor) -> Iterator[tuple[Tensor, NDArray[Any]]]:
    """Make all synthetic rows, `SLICE_ROWS` at a time, with their labels."""
    for start in range(0, plan.n_samples, SLICE_ROWS):
        stop = min(start + SLICE_ROWS, plan.n_samples)
        yield plan.generate_rows(x, np.arange(start, stop)), plan.labels(start, stop)
