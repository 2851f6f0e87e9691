"""The sub-commands of `expansive`; needs the extra ``train``. Run through `expansive.cli.main`."""

from __future__ import annotations

import platform
import sys
from enum import Enum
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

import expansive
from expansive import datasets, files
from expansive.cli import inputs
from expansive.cli.bench import bench
from expansive.extras import import_extra
from expansive.synthesis import SynthesisPlan

console = Console()
app = typer.Typer(
    help="Expansive over-sampling of imbalanced data: search, synthesis, three-phase training.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)

app.command()(bench)

ROWS_PER_SLICE = 65_536


class Method(str, Enum):
    """How synthetic rows are made."""

    eos = "eos"
    smote = "smote"
    random = "random"


class Enemies(str, Enum):
    """Which enemies EOS draws from."""

    nearest = "nearest"
    neighborhood = "neighborhood"


class Dtype(str, Enum):
    """Element type of the rows written."""

    float16 = "float16"
    float32 = "float32"
    float64 = "float64"


XKey = Annotated[
    str, typer.Option(help="Name of the array of rows; in a .parquet of a column of lists.")
]
YKey = Annotated[str, typer.Option(help="Name of the array, or column, of labels (not .npy).")]
Drop = Annotated[
    list[str] | None,
    typer.Option(help="Column of a .parquet that is no feature, such as row numbers; repeatable."),
]
Seed = Annotated[int, typer.Option(help="The same seed gives the same result.")]
MethodOption = Annotated[Method, typer.Option(help="How to make synthetic rows.")]
ENEMIES = "nearest: the k nearest enemies; neighborhood: those among the k nearest rows."
EXPANSION = "Range of the weight, from the row (0) to its enemy (1)."
EnemiesOption = Annotated[
    Enemies | None, typer.Option(help=f"{ENEMIES} Default: nearest. For eos.")
]
Expansion = Annotated[
    tuple[float, float] | None,
    typer.Option(help=f"{EXPANSION} Default: 0 1. For eos and smote.", metavar="LOW HIGH"),
]


def _show_version(wanted: bool) -> None:
    if wanted:
        console.out(f"expansive {expansive.__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Take the options that need no command; the text of help is the one of `app`."""


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for report.html and metrics.json.")] = Path(
        "runs/demo"
    ),
    seed: Seed = 0,
) -> None:
    """Train a small network on a long tail, rebalance its head, and show what changed.

    Fashion-MNIST when its files are there, else scikit-learn's digits; about a minute on two cores.
    """
    import_extra("torch", "train")
    from expansive.cli.demo import run

    run(out, seed=seed, console=console)


@app.command()
def train(
    data: Annotated[
        str,
        typer.Argument(
            help="digits, fashion-mnist, an array file, an image folder, or owner/name."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder for the report, the log and the weights.")],
    model: Annotated[
        str, typer.Option(help="resnet32, wrn-16-4, densenet-40-12, timm:NAME and the like.")
    ] = "resnet32",
    width: Annotated[
        int | None, typer.Option(help="Channels of the first stage of a resnet. Default: 16.")
    ] = None,
    head: Annotated[
        str | None, typer.Option(help="Module to rebalance. Default: the model's last.")
    ] = None,
    imbalance: Annotated[
        float | None, typer.Option(help="Make a long tail: 100 for 100:1. Default: as it is.")
    ] = None,
    epochs: Annotated[int, typer.Option(help="Epochs of the whole network.")] = 200,
    head_epochs: Annotated[int, typer.Option(help="Epochs of the head alone.")] = 10,
    batch_size: Annotated[int, typer.Option(help="Rows of a step.")] = 128,
    lr: Annotated[float, typer.Option(help="Learning rate of SGD.")] = 0.1,
    schedule: Annotated[str, typer.Option(help="cosine, step or constant.")] = "cosine",
    method: MethodOption = Method.eos,
    k: Annotated[
        int | None, typer.Option(help="Neighbours to draw from. Default: 100; 5 for smote.")
    ] = None,
    enemies: EnemiesOption = None,
    expansion: Expansion = None,
    augment: Annotated[bool, typer.Option(help="Random crops and mirror images.")] = True,
    image_size: Annotated[int | None, typer.Option(help="Resize images to this size.")] = None,
    x_key: Annotated[str, typer.Option(help="Name of the array, or Hub column, of images.")] = "x",
    y_key: Annotated[str, typer.Option(help="Name of the array, or column, of labels.")] = "y",
    labels: Annotated[Path | None, typer.Option(help="Labels of a .npy: another .npy.")] = None,
    root: Annotated[Path | None, typer.Option(help="Folder of the Fashion-MNIST files.")] = None,
    resume: Annotated[bool, typer.Option(help="Continue from the newest checkpoint.")] = False,
    seed: Seed = 0,
) -> None:
    """Train in three phases: the backbone, the synthetic plan, the head.

    Of array files, digits, and image folders without a folder "test", a fifth of each class is held
    out to test on. Images of array files are [n, height, width] or [n, height, width, channels].
    """
    import_extra("torch", "train")
    from expansive.cli import runs
    from expansive.train.models import check_name

    given = inputs.taken(method.value, k=k, enemies=enemies, expansion=expansion)
    check_name(model, width=width)
    runs.prepare(out, seed)
    if not resume:
        runs.require_no_checkpoints(out / "checkpoints")
    full, test = inputs.load_split(
        data, labels, root=root, x_key=x_key, y_key=y_key, image_size=image_size
    )
    kept = None if imbalance is None else datasets.long_tail(full.y, imbalance, seed=seed)
    rows = full if kept is None else full.take(kept)

    console.print(
        f"{data}: {len(rows.y):,} rows to train on, {len(test.y):,} to test on, "
        f"{len(rows.classes)} classes",
        markup=False,
        soft_wrap=True,
    )

    def keep_subset(record: dict[str, Any]) -> None:
        # After an epoch: a run that is refused leaves the file of the one before it as it is.
        if kept is not None and record["epoch"] == 1:
            path = out / "long_tail.npz"
            datasets.save_indices(path, kept, full.y, imbalance=imbalance, seed=seed)

    network, own_head = runs.network(model, rows, seed, width=width)
    settings: dict[str, Any] = {
        "epochs": epochs,
        "head_epochs": head_epochs,
        "batch_size": batch_size,
        "lr": lr,
        "schedule": schedule,
        "method": method.value,
        **given,
        "checkpoint_dir": out / "checkpoints",
        "log_path": out / "log.jsonl",
        "seed": seed,
        "about": {
            "model": model,
            "width": width,
            "head": head or own_head,
            "data": data,
            "image_size": image_size,
            "x_key": x_key,
            "y_key": y_key,
            "imbalance": imbalance,
            "augment": augment,
        },
        "on_epoch": keep_subset,
    }
    runs.train(
        network,
        head or own_head,
        rows,
        test,
        out,
        settings,
        console,
        augment=augment,
        resume=resume,
    )


@app.command()
def oversample(
    source: Annotated[Path, typer.Argument(metavar="IN", help="Array file to read.")],
    target: Annotated[Path, typer.Argument(metavar="OUT", help="Array file to write.")],
    x_key: XKey = "x",
    y_key: YKey = "y",
    drop: Drop = None,
    labels: Annotated[
        Path | None, typer.Option(help="Labels of IN when it is a .npy: another .npy.")
    ] = None,
    out_labels: Annotated[
        Path | None, typer.Option(help="Where the labels go when OUT is a .npy.")
    ] = None,
    sampling_strategy: Annotated[
        str,
        typer.Option(
            help="auto (all as large as the largest), minority, not minority, not majority, all; "
            "for two classes a share, as 0.5; or rows of classes, as cat=500,dog=300 or, for names "
            """with commas, JSON: '{"cat, wild": 500}'."""
        ),
    ] = "auto",
    method: MethodOption = Method.eos,
    k: Annotated[
        int | None, typer.Option(help="Neighbours to draw from. Default: 10; 5 for smote.")
    ] = None,
    enemies: EnemiesOption = None,
    expansion: Expansion = None,
    seed: Seed = 0,
    dtype: Annotated[
        Dtype | None,
        typer.Option(
            help="Type of the rows written. Default: that of IN; float32 for bfloat16 and for "
            "integers of at most 16 bits, float64 for wider ones."
        ),
    ] = None,
    threads: Annotated[
        int | None, typer.Option(help="Threads. Default: all cores, or OMP_NUM_THREADS.")
    ] = None,
    backend: Annotated[str | None, typer.Option(help="See `expansive info`. Default: cpu.")] = None,
) -> None:
    """Write the rows of IN and, after them, synthetic rows: by default, to equally large classes.

    Files are .npz, .npy, .safetensors or .parquet; IN and OUT may be of different kinds.
    """
    given = inputs.taken(method.value, k=k, enemies=enemies, expansion=expansion)
    inputs.check_target(source, labels, target, out_labels)
    x, y = inputs.load(source, x_key, y_key, labels, "--labels", drop)
    kind = np.dtype(dtype.value) if dtype else _float_dtype(x.dtype)
    if dtype:
        inputs.check_range(x, kind)
    columns = files.feature_columns(source, y_key, x_key, drop)
    layout = files.Layout(x.shape, kind, y.dtype, x_key, y_key, columns)
    files.check_output(target, labels=out_labels, layout=layout)
    flat = x.reshape(len(x), -1)
    plan = SynthesisPlan.by_method(
        method.value,
        flat,
        y,
        inputs.strategy(sampling_strategy, y),
        seed=seed,
        backend=backend,
        threads=threads,
        **given,
    )
    layout = layout._replace(shape=(len(x) + plan.n_samples, *x.shape[1:]))
    with files.array_writer(target, layout, labels=out_labels) as write:
        for start in range(0, len(x), ROWS_PER_SLICE):
            rows = slice(start, start + ROWS_PER_SLICE)
            write(x[rows], y[rows])
        for start in range(0, plan.n_samples, ROWS_PER_SLICE):
            stop = min(start + ROWS_PER_SLICE, plan.n_samples)
            made = plan.generate(flat, start, stop, dtype=kind)
            inputs.check_made(made)
            write(made.reshape(-1, *x.shape[1:]), plan.labels(start, stop))
    console.out(
        f"{target}: {len(x):,} rows of {flat.shape[1]:,} features, "
        f"and {plan.n_samples:,} synthetic ones"
    )


def _float_dtype(rows: np.dtype[Any]) -> np.dtype[Any]:
    """Choose floats that hold the rows: all integers of 16 bits, of wider ones those to 2**53."""
    return rows if rows.kind == "f" else np.promote_types(rows, np.float32)


@app.command()
def gap(
    train_file: Annotated[Path, typer.Argument(metavar="TRAIN", help="Embeddings trained on.")],
    test_file: Annotated[Path, typer.Argument(metavar="TEST", help="Embeddings not trained on.")],
    x_key: XKey = "x",
    y_key: YKey = "y",
    drop: Drop = None,
    train_labels: Annotated[Path | None, typer.Option(help="Labels of a .npy TRAIN.")] = None,
    test_labels: Annotated[Path | None, typer.Option(help="Labels of a .npy TEST.")] = None,
) -> None:
    """Show how far the TEST rows of each class reach outside the range of its TRAIN rows."""
    x, y = inputs.load(train_file, x_key, y_key, train_labels, "--train-labels", drop)
    test_x, test_y = inputs.load(test_file, x_key, y_key, test_labels, "--test-labels", drop)
    gaps = expansive.metrics.generalization_gap(
        x.reshape(len(x), -1), y, test_x.reshape(len(test_x), -1), test_y
    )
    classes, counts = np.unique(y, return_counts=True)
    table = Table("class", box=box.SIMPLE_HEAD)
    table.add_column("training rows", justify="right")
    table.add_column("gap", justify="right")
    for name, count, value in zip(classes.tolist(), counts.tolist(), gaps, strict=True):
        table.add_row(Text(str(name)), f"{count:,}", f"{value:.4g}")
    table.add_section()
    table.add_row("mean", "", f"{gaps.mean():.4g}")
    console.print(table)


@app.command()
def info() -> None:
    """Show versions, the backends that can run here, and which one would."""
    from expansive.backends import registry

    table = Table(box=box.SIMPLE_HEAD, show_header=False)
    table.add_row("expansive", expansive.__version__)
    table.add_row("Python", f"{platform.python_version()} on {sys.platform}, {platform.machine()}")
    for package in ("numpy", "scikit-learn", "imbalanced-learn", "torch", "triton"):
        table.add_row(package, _version(package))
    table.add_row("CUDA", _cuda())
    table.add_section()
    chosen = registry.default_backend_name()
    for name, available, detail in registry.describe():
        state = "[green]used[/]" if name == chosen else "available" if available else "[dim]no[/]"
        table.add_row(f"backend {name}", f"{state}: {escape(detail)}")
    console.print(table)


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "[dim]not installed[/]"


def _cuda() -> str:
    try:
        import torch
    except ImportError:
        return "[dim]unknown: torch is not installed[/]"
    if not torch.cuda.is_available():
        return "no device"
    return ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))
