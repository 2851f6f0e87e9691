"""The embedding: what enters the head, taken with a forward pre-hook."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence, Sized
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import convert_to_fp32, send_to_device
from numpy.typing import NDArray
from torch import Tensor, nn

from expansive.backends.registry import get_backend
from expansive.train.data import (
    Batches,
    Collate,
    Pairs,
    batches_of,
    keeping_generators,
    loader,
    one_batch,
)

CHECKED_ROWS = 4
"""Rows that are enough to see what a head does."""

LISTED_MODULES = 5
"""Modules that are named where none has the name given: a head is among the last."""


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

    def require_counts(self, counts: NDArray[np.int64]) -> None:
        """Raise ValueError unless as many rows of each class came as were counted beforehand."""
        labels = self.y.cpu().numpy()
        if not np.array_equal(np.sort(labels), np.repeat(np.arange(len(counts)), counts)):
            classes, sizes = np.unique(labels, return_counts=True)
            raise ValueError(
                f"{sizes.tolist()} rows of the classes {classes.tolist()} were embedded, but "
                f"{counts.tolist()} were counted: make `targets` of the data set the labels that "
                "its rows give, and a row give the same label each time"
            )

    def require_finite(self) -> None:
        """Raise ValueError where the network made NaN or infinity of a row."""
        largest = torch.linalg.vector_norm(self.x, torch.inf, dim=1)  # without a copy of x
        broken = int((~largest.isfinite()).sum())
        if broken:
            raise ValueError(
                f"the network makes NaN or infinity of {broken} of {len(self.x)} rows on their way "
                "to the head: look at its weights, and at these rows"
            )


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
    TypeError
        When it is no name.
    ValueError
        When there is none of that name; lists the last ones.
    """
    if not isinstance(head, str):
        raise TypeError(f"head must be the name of a module, as 'fc', not a {type(head).__name__}")
    modules: dict[str, nn.Module] = dict(model.named_modules(remove_duplicate=False))
    del modules[""]
    if head not in modules:
        raise ValueError(
            f"head must name a module of the model, and {head!r} does not; "
            f"its last are {', '.join([*modules][-LISTED_MODULES:]) or 'none: it has no modules'}"
        )
    return modules[head]


def logits_of(output: Any, n_classes: int | None, giver: str = "the network") -> Tensor:
    """Give the logits [batch, n_classes] in what a module returned: itself, or its `logits`.

    Of any number of classes for None.
    """
    logits = getattr(output, "logits", output)
    shape = list(logits.shape) if isinstance(logits, Tensor) else []
    if isinstance(logits, Tensor) and len(shape) == 2 and n_classes in (None, shape[1]):
        return logits
    found = shape if isinstance(logits, Tensor) else type(logits).__name__
    wanted = "n_classes" if n_classes is None else n_classes
    hint = ""
    if n_classes is not None and len(shape) == 2:
        hint = (
            f"; the labels are 0 to {n_classes - 1}: number the classes so, or change its outputs"
        )
    raise ValueError(
        f"{giver} must give logits of shape [batch, {wanted}], one per class, not {found}{hint}"
    )


def embed(
    model: nn.Module,
    head: str,
    rows: Pairs,
    accelerator: Accelerator,
    batch_size: int = 128,
    num_workers: int = 0,
    collate_fn: Collate | None = None,
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
    collate_fn : callable or None
        As for a DataLoader.

    Returns
    -------
    Embeddings

    Raises
    ------
    ValueError
        When the head is unknown, is not called, or its input is not of shape [batch, d].
    """
    with _catching(model, head) as take:
        x, y = _forward(model, rows, accelerator, batch_size, num_workers, collate_fn, take)
    return Embeddings(x, y)


def check_head(
    model: nn.Module,
    head: str,
    rows: Pairs,
    n_classes: int,
    accelerator: Accelerator,
    collate_fn: Collate | None = None,
    name: str = "training rows",
) -> tuple[Tensor, Tensor]:
    """Pass a few rows through the model, and refuse a head that does not make its logits.

    Parameters
    ----------
    model : Module
        The network, which is moved to the device, as training does. Its modes and buffers and all
        random generators are as before afterwards.
    head : str
        Dotted name of the module that shall make the logits from its input alone.
    rows : Dataset
        (input, int label) pairs.
    n_classes : int
        Number of logits.
    accelerator : Accelerator
        Gives the device and the precision.
    collate_fn : callable or None
        As for a DataLoader.
    name : str
        What messages call the rows.

    Returns
    -------
    logits : Tensor, shape [n, n_classes]
        Of these rows, as a loss gets them in training.
    labels : Tensor of int64, shape [n]
        Their labels, on the same device.

    Raises
    ------
    ValueError
        When the head is not called, its input is not of shape [batch, d], or the logits that it
        gives for this input are not those of the model; one number added to all logits of a row,
        as by LogSoftmax, is no difference.
    RuntimeError
        When the model raises one, as for rows of another shape or dtype.
    TypeError
        When the model does not take a batch as its one argument, or `collate_fn` gives none.
    """
    module, device = find_head(model, head), accelerator.device
    model.to(device)
    # Not inference_mode: what a model keeps from its first call must be fit for training.
    with keeping_generators(device), keeping_modes(model), torch.no_grad(), accelerator.autocast():
        model.eval()
        pairs = [rows[row] for row in range(min(CHECKED_ROWS, len(cast(Sized, rows))))]
        inputs, truth = one_batch(pairs, collate_fn)
        inputs, labels = send_to_device((inputs, truth.long()), device)
        with _catching(model, head) as take:
            output = _first_called(model, inputs, name)
            embedding = take(output)
            given = logits_of(output, n_classes)
            own = logits_of(module(embedding), n_classes, f"the head {head!r}")
    if not _same_softmax(given, own):
        raise ValueError(
            f"the logits of the model are not those that its head {head!r} gives: name its last "
            "module; where more follows, such as a scale, put it and the last layer into one module"
        )
    mixed = accelerator.mixed_precision != "no"
    return convert_to_fp32(given) if mixed else given, labels


def predict(
    module: nn.Module,
    rows: Pairs,
    n_classes: int | None,
    accelerator: Accelerator,
    batch_size: int = 128,
    num_workers: int = 0,
    collate_fn: Collate | None = None,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Give the labels of `rows` and those that `module` predicts, each [n], in evaluation mode."""

    def take(output: Any) -> Tensor:
        return logits_of(output, n_classes).argmax(dim=1)

    shared = (accelerator, batch_size, num_workers, collate_fn)
    predicted, truth = _forward(module, rows, *shared, take)
    return truth.cpu().numpy(), predicted.cpu().numpy()


def predict_logits(
    module: nn.Module,
    rows: Pairs,
    accelerator: Accelerator,
    batch_size: int = 128,
    num_workers: int = 0,
    collate_fn: Collate | None = None,
) -> NDArray[np.float32]:
    """Give the logits of `rows`, [n, n_classes], in evaluation mode."""

    def take(output: Any) -> Tensor:
        return logits_of(output, None).float()

    found, _ = _forward(module, rows, accelerator, batch_size, num_workers, collate_fn, take)
    return found.cpu().numpy()


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
    collate_fn: Collate | None,
    take: Callable[[Any], Tensor],
) -> tuple[Tensor, Tensor]:
    made = loader(rows, batch_size, num_workers, collate_fn=collate_fn)
    batches = accelerator.prepare_data_loader(made)
    module.to(accelerator.device)
    where = home(accelerator.device)
    taken: list[Tensor] = []
    labels: list[Tensor] = []
    with keeping_modes(module), torch.inference_mode(), accelerator.autocast():
        module.eval()
        for inputs, truth in batches_of(batches):
            result = take(_called(module, inputs))
            result, truth = accelerator.gather_for_metrics((result, truth))
            taken.append(result.to(where))
            labels.append(truth.to(where, torch.int64))
    return torch.cat(taken), torch.cat(labels)


def _called(module: nn.Module, inputs: Any) -> Any:
    """Call a module with a batch, and say how a batch is passed where that seems not to fit."""
    try:
        return module(inputs)
    except (TypeError, AttributeError) as error:
        # A forward of keywords takes the dict for its first tensor, which has other attributes.
        if isinstance(error, AttributeError) and isinstance(inputs, Tensor):
            raise
        raise TypeError(
            f"the model raised {type(error).__name__}: {error}. It is called with the batch as its "
            f"one argument, here a {type(inputs).__name__}: where its forward takes several, wrap "
            "it in a module whose forward(self, batch) returns self.model(*batch), or "
            "self.model(**batch) for a dict; the name of the head then begins with 'model.'"
        ) from error


def _first_called(model: nn.Module, inputs: Any, name: str) -> Any:
    """Call a model with its first batch, and say what that was where it does not fit."""
    try:
        return _called(model, inputs)
    except torch.OutOfMemoryError:
        raise
    except RuntimeError as error:
        given = f" ({inputs.dtype}, {list(inputs.shape)})" if isinstance(inputs, Tensor) else ""
        raise RuntimeError(
            f"the model raised {type(error).__name__}: {error}. It was called with the first "
            f"{name}{given}: give them in the shape and dtype that it takes, such as torch.float32"
        ) from error


@contextmanager
def _catching(model: nn.Module, head: str) -> Iterator[Callable[[Any], Tensor]]:
    """Catch what enters the head; gives what to call with the model's output, to take it."""
    caught: list[Tensor] = []

    def catch(module: nn.Module, arguments: tuple[Any, ...], named: dict[str, Any]) -> None:
        embedding = _checked_embedding((*arguments, *named.values()), head)
        # A copy: the head may overwrite its input, and a view keeps all that it is a view of.
        caught.append(embedding.clone())

    def take(output: Any) -> Tensor:
        if not caught:
            raise ValueError(
                f"the model did not call its module {head!r}: name its last layer "
                "(a compiled model needs torch 2.6 or later, or to be given uncompiled)"
            )
        embedding = caught[-1]
        caught.clear()
        return embedding

    # Before the head's own hooks, which change what they are given each time the head is called.
    hook = find_head(model, head).register_forward_pre_hook(catch, prepend=True, with_kwargs=True)
    try:
        with _uncompiled():
            yield take
    finally:
        hook.remove()


def _uncompiled() -> AbstractContextManager[None]:
    """Run compiled modules as they were written: their graphs know no hook that came later."""
    stance = getattr(torch.compiler, "set_stance", None)
    return nullcontext() if stance is None else stance("force_eager")


def _checked_embedding(arguments: tuple[Any, ...], head: str) -> Tensor:
    embedding = next((value for value in arguments if isinstance(value, Tensor)), None)
    if embedding is None or embedding.ndim != 2:
        found = "no tensor" if embedding is None else list(embedding.shape)
        raise ValueError(
            f"the input of the head {head!r} must be of shape [batch, d], not {found}: "
            "name the module after pooling and flattening"
        )
    return embedding


def _same_softmax(one: Tensor, other: Tensor) -> bool:
    """Compare logits up to a number added to each row, in half the digits of their precision."""
    if one.shape != other.shape:
        return False
    epsilon = max(torch.finfo(one.dtype).eps, torch.finfo(other.dtype).eps)
    # In host memory: not every device has float64.
    one, other = one.cpu().double(), other.cpu().double()
    size = torch.cat([one, other]).nan_to_num(0.0, 0.0, 0.0).abs().max()
    return torch.allclose(
        one.log_softmax(dim=1),
        other.log_softmax(dim=1),
        rtol=0.0,
        atol=float(size) * epsilon**0.5,
        equal_nan=True,
    )
