"""Where data comes from: built-in sets, image folders, the Hugging Face Hub."""

from __future__ import annotations

import gzip
import io
import math
import os
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from expansive.arrays import as_labels
from expansive.extras import import_extra
from expansive.files import PathLike

SplitName: TypeAlias = Literal["train", "test", "all"]

FASHION_MNIST_FOLDER = "/usr/share/datasets/fashion-mnist"
FASHION_MNIST_CLASSES = [
    "T-shirt/top",
    "Trouser",
    "Pullover",
    "Dress",
    "Coat",
    "Sandal",
    "Shirt",
    "Sneaker",
    "Bag",
    "Ankle boot",
]
TEST_FRACTION = 0.2
IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff"}


@dataclass(frozen=True)
class ArrayData:
    """Rows with their classes.

    Attributes
    ----------
    x : ndarray of shape [n, d] or [n, height, width, channels]
        Feature vectors, or images (uint8 as stored, or floats).
    y : ndarray of int64, shape [n]
        Class numbers: positions in `classes`.
    classes : list of str
        Names of the classes.
    """

    x: NDArray[Any]
    y: NDArray[np.int64]
    classes: list[str]

    def take(self, rows: NDArray[np.integer[Any]]) -> ArrayData:
        """Keep the given rows, in the given order; the classes stay as they are."""
        return replace(self, x=self.x[rows], y=self.y[rows])


def fashion_mnist_folder(root: PathLike | None = None) -> Path:
    """Folder where the Fashion-MNIST files are looked for; it need not exist."""
    return Path(root or os.environ.get("EXPANSIVE_DATA") or FASHION_MNIST_FOLDER)


def has_fashion_mnist(root: PathLike | None = None) -> bool:
    """Whether the files of Fashion-MNIST are where they are looked for."""
    return _fashion_mnist_file(fashion_mnist_folder(root), "train", "images", 3).is_file()


def digits() -> ArrayData:
    """Give scikit-learn's 1797 handwritten digits: uint8 images [n, 8, 8, 1] of 0 to 16."""
    loaded = import_extra("sklearn.datasets", "train").load_digits()
    images = loaded.images.astype(np.uint8)[..., None]
    return ArrayData(images, loaded.target.astype(np.int64), [str(c) for c in range(10)])


def fashion_mnist(split: SplitName, root: PathLike | None) -> ArrayData:
    """Read Fashion-MNIST's own split from its IDX files (Xiao et al. 2017, arXiv 1708.07747)."""
    folder = fashion_mnist_folder(root)
    prefixes = {"train": ["train"], "test": ["t10k"], "all": ["train", "t10k"]}[split]
    x = [_read_idx(_fashion_mnist_file(folder, prefix, "images", 3), 3) for prefix in prefixes]
    y = [_read_idx(_fashion_mnist_file(folder, prefix, "labels", 1), 1) for prefix in prefixes]
    labels = np.concatenate(y).astype(np.int64)
    return ArrayData(np.concatenate(x)[..., None], labels, list(FASHION_MNIST_CLASSES))


def _fashion_mnist_file(folder: Path, prefix: str, what: str, rank: int) -> Path:
    return folder / f"{prefix}-{what}-idx{rank}-ubyte.gz"


def _read_idx(path: Path, rank: int) -> NDArray[np.uint8]:
    """Read an IDX file of bytes: 0, 0, 8, rank, then the big-endian lengths, then the data."""
    if not path.is_file():
        raise FileNotFoundError(
            f"there is no file {str(path)!r}; install the Debian package dataset-fashion-mnist, or "
            "name the folder of the four .gz files of github.com/zalandoresearch/fashion-mnist "
            "with root= or the environment variable EXPANSIVE_DATA"
        )
    try:
        content = gzip.decompress(path.read_bytes())
    except (OSError, EOFError) as error:
        raise ValueError(f"{str(path)!r} is broken ({error}); fetch it again") from error
    shape = tuple(np.frombuffer(content[4 : 4 + 4 * rank], ">u4").tolist())
    data = np.frombuffer(content, np.uint8)[4 + 4 * rank :]
    if content[:4] != bytes([0, 0, 8, rank]) or math.prod(shape) != len(data):
        raise ValueError(f"{str(path)!r} is no IDX file of {rank} axes of bytes; fetch it again")
    return data.reshape(shape)


def cifar10_jpeg(path: Path, split: SplitName) -> ArrayData:
    """Read images that are kept as JPEG files, end to end, in one ``.npz``.

    It holds ``classes``, the names, and for each of ``train`` and ``test``: ``*_jpeg``, uint8, the
    files; ``*_offsets``, int64 [n + 1], file i being ``jpeg[offsets[i]:offsets[i + 1]]``; and
    ``*_labels`` [n]. JPEG is lossy: what CIFAR-10 gives in this form is called CIFAR-10 (JPEG).
    """
    image_module = import_extra("PIL.Image", "train")
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {str(path)!r}: give cifar10-jpeg:PATH of a .npz")
    images: list[NDArray[np.uint8]] = []
    labels: list[NDArray[np.int64]] = []
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as archive:
            for name in ("train", "test") if split == "all" else (split,):
                files, offsets = archive[f"{name}_jpeg"], archive[f"{name}_offsets"]
                for start, stop in pairwise(offsets.tolist()):
                    with image_module.open(io.BytesIO(files[start:stop].tobytes())) as image:
                        images.append(_pixels(image, None, f"an image of {str(path)!r}"))
                labels.append(archive[f"{name}_labels"].astype(np.int64))
            classes = archive["classes"].tolist()
    except (KeyError, ValueError, zipfile.BadZipFile, image_module.UnidentifiedImageError) as error:
        raise ValueError(f"{str(path)!r} holds no CIFAR-10 as JPEG files: {error}") from error
    return ArrayData(_stack(images), np.concatenate(labels), [str(name) for name in classes])


def image_folder(folder: Path, split: SplitName, image_size: int | None) -> ArrayData:
    """Read a folder of class folders of images, or one of these in each of `train` and `test`."""
    if (folder / "train").is_dir() and (folder / "test").is_dir():
        wanted = ["train", "test"] if split == "all" else [split]
        return _read_images([folder / name for name in wanted], image_size)
    return part(_read_images([folder], image_size), split)


def _read_images(folders: Sequence[Path], image_size: int | None) -> ArrayData:
    image_module = import_extra("PIL.Image", "train")
    found = sorted(
        path
        for folder in folders
        for path in folder.glob("*/*")
        if path.suffix.lower() in IMAGE_SUFFIXES
    )
    if not found:
        raise ValueError(
            f"{str(folders[0])!r} holds no images; it needs one folder per class with images "
            f"({', '.join(sorted(IMAGE_SUFFIXES))}) in it"
        )
    images = []
    for path in found:
        try:
            with image_module.open(path) as image:
                images.append(_pixels(image, image_size, repr(str(path))))
        except image_module.UnidentifiedImageError as error:
            raise ValueError(f"{str(path)!r} is no readable image; remove or repair it") from error
    return encode(_stack(images), np.array([path.parent.name for path in found]))


def hub(name: str, split: SplitName, x_key: str, y_key: str, image_size: int | None) -> ArrayData:
    """Fetch a data set of images from the Hugging Face Hub, or from the library's cache."""
    datasets = import_extra("datasets", "train")
    wanted = "train+test" if split == "all" else split
    try:
        table = datasets.load_dataset(name, split=wanted)
    except datasets.exceptions.DatasetNotFoundError as error:
        raise ValueError(
            f"the Hugging Face Hub has no public data set {name!r}, and there is no such path; "
            "check the name (a private one needs `hf auth login`)"
        ) from error
    except (ConnectionError, TimeoutError) as error:
        raise ConnectionError(
            f"the Hugging Face Hub cannot be reached for {name!r}, and there is no such path; go "
            "online, or choose 'digits', 'fashion-mnist', an array file or a folder of images"
        ) from error
    x_column = _column(table, x_key, "x", datasets.Image)
    y_column = _column(table, y_key, "y", datasets.ClassLabel)
    of_hub = f"an image of {name!r}"
    images = _stack([_pixels(image, image_size, of_hub) for image in table[x_column]])
    label = table.features[y_column]
    if isinstance(label, datasets.ClassLabel):
        return ArrayData(images, np.asarray(table[y_column], np.int64), list(label.names))
    return encode(images, np.asarray(table[y_column]))


def _column(table: Any, key: str, default: str, feature: type) -> str:
    if key in table.features:
        return key
    fitting = [name for name, kind in table.features.items() if isinstance(kind, feature)]
    if key != default or not fitting:
        raise ValueError(
            f"no column {key!r}, and none of type {feature.__name__} to take for it, among "
            f"{', '.join(table.features)}; name the column with {default}_key"
        )
    return str(fitting[0])


def _pixels(image: Any, size: int | None, name: str) -> NDArray[np.uint8]:
    """Turn a Pillow image into bytes [height, width, channels]; grey stays one channel."""
    if image.mode in ("I", "F"):
        raise ValueError(
            f"{name} has pixels of 32 bits (mode {image.mode!r}), whose range is not known; scale "
            "them to 0 ... 255 and save it with 8 bits"
        )
    if image.mode.startswith("I;16"):
        # Pillow's own conversion to bytes makes everything above 255 white.
        upper = (np.asarray(image) >> 8).astype(np.uint8)
        image = import_extra("PIL.Image", "train").fromarray(upper)
    grey = image.mode in ("1", "L")
    image = image.convert("L" if grey else "RGB")
    if size is not None:
        image = image.resize((size, size))
    pixels = np.asarray(image, np.uint8)
    return pixels[..., None] if grey else pixels


def _stack(images: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    channels = max(image.shape[2] for image in images)
    sizes = {image.shape[:2] for image in images}
    if len(sizes) > 1:
        raise ValueError(
            f"the images have {len(sizes)} different sizes, such as {sorted(sizes)[:2]}; give "
            "image_size to resize them"
        )
    return np.stack([np.broadcast_to(image, (*image.shape[:2], channels)) for image in images])


def encode(x: NDArray[Any], labels: NDArray[Any]) -> ArrayData:
    """Encode labels by their sorted order; images without a channel axis get one."""
    classes, y = as_labels(labels, len(x))
    x = x[..., None] if x.ndim == 3 else x
    return ArrayData(x, y, [str(label) for label in classes.tolist()])


def part(data: ArrayData, split: SplitName) -> ArrayData:
    """Split each class the same way every time: every fifth of its shuffled rows is for testing."""
    if split == "all":
        return data
    test = np.zeros(len(data.y), bool)
    rng = np.random.default_rng(0)
    for label in range(len(data.classes)):
        rows = np.flatnonzero(data.y == label)
        if len(rows) < 2:
            raise ValueError(
                f"class {data.classes[label]!r} has {len(rows)} row, which cannot be split into "
                "training and test rows; add rows, or load split='all'"
            )
        test[rng.permutation(rows)[: max(1, round(TEST_FRACTION * len(rows)))]] = True
    return data.take(np.flatnonzero(test == (split == "test")))
