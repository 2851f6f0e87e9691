"""A trained network in one file, with what its images need: `expansive train` writes it."""

from __future__ import annotations

import json
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

from expansive.datasets import ArrayData
from expansive.datasets.torch_set import TorchSet
from expansive.files import PathLike, atomic_write
from expansive.train.accelerators import make_accelerator
from expansive.train.data import keeping_generators
from expansive.train.embedding import predict
from expansive.train.models.names import by_name

_KEY = "expansive"


class SavedNetwork(NamedTuple):
    """A network as it was saved, and what it was trained on.

    Attributes
    ----------
    model : Module
    head : str
        Dotted name of its head.
    classes : list of str
        Names of the classes, in the order of its logits.
    shape : tuple of int
        Of an image: (height, width, channels).
    mean, deviation : ndarray of float64, shape [channels]
        What images are normalised with.
    """

    model: nn.Module
    head: str
    classes: list[str]
    shape: tuple[int, ...]
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]

    def predict(self, images: Any, batch_size: int = 128) -> NDArray[np.str_]:
        """Give the class of each image.

        Parameters
        ----------
        images : array-like, shape [n, height, width, channels] or, of one channel, [n, height,
            width]
            As they were trained on: of the same size, with values in the same range.
        batch_size : int
            Images that pass the network at a time.

        Returns
        -------
        ndarray of str, shape [n]
            Names of classes.

        Raises
        ------
        ValueError
            For images of another shape.
        """
        x = np.asarray(images)
        if x.ndim == 3 and self.shape[-1] == 1:
            x = x[..., None]
        if x.shape[1:] != self.shape:
            raise ValueError(
                f"images must have the shape [n, {', '.join(map(str, self.shape))}] of those that "
                f"the network was trained on, not {list(x.shape)}"
            )
        data = ArrayData(x, np.zeros(len(x), np.int64), self.classes)
        rows = TorchSet(data, self.mean, self.deviation)
        _, codes = predict(self.model, rows, len(self.classes), make_accelerator(), batch_size)
        return np.array(self.classes)[codes]


def save(
    path: PathLike, model: nn.Module, rows: TorchSet, *, name: str, width: int | None, head: str
) -> None:
    """Write a network made by `by_name`, and what normalised the images of `rows`, to one file."""
    about = {
        "name": name,
        "width": width,
        "head": head,
        "classes": rows.classes,
        "shape": rows.data.x.shape[1:],
        "mean": rows.mean.tolist(),
        "deviation": rows.deviation.tolist(),
    }
    with atomic_write(path) as temporary:
        save_file(model.state_dict(), temporary, {_KEY: json.dumps(about)})


def load(path: PathLike) -> SavedNetwork:
    """Read a network that `expansive train` wrote, ``model.safetensors``; runs no code of the file.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When it says nothing of a network that `by_name` builds.
    """
    with safe_open(path, "pt") as file:
        about = json.loads((file.metadata() or {}).get(_KEY, "null"))
        names = file.keys()  # it is no mapping
        weights = {name: file.get_tensor(name) for name in names}
    if about is None:
        raise ValueError(
            f"{str(path)!r} does not say what network it holds; give the model.safetensors that "
            "`expansive train` wrote to its --out, not that of a checkpoint"
        )
    shape = tuple(about["shape"])
    with keeping_generators():  # first weights are drawn, and replaced
        model, _ = by_name(about["name"], len(about["classes"]), shape[-1], width=about["width"])
    model.load_state_dict(weights)
    mean, deviation = np.array(about["mean"]), np.array(about["deviation"])
    return SavedNetwork(model.eval(), about["head"], about["classes"], shape, mean, deviation)
