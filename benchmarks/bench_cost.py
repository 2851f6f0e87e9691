"""What EOS costs beside over-sampling in pixel space: by SMOTE and by generative networks.

``python benchmarks/bench_cost.py`` writes results/cost.csv, a row for each schedule, seed and
method, and results/cost.md. Rows that the csv already holds are not measured again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import cost_report
import numpy as np
import pandas as pd
import result_files
import torch
import typer
from data import cifar_images
from gan import Bagan, ConditionalGan, Gamo, GanOversampler, balance
from imblearn.over_sampling import SMOTE
from rich.progress import track
from torch import nn

from expansive import datasets, metrics
from expansive.datasets import ArrayData
from expansive.train import ThreePhaseTrainer
from expansive.train.embedding import predict
from expansive.train.models import resnet

GANS: dict[str, Callable[..., GanOversampler]] = {
    "conditional GAN": ConditionalGan,
    "BAGAN": Bagan,
    "GAMO": Gamo,
}
PHASE_1, EOS, PIXEL_SMOTE = "phase 1 alone", "EOS", "SMOTE of pixels"
Row = dict[str, Any]


@dataclass(frozen=True)
class Schedule:
    """What is trained on what, and for how long; the same for every method.

    Attributes
    ----------
    data : str
        ``"fashion-mnist"``, or the path of an archive that `data.cifar_images` reads.
    imbalance, n_max : float, int
        The long tail: largest class / smallest class, rows of the largest.
    depth, width : int
        Of the ResNet.
    epochs, head_epochs, warmup_epochs : int
        Of phase 1 and of training on balanced images; of phase 3; of warming up in each.
    lr_schedule : str
        As `ThreePhaseTrainer`'s `schedule`.
    augment : bool
        Crop and mirror the images while a network is trained.
    k : int
        Nearest enemies of EOS.
    gan_epochs, gan_steps : int
        Passes of each GAN over the images; steps in all, instead, unless 0.
    gan_lr : float
        Learning rate of each GAN. The default is higher than DCGAN's 2e-4: in so short a training
        the conditional GAN then learns the classes, and with DCGAN's it does not.
    """

    data: str = "fashion-mnist"
    imbalance: float = 100.0
    n_max: int = 600
    depth: int = 8
    width: int = 16
    epochs: int = 20
    head_epochs: int = 5
    warmup_epochs: int = 1
    lr_schedule: str = "cosine"
    augment: bool = False
    k: int = 10
    gan_epochs: int = 30
    gan_steps: int = 0
    gan_lr: float = 1e-3


class Stopwatch:
    """Wall seconds and CPU seconds of all threads, by the name of what ran."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Time the block."""
        wall, cpu = time.perf_counter(), time.process_time()
        yield
        self.seconds[f"{name}_wall"] = time.perf_counter() - wall
        self.seconds[f"{name}_cpu"] = time.process_time() - cpu


def load(schedule: Schedule, seed: int) -> tuple[ArrayData, ArrayData]:
    """Give the long tail of the training images that belongs to a seed, and all test images."""
    if schedule.data.endswith(".npz"):
        classes = [str(c) for c in range(10)]
        full, test = (
            ArrayData(*cifar_images(Path(schedule.data), split), classes)
            for split in ("train", "test")
        )
    else:
        full, test = (datasets.load(schedule.data, split) for split in ("train", "test"))
    chosen = datasets.long_tail(full.y, schedule.imbalance, n_max=schedule.n_max, seed=seed)
    return full.take(chosen), test


@dataclass(frozen=True)
class Study:
    """One schedule with one seed: images, and each method on them."""

    schedule: Schedule
    seed: int
    rows: ArrayData
    test: ArrayData

    def warm_up(self) -> None:
        """Train once on a few images: the first use of every library is nobody's cost."""
        few = self.rows.take(np.unique(self.rows.y, return_index=True)[1])
        replace(self, rows=few, test=few).three_phases()

    def run(self, method: str) -> list[Row]:
        """Measure a method; EOS brings the network of phase 1 with it."""
        if method == EOS:
            return self.three_phases()
        return [self.balanced(method)]

    def three_phases(self) -> list[Row]:
        """Train on the images as they are, then rebalance the head."""
        trainer = self.trainer()
        shown, plain = self.sets(self.rows)
        watch = Stopwatch()
        with watch("train"):
            trainer.fit_backbone(shown, embed_set=plain)
        first = self.row(PHASE_1, trainer.model, plain, len(self.rows.y), watch)
        with watch("make"):
            trainer.expand(shown, embed_set=plain)
        with watch("head"):
            trainer.fit_head()
        return [first, self.row(EOS, trainer.model, plain, len(self.rows.y), watch)]

    def balanced(self, method: str) -> Row:
        """Balance the images, then train on all of them by the schedule of phase 1."""
        watch, parameters = Stopwatch(), 0
        if method == PIXEL_SMOTE:
            with watch("make"):
                x, y = self.smote()
        else:
            gan, schedule = GANS[method](lr=self.schedule.gan_lr), self.schedule
            with watch("fit"):
                gan.fit(
                    self.rows.x,
                    self.rows.y,
                    seed=self.seed,
                    epochs=schedule.gan_epochs,
                    steps=schedule.gan_steps or None,
                )
            with watch("make"):
                x, y = balance(gan, self.rows.x, self.rows.y, seed=self.seed)
            parameters = gan.n_parameters
        trainer = self.trainer()
        shown, plain = self.sets(ArrayData(x, y, self.rows.classes))
        with watch("train"):
            trainer.fit_backbone(shown, embed_set=plain)
        return self.row(method, trainer.model, plain, len(y), watch) | {"parameters": parameters}

    def smote(self) -> tuple[Any, Any]:
        """Over-sample flattened images by imbalanced-learn's SMOTE."""
        x, y = self.rows.x, self.rows.y
        smallest = int(np.bincount(y).min())
        sampler = SMOTE(k_neighbors=min(5, smallest - 1), random_state=self.seed)
        made, labels = sampler.fit_resample(x.reshape(len(x), -1), y)
        return made.reshape(-1, *x.shape[1:]), labels

    def trainer(self) -> ThreePhaseTrainer:
        """Make the trainer of a new network, the same for every method."""
        s = self.schedule
        torch.manual_seed(self.seed)
        network = resnet(s.depth, len(self.rows.classes), self.rows.x.shape[-1], s.width)
        return ThreePhaseTrainer(
            network,
            epochs=s.epochs,
            head_epochs=s.head_epochs,
            warmup_epochs=s.warmup_epochs,
            schedule=s.lr_schedule,
            k=s.k,
            seed=self.seed,
            val_fraction=0.0,
            select="last",
            cpu=True,
            progress=False,
        )

    def sets(self, images: ArrayData) -> tuple[Any, Any]:
        """Give images to train on, augmented if the schedule says so, and the same without."""
        plain = datasets.to_torch(images)
        if not self.schedule.augment:
            return plain, plain
        return datasets.to_torch(images, like=plain, augment=True), plain

    def row(self, method: str, model: nn.Module, plain: Any, images: int, watch: Stopwatch) -> Row:
        """Score a network on the test images."""
        classes = np.arange(len(self.rows.classes))
        accelerator = ThreePhaseTrainer(model, cpu=True).accelerator()
        tested = datasets.to_torch(self.test, like=plain)
        truth, predicted = predict(model, tested, len(classes), accelerator)
        counts = np.bincount(self.rows.y)
        found = metrics.scores(truth, predicted, classes=classes, train_counts=counts)
        return {
            "method": method,
            "balanced_accuracy": found.balanced_accuracy,
            "g_mean": found.g_mean,
            "macro_f1": found.macro_f1,
            "images": images,
            "parameters": 0,
            **watch.seconds,
        }


def main(
    out: Annotated[Path, typer.Option(help="folder of the results")] = Path(__file__).parent
    / "results",
    seeds: Annotated[int, typer.Option(help="long tails and networks of each method")] = 1,
    data: Annotated[str, typer.Option(help="fashion-mnist, or an archive of CIFAR-10 as JPEG")] = (
        Schedule.data
    ),
    imbalance: float = Schedule.imbalance,
    n_max: int = Schedule.n_max,
    depth: int = Schedule.depth,
    width: int = Schedule.width,
    epochs: int = Schedule.epochs,
    head_epochs: int = Schedule.head_epochs,
    warmup_epochs: int = Schedule.warmup_epochs,
    lr_schedule: str = Schedule.lr_schedule,
    augment: bool = Schedule.augment,
    k: int = Schedule.k,
    gan_epochs: int = Schedule.gan_epochs,
    gan_steps: int = Schedule.gan_steps,
    gan_lr: float = Schedule.gan_lr,
) -> None:
    """Measure what results/cost.csv lacks of this schedule, and write the report."""
    schedule = Schedule(
        data, imbalance, n_max, depth, width, epochs, head_epochs, warmup_epochs, lr_schedule,
        augment, k, gan_epochs, gan_steps, gan_lr,
    )  # fmt: skip
    csv = out / "cost.csv"
    text = json.dumps(asdict(schedule) | {"data": Path(data).name})
    for seed in range(seeds):
        study = Study(schedule, seed, *load(schedule, seed))
        done = _done(csv, text, seed)
        missing = [name for name in (EOS, PIXEL_SMOTE, *GANS) if name not in done]
        if missing:
            study.warm_up()
        for method in track(missing, f"seed {seed}"):
            new = [
                {"schedule": text, "seed": seed, "threads": torch.get_num_threads()} | row
                for row in study.run(method)
            ]
            rows = pd.concat([result_files.read_rows(csv), pd.DataFrame(new)])
            result_files.write_rows(csv, rows)
    result_files.write_text(out / "cost.md", cost_report.text(result_files.read_rows(csv)))


def _done(csv: Path, schedule: str, seed: int) -> set[str]:
    rows = result_files.read_rows(csv)
    if rows.empty:
        return set()
    return set(rows["method"][(rows["schedule"] == schedule) & (rows["seed"] == seed)])


if __name__ == "__main__":
    typer.run(main)
