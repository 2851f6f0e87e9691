"""Rows of arrays as a torch data set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from expansive.datasets.sources import ArrayData


class TorchSet(Dataset[Any]):
    """Rows as (float32 tensor, int label) pairs, made by `expansive.datasets.to_torch`.

    Attributes
    ----------
    targets : ndarray of int64, shape [n]
        All labels.
    classes : list of str
        Names of the classes.
    mean, deviation : ndarray of float64, shape [channels]
        What the rows are normalised with.
    """

    def __init__(
        self,
        data: ArrayData,
        mean: NDArray[np.float64],
        deviation: NDArray[np.float64],
        padding: int | None = None,
        flip: bool = False,
    ) -> None:
        self.data, self.mean, self.deviation = data, mean, deviation
        self.padding, self.flip = padding, flip

    @property
    def targets(self) -> NDArray[np.int64]:
        """All labels, in order (torchvision's name for them)."""
        return self.data.y

    @property
    def classes(self) -> list[str]:
        """Names of the classes."""
        return self.data.classes

    def __len__(self) -> int:
        return len(self.data.y)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        return self.__getitems__([row])[0]

    def __getitems__(self, rows: Sequence[int]) -> list[tuple[Tensor, int]]:
        """Fetch a batch at once (torch's DataLoader asks for it where it is offered)."""
        # Pixels in float32; what float32 does not hold loses its mean before it is rounded.
        wide = np.result_type(self.data.x.dtype, np.float32)
        x = (self.data.x[rows].astype(wide) - self.mean.astype(wide)) / self.deviation.astype(wide)
        batch = torch.from_numpy(np.ascontiguousarray(np.moveaxis(x, -1, 1), dtype=np.float32))
        if self.padding is not None:
            batch = _augment(batch, self.padding, self.flip)
        return list(zip(batch, self.data.y[rows].tolist(), strict=True))


def _augment(batch: Tensor, padding: int, flip: bool) -> Tensor:
    n, _, height, width = batch.shape
    padded = torch.nn.functional.pad(batch, (padding,) * 4)
    top, left = torch.randint(2 * padding + 1, (2, n), device=batch.device).tolist()
    # One copy of whole rows per image: several times as fast as an index for every pixel.
    cut = torch.stack(
        [
            image[:, i : i + height, j : j + width]
            for image, i, j in zip(padded, top, left, strict=True)
        ]
    )
    if not flip:
        return cut
    is_flipped = torch.rand(n, 1, 1, 1, device=batch.device) < 0.5
    return torch.where(is_flipped, cut.flip(3), cut)
