"""Image and feature data by name or path, and as sets to train on."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from expansive import sources
from expansive.extras import import_extra
from expansive.files import load_arrays
from expansive.formats import SUFFIXES, PathLike
from expansive.imbalance import load_indices, long_tail, save_indices, step
from expansive.sources import ArrayData, Split

if TYPE_CHECKING:
    from expansive.torch_set import TorchSet

__all__ = [
    "ArrayData",
    "load",
    "load_indices",
    "long_tail",
    "save_indices",
    "step",
    "to_torch",
]

SPLITS = ("train", "test", "all")


def load(
    name_or_path: PathLike,
    split: Split = "train",
    root: PathLike | None = None,
    *,
    x_key: str = "x",
    y_key: str = "y",
    labels: PathLike | None = None,
    image_size: int | None = None,
) -> ArrayData:
    """Load a data set by its name or from a path.

    Parameters
    ----------
    name_or_path : str or path-like
        ``"digits"`` (scikit-learn's 8x8 digits), ``"fashion-mnist"``, an array file (``.npz``,
        ``.npy``, ``.safetensors``, ``.parquet``), a folder of images with one folder per class, or
        a data set of the Hugging Face Hub as ``"owner/name"``, such as ``"uoft-cs/cifar10"``.
    split : {"train", "test", "all"}, default "train"
        Array files, digits, and image folders that are not split into folders ``train`` and
        ``test`` are split in the same way every time: a fifth of each class is for testing.
    root : path-like, optional
        Folder of the four Fashion-MNIST ``.gz`` files; default the environment variable
        ``EXPANSIVE_DATA``, then the folder of the Debian package ``dataset-fashion-mnist``.
    x_key, y_key, labels
        For array files, as in `expansive.files.load_arrays`. Of a Hub data set `x_key` and
        `y_key` name the columns when they are not the defaults; else they are found by type.
    image_size : int, optional
        Resize every image of a folder or a Hub data set to this height and width.

    Returns
    -------
    ArrayData

    Raises
    ------
    ValueError
        For an unknown name (lists the choices) or split, or content that does not fit.
    FileNotFoundError
        When the files are missing.
    ConnectionError
        When the Hub cannot be reached.
    ImportError
        When a library is missing; names the pip command.
    """
    if split not in SPLITS:
        raise ValueError(f"split={split!r} is unknown; choose one of {', '.join(SPLITS)}")
    name, path = os.fspath(name_or_path), Path(name_or_path)
    if name == "digits":
        return sources.part(sources.digits(), split)
    if name == "fashion-mnist":
        return sources.fashion_mnist(split, root)
    if path.is_dir():
        return sources.image_folder(path, split, image_size)
    if path.suffix.lower() in SUFFIXES:
        return sources.part(sources.encode(*load_arrays(path, x_key, y_key, labels=labels)), split)
    if name.count("/") == 1 and all(part.strip(".~") for part in name.split("/")):
        return sources.hub(name, split, x_key, y_key, image_size)
    raise ValueError(
        f"there is no data set or path {name!r}; give 'digits', 'fashion-mnist', an array file "
        f"({', '.join(SUFFIXES)}), a folder with one folder of images per class, or a data set of "
        "the Hugging Face Hub as 'owner/name'"
    )


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
        When `augment` is asked of feature vectors, or `like` has other channels.
    ImportError
        When torch is missing.
    """
    import_extra("torch", "train")
    from expansive.torch_set import TorchSet

    if augment and data.x.ndim != 4:
        raise ValueError(f"augment=True needs images [n, h, w, c], not rows of {data.x.shape}")
    mean, deviation = _statistics(data.x) if like is None else (like.mean, like.deviation)
    if mean.shape != data.x.shape[-1:]:
        raise ValueError(
            f"like is normalised over {len(mean)} channels, the data has {data.x.shape[-1]}"
        )
    return TorchSet(data, mean, deviation, padding if augment else None, flip)


def _statistics(x: NDArray[Any]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
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
    return mean.astype(np.float32), deviation.astype(np.float32)
