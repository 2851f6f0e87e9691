"""Arrays as a torch data set, normalised."""

from __future__ import annotations

from collections.abc import Callable
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from expansive.datasets.sources import ArrayData
from expansive.extras import import_extra

if TYPE_CHECKING:
    from expansive.datasets.torch_set import TorchSet


def to_torch(
    data: ArrayData,
    like: TorchSet | None = None,
    *,
    augment: bool = False,
    padding: int = 4,
    flip: bool = True,
) -> TorchSet:
    """Make a torch data set of (float32 tensor, int label) pairs.

    Parameters
    ----------
    data : ArrayData
        Images become tensors [channels, height, width], feature vectors [d].
    like : TorchSet, optional
        Normalise with the mean and standard deviation of that set: for validation and test rows
        that of the training rows. Default: those of `data` itself, per channel or feature.
    augment : bool, default False
        Cut each image at a random place out of itself with a border of `padding` zero pixels
        (the mean colour) and, with `flip`, mirror half of them left to right; drawn from torch's
        global generator.

    Returns
    -------
    TorchSet

    Raises
    ------
    ValueError
        When `augment` is asked of feature vectors, or `like` has other channels or classes.
    ImportError
        When torch is missing.
    """
    import_extra("torch", "train")
    from expansive.datasets.torch_set import TorchSet

    if augment and data.x.ndim != 4:
        raise ValueError(f"augment=True needs images [n, h, w, c], not rows of {data.x.shape}")
    mean, deviation = _statistics(data.x) if like is None else (like.mean, like.deviation)
    if mean.shape != data.x.shape[-1:]:
        raise ValueError(
            f"like is normalised over {len(mean)} channels, the data has {data.x.shape[-1]}"
        )
    for number, (own, other) in enumerate(zip_longest(data.classes, (like or data).classes)):
        if own != other:
            raise ValueError(
                f"class {number} is {own!r} in the data but {other!r} in like; give both the same "
                "classes, so that their numbers mean the same"
            )
    return TorchSet(data, mean, deviation, padding if augment else None, flip)


def _statistics(x: NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation per channel, summed over slices so that no float copy of x is."""
    count = x.size // x.shape[-1]
    axes = tuple(range(x.ndim - 1))

    def average(of: Callable[[NDArray[np.float64]], NDArray[np.float64]]) -> NDArray[np.float64]:
        total = np.zeros(x.shape[-1])
        for start in range(0, len(x), 4096):
            total += of(x[start : start + 4096].astype(np.float64)).sum(axes)
        total /= count
        return total

    mean = average(lambda block: block)
    deviation = np.sqrt(average(lambda block: (block - mean) ** 2))
    # A constant channel carries nothing: it becomes 0, not a division by 0.
    deviation[deviation == 0] = 1.0
    return mean, deviation
