"""Data sets by name or path."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, get_args

from numpy.typing import NDArray

from expansive.arguments import as_choice
from expansive.datasets import sources
from expansive.datasets.sources import ArrayData, SplitName
from expansive.files import KNOWN_FILES, SUFFIXES, PathLike, check_labels_file, load_arrays

CIFAR10 = "uoft-cs/cifar10"
JPEG_PREFIX = "cifar10-jpeg:"


def load(
    name_or_path: PathLike,
    split: SplitName = "train",
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
        a data set of the Hugging Face Hub as ``"owner/name"``; ``"cifar10"`` is short for
        ``"uoft-cs/cifar10"``, and ``"cifar10-jpeg:PATH"`` takes it as JPEG files from an ``.npz``
        (see `sources.cifar10_jpeg`). Images of an array file are [n, height, width] or
        [n, height, width, channels]; of 16-bit image files the upper 8 bits are kept.
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
        For an unknown name (lists the choices) or split, `labels` of what is no ``.npy``, or
        content that does not fit.
    FileNotFoundError
        When the files are missing.
    ConnectionError
        When the Hub cannot be reached.
    ImportError
        When a library is missing; names the pip command.
    """
    as_choice(split, get_args(SplitName), "split")
    check_labels_file(name_or_path, labels)
    name, path = os.fspath(name_or_path), Path(name_or_path)
    if name == "digits":
        return sources.part(sources.digits(), split)
    if name == "fashion-mnist":
        return sources.fashion_mnist(split, root)
    if name == "cifar10":
        return sources.hub(CIFAR10, split, x_key, y_key, image_size)
    if name.startswith(JPEG_PREFIX):
        return sources.cifar10_jpeg(Path(name.removeprefix(JPEG_PREFIX)), split)
    if path.is_dir():
        return sources.image_folder(path, split, image_size)
    if path.suffix.lower() in SUFFIXES:
        x, y = load_arrays(path, x_key, y_key, labels=labels)
        _require_channels_last(x, name)
        return sources.part(sources.encode(x, y), split)
    if path.exists():
        raise ValueError(
            f"{name!r} is a file of no known kind; known are {KNOWN_FILES}, and folders with one "
            "folder of images per class"
        )
    if name.count("/") == 1 and all(part.strip(".~") for part in name.split("/")):
        return sources.hub(name, split, x_key, y_key, image_size)
    raise ValueError(
        f"there is no data set or path {name!r}; give 'digits', 'fashion-mnist', an array file "
        f"({', '.join(SUFFIXES)}), a folder with one folder of images per class, or a data set of "
        "the Hugging Face Hub as 'owner/name'"
    )


def _require_channels_last(x: NDArray[Any], name: str) -> None:
    # No image is 1 or 3 pixels high and has more than four channels: it is one of torch's order.
    if x.ndim == 4 and x.shape[1] in (1, 3) and min(x.shape[2:]) > 4:
        raise ValueError(
            f"{name!r} holds images [n, channels, height, width] of shape {x.shape}; they must be "
            "[n, height, width, channels]: save x.transpose(0, 2, 3, 1)"
        )
