"""The demonstration: a small network on a long tail, before and after its head is rebalanced."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console

from expansive import datasets
from expansive.cli import runs
from expansive.datasets.sources import has_fashion_mnist
from expansive.metrics import Evaluation

# Chosen on rows of the training files that the long tail leaves over, never on the test rows. The
# last epoch is taken: the validation rows of the smallest classes would be too few to select by.
RECIPES: dict[str, dict[str, Any]] = {
    "fashion-mnist": {
        "imbalance": 100,
        "n_max": 1800,
        "epochs": 14,
        "head_epochs": 5,
        "warmup_epochs": 1,
        "k": 100,
        "val_fraction": 0.0,
        "select": "last",
    },
    "digits": {
        "imbalance": 50,
        "n_max": None,
        "epochs": 20,
        "head_epochs": 10,
        "warmup_epochs": 1,
        "k": 20,
        "expansion": (0.0, 0.5),
        "val_fraction": 0.0,
        "select": "last",
    },
}
MODEL = "resnet8"


def run(
    out: Path, *, seed: int = 0, console: Console, name: str | None = None, **settings: Any
) -> Evaluation:
    """Train on Fashion-MNIST when its files are there, else on digits, and write the report.

    Parameters
    ----------
    out : Path
        Folder for report.html, metrics.json and the weights; made if missing.
    seed : int
        Decides the long tail, the first weights, the order and the synthetic rows.
    console : Console
        Where to show the table.
    name : str, optional
        Which of `RECIPES` to run.
    **settings
        For `ThreePhaseTrainer`, over those of the recipe.

    Returns
    -------
    Evaluation
    """
    runs.prepare(out, seed)
    if name is None:
        name = "fashion-mnist" if has_fashion_mnist() else "digits"
    recipe = dict(RECIPES[name])
    full, test = datasets.load(name), datasets.load(name, "test")
    imbalance, n_max = recipe.pop("imbalance"), recipe.pop("n_max")
    rows = full.take(datasets.long_tail(full.y, imbalance, n_max=n_max, seed=seed))
    console.print(
        f"{name}, long tail {imbalance}:1, {len(rows.y):,} rows; {MODEL}, phases: backbone, "
        "expand, head",
        soft_wrap=True,
    )
    model, head = runs.network(MODEL, rows, seed)
    about = {"model": MODEL, "data": name, "imbalance": imbalance, "n_max": n_max}
    chosen = {"seed": seed, "about": about, **recipe, **settings}
    title = f"Expansive demo: {name}, long tail {imbalance}:1"
    return runs.train(model, head, rows, test, out, chosen, console, title=title)
