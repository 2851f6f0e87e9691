"""Draw docs/picture.png: `python docs/make_picture.py`, with the package installed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch
from numpy.typing import NDArray

import expansive as ex
from expansive.report.figures import INK, MUTED, SYNTHETIC, TEST, TRAIN

CROWD, FRAME = "#c3cbd5", "#0b3c5d"
RARE = 1
STYLE = {"font.size": 10.5, "text.color": INK}
Points = NDArray[np.float64]


def make_data() -> tuple[Points, NDArray[np.int64], Points]:
    """Give training rows with labels, and test rows of the rare class from the same source."""
    rng = np.random.default_rng(11)
    rare = rng.normal(size=(90, 2)) * [1.0, 0.62] @ np.array([[0.9, 0.43], [-0.43, 0.9]])
    angle, radius = rng.uniform(0, 2 * np.pi, 420), rng.normal(3.3, 0.62, 420)
    crowd = np.stack([radius * np.cos(angle), 0.74 * radius * np.sin(angle)], axis=1)
    crowd = crowd[(np.abs(crowd) < [4.15, 2.95]).all(axis=1)]
    seen = rng.choice(len(rare), 9, replace=False)
    x = np.concatenate([crowd, rare[seen]])
    y = np.repeat([0, RARE], [len(crowd), len(seen)])
    return x, y, np.delete(rare, seen, axis=0)


def draw_panel(
    axes: Axes,
    x: Points,
    y: NDArray[np.int64],
    test: Points,
    title: str,
    plan: ex.SynthesisPlan | None,
) -> None:
    """Draw the data, the rows that `plan` makes, and the range of the rare class with them."""
    train = x[y == RARE]
    reached = train
    axes.scatter(*x[y != RARE].T, 14, color=CROWD, linewidths=0)
    if plan is not None:
        base, partner, _ = plan.recipe(0, plan.n_samples)
        made = plan.generate(x, 0, plan.n_samples)
        lines = np.stack([x[base], x[partner]], axis=1)
        axes.add_collection(LineCollection(lines, colors=SYNTHETIC, linewidths=0.6, alpha=0.35))
        axes.scatter(*made.T, 14, color=SYNTHETIC, linewidths=0, zorder=3)
        reached = np.concatenate([train, made])
    axes.scatter(*test.T, 26, facecolor="white", edgecolor=TEST, linewidth=1.1, zorder=4)
    axes.scatter(*train.T, 58, color=TRAIN, edgecolor="white", linewidth=0.9, zorder=5)
    draw_range(axes, reached)
    gap = ex.metrics.generalization_gap(reached, np.zeros(len(reached)), test, np.zeros(len(test)))[
        0
    ]
    axes.set_title(title, loc="left", fontsize=13, fontweight="bold", pad=22)
    axes.text(0, 1.025, f"generalization gap {gap:.1f}", color=MUTED, transform=axes.transAxes)
    axes.set(xlim=(-4.3, 4.3), ylim=(-3.05, 3.05), aspect="equal")
    axes.axis("off")


def draw_range(axes: Axes, x: Points) -> None:
    """Frame the range of the rows: what the gap measures test rows against."""
    low, high = x.min(axis=0), x.max(axis=0)
    style: dict[str, Any] = {"boxstyle": "round,pad=0,rounding_size=0.08", "linewidth": 1.2}
    axes.add_patch(
        FancyBboxPatch(low, *(high - low), fc=f"{FRAME}10", ec=FRAME, ls=(0, (4, 3)), **style)
    )


def draw(path: Path) -> None:
    """Draw the picture, 1200 x 420 at twice the resolution."""
    x, y, test = make_data()
    figure = Figure(figsize=(12, 4.2), facecolor="white")
    left, middle, right = figure.subplots(1, 3)
    strategy = {RARE: 160}
    draw_panel(left, x, y, test, "A rare class: few rows, narrow range", None)
    smote = ex.SynthesisPlan.smote(x, y, strategy, k=3, seed=1)
    draw_panel(middle, x, y, test, "SMOTE: between friends, no wider", smote)
    eos = ex.SynthesisPlan.eos(x, y, strategy, k=10, expansion=(0.0, 0.7), seed=1)
    draw_panel(right, x, y, test, "EOS: towards the nearest enemies", eos)
    handles = [
        left.scatter([], [], 58, color=TRAIN, label="rare class, training"),
        left.scatter([], [], 24, facecolor="white", edgecolor=TEST, label="rare class, test"),
        left.scatter([], [], 24, color=SYNTHETIC, label="synthetic"),
        left.scatter([], [], 24, color=CROWD, label="other classes"),
    ]
    figure.legend(handles=handles, loc="lower center", ncols=4, frameon=False, handletextpad=0.2)
    figure.subplots_adjust(0.012, 0.075, 0.988, 0.865, wspace=0.03)
    figure.savefig(path, dpi=200, metadata={"Software": None})


if __name__ == "__main__":
    with matplotlib.rc_context(STYLE):
        draw(Path(__file__).with_name("picture.png"))
