"""The numbers of an evaluation: as lines, as a table, as JSON, and in a paragraph."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from expansive.extras import import_extra
from expansive.files import PathLike, atomic_write
from expansive.metrics import FEW_BELOW, MANY_ABOVE, Evaluation

if TYPE_CHECKING:
    from rich.table import Table

MINUS, UNDEFINED = "\N{MINUS SIGN}", "\N{EN DASH}"


class Line(NamedTuple):
    """A number before and after.

    Attributes
    ----------
    name : str
        What it is.
    before, after : float
        Per cent, or units of the embedding for the gap; nan where it is undefined.
    unit : str
        ``"%"`` or nothing.
    more_is_better : bool
    """

    name: str
    before: float
    after: float
    unit: str
    more_is_better: bool

    @property
    def change(self) -> float:
        """What was gained."""
        return self.after - self.before

    @property
    def improved(self) -> bool | None:
        """Whether it got better; None when it did not move or is undefined."""
        if not abs(self.change) >= 0.05:
            return None
        return (self.change > 0) == self.more_is_better

    def texts(self) -> tuple[str, str, str]:
        """Write before, after and change."""
        if math.isnan(self.change):
            return UNDEFINED, UNDEFINED, UNDEFINED
        return f"{self.before:.1f}", f"{self.after:.1f}", _signed(self.change)


def lines(evaluation: Evaluation) -> list[Line]:
    """Headline numbers, in the order in which every report shows them.

    Parameters
    ----------
    evaluation : Evaluation

    Returns
    -------
    list of Line
    """
    names = {
        "balanced_accuracy": "Balanced accuracy",
        "g_mean": "G-mean",
        "macro_f1": "Macro F1",
        "many": f"Recall, many (> {MANY_ABOVE} rows)",
        "medium": f"Recall, medium ({FEW_BELOW} to {MANY_ABOVE})",
        "few": f"Recall, few (< {FEW_BELOW} rows)",
    }
    shares = [
        Line(
            name,
            100 * getattr(evaluation.before, key),
            100 * getattr(evaluation.after, key),
            "%",
            True,
        )
        for key, name in names.items()
    ]
    gaps = (float(np.mean(evaluation.gap_before)), float(np.mean(evaluation.gap_after)))
    return [*shares, Line("Mean generalization gap", *gaps, "", False)]


def table(evaluation: Evaluation) -> Table:
    """Make a rich table of the numbers before and after, with the seconds of each phase.

    Parameters
    ----------
    evaluation : Evaluation

    Returns
    -------
    rich.table.Table

    Raises
    ------
    ImportError
        When rich is missing; names the pip command.
    """
    box = import_extra("rich.box", "train")
    made: Table = import_extra("rich.table", "train").Table(
        box=box.SIMPLE_HEAD,
        caption=f"Seconds: {seconds(evaluation)}",
        caption_justify="left",
    )
    made.add_column("")
    for heading in ("before", "after", "change"):
        made.add_column(heading, justify="right")
    styles = {True: "green", False: "red", None: "dim"}
    for line in lines(evaluation):
        before, after, change = line.texts()
        name = f"{line.name}, {line.unit}" if line.unit else line.name
        made.add_row(name, before, after, f"[{styles[line.improved]}]{change}[/]")
    return made


def to_json(evaluation: Evaluation) -> str:
    """Write every number of an evaluation as JSON; undefined ones become null.

    The embeddings kept for drawing are left out.

    Parameters
    ----------
    evaluation : Evaluation

    Returns
    -------
    str
    """
    fields = dataclasses.asdict(dataclasses.replace(evaluation, sample=None))
    del fields["sample"]
    for name in ("before", "after"):
        fields[f"mean_gap_{name}"] = float(np.mean(fields[f"gap_{name}"]))
    return json.dumps(plain(fields), indent=2, allow_nan=False)


def write_json(evaluation: Evaluation, path: PathLike) -> None:
    """Write `to_json` to a file, whole or not at all."""
    with atomic_write(path) as temporary:
        temporary.write_text(to_json(evaluation) + "\n", encoding="utf-8")


def reading(evaluation: Evaluation) -> str:
    """Say in one paragraph of plain English what the evaluation found.

    Parameters
    ----------
    evaluation : Evaluation

    Returns
    -------
    str
    """
    accuracy, _, _, many, _, few, gap = lines(evaluation)
    moved = {True: "raised", False: "lowered", None: "barely moved"}[accuracy.improved]
    sentences = [
        f"Training the head again on real and synthetic embeddings {moved} balanced accuracy: "
        f"it went {_from_to(accuracy)}."
    ]
    groups = [
        (f"with fewer than {FEW_BELOW} training rows", few),
        (f"with more than {MANY_ABOVE}", many),
    ]
    told = [f"for classes {name} {_from_to(x)}" for name, x in groups if not math.isnan(x.change)]
    if told:
        sentences.append(f"Recall changed {' and '.join(told)}.")
    share = "" if gap.before == 0 else f" ({_signed(100 * gap.change / gap.before, 0)} %)"
    sentences.append(
        "The generalization gap, which is how far test embeddings reach outside the range of "
        f"their class's training embeddings, went from {gap.before:.1f} to {gap.after:.1f}{share} "
        "on average over the classes once the synthetic embeddings are counted in."
    )
    return " ".join([*sentences, *_extremes(evaluation)])


def seconds(evaluation: Evaluation) -> str:
    """Write the seconds of each phase."""
    return ", ".join(f"{name} {value:.1f}" for name, value in evaluation.seconds.items())


def _from_to(line: Line) -> str:
    before, after, change = line.texts()
    return f"from {before} % to {after} % ({change} points)"


def _signed(value: float, digits: int = 1) -> str:
    return f"{value:+.{digits}f}".replace("-", MINUS)


def _extremes(evaluation: Evaluation) -> list[str]:
    change = 100 * (evaluation.after.recall - evaluation.before.recall)
    best, worst = int(np.nanargmax(change)), int(np.nanargmin(change))
    told = []
    if change[best] >= 0.05:
        told.append(f"{evaluation.classes[best]} gained most recall ({_signed(change[best])})")
    if change[worst] <= -0.05:
        told.append(f"{evaluation.classes[worst]} lost most ({_signed(change[worst])})")
    return [f"{'; '.join(told)}."] if told else []


def plain(value: Any) -> Any:
    """Give a value ready for JSON, which has no arrays, NaN or infinity: null for those."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value
