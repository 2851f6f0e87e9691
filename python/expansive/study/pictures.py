"""Pictures of a study as PNG files, drawn with matplotlib's Figure (no global state)."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from expansive.extras import import_extra
from expansive.files import atomic_write
from expansive.report.figures import ENEMIES, STYLE, SYNTHETIC, TEST, TRAIN, nearest_classes
from expansive.study.blocks import Picture
from expansive.study.methods import HEAD_RULES, make_rows
from expansive.study.networks import Trained, is_trained, read
from expansive.study.plan import Cell, Study
from expansive.study.run import NETWORKS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#98a3b0", "#e69f00", "#009e73", "#cc79a7", "#0072b2", "#d55e00")
"""Told apart with any colour vision (Okabe and Ito 2008); grey for what the rest is measured by."""
MOST_NAMES = 12
"""Classes whose names are shown below their bars; of more, the numbers."""
SHOWN_ROWS = 200
"""Rows of each kind in a projection."""


def draw(study: Study, rows: pd.DataFrame, folder: Path) -> Iterator[Picture]:
    """Draw what the results of one data set and backbone have the numbers for.

    Parameters
    ----------
    study : Study
    rows : DataFrame
        Finished cells, as `results.frame` gives them. Classes and the projection are drawn for the
        first loss; accuracy against k and the range for each.
    folder : Path
        Where the PNG files go.

    Yields
    ------
    Picture
    """
    stem = _stem(rows)
    first = rows[rows["loss"] == rows["loss"].iloc[0]]
    methods = compared(study, first)
    matplotlib = import_extra("matplotlib", "train")
    with matplotlib.rc_context(STYLE):
        for column, label, caption in PER_CLASS:
            figure = per_class(first, column, methods, label)
            yield _saved(figure, folder / f"{stem}-{column}.png", f"{caption} {_loss(first)}")
        for column, caption in AGAINST.items():
            varied = rows[rows["enemies"].notna()]
            others = {"k": "expansion", "expansion": "k"}[column]
            varied = varied[varied[others] == _usual(varied, others)]
            if varied[column].nunique() > 1:
                figure = against(rows, varied, column)
                yield _saved(figure, folder / f"{stem}-against-{column}.png", caption)
        yield from _projections(study, first, folder, stem)


PER_CLASS = (
    (
        "recall",
        "recall",
        "Recall per class on the test rows, mean and standard deviation over seeds; classes from "
        "the largest to the smallest, training rows in brackets.",
    ),
    (
        "gap",
        "gap",
        "Generalization gap per class: how far test embeddings reach outside the range of training "
        "and synthetic embeddings, summed over features. Methods that repeat rows or interpolate "
        "within a class cannot change it.",
    ),
    (
        "head_norms",
        "norm",
        "Norms of the head's weights per class: imbalance makes those of rare classes small.",
    ),
)
AGAINST = {
    "k": "Balanced accuracy against the number of neighbours k of EOS, mean and standard deviation "
    "over seeds; dashed: the other methods.",
    "expansion": "Balanced accuracy against the range of the interpolation weight of EOS, from the "
    "row (0) to its enemy (1); dashed: the other methods.",
}


def compared(study: Study, rows: pd.DataFrame) -> list[str]:
    """Choose at most six methods to draw: the loss alone, the usual ones, and the reference."""
    there = list(rows["method"].unique())
    reference = study.reference_label
    wished = ["none", "random", "smote", "crt"]
    wished += [name for name in there if name.startswith("eos neighborhood")][:1]
    chosen = [name for name in wished if name in there and name != reference]
    return [*chosen, reference] if reference in there else chosen or there[:6]


def per_class(rows: pd.DataFrame, column: str, methods: Sequence[str], label: str) -> Figure:
    """Draw one number per class and method."""
    figure = _figure(9.6, 4.2)
    axes = figure.add_subplot()
    counts = np.mean(np.stack(rows["train_counts"].to_list()), axis=0)
    order = np.argsort(-counts, kind="stable")
    place = np.arange(len(order))
    for number, method in enumerate(methods):
        values = _stacked(rows.loc[rows["method"] == method, column])
        if values is None:
            continue
        shift = 0.8 * ((number + 0.5) / len(methods) - 0.5)
        axes.bar(
            place + shift,
            np.nanmean(values, axis=0)[order],
            0.8 / len(methods),
            yerr=_sd(values)[order],
            color=COLOURS[number],
            error_kw={"elinewidth": 0.7},
            label=method,
        )
    classes = rows["classes"].iloc[0]
    crowded = len(order) > MOST_NAMES
    named = [f"{c if crowded else classes[c]}\n({counts[c]:.0f})" for c in order]
    axes.set_xticks(place, named)
    axes.set(xlabel="class (training rows)", ylabel=label)
    axes.grid(visible=False, axis="x")
    figure.legend(loc="outside upper center", ncols=min(len(methods), 6))
    return figure


def against(rows: pd.DataFrame, varied: pd.DataFrame, column: str) -> Figure:
    """Draw balanced accuracy against a parameter of EOS: a panel per loss, a line per mode."""
    losses = list(varied["loss"].unique())
    columns = min(len(losses), 4)
    lines = -(-len(losses) // columns)
    figure = _figure(max(3.2 * columns, 5.0), 2.9 * lines + 0.5)
    panels = figure.subplots(lines, columns, squeeze=False, sharey=True).ravel()
    values = sorted(varied[column].unique())
    for axes, loss in zip(panels, losses, strict=False):
        own = varied[varied["loss"] == loss]
        for number, (mode, group) in enumerate(own.groupby("enemies", sort=False)):
            by = group.groupby(column)["balanced_accuracy"].agg(["mean", "std"]).fillna(0.0)
            # Side by side, so that the standard deviations of all modes can be seen.
            at = [values.index(value) + 0.05 * number for value in by.index]
            colour = COLOURS[4 - number]
            axes.errorbar(
                at, 100 * by["mean"], 100 * by["std"], marker="o", color=colour, label=mode
            )
        others = rows[(rows["loss"] == loss) & rows["enemies"].isna()]
        for number, name in enumerate(n for n in ("none", "smote") if n in set(others["method"])):
            mean = 100 * others.loc[others["method"] == name, "balanced_accuracy"].mean()
            axes.axhline(mean, linestyle="--", color=COLOURS[number], label=name)
        shown = [f"{value:g}" if isinstance(value, float) else value for value in values]
        axes.set_xticks(range(len(values)), shown)
        axes.set_title(f"loss {loss}")
        axes.set_xlabel(column)
    for axes in panels[len(losses) :]:
        axes.remove()
    panels[0].set_ylabel("balanced accuracy, %")
    handles = {
        name: handle for handle, name in zip(*panels[0].get_legend_handles_labels(), strict=True)
    }
    figure.legend(handles.values(), handles.keys(), loc="outside upper center", ncols=3)
    return figure


def projections(kept: Trained, cells: Sequence[Cell]) -> Figure:
    """Draw the smallest class and the three nearest to it, by PCA and t-SNE, a column per method.

    Every panel of a row shows the same projection: it is fitted to all rows that are drawn.
    """
    rng = np.random.default_rng(0)
    counts = np.bincount(kept.train_y)
    smallest = int(np.argmin(counts))
    enemies = nearest_classes(kept.train_x, kept.train_y, smallest, len(ENEMIES))
    parts = {
        **{
            f"{kept.facts['classes'][c]}, training": _some(kept.train_x, kept.train_y, c, rng)
            for c in enemies
        },
        "own, training": _some(kept.train_x, kept.train_y, smallest, rng),
        "own, test": _some(kept.test_x, kept.test_y, smallest, rng),
    }
    for cell in cells:
        rows = make_rows(
            cell.method, kept.train_x, kept.train_y, cell.parameters, cell.network.seed
        )
        made_y = np.asarray(rows.plan.labels(0, rows.plan.n_samples))
        numbers = np.flatnonzero(made_y == smallest)
        numbers = np.sort(rng.permutation(numbers)[:SHOWN_ROWS])
        parts[cell.label] = np.asarray(rows.plan.generate_rows(rows.real.x, numbers))
    figure = _figure(5.2 * len(cells), 9.4)
    grid = figure.subplots(2, len(cells), squeeze=False)
    for line, (name, flat) in zip(grid, _planes(parts).items(), strict=True):
        for axes, cell in zip(line, cells, strict=True):
            _scatter(axes, flat, cell.label, str(kept.facts["classes"][smallest]))
            axes.set_title(f"{name}, {cell.label}")
    handles, names = grid[0][0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=3)
    return figure


def _scatter(axes: Any, flat: dict[str, NDArray[Any]], method: str, own: str) -> None:
    enemies = [name for name in flat if name.endswith(", training") and name != "own, training"]
    for colour, name in zip(ENEMIES, enemies, strict=False):
        axes.scatter(*flat[name].T, 16, color=colour, label=name, linewidths=0)
    axes.scatter(*flat[method].T, 20, color=SYNTHETIC, label=f"{own}, synthetic", linewidths=0)
    axes.scatter(*flat["own, test"].T, 26, facecolor="none", edgecolor=TEST, label=f"{own}, test")
    axes.scatter(
        *flat["own, training"].T, 36, color=TRAIN, edgecolor="white", label=f"{own}, training"
    )
    axes.set(xticks=[], yticks=[])


def _planes(parts: dict[str, NDArray[Any]]) -> dict[str, dict[str, NDArray[Any]]]:
    decomposition = import_extra("sklearn.decomposition", "train")
    manifold = import_extra("sklearn.manifold", "train")
    everything = np.concatenate(list(parts.values())).astype(np.float64)
    ends = np.cumsum([len(part) for part in parts.values()])[:-1]
    perplexity = min(30.0, (len(everything) - 1) / 3)
    both = {
        "PCA": decomposition.PCA(2, svd_solver="full").fit_transform(everything),
        "t-SNE": manifold.TSNE(2, perplexity=perplexity, random_state=0).fit_transform(everything),
    }
    return {
        name: dict(zip(parts, np.split(flat, ends), strict=True)) for name, flat in both.items()
    }


def _projections(study: Study, rows: pd.DataFrame, folder: Path, stem: str) -> Iterator[Picture]:
    """Draw SMOTE's and the reference's rows for the first seed whose network is still there."""
    data, backbone, loss = (rows[name].iloc[0] for name in ("data", "backbone", "loss"))
    seed = rows["seed"].iloc[0]
    wanted = [name for name in ("smote", study.reference_label) if name in set(rows["method"])]
    cells = {
        cell.label: cell
        for cell in study.cells()
        if (cell.network.data_name, cell.network.backbone_name) == (data, backbone)
        and (cell.network.loss, cell.network.seed) == (loss, seed)
        and cell.method not in HEAD_RULES
        and cell.method != "crt"
    }
    chosen = [cells[name] for name in dict.fromkeys(wanted) if name in cells]
    path = folder / f"{stem}-projection.png"
    caption = (
        "Embeddings of the smallest class and of the classes nearest to it, a sample of each, with "
        f"synthetic rows of {' and of '.join(cell.label for cell in chosen)}; seed {seed}. "
        f"{_loss(rows)}"
    )
    if chosen and is_trained(chosen[0].network, folder / NETWORKS):
        kept = read(chosen[0].network, folder / NETWORKS)
        yield _saved(projections(kept, chosen), path, caption)
    elif path.is_file():
        yield Picture(path, caption)


def _some(x: NDArray[Any], y: NDArray[Any], label: int, rng: np.random.Generator) -> NDArray[Any]:
    picked: NDArray[Any] = x[rng.permutation(np.flatnonzero(y == label))[:SHOWN_ROWS]]
    return picked


def _stacked(values: pd.Series[Any]) -> NDArray[np.float64] | None:
    """Stack lists of one number per class, [seeds, n_classes]; None where there are none."""
    known = [np.array(value, dtype=np.float64) for value in values if value is not None]
    return np.stack(known) if known else None


def _sd(values: NDArray[np.float64]) -> NDArray[np.float64]:
    spread: NDArray[np.float64] = (
        np.nanstd(values, axis=0, ddof=1) if len(values) > 1 else np.zeros(values.shape[1])
    )
    return spread


def _usual(rows: pd.DataFrame, column: str) -> Any:
    """Give the value that most cells have, the first of equals; None without cells."""
    found = rows[column].value_counts(sort=False)
    return found.idxmax() if len(found) else None


def _figure(width: float, height: float) -> Figure:
    module = import_extra("matplotlib.figure", "train")
    figure: Figure = module.Figure(figsize=(width, height), layout="constrained")
    return figure


def _saved(figure: Figure, path: Path, caption: str) -> Picture:
    image = import_extra("PIL.Image", "train")
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=110, format="png")
    with atomic_write(path) as temporary, temporary.open("wb") as stream:
        # A palette is enough for plots, and a quarter of the bytes.
        image.open(drawn).convert("RGB").quantize(64).save(stream, "PNG", optimize=True)
    return Picture(path, caption)


def _stem(rows: pd.DataFrame) -> str:
    text = f"{rows['data'].iloc[0]} {rows['backbone'].iloc[0]}"
    return re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-").lower()


def _loss(rows: pd.DataFrame) -> str:
    return f"Loss {rows['loss'].iloc[0]}."
