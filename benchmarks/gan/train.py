"""What all generative over-samplers share: data, batches, the training loop, generation."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

Images = NDArray[np.uint8]
Labels = NDArray[np.int64]

_GENERATED_AT_ONCE = 512


@dataclass(frozen=True)
class Rows:
    """Training images of known classes.

    Attributes
    ----------
    x : Tensor of float32, shape [n, channels, size, size]
        Images, scaled to [-1, 1].
    y : Tensor of int64, shape [n]
        Class numbers.
    counts : Tensor of int64, shape [n_classes]
        Rows per class, at least one.
    """

    x: Tensor
    y: Tensor
    counts: Tensor

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.counts)

    @property
    def channels(self) -> int:
        """Channels of the images."""
        return self.x.shape[1]

    @property
    def size(self) -> int:
        """Height and width of the images."""
        return self.x.shape[2]

    def batches(self, steps: int, size: int, *, balanced: bool) -> Iterator[tuple[Tensor, Tensor]]:
        """Draw `steps` batches with replacement; `balanced`: each class as often as any other."""
        weights = 1.0 / self.counts[self.y] if balanced else torch.ones(len(self.y))
        for _ in range(steps):
            drawn = torch.multinomial(weights, size, replacement=True)
            yield self.x[drawn], self.y[drawn]


class GanOversampler(ABC):
    """A generator of images of given classes, trained against other networks.

    Parameters
    ----------
    latent : int
        Length of the random vector an image is made from.
    width : int
        Channels of the networks.
    batch_size : int
        Images per step.
    lr : float
        Learning rate of Adam; its betas are DCGAN's (0.5, 0.999).

    Attributes
    ----------
    networks : ModuleDict
        Everything trained.
    losses : dict of str to float
        Losses of the last step.
    n_classes : int
        Classes it was fitted to.

    Notes
    -----
    Runs on the CPU. The same seed, threads and library versions give the same bits; the global
    generator is left as it was.
    """

    def __init__(
        self, *, latent: int = 64, width: int = 32, batch_size: int = 64, lr: float = 2e-4
    ) -> None:
        self.latent, self.width, self.batch_size, self.lr = latent, width, batch_size, lr
        self.networks = nn.ModuleDict()
        self.losses: dict[str, float] = {}
        self.n_classes = 0

    @property
    def n_parameters(self) -> int:
        """Number of weights trained, in all networks."""
        return sum(weight.numel() for weight in self.networks.parameters())

    def fit(
        self,
        images: Images,
        labels: Labels,
        *,
        seed: int = 0,
        epochs: int = 10,
        steps: int | None = None,
    ) -> GanOversampler:
        """Train on images of all classes.

        Parameters
        ----------
        images : ndarray of uint8, shape [n, size, size, channels]
            `size` is a multiple of 4.
        labels : ndarray of int, shape [n]
            Classes 0 ... n_classes - 1, each with at least one row.
        seed : int
            Decides first weights and everything drawn.
        epochs : int
            Passes: n / `batch_size` steps, rounded up, make one.
        steps : int, optional
            Steps in all, instead of `epochs`.

        Returns
        -------
        GanOversampler
            Itself.

        Raises
        ------
        ValueError
            For images, labels or lengths that do not fit, before any work.
        FloatingPointError
            When a loss is not finite.
        """
        rows = as_rows(images, labels)
        for name, value in (("epochs", epochs), ("steps", 1 if steps is None else steps)):
            if value < 1:
                raise ValueError(f"{name} must be at least 1; got {value}")
        total = epochs * math.ceil(len(rows.y) / self.batch_size) if steps is None else steps
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            self.n_classes = rows.n_classes
            self._build(rows, total)
            self.networks.train()
            for x, y in rows.batches(total, self.batch_size, balanced=True):
                self._keep(self._step(x, y))
        self.networks.eval()
        return self

    def generate(self, label: int, n: int, *, seed: int = 0) -> Images:
        """Make `n` images of a class: uint8 [n, size, size, channels].

        Raises
        ------
        ValueError
            For a class that was not fitted.
        RuntimeError
            Before `fit`.
        """
        if not self.networks:
            raise RuntimeError("there is no generator yet: call fit first")
        self._check_label(label)
        parts = []
        with torch.random.fork_rng([]), torch.no_grad():
            torch.manual_seed(seed)
            for start in range(0, n, _GENERATED_AT_ONCE):
                count = min(_GENERATED_AT_ONCE, n - start)
                parts.append(as_images(self._make(torch.full((count,), label))))
        return np.concatenate(parts) if parts else as_images(self._make(torch.tensor([label])))[:0]

    @abstractmethod
    def _build(self, rows: Rows, steps: int) -> None:
        """Fill `networks` and make optimizers for a training of `steps` steps."""

    @abstractmethod
    def _step(self, x: Tensor, y: Tensor) -> dict[str, Tensor]:
        """Update all networks on one batch; give the losses."""

    @abstractmethod
    def _make(self, labels: Tensor) -> Tensor:
        """Generate images [batch, channels, size, size] in [-1, 1] of classes `labels` [batch]."""

    def _check_label(self, label: int) -> None:
        if not 0 <= label < self.n_classes:
            raise ValueError(f"label must be in [0, {self.n_classes}); got {label}")

    def _adam(self, *modules: nn.Module) -> torch.optim.Adam:
        weights = [weight for module in modules for weight in module.parameters()]
        return torch.optim.Adam(weights, self.lr, betas=(0.5, 0.999))

    def _noise(self, n: int) -> Tensor:
        return torch.randn(n, self.latent)

    def _keep(self, losses: dict[str, Tensor]) -> None:
        self.losses = {name: float(loss.detach()) for name, loss in losses.items()}
        for name, loss in self.losses.items():
            if not math.isfinite(loss):
                raise FloatingPointError(f"the loss of the {name} is {loss}: lower lr={self.lr}")


def descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> Tensor:
    """Take one step down a loss, and give the loss."""
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    return loss


def balance(
    sampler: GanOversampler, images: Images, labels: Labels, *, seed: int = 0
) -> tuple[Images, Labels]:
    """Append generated images until every class is as large as the largest."""
    counts = np.bincount(labels)
    missing = {label: int(counts.max() - count) for label, count in enumerate(counts)}
    made = {label: sampler.generate(label, n, seed=seed) for label, n in missing.items() if n > 0}
    new_labels = [np.full(len(new), label, np.int64) for label, new in made.items()]
    return np.concatenate([images, *made.values()]), np.concatenate([labels, *new_labels])


def as_rows(images: Images, labels: Labels) -> Rows:
    """Check images and labels and make tensors of them."""
    if images.ndim != 4 or images.dtype != np.uint8 or len(images) == 0:
        raise ValueError(
            f"images must be uint8 [n, size, size, channels], not {images.dtype} {images.shape}"
        )
    if images.shape[1] != images.shape[2] or images.shape[1] % 4:
        raise ValueError(
            f"images must be square with a size that is a multiple of 4, not {images.shape[1:3]}: "
            "pad or crop them"
        )
    y = torch.as_tensor(np.asarray(labels), dtype=torch.int64)
    if y.shape != (len(images),) or y.min() < 0 or (torch.bincount(y) == 0).any():
        raise ValueError(
            f"labels must be {len(images)} class numbers 0 ... n_classes - 1, each class with at "
            "least one"
        )
    x = torch.from_numpy(np.moveaxis(images, -1, 1).astype(np.float32) / 127.5 - 1.0)
    return Rows(x, y, torch.bincount(y))


def as_images(x: Tensor) -> Images:
    """Turn images in [-1, 1] back to uint8 [n, size, size, channels]."""
    pixels: Any = ((x + 1.0) * 127.5).round().clamp(0, 255).to(torch.uint8)
    return np.ascontiguousarray(np.moveaxis(pixels.numpy(), 1, -1))
