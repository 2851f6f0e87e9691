"""Phase 1: one network for all methods, kept as embeddings and head weights."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from expansive import datasets
from expansive.datasets import ArrayData
from expansive.datasets.torch_set import TorchSet
from expansive.files import atomic_write
from expansive.study.plan import Network
from expansive.train import ThreePhaseTrainer
from expansive.train.embedding import embed, find_head
from expansive.train.models import Network as Backbone
from expansive.train.models import by_name
from expansive.train.settings import Settings

RESULT = "network.npz"
ARRAYS = ("train_x", "train_y", "test_x", "test_y")
PREFIX = "head."
EMBED_BATCH = 512


@dataclass(frozen=True)
class Trained:
    """What phase 2 and 3 need of a network.

    Attributes
    ----------
    train_x, test_x : ndarray of float32, shape [n, d]
        Embeddings of the training rows, as they are without augmentation, and of the test rows.
    train_y, test_y : ndarray of int64, shape [n]
        Their class numbers.
    head : dict of str to ndarray
        State of the head.
    facts : dict
        ``classes``, ``parameters`` of the network, and ``seconds`` and ``cpu_seconds`` of
        ``backbone`` and of ``embed`` (of the training rows).
    """

    train_x: NDArray[np.float32]
    train_y: NDArray[np.int64]
    test_x: NDArray[np.float32]
    test_y: NDArray[np.int64]
    head: dict[str, NDArray[Any]]
    facts: dict[str, Any]


def trained(
    network: Network, folder: Path, cpu: bool, on_epoch: Callable[[dict[str, Any]], None]
) -> Trained:
    """Read what phase 1 left, or run it, from its last checkpoint if it was interrupted.

    Parameters
    ----------
    network : Network
    folder : Path
        Folder of all networks.
    cpu : bool
        Use the CPU even where there is an accelerator.
    on_epoch : callable
        Told of each epoch, as `ThreePhaseTrainer` does.

    Raises
    ------
    FloatingPointError
        When the loss is not finite.
    ValueError
        For data or a backbone that do not fit.
    """
    own = folder / network.file_stem
    result = own / RESULT
    if not is_trained(network, folder):
        own.mkdir(parents=True, exist_ok=True)
        _write(result, _train(network, own, cpu, on_epoch))
    shutil.rmtree(own / "checkpoints", ignore_errors=True)
    return read(network, folder)


def is_trained(network: Network, folder: Path) -> bool:
    """Tell whether phase 1 of a network is done."""
    return (folder / network.file_stem / RESULT).is_file()


def build(network: Network, n_classes: int, channels: int) -> Backbone:
    """Build the network; its seed decides the first weights. LDAM gets the head it is made for."""
    torch.manual_seed(network.seed)
    given = network.backbone
    normed = network.loss in ("ldam", "ldam_drw")
    return by_name(given["name"], n_classes, channels, width=given["width"], normed_head=normed)


def head_of(network: Network, kept: Trained) -> nn.Module:
    """Make the head with the weights that phase 1 ended with."""
    head = find_head(*build(network, len(kept.facts["classes"]), channels=3))
    head.load_state_dict({key: torch.as_tensor(value) for key, value in kept.head.items()})
    return head


def _train(
    network: Network, folder: Path, cpu: bool, on_epoch: Callable[[dict[str, Any]], None]
) -> Trained:
    rows, test = _rows(network)
    plain = datasets.to_torch(rows)
    shown = datasets.to_torch(rows, like=plain, augment=True) if _augments(network) else plain
    clock = _CpuClock(folder / "cpu_seconds.jsonl", on_epoch)
    trainer = ThreePhaseTrainer(
        *build(network, len(rows.classes), rows.x.shape[-1]),
        loss=network.loss,
        seed=network.seed,
        val_fraction=0.0,
        select="last",
        checkpoint_dir=folder / "checkpoints",
        log_path=folder / "log.jsonl",
        cpu=cpu,
        progress=False,
        on_epoch=clock.epoch,
        **network.schedule,
    )
    trainer.fit_backbone(shown, embed_set=plain, resume=True)
    started, cpu_started = time.perf_counter(), time.process_time()
    train_x, train_y = _embedded(trainer, plain)
    spent, cpu_spent = time.perf_counter() - started, time.process_time() - cpu_started
    test_x, test_y = _embedded(trainer, datasets.to_torch(test, like=plain))
    state = find_head(trainer.model, trainer.head).state_dict()
    return Trained(
        train_x,
        train_y,
        test_x,
        test_y,
        {key: value.cpu().numpy() for key, value in state.items()},
        {
            "classes": rows.classes,
            "parameters": sum(weight.numel() for weight in trainer.model.parameters()),
            "seconds": {"backbone": trainer.seconds["backbone"], "embed": spent},
            "cpu_seconds": {"backbone": clock.total(), "embed": cpu_spent},
        },
    )


def _embedded(
    trainer: ThreePhaseTrainer, rows: TorchSet
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Embed in float32, whatever the precision of phase 1."""
    accelerator = Settings(cpu=trainer.cpu, mixed_precision="no").accelerator()
    x, y = embed(trainer.model, trainer.head, rows, accelerator, EMBED_BATCH)
    return x.float().cpu().numpy(), y.cpu().numpy()


class _CpuClock:
    """CPU seconds of each epoch, kept on disk so that an interrupted phase does not lose them."""

    def __init__(self, path: Path, on_epoch: Callable[[dict[str, Any]], None]) -> None:
        self.path, self.on_epoch = path, on_epoch
        self.last = time.process_time()

    def epoch(self, record: dict[str, Any]) -> None:
        now = time.process_time()
        with self.path.open("a") as log:
            log.write(json.dumps({"epoch": record["epoch"], "seconds": now - self.last}) + "\n")
        self.last = now
        self.on_epoch(record)

    def total(self) -> float:
        """Sum over the epochs; of one that was run twice the last run counts."""
        lines = [json.loads(line) for line in self.path.read_text().splitlines() if line]
        return float(sum({line["epoch"]: line["seconds"] for line in lines}.values()))


def _augments(network: Network) -> bool:
    return bool(network.data["augment"])


def _rows(network: Network) -> tuple[ArrayData, ArrayData]:
    """Load the training rows, imbalanced as the study asks, and the test rows."""
    data = network.data
    full, test = _loaded(network.source, data["image_size"])
    if full.x.ndim != 4:
        raise ValueError(f"{network.source!r} has no images, but rows of shape {full.x.shape[1:]}")
    if data["imbalance"] is None:
        return full, test
    choose = datasets.long_tail if data["tail"] == "exponential" else datasets.step
    kept = choose(full.y, data["imbalance"], n_max=data["n_max"], seed=network.seed)
    return full.take(kept), test


@lru_cache(maxsize=2)
def _loaded(source: str, image_size: int | None) -> tuple[ArrayData, ArrayData]:
    return (
        datasets.load(source, "train", image_size=image_size),
        datasets.load(source, "test", image_size=image_size),
    )


def _write(path: Path, kept: Trained) -> None:
    content: dict[str, Any] = {f"{PREFIX}{key}": value for key, value in kept.head.items()}
    content |= {name: getattr(kept, name) for name in ARRAYS}
    content["facts"] = np.array(json.dumps(kept.facts))
    with atomic_write(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, **content)


def read(network: Network, folder: Path) -> Trained:
    """Read what phase 1 left; see `is_trained`."""
    with np.load(folder / network.file_stem / RESULT, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in ARRAYS}
        names = [name for name in archive.files if name.startswith(PREFIX)]
        head = {name.removeprefix(PREFIX): archive[name] for name in names}
        return Trained(**arrays, head=head, facts=json.loads(str(archive["facts"])))
