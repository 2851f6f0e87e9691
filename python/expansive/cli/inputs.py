"""What the commands are given: read, or refused by the name of its option."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from expansive import datasets, files
from expansive.arguments import STRATEGIES
from expansive.datasets import ArrayData

TAKEN = {"eos": ("k", "enemies", "expansion"), "smote": ("k", "expansion"), "random": ()}
"""Options that each method takes."""

_JSON = """'{"cat": 500, "dog": 300}'"""


def load(
    path: Path,
    x_key: str,
    y_key: str,
    labels: Path | None,
    option: str,
    drop: Collection[str] | None,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Read rows and labels; `option` is what names the labels of a .npy."""
    files.check_labels_file(path, labels, option)
    with _naming_keys():
        return files.load_arrays(path, x_key, y_key, labels=labels, drop=drop)


def load_split(data: str, labels: Path | None, **options: Any) -> tuple[ArrayData, ArrayData]:
    """Load what `train` trains on and what it tests on; `options` as of `datasets.load`."""
    files.check_labels_file(data, labels, "--labels")
    with _naming_keys():
        train = datasets.load(data, "train", labels=labels, **options)
        return train, datasets.load(data, "test", labels=labels, **options)


@contextmanager
def _naming_keys() -> Iterator[None]:
    """Let an error about a missing array name the options that choose it."""
    try:
        yield
    except KeyError as error:
        raise KeyError(f"{error.args[0]} (--x-key and --y-key)") from error


def check_target(
    source: Path, labels: Path | None, target: Path, target_labels: Path | None
) -> None:
    """Make sure that OUT and its labels can be written, and replace no file that is read."""
    files.check_labels_file(target, target_labels, "--out-labels")
    files.check_output(target, labels=target_labels)
    for option, written in (("OUT", target), ("--out-labels", target_labels)):
        for read, path in (("IN", source), ("the file of --labels", labels)):
            if written is not None and files.same_file(written, path):
                raise ValueError(
                    f"{option} {str(written)!r} is {read}, which it would replace; name another "
                    "file"
                )


def taken(method: str, **options: Any) -> dict[str, Any]:
    """Keep the options that were given; refuse those that the method would ignore."""
    given = {name: value for name, value in options.items() if value is not None}
    for name in given:
        if name not in TAKEN[method]:
            takers = " or ".join(taker for taker, names in TAKEN.items() if name in names)
            raise ValueError(
                f"--method {method} takes no --{name}; leave it out, or choose --method {takers}"
            )
    return {name: getattr(value, "value", value) for name, value in given.items()}


def check_range(x: NDArray[Any], dtype: np.dtype[Any]) -> None:
    """Refuse to write rows as a type in which some would be infinite."""
    largest, end = max(abs(float(x.min())), abs(float(x.max()))), float(np.finfo(dtype).max)
    # NaN and infinity pass: the plan names the row that holds them.
    if end < largest < np.inf:
        raise ValueError(
            f"rows of up to {largest:g} are beyond --dtype {dtype}, which ends at {end:g}; "
            f"choose --dtype {np.min_scalar_type(largest)}"
        )


def check_made(rows: NDArray[Any]) -> None:
    """Refuse synthetic rows that came out infinite in the type written."""
    if not np.isfinite(rows).all():
        raise ValueError(
            f"synthetic rows are beyond {rows.dtype}, which ends at {np.finfo(rows.dtype).max:g}; "
            "choose a wider --dtype (float32, float64), or --expansion within 0 and 1"
        )


def strategy(text: str, y: NDArray[Any]) -> str | float | dict[Any, int]:
    """Read --sampling-strategy: a word, a share for two classes, or rows of classes."""
    if text in STRATEGIES:
        return text
    classes, counts = np.unique(y, return_counts=True)
    present = dict(zip(classes.tolist(), counts.tolist(), strict=True))
    if "=" in text or _is_json(text):
        return _counts(text, present)
    try:
        share = float(text)
    except ValueError:
        raise ValueError(
            f"unknown --sampling-strategy {text!r}; choose one of {', '.join(STRATEGIES)}, a share "
            f"such as 0.5, or rows of classes such as cat=500,dog=300 or {_JSON}"
        ) from None
    if len(present) != 2:
        raise ValueError(
            f"--sampling-strategy {text} is a share of the larger of two classes, but there are "
            f"{len(present)}; give rows of classes, such as {classes[0]}={max(counts)}"
        )
    if not min(counts) / max(counts) <= share <= 1:
        raise ValueError(
            f"--sampling-strategy {text} must be a share of the larger class, from the "
            f"{min(counts) / max(counts):.3g} that is there to 1"
        )
    return share


def _counts(text: str, present: Mapping[Any, int]) -> dict[Any, int]:
    """Read the rows of classes; labels of files may be numbers, those of the text are words."""
    named = {str(label): label for label in present}
    wanted = {}
    for pair, name, count in _pairs(text):
        if named.get(name) in wanted:
            raise ValueError(f"--sampling-strategy names {name!r} twice; name each class once")
        if name not in named:
            raise ValueError(
                f"--sampling-strategy {pair!r} names no class; they are {', '.join(named)}"
            )
        label = named[name]
        if not (count.isdecimal() and int(count) >= present[label]):
            raise ValueError(
                f"--sampling-strategy {pair!r} must be a number of rows of at least "
                f"{present[label]}, which class {name} has"
            )
        wanted[label] = int(count)
    return wanted


def _pairs(text: str) -> Iterator[tuple[str, str, str]]:
    """Part classes and their rows: each pair as it is shown, the class and the rows."""
    if not _is_json(text):
        for pair in text.split(","):
            name, _, count = pair.rpartition("=")
            yield pair, name, count
        return
    try:
        pairs = json.loads(text, object_pairs_hook=list)
    except json.JSONDecodeError as error:
        raise ValueError(
            f"--sampling-strategy {text!r} is no JSON ({error}); write it as {_JSON}"
        ) from None
    for name, count in pairs:
        yield f"{name}={count}", name, str(count)


def _is_json(text: str) -> bool:
    return text.startswith("{") and text.endswith("}")
