"""Expansive over-sampling for imbalanced embeddings.

Certified-exact nearest enemies, a synthetic set that is a pure function of (data, plan, seed), and
a three-phase trainer for any ``nn.Module`` (Dablain et al., arXiv 2207.06080).

Importing this needs NumPy alone; torch, scikit-learn and imbalanced-learn are imported where used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from expansive import metrics
from expansive.neighbors import Index, nearest_enemies, neighbors
from expansive.synthesis import Recipe, SynthesisPlan

if TYPE_CHECKING:
    from expansive import report, torch_ops
    from expansive.exact_neighbors import ExactNeighbors
    from expansive.sampler import EOS
    from expansive.train import ThreePhaseTrainer, rebalance_head

__version__ = "0.1.0"

__all__ = [
    "EOS",
    "ExactNeighbors",
    "Index",
    "Recipe",
    "SynthesisPlan",
    "ThreePhaseTrainer",
    "metrics",
    "nearest_enemies",
    "neighbors",
    "rebalance_head",
    "report",
    "torch_ops",
]

_LAZY = {
    "EOS": "expansive.sampler",
    "ExactNeighbors": "expansive.exact_neighbors",
    "ThreePhaseTrainer": "expansive.train",
    "rebalance_head": "expansive.train",
}


def __dir__() -> list[str]:
    """Name what is imported late, too."""
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> Any:
    """Import what needs scikit-learn or torch when it is first asked for."""
    if name in ("report", "torch_ops"):
        return importlib.import_module(f"expansive.{name}")
    if name not in _LAZY:
        raise AttributeError(f"module 'expansive' has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)
