"""Pictures of an evaluation as inline SVG, drawn with matplotlib's Figure (no global state)."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from expansive.extras import import_extra
from expansive.metrics import EmbeddingSample, Evaluation
from expansive.neighbors import Index

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Told apart with any colour vision: the orange, green and blues are Okabe and Ito's (2008).
INK, MUTED, GRID = "#1b2733", "#5d6b7a", "#e3e8ee"
BEFORE, AFTER = "#98a3b0", "#0072b2"
TRAIN, SYNTHETIC, TEST = "#0b3c5d", "#e69f00", "#009e73"
ENEMIES = ("#aab4bf", "#cfa8c8", "#b9bd84")

NAMED_CLASSES = 40
"""With more classes the axes show ranks instead of names."""
COUNTED_CLASSES = 12
"""With more classes the confusion matrices show colours alone."""

STYLE: dict[str, Any] = {
    "font.size": 9.5,
    # Names of classes are the user's: a dollar in them begins no formula.
    "text.parse_math": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "expansive",
    "text.color": INK,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": GRID,
    "axes.titlecolor": INK,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
}
FONTS = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


class Panel(NamedTuple):
    """A picture of the report.

    Attributes
    ----------
    title, caption : str
        Plain text.
    svg : str
        An ``<svg>`` element.
    wide : bool
        Whether it needs the full width of the page.
    """

    title: str
    caption: str
    svg: str
    wide: bool


def panels(evaluation: Evaluation) -> list[Panel]:
    """Draw every picture that the evaluation has the numbers for.

    Embeddings of one dimension are not drawn.

    Parameters
    ----------
    evaluation : Evaluation

    Returns
    -------
    list of Panel
        The same evaluation gives the same text.

    Raises
    ------
    ImportError
        When matplotlib is missing; names the pip command.
    """
    e = evaluation
    matplotlib = import_extra("matplotlib", "train")
    with matplotlib.rc_context(STYLE):
        drawn = [
            Panel(
                "Recall per class",
                "Share of each class's test rows that are recognised. Classes are ordered by "
                "their number of training rows, given in brackets.",
                _dumbbells(e, 100 * e.before.recall, 100 * e.after.recall, "recall, %", (0, 100)),
                False,
            ),
            Panel(
                "Generalization gap per class",
                "How far the test embeddings of a class reach outside the range of its training "
                "embeddings, summed over features; after: of training and synthetic embeddings.",
                _dumbbells(e, e.gap_before, e.gap_after, "gap, units of the embedding", None),
                False,
            ),
        ]
        if e.head_norms_before is not None and e.head_norms_after is not None:
            drawn.append(
                Panel(
                    "Head weights per class",
                    "Euclidean norm of each class's row of the head. Imbalance makes the norms of "
                    "rare classes small, and the head then seldom chooses them.",
                    _dumbbells(e, e.head_norms_before, e.head_norms_after, "norm", None),
                    False,
                )
            )
        if e.sample is not None and e.sample.train_x.shape[1] >= 2:
            drawn.append(_projection(e, e.sample))
        drawn.append(
            Panel(
                "Confusion",
                "Rows are true classes, columns predicted ones; colour and numbers are per cent "
                "of the true class.",
                _confusions(e),
                True,
            )
        )
    return drawn


def to_svg(figure: Figure) -> str:
    """Write a figure as an ``<svg>`` element that fills its container, in the page's font."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None})
    svg = buffer.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    return svg.replace("'DejaVu Sans'", FONTS).replace("<svg", '<svg role="img"', 1)


def _figure(width: float, height: float) -> Figure:
    figure_module = import_extra("matplotlib.figure", "train")
    figure: Figure = figure_module.Figure(figsize=(width, height), layout="constrained")
    return figure


def _order(evaluation: Evaluation) -> NDArray[np.int64]:
    return np.argsort(-evaluation.train_counts, kind="stable")


def _dumbbells(
    e: Evaluation,
    before: NDArray[np.float64],
    after: NDArray[np.float64],
    label: str,
    limits: tuple[float, float] | None,
) -> str:
    """Draw two dots per class, before and after, joined by a line."""
    order = _order(e)
    named = len(order) <= NAMED_CLASSES
    figure = _figure(6.4, max(2.6, 0.9 + 0.3 * len(order)) if named else 5.0)
    axes = figure.add_subplot()
    rank = np.arange(len(order))
    size = 44 if named else 12
    axes.hlines(rank, before[order], after[order], color="#cdd5de", linewidth=2.5 if named else 1)
    axes.scatter(before[order], rank, size, color=BEFORE, label="before", zorder=3)
    axes.scatter(after[order], rank, size, color=AFTER, label="after", zorder=4)
    if named:
        names = [f"{e.classes[c]} ({e.train_counts[c]:,})" for c in order]
        axes.set_yticks(rank, [_short(name) for name in names])
    else:
        axes.set_ylabel("rank of the class by training rows")
    axes.grid(visible=named, axis="y")
    axes.invert_yaxis()
    axes.set_xlabel(label)
    if limits is not None:
        span = limits[1] - limits[0]
        axes.set_xlim(limits[0] - 0.02 * span, limits[1] + 0.02 * span)
    figure.legend(loc="outside upper right", ncols=2, handletextpad=0.1, columnspacing=1.2)
    return to_svg(figure)


def _confusions(e: Evaluation) -> str:
    order = _order(e)
    n = len(order)
    figure = _figure(12.8, 6.0)
    pair = figure.subplots(1, 2, sharey=True)
    for axes, scores, title in zip(pair, (e.before, e.after), ("before", "after"), strict=True):
        matrix = scores.confusion[np.ix_(order, order)].astype(float)
        share = 100 * matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
        axes.imshow(share, cmap="Blues", vmin=0, vmax=100, aspect="equal")
        axes.set_title(title)
        axes.grid(visible=False)
        axes.spines.bottom.set_visible(False)
        if n <= COUNTED_CLASSES:
            _write_shares(axes, share)
        if n <= NAMED_CLASSES:
            names = [_short(e.classes[c], 14) for c in order]
            axes.set_xticks(range(n), names, rotation=40, ha="right", rotation_mode="anchor")
            axes.set_yticks(range(n), names)
        axes.set_xlabel("predicted")
    pair[0].set_ylabel("true")
    return to_svg(figure)


def _write_shares(axes: Axes, share: NDArray[np.float64]) -> None:
    for (i, j), value in np.ndenumerate(share):
        if value >= 0.5:
            colour = "white" if value > 45 else INK
            axes.text(j, i, f"{value:.0f}", ha="center", va="center", color=colour, fontsize=8.5)


def _projection(e: Evaluation, sample: EmbeddingSample) -> Panel:
    """Draw the smallest class that got synthetic rows, with the classes nearest to it."""
    grown = np.unique(sample.synthetic_y)
    minority = int(grown[np.argmin(e.train_counts[grown])]) if len(grown) else int(_order(e)[-1])
    enemies = nearest_classes(sample.train_x, sample.train_y, minority, len(ENEMIES))
    flat = _plane(sample, [minority, *enemies])
    own = _short(e.classes[minority])
    train = flat(sample.train_x[sample.train_y == minority])
    made = flat(sample.synthetic_x[sample.synthetic_y == minority])
    test = flat(sample.test_x[sample.test_y == minority])
    figure = _figure(12.8, 4.9)
    pair = figure.subplots(1, 2, sharex=True, sharey=True)
    for axes, title in zip(
        pair, ("before: training rows", "after: with synthetic rows"), strict=True
    ):
        axes.set_title(title)
        axes.set(xticks=[], yticks=[])
        for colour, enemy in zip(ENEMIES, enemies, strict=False):
            x = flat(sample.train_x[sample.train_y == enemy])
            name = f"{_short(e.classes[enemy])}, training"
            axes.scatter(*x.T, 20, color=colour, label=name, linewidths=0)
        reached = train
        if axes is pair[1]:
            axes.scatter(*made.T, 26, color=SYNTHETIC, label=f"{own}, synthetic", linewidths=0)
            reached = np.concatenate([train, made])
        axes.scatter(
            *test.T, 30, facecolor="none", edgecolor=TEST, linewidth=1.2, label=f"{own}, test"
        )
        axes.scatter(
            *train.T, 46, color=TRAIN, label=f"{own}, training", edgecolor="white", linewidth=0.8
        )
        _draw_range(axes, reached, SYNTHETIC if axes is pair[1] else TRAIN)
    handles, names = pair[1].get_legend_handles_labels()
    figure.legend(
        handles, names, loc="outside lower center", ncols=3, handletextpad=0.1, markerscale=1.4
    )
    return Panel(
        f"The embeddings of {e.classes[minority]!r}",
        f"Two principal components of embeddings of {e.classes[minority]!r} "
        f"({e.train_counts[minority]:,} training rows) and of the classes nearest to it, a sample "
        "of each. The frame is the range of the training rows, on the right that of training and "
        "synthetic rows: what the gap measures, over all features, is how far test rows lie "
        "outside it.",
        to_svg(figure),
        True,
    )


def _draw_range(axes: Axes, x: NDArray[np.float64], colour: str) -> None:
    (left, bottom), (right, top) = x.min(axis=0), x.max(axis=0)
    patches = import_extra("matplotlib.patches", "train")
    axes.add_patch(
        patches.Rectangle(
            (left, bottom),
            right - left,
            top - bottom,
            facecolor=f"{colour}12",
            edgecolor=colour,
            linewidth=1.1,
            linestyle=(0, (4, 3)),
        )
    )


def nearest_classes(x: NDArray[Any], y: NDArray[np.int64], label: int, count: int) -> list[int]:
    """Name the classes nearest to class `label`, the nearest first: the nearest row of each counts.

    Parameters
    ----------
    x : ndarray, shape [n, d]
        Embeddings.
    y : ndarray of int64, shape [n]
        Their class numbers.
    label : int
    count : int
        How many; fewer where there are fewer.
    """
    own = x[y == label]
    others = [int(c) for c in np.unique(y) if c != label]

    def distance(other: int) -> float:
        return float(Index(x[y == other]).search(own, None, 1, "any")[0].min())

    return sorted(others, key=distance)[:count]


def _plane(sample: EmbeddingSample, classes: Sequence[int]) -> Any:
    """Fit two principal components to the drawn classes; gives the projection [n, d] -> [n, 2]."""
    decomposition = import_extra("sklearn.decomposition", "train")
    drawn = np.concatenate(
        [
            sample.train_x[np.isin(sample.train_y, classes)],
            sample.synthetic_x[sample.synthetic_y == classes[0]],
            sample.test_x[sample.test_y == classes[0]],
        ]
    )
    fitted = decomposition.PCA(2, svd_solver="full").fit(drawn.astype(np.float64))
    # Not its transform, which refuses a class that has no rows.
    return lambda x: (x - fitted.mean_) @ fitted.components_.T


def _short(name: str, length: int = 26) -> str:
    return name if len(name) <= length else f"{name[: length - 1]}…"
