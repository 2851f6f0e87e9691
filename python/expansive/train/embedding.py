"""The embedding: what enters the head, taken with a forward pre-hook."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import torch
from accelerate import Accelerator
from numpy.typing import NDArray
from torch import Tensor, nn

from expansive.backends.registry import get_backend
from expansive.train.data import Batches, Pairs, loader


class Embeddings(NamedTuple):
    """What the backbone makes of a data set; both tensors on the device `home` gives.

    Attributes
    ----------
    x : Tensor, shape [n, d]
        Embeddings, in the order of the data set and of the dtype in which they enter the head.
    y : Tensor of int64, shape [n]
        Labels.
    """

    x: Tensor
    y: Tensor

    def rows(self) -> Pairs:
        """Give them as a data set of (embedding, label) pairs."""
        return EmbeddedRows(self.x, self.y)


class EmbeddedRows(Batches):
    """Embeddings and labels, given as batches on their device."""

    def __init__(self, x: Tensor, y: Tensor) -> None:
        self.x, self.y, self.device = x, y, x.device

    def __len__(self) -> int:
        return len(self.x)

    def __getitems__(self, numbers: Sequence[int]) -> tuple[Tensor, Tensor]:
        rows = torch.as_tensor(numbers, device=self.device)
        return self.x[rows], self.y[rows]


def home(device: torch.device) -> torch.device:
    """Say where embeddings made on `device` stay: there, if a backend takes them there.

    Else in host memory, where the plan's backend reads them without a copy for each batch.
    """
    if device.type == "cuda" and get_backend(on_device=True).TAKES_DEVICE_ARRAYS:
        return device
    return torch.device("cpu")


def find_head(model: nn.Module, head: str) -> nn.Module:
    """Look up a submodule by its dotted name.

    Raises
    ------
    ValueError
        When there is none of that name; lists those there are.
    """
    modules: dict[str, nn.Module] = dict(model.named_modules())
    del modules[""]
    if head not in modules:
        raise ValueError(
            f"head must name a module of the model, and {head!r} does not; "
            f"it has {', '.join(modules) or 'no modules'}"
        )
    return modules[head]


def logits_of(output: Any, n_classes: int) -> Tensor:
    """Give the logits [batch, n_classes] in what a model returned: itself, or its `logits`."""
    logits = getattr(output, "logits", output)
    if not isinstance(logits, Tensor) or logits.ndim != 2 or logits.shape[1] != n_classes:
        found = list(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
        raise ValueError(
            f"the network must give logits of shape [batch, {n_classes}], one per class, "
            f"not {found}"
        )
    return logits


def embed(
    model: nn.Module,
    head: str,
    rows: Pairs,
    accelerator: Accelerator,
    batch_size: int = 128,
    num_workers: int = 0,
) -> Embeddings:
    """Pass `rows` through the model in evaluation mode and keep what enters the head.

    Parameters
    ----------
    model : Module
        The network. Its modes (training or evaluation) are restored and the hook is removed, also
        after an error.
    head : str
        Dotted name of the module whose input is the embedding.
    rows : Dataset
        (input, int label) pairs.
    accelerator : Accelerator
        Gives the device, the precision, and the share of each process.
    batch_size, num_workers : int
        As for a DataLoader.

    Returns
    -------
    Embeddings

    Raises
    ------
    ValueError
        When the head is unknown, is not called, or its input is not of shape [batch, d].
    """
    caught: list[Tensor] = []

    def catch(module: nn.Module, arguments: tuple[Any, ...]) -> None:
        caught.append(_checked_embedding(arguments, head))

    def take(output: Any) -> Tensor:
        if not caught:
            raise ValueError(f"the model did not call its module {head!r}: name its last layer")
        embedding = caught[-1]
        caught.clear()
        return embedding

    hook = find_head(model, head).register_forward_pre_hook(catch)
    try:
        x, y = _forward(model, rows, accelerator, batch_size, num_workers, take)
    finally:
        hook.remove()
    return Embeddings(x, y)


def predict(
    module: nn.Module,
    rows: Pairs,
    n_classes: int,
    accelerator: Accelerator,
    batch_size: int = 128,
    num_workers: int = 0,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Give the labels of `rows` and those that `module` predicts, each [n], in evaluation mode."""

    def take(output: Any) -> Tensor:
        return logits_of(output, n_classes).argmax(dim=1)

    predicted, truth = _forward(module, rows, accelerator, batch_size, num_workers, take)
    return truth.cpu().numpy(), predicted.cpu().numpy()


@contextmanager
def keeping_modes(module: nn.Module) -> Iterator[None]:
    """Put every submodule back in its own mode, training or evaluation, when the block ends."""
    modes = [(part, part.training) for part in module.modules()]
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training


def _forward(
    module: nn.Module,
    rows: Pairs,
    accelerator: Accelerator,
    batch_size: int,
    num_workers: int,
    take: Callable[[Any], Tensor],
) -> tuple[Tensor, Tensor]:
    batches = accelerator.prepare_data_loader(loader(rows, batch_size, num_workers))
    module.to(accelerator.device)
    where = home(accelerator.device)
    taken: list[Tensor] = []
    labels: list[Tensor] = []
    with keeping_modes(module), torch.inference_mode(), accelerator.autocast():
        module.eval()
        for inputs, truth in batches:
            result, truth = accelerator.gather_for_metrics((take(module(inputs)), truth))
            taken.append(result.to(where))
            labels.append(truth.to(where))
    return torch.cat(taken), torch.cat(labels)


def _checked_embedding(arguments: tuple[Any, ...], head: str) -> Tensor:
    embedding = arguments[0] if arguments else None
    if not isinstance(embedding, Tensor) or embedding.ndim != 2:
        shape = list(embedding.shape) if isinstance(embedding, Tensor) else "no tensor"
        raise ValueError(
            f"the input of the head {head!r} must be of shape [batch, d], not {shape}: "
            "name the module after pooling and flattening"
        )
    return embedding
