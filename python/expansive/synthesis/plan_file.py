"""Plans as .npz files, without pickle."""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from expansive import arguments, arrays
from expansive.backends.registry import Partners
from expansive.files import PathLike, atomic_write
from expansive.synthesis.partners import check

FORMAT = 1

_TABLES = ("sample_start", "base_start", "bases", "partner_start", "partners")
_DAMAGE = (
    AttributeError,
    EOFError,
    IndexError,
    KeyError,
    RuntimeError,
    TypeError,
    ValueError,
    zipfile.BadZipFile,
    zlib.error,
)


@dataclass(frozen=True)
class Contents:
    """All that a plan is, and all that its file holds.

    Attributes
    ----------
    partners : Partners
        What rows are drawn from.
    classes : ndarray
        Classes that get synthetic rows, in the order of their row ranges.
    shape : (int, int)
        Shape of the data.
    dtype : str
        Its element type, one of `arrays.DTYPES`.
    fingerprint : int
        Its 64-bit hash.
    """

    partners: Partners
    classes: NDArray[Any]
    shape: tuple[int, int]
    dtype: str
    fingerprint: int


def write(path: PathLike, contents: Contents) -> None:
    """Write a plan, whole or not at all; labels that only pickle could hold are a TypeError."""
    classes, partners = contents.classes, contents.partners
    if classes.dtype.hasobject:
        raise TypeError(
            f"labels of type {type(classes[0]).__name__} cannot be saved without pickle; make the "
            "plan from labels that are numbers or strings"
        )
    settings = {
        "format": FORMAT,
        "seed": partners.seed,
        "low": partners.low,
        "high": partners.high,
        "shape": list(contents.shape),
        "dtype": contents.dtype,
        "fingerprint": contents.fingerprint,
    }
    tables = {name: getattr(partners, name) for name in _TABLES}
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.savez(file, settings=np.array(json.dumps(settings)), classes=classes, **tables)


def read(path: PathLike) -> Contents:
    """Read what `write` wrote; a ValueError when the file is no plan, or is damaged."""
    try:
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            stored = dict(file)
        return _contents(json.loads(str(stored["settings"])), stored)
    except _DAMAGE as error:
        raise ValueError(
            f"{os.fspath(path)!r} is no readable synthesis plan ({error}); make it again with "
            "SynthesisPlan.eos(...).save(path)"
        ) from error


def _contents(settings: dict[str, Any], stored: dict[str, NDArray[Any]]) -> Contents:
    if settings["format"] != FORMAT:
        raise ValueError(f"format {settings['format']}, this version reads {FORMAT}")
    low, high = arguments.as_expansion((settings["low"], settings["high"]))
    partners = Partners(
        **{name: stored[name] for name in _TABLES},
        seed=arguments.as_seed(settings["seed"]),
        low=low,
        high=high,
    )
    n_rows, n_features = (arguments.as_count(length, "shape") for length in settings["shape"])
    check(partners, len(stored["classes"]), n_rows)
    dtype = arguments.as_choice(settings["dtype"], arrays.DTYPES, "dtype")
    return Contents(
        partners, stored["classes"], (n_rows, n_features), dtype, settings["fingerprint"]
    )
