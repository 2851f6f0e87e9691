"""Rows to train on: their labels, a stratified split, and batches in a seeded order."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sized
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import (
    DataLoader,
    Dataset,
    IterableDataset,
    Sampler,
    Subset,
    default_collate,
)

Pairs = Dataset[Any]
"""(input, int label) pairs; an input is a tensor, or a dict or tuple of tensors."""

Collate = Callable[[list[Any]], Any]
"""(list of pairs) -> (inputs, labels), a batch of them."""

_NO_BATCH = object()

COMPARED_ROWS = 12
"""Rows, and classes with a row each, whose labels are compared with `targets`."""


class Batches(Dataset[Any]):
    """Rows that come as whole batches, by `__getitems__`, on a device of their own."""

    device: torch.device


class Unlabelled(Subset[Any]):
    """All rows of a data set whose labels do not matter, if it has any: each gets 0."""

    def __init__(self, rows: Pairs) -> None:
        _check_rows(rows, "rows")
        super().__init__(rows, range(len(cast(Sized, rows))))

    def __getitem__(self, row: int) -> tuple[Any, int]:
        return self.__getitems__([row])[0]

    def __getitems__(self, rows: list[int]) -> list[tuple[Any, int]]:
        return [(_input(row), 0) for row in super().__getitems__(rows)]


class Split(NamedTuple):
    """The rows of a training run.

    Attributes
    ----------
    train : Dataset
        Rows to train on, with the user's augmentation.
    plain : Dataset
        The same rows in the same order without it.
    val : Dataset or None
        Rows to select a model on.
    counts : ndarray of int64, shape [n_classes]
        Rows of `train` per class.
    classes : list of str
        Names of the classes.
    label_hashes : dict
        Tells other labels, or another order of them, from those that were given as training and
        as validation set (None without one).
    """

    train: Pairs
    plain: Pairs
    val: Pairs | None
    counts: NDArray[np.int64]
    classes: list[str]
    label_hashes: dict[str, str | None]


class Shuffle(Sampler[int]):
    """Every row once per epoch, in an order that depends on (seed, epoch) alone."""

    def __init__(self, n_rows: int, seed: tuple[int, ...]) -> None:
        self.n_rows, self.seed, self.epoch = n_rows, seed, 0

    def __len__(self) -> int:
        return self.n_rows

    def __iter__(self) -> Iterator[int]:
        generator = np.random.default_rng((*self.seed, self.epoch))
        return iter(generator.permutation(self.n_rows).tolist())


def split(
    train_set: Pairs,
    val_set: Pairs | None,
    embed_set: Pairs | None,
    val_fraction: float,
    seed: int,
    name: str = "train_set",
) -> Split:
    """Check the data sets and part the training rows from the validation rows.

    Parameters
    ----------
    train_set : Dataset
        (input tensor, int label) pairs, labels 0 ... n_classes - 1.
    val_set : Dataset or None
        Rows to select a model on; None takes them out of `train_set`, stratified.
    embed_set : Dataset or None
        `train_set` without augmentation, row for row; None: `train_set` has none.
    val_fraction : float
        Share of each class to take; at least one row of a class with two or more, none of a class
        with one.
    seed : int
        Decides which rows are taken, together with the labels.
    name : str
        What error messages call `train_set`.

    Raises
    ------
    TypeError
        For a data set without a length, or items that are no pairs.
    ValueError
        For an empty data set, labels that are not 0 ... n_classes - 1 with a row each, or an
        `embed_set` that does not match.
    """
    labels = labels_of(train_set, name)
    counts = _class_counts(labels, name)
    plain = train_set if embed_set is None else embed_set
    if embed_set is not None and not np.array_equal(labels_of(embed_set, "embed_set"), labels):
        raise ValueError(
            f"embed_set must hold the rows of {name} in the same order without augmentation, "
            "and its labels differ"
        )
    classes = _class_names(train_set, len(counts))
    hashes: dict[str, str | None] = {"train_labels": _hash(labels), "val_labels": None}
    if val_set is not None:
        val_labels = labels_of(val_set, "val_set")
        _check_val_labels(val_labels, len(counts), name)
        hashes["val_labels"] = _hash(val_labels)
        return Split(train_set, plain, val_set, counts, classes, hashes)
    if val_fraction == 0:
        return Split(train_set, plain, None, counts, classes, hashes)
    taken = _stratified(labels, val_fraction, seed)
    val_rows, train_rows = np.flatnonzero(taken).tolist(), np.flatnonzero(~taken).tolist()
    kept = np.bincount(labels[~taken], minlength=len(counts))
    val = Subset(plain, val_rows) if val_rows else None
    shown, plain = Subset(train_set, train_rows), Subset(plain, train_rows)
    return Split(shown, plain, val, kept, classes, hashes)


def labels_of(rows: Pairs, name: str) -> NDArray[np.int64]:
    """Read the labels of a data set: its `targets` if its rows give the same, else in one pass.

    Parameters
    ----------
    rows : Dataset
        (input, int label) pairs. `targets` is torchvision's convention: all labels, in order; a
        `Subset` has those of its data set. Some rows are loaded to see whether they give the same
        labels: with a `target_transform` they do not.
    name : str
        What error messages call it.

    Returns
    -------
    ndarray of int64, shape [n]

    Raises
    ------
    TypeError
        For rows that are no data set with a length, or items that are no pairs.
    ValueError
        For an empty data set, or a label that is no whole number.
    """
    _check_rows(rows, name)
    n_rows = len(cast(Sized, rows))

    def label_of(row: int) -> int:
        return _as_label(_pair(rows[row], name)[1], name)

    # Augmentation draws random numbers: reading labels must not change those of the caller.
    with keeping_generators():
        held = _targets(rows, name)
        if held is None or not all(held[row] == label_of(row) for row in _some_rows(held)):
            held = [label_of(row) for row in range(n_rows)]
    return np.asarray(held, dtype=np.int64)


@contextmanager
def keeping_generators(device: torch.device | None = None) -> Iterator[None]:
    """Put Python's, NumPy's and torch's generators back as they were when the block ends.

    Torch's are those of the CPU and, where it is a GPU, of `device`.
    """
    python, array = random.getstate(), np.random.get_state()  # noqa: NPY002
    devices = [device] if device is not None and device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(array)  # noqa: NPY002


def loader(
    rows: Pairs,
    batch_size: int,
    num_workers: int = 0,
    shuffle: Shuffle | None = None,
    collate_fn: Collate | None = None,
) -> DataLoader[Any]:
    """Give batches of `rows`: in order, or shuffled without a last batch of a single row.

    `collate_fn` makes a batch of a list of pairs, unless the rows come as batches.

    A single row has no batch statistics, and BatchNorm refuses to train on it; since each epoch
    has another order, no row is left out for good.
    """
    n_rows = len(cast(Sized, rows))
    whole = isinstance(rows, Batches)
    on_host = not whole or cast(Batches, rows).device.type == "cpu"
    lonely = shuffle is not None and n_rows > batch_size > 1 and n_rows % batch_size == 1
    return DataLoader(
        rows,
        batch_size,
        sampler=shuffle,
        drop_last=lonely,
        num_workers=num_workers,
        collate_fn=_as_it_is if whole else collate_fn,
        # In order, nothing is random: the global generator is left alone.
        generator=torch.Generator() if shuffle is None else None,
        pin_memory=on_host and torch.cuda.is_available(),
    )


def _on_host() -> AbstractContextManager[Any]:
    """Make new tensors on the host in this block; free of cost where torch does so anyway."""
    return nullcontext() if torch.get_default_device().type == "cpu" else torch.device("cpu")


def batches_of(made: Iterable[Any]) -> Iterator[Any]:
    """Give a loader's batches, whatever device `torch.set_default_device` has named.

    Loaders of torch draw a number on that device, from a generator that may be the CPU's, and rows
    come from the host. Between batches the caller's default holds.
    """
    batches = None
    while True:
        with _on_host():
            batches = iter(made) if batches is None else batches
            batch = next(batches, _NO_BATCH)
        if batch is _NO_BATCH:
            return
        yield batch


def one_batch(pairs: list[Any], collate_fn: Collate | None) -> tuple[Any, Tensor]:
    """Make one batch of pairs, as `loader` does.

    Raises
    ------
    TypeError
        When `collate_fn` does not give (inputs, labels).
    """
    with _on_host():
        batch = (collate_fn or default_collate)(pairs)
    labels = batch[1] if isinstance(batch, tuple | list) and len(batch) == 2 else None
    if isinstance(labels, Tensor) and labels.shape == (len(pairs),):
        return batch[0], labels
    given = type(batch).__name__ if labels is None else f"labels {_kind(labels)}"
    raise TypeError(
        f"collate_fn must give (inputs, labels), labels a tensor with a number for each of the "
        f"{len(pairs)} pairs that it is given, not {given}"
    )


def _kind(value: Any) -> str:
    return f"of shape {list(value.shape)}" if isinstance(value, Tensor) else type(value).__name__


def _as_it_is(batch: Any) -> Any:
    return batch


def _check_rows(rows: Any, name: str) -> None:
    if isinstance(rows, DataLoader):
        raise TypeError(
            f"{name} must be a torch Dataset, not a DataLoader: pass its data set, `loader.dataset`"
        )
    if isinstance(rows, Mapping) or hasattr(rows, "iloc"):  # they have keys where rows are numbered
        raise TypeError(
            f"{name} must be a torch Dataset, not {type(rows).__name__}: make its values tensors, "
            "and give TensorDataset(inputs, labels)"
        )
    if isinstance(rows, IterableDataset) or not isinstance(rows, Sized):
        raise TypeError(
            f"{name} must be a torch Dataset with a length, not {type(rows).__name__}: "
            "streams (IterableDataset) have no rows to return to"
        )
    if len(rows) == 0:
        raise ValueError(f"{name} is empty: give it rows")


def _pair(row: Any, name: str) -> Any:
    if isinstance(row, tuple | list) and len(row) == 2:
        return row
    items = f" of {len(row)}" if isinstance(row, tuple | list) else ""
    raise TypeError(
        f"{name} must give (input tensor, int label) pairs, not {type(row).__name__}{items}: "
        "wrap it in a Dataset whose __getitem__ returns the two"
    )


def _input(row: Any) -> Any:
    """Take the input out of a row whose label does not matter, or is not there."""
    if isinstance(row, tuple | list) and len(row) in (1, 2):
        return row[0]
    if isinstance(row, Tensor | np.ndarray | Mapping):
        return row
    items = f" of {len(row)}" if isinstance(row, tuple | list) else ""
    raise TypeError(
        "rows must give inputs, each a tensor or a dict of tensors, alone or in pairs with a "
        f"label, not {type(row).__name__}{items}: wrap it in a Dataset whose __getitem__ returns "
        "the input"
    )


def _as_label(label: Any, name: str) -> int:
    number = _whole_number(label)
    if number is None:
        raise ValueError(
            f"labels of {name} must be whole numbers 0 ... n_classes - 1, not {label!r}: encode "
            "them, for example as the inverse that np.unique(labels, return_inverse=True) gives"
        )
    return number


def _whole_number(label: Any) -> int | None:
    """Give a single whole number, of whatever type, as an int; None for anything else."""
    try:
        whole = getattr(label, "ndim", 0) == 0 and int(label) == label
    except (TypeError, ValueError, OverflowError):
        return None
    return int(label) if whole else None


def _targets(rows: Pairs, name: str) -> list[int] | None:
    """Give the labels that a data set holds beside its rows, None where it holds no numbers."""
    targets = getattr(rows, "targets", None)
    if targets is None and isinstance(rows, Subset):
        whole = _targets(rows.dataset, name)
        return None if whole is None else [whole[row] for row in rows.indices]
    if targets is None:
        return None
    n_rows = len(cast(Sized, rows))
    if len(targets) != n_rows:
        raise ValueError(f"{name} has {n_rows} rows and {len(targets)} targets: give one each")
    listed = targets.tolist() if hasattr(targets, "tolist") else targets
    found = [_whole_number(label) for label in listed]
    numbers = [number for number in found if number is not None]
    return numbers if len(numbers) == n_rows else None


def _some_rows(labels: list[int]) -> list[int]:
    """Choose rows that are spread evenly over all of them, and over the classes."""
    by_class = list({label: row for row, label in enumerate(labels)}.values())
    classes = by_class[:: -(-len(by_class) // COMPARED_ROWS)]
    spread = np.linspace(0, len(labels) - 1, COMPARED_ROWS).astype(np.int64).tolist()
    return sorted({*spread, *classes})


def _stratified(labels: NDArray[np.int64], fraction: float, seed: int) -> NDArray[np.bool_]:
    generator = np.random.default_rng([seed, 1])
    taken = np.zeros(len(labels), dtype=np.bool_)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        count = min(max(1, round(fraction * len(rows))), len(rows) - 1)
        taken[generator.permutation(rows)[:count]] = True
    return taken


def _hash(labels: NDArray[np.int64]) -> str:
    return f"sha256:{hashlib.sha256(labels.astype('<i8').tobytes()).hexdigest()[:16]}"


def _class_counts(labels: NDArray[np.int64], name: str) -> NDArray[np.int64]:
    if labels.min() < 0:
        raise ValueError(f"labels of {name} must be 0 ... n_classes - 1, not {labels.min()}")
    counts = np.bincount(labels)
    if len(counts) < 2:
        raise ValueError(f"{name} has one class only: give at least two")
    if not counts.all():
        raise ValueError(
            f"{name} has no row of class {int(np.argmin(counts))} although its largest label "
            f"is {len(counts) - 1}: number the classes 0 ... n_classes - 1 without holes"
        )
    return counts


def _check_val_labels(labels: NDArray[np.int64], n_classes: int, name: str) -> None:
    unknown = labels[(labels < 0) | (labels >= n_classes)]
    if len(unknown):
        raise ValueError(f"val_set has the label {unknown[0]}, which {name} does not have")


def _class_names(rows: Pairs, n_classes: int) -> list[str]:
    names = getattr(rows, "classes", None)
    if names is None and isinstance(rows, Subset):
        return _class_names(rows.dataset, n_classes)
    if names is None or len(names) != n_classes:
        return [str(label) for label in range(n_classes)]
    return [str(name) for name in names]
