"""One training run from data to report: what `expansive train` and `expansive demo` share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from rich.console import Console

from expansive import datasets, report
from expansive.arguments import as_seed
from expansive.datasets import ArrayData
from expansive.files import check_folder
from expansive.metrics import Evaluation
from expansive.train import ThreePhaseTrainer
from expansive.train.checkpoint import checkpoints
from expansive.train.models import Network, by_name, saved

if TYPE_CHECKING:
    from torch import nn


def prepare(out: Path, seed: int) -> None:
    """Check the seed, make the folder of a run and see that it can be written to."""
    as_seed(seed)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise NotADirectoryError(
            f"--out {str(out)!r} is a file or lies in one: name a folder, which may be new"
        ) from None
    check_folder(out)


def require_no_checkpoints(folder: Path) -> None:
    """Refuse to begin a run where another has left its checkpoints, before any work."""
    if checkpoints(folder):
        raise FileExistsError(
            f"{str(folder)!r} holds the checkpoints of a run: continue it with --resume, or name "
            "another folder with --out"
        )


def network(name: str, rows: ArrayData, seed: int, *, width: int | None = None) -> Network:
    """Build a network for the images of `rows`; `seed` decides its first weights."""
    if rows.x.ndim != 4:
        raise ValueError(
            f"the data has rows of shape {rows.x.shape[1:]}, but {name} needs images; "
            "for feature vectors use ThreePhaseTrainer with a network of your own"
        )
    torch.manual_seed(seed)
    return by_name(name, len(rows.classes), rows.x.shape[-1], width=width)


def train(
    model: nn.Module,
    head: str,
    rows: ArrayData,
    test: ArrayData,
    out: Path,
    settings: dict[str, Any],
    console: Console,
    *,
    augment: bool = False,
    resume: bool = False,
    title: str = "Expansive report",
) -> Evaluation:
    """Train in three phases, write the weights, metrics.json and report.html, show the table.

    Parameters
    ----------
    model : Module
        Trained in place.
    head : str
        Name of its last module.
    rows, test : ArrayData
        What to train on, validation rows included, and what to test on.
    out : Path
        Existing folder.
    settings : dict
        For `ThreePhaseTrainer`; `about` holds the name of the model and, perhaps, its width.
    console : Console
        Where to show the table.
    augment : bool
        Crop and mirror the images while the backbone is trained.
    resume : bool
        Continue from the newest checkpoint.
    title : str
        Heading of the report.

    Returns
    -------
    Evaluation
    """
    trainer = ThreePhaseTrainer(model, head, **settings)
    plain = datasets.to_torch(rows)
    unseen = datasets.to_torch(test, like=plain)
    shown = datasets.to_torch(rows, like=plain, augment=True) if augment else plain
    trainer.fit(shown, embed_set=plain, resume=resume)
    # Before the report: should that fail, the training is not lost.
    about = settings["about"]
    saved.save(
        out / "model.safetensors",
        model,
        plain,
        name=about["model"],
        width=about.get("width"),
        head=head,
    )
    evaluation = trainer.evaluate(unseen)
    report.write_json(evaluation, out / "metrics.json")
    report.write_html(evaluation, out / "report.html", title)
    console.print(report.table(evaluation))
    console.out(f"Report: {out / 'report.html'}")
    return evaluation
