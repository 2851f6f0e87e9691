"""Image and feature data by name or path, imbalanced subsets of it, and sets to train on."""

from expansive.datasets.conversion import to_torch
from expansive.datasets.imbalance import load_indices, long_tail, save_indices, step
from expansive.datasets.loading import load
from expansive.datasets.sources import ArrayData

__all__ = [
    "ArrayData",
    "load",
    "load_indices",
    "long_tail",
    "save_indices",
    "step",
    "to_torch",
]
