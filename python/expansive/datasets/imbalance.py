"""Imbalanced subsets of balanced data: the long tail and the step, as indices one can keep."""

from __future__ import annotations

import hashlib
import json
import math
import zipfile
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from expansive.files import PathLike, atomic_write


def long_tail(
    y: ArrayLike, imbalance: float = 100.0, *, n_max: int | None = None, seed: int = 0
) -> NDArray[np.int64]:
    """Choose rows so that the class sizes fall off exponentially.

    Class c of C, sorted, keeps ``int(n_max * (1 / imbalance) ** (c / (C - 1)))`` rows, drawn
    without replacement (Cao et al. 2019, arXiv 1906.07413, and their published code).

    Parameters
    ----------
    y : array-like, shape [n]
        Labels, at least two classes.
    imbalance : float, default 100
        Rows of the largest class for each row of the smallest, at least 1.
    n_max : int, optional
        Rows of the first class; default the largest number that every class has rows enough for.
    seed : int, default 0
        The same y, sizes and seed give the same rows.

    Returns
    -------
    ndarray of int64
        Row numbers, ascending.

    Raises
    ------
    ValueError
        For an imbalance below 1, fewer than two classes, or sizes that a class cannot give.
    """
    _check_imbalance(imbalance)
    labels, present = _labels(y)
    share = (1.0 / imbalance) ** (np.arange(len(present)) / (len(present) - 1.0))
    return _choose(labels, present, share, n_max, seed)


def step(
    y: ArrayLike,
    imbalance: float = 100.0,
    *,
    minority: float = 0.5,
    n_max: int | None = None,
    seed: int = 0,
) -> NDArray[np.int64]:
    """Choose rows so that the last classes are all equally small (Buda et al. 2018, 1710.05381).

    Parameters
    ----------
    y, imbalance, n_max, seed
        As in `long_tail`.
    minority : float, default 0.5
        Share of the classes, from the end, that keep ``int(n_max / imbalance)`` rows; the others
        keep `n_max`.

    Returns
    -------
    ndarray of int64
        Row numbers, ascending.

    Raises
    ------
    ValueError
        As in `long_tail`, and for a `minority` that leaves no large or no small class.
    """
    _check_imbalance(imbalance)
    labels, present = _labels(y)
    n_small = round(minority * len(present))
    if not 0 < n_small < len(present):
        raise ValueError(
            f"minority={minority} makes {n_small} of {len(present)} classes small; give a share "
            "that leaves at least one small and one large"
        )
    share = np.ones(len(present))
    share[-n_small:] = 1.0 / imbalance
    return _choose(labels, present, share, n_max, seed)


def save_indices(path: PathLike, indices: NDArray[np.int64], y: ArrayLike, **settings: Any) -> None:
    """Keep a subset in a small ``.npz`` file, with what is needed to use it safely again.

    Parameters
    ----------
    path : path-like
        File to write, whole or not at all.
    indices : ndarray of int64
        Row numbers into `y`.
    y : array-like, shape [n]
        All labels of the data; their fingerprint is kept.
    **settings
        How the rows were chosen, ready for JSON.
    """
    text = json.dumps(settings, sort_keys=True)
    with atomic_write(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(
            stream,
            indices=np.asarray(indices, np.int64),
            fingerprint=_fingerprint(y),
            settings=text,
        )


def load_indices(path: PathLike, y: ArrayLike) -> tuple[NDArray[np.int64], dict[str, Any]]:
    """Read a subset that `save_indices` wrote.

    Parameters
    ----------
    path : path-like
    y : array-like, shape [n]
        All labels of the data, the same as when the subset was saved.

    Returns
    -------
    indices : ndarray of int64
        Row numbers into `y`.
    settings : dict
        As given to `save_indices`.

    Raises
    ------
    ValueError
        When the file is no such subset, or was made for other labels.
    """
    try:
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as archive:
            indices, kept = archive["indices"], str(archive["fingerprint"])
            settings = json.loads(str(archive["settings"]))
    except (KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f"{str(path)!r} holds no subset written by save_indices") from error
    if kept != _fingerprint(y):
        raise ValueError(
            f"{str(path)!r} was made for other labels than this y; load the data it was made for, "
            "or choose a new subset"
        )
    return indices, settings


def _fingerprint(y: ArrayLike) -> str:
    _, codes = np.unique(np.asarray(y), return_inverse=True)
    return hashlib.sha256(codes.astype("<i8").tobytes()).hexdigest()


def _check_imbalance(imbalance: float) -> None:
    if not (math.isfinite(imbalance) and imbalance >= 1):
        raise ValueError(
            f"imbalance={imbalance} must be at least 1: the largest class's rows for each row of "
            "the smallest, so 100 for 100:1"
        )


def _labels(y: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    labels = np.asarray(y)
    present = np.unique(labels)
    if labels.ndim != 1 or len(present) < 2:
        raise ValueError(
            f"y has the shape {labels.shape} and {len(present)} classes; it must be [n] labels "
            "of at least two classes"
        )
    return labels, present


def _choose(
    labels: NDArray[Any],
    present: NDArray[Any],
    share: NDArray[np.float64],
    n_max: int | None,
    seed: int,
) -> NDArray[np.int64]:
    rows = [np.flatnonzero(labels == label) for label in present]
    have = np.array([len(own) for own in rows])
    if n_max is None:
        n_max = int(np.min(have / share))
        if n_max * share.min() < 1:
            raise ValueError(
                f"imbalance={1 / share.min():g} leaves no row of class {present[share.argmin()]}: "
                f"the largest class has {n_max} then; give {n_max} or less"
            )
    keep = (n_max * share).astype(np.int64)
    for label, wanted, existing in zip(present.tolist(), keep, have, strict=True):
        if not 1 <= wanted <= existing:
            raise ValueError(
                f"n_max={n_max} asks for {wanted} of the {existing} rows of class {label!r}; "
                + ("choose a smaller one" if wanted else "choose a larger one or less imbalance")
            )
    rng = np.random.default_rng(seed)
    chosen = [rng.permutation(own)[:n] for own, n in zip(rows, keep, strict=True)]
    return np.sort(np.concatenate(chosen)).astype(np.int64)
