"""Make trained embeddings to search: a network's view of a million augmented images.

Trains a ResNet-8 of width 16 (64 features) for two epochs on the middles of images, of CIFAR-10
(JPEG) if its archive is named, else of Fashion-MNIST; then embeds every image again and again, each
time another window of it, mirrored or not, until there are enough rows. Four minutes on two cores.

    python benchmarks/embeddings.py --cifar cifar10_jpeg.npz [--rows 1000000] [--cache FOLDER]
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import data
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from expansive import ThreePhaseTrainer
from expansive.datasets import ArrayData, load, to_torch
from expansive.files import atomic_write
from expansive.train.models import resnet

_BATCH = 1000
_SIDE = 24  # pixels of a window


def images(cifar: Path | None) -> ArrayData:
    """Training images with their labels."""
    if cifar is None:
        return load("fashion-mnist", "train")
    pixels, labels = data.cifar_images(cifar)
    return ArrayData(pixels, labels, [str(label) for label in range(10)])


def trained_network(rows: ArrayData, epochs: int, seed: int, precision: str) -> torch.nn.Module:
    """Train the network whose embeddings are wanted."""
    torch.manual_seed(seed)
    network = resnet(8, len(rows.classes), rows.x.shape[-1]).to(memory_format=torch.channels_last)
    trainer = ThreePhaseTrainer(
        network,
        epochs=epochs,
        warmup_epochs=1,
        batch_size=256,
        seed=seed,
        mixed_precision=precision,
    )
    edge = (rows.x.shape[1] - _SIDE) // 2
    middle = replace(rows, x=rows.x[:, edge : edge + _SIDE, edge : edge + _SIDE])
    trainer.fit_backbone(to_torch(middle, augment=True), embed_set=to_torch(middle))
    return network


def embed_copies(
    network: torch.nn.Module, rows: ArrayData, count: int, seed: int, precision: str
) -> data.Float32:
    """Embed `count` windows, the data set in its order over and over, each time cut anew."""
    plain = to_torch(rows)
    mean, deviation = (
        torch.from_numpy(a)[:, None, None].float() for a in (plain.mean, plain.deviation)
    )
    pixels = torch.from_numpy(np.ascontiguousarray(np.moveaxis(rows.x, -1, 1)))
    generator = torch.Generator().manual_seed(seed)
    taken: list[Tensor] = []
    network.get_submodule("fc").register_forward_pre_hook(
        lambda _, arguments: taken.append(arguments[0].float())
    )
    device = next(network.parameters()).device
    out = np.empty((count, network.get_submodule("fc").in_features), np.float32)
    network.eval()
    with (
        torch.inference_mode(),
        torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"),
    ):
        for start in range(0, count, _BATCH):
            picked = torch.arange(start, min(start + _BATCH, count)) % len(pixels)
            batch = cut((pixels[picked] - mean) / deviation, generator)
            network(batch.to(device, memory_format=torch.channels_last))
            out[start : start + _BATCH] = taken.pop().cpu().numpy()
    return out


def labels_of(rows: ArrayData, count: int) -> NDArray[np.int64]:
    """Labels of the embeddings that `embed_copies` makes."""
    return np.resize(rows.y, count).astype(np.int64)


def cut(batch: Tensor, generator: torch.Generator) -> Tensor:
    """Cut a window out of each image, and mirror half of them."""
    n, channels, size, _ = batch.shape
    top, left = torch.randint(size - _SIDE + 1, (2, n, 1), generator=generator)
    columns = torch.arange(_SIDE).expand(n, _SIDE)
    mirrored = torch.rand(n, 1, generator=generator) < 0.5
    columns = left + torch.where(mirrored, columns.flip(1), columns)
    i = (top + torch.arange(_SIDE))[:, None, :, None]
    j = columns[:, None, None, :]
    return batch[torch.arange(n)[:, None, None, None], torch.arange(channels)[:, None, None], i, j]


def main() -> None:
    """Train, embed, save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    data.add_file_options(parser.add_argument)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--precision",
        choices=("bf16", "no"),
        default="bf16",
        help="of the network; bf16 is slow on processors that do not multiply it",
    )
    parser.add_argument("--cache", type=Path, default=data.cache_folder(), help="folder to save in")
    options = parser.parse_args()
    options.cache.mkdir(parents=True, exist_ok=True)
    rows = images(options.cifar)
    chosen = options.seed, options.precision
    network = timed("trained", trained_network, rows, options.epochs, *chosen)
    embedded = timed("embedded", embed_copies, network, rows, options.rows, *chosen)
    path = options.cache / data.default_embeddings().name
    for target, array in (
        (path, embedded),
        (data.labels_path(path), labels_of(rows, options.rows)),
    ):
        with atomic_write(target) as temporary, open(temporary, "wb") as file:
            np.save(file, array)
    print(f"{embedded.shape[0]} x {embedded.shape[1]} embeddings in {path}")


def timed(what: str, work: Any, *arguments: Any) -> Any:
    """Say how long something took."""
    start = time.perf_counter()
    result = work(*arguments)
    print(f"{what} in {time.perf_counter() - start:.0f} s", flush=True)
    return result


if __name__ == "__main__":
    main()
