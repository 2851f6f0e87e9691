"""An evaluation as a table, as JSON, and as a self-contained HTML page."""

from __future__ import annotations

import dataclasses
import html
import json
import math
from string import Template
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from expansive.extras import import_extra
from expansive.figures import AFTER, FONTS, Panel, panels
from expansive.files import atomic_write
from expansive.formats import PathLike
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
        caption=f"Seconds: {_seconds(evaluation)}",
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
    return json.dumps(_plain(fields), indent=2, allow_nan=False)


def write_json(evaluation: Evaluation, path: PathLike) -> None:
    """Write `to_json` to a file, whole or not at all."""
    with atomic_write(path) as temporary:
        temporary.write_text(to_json(evaluation) + "\n", encoding="utf-8")


def write_html(evaluation: Evaluation, path: PathLike, title: str = "Expansive report") -> None:
    """Write a page with everything inside it: no script, no request to anywhere.

    Parameters
    ----------
    evaluation : Evaluation
    path : path-like
        File to write, whole or not at all.
    title : str
        Heading of the page.

    Raises
    ------
    OSError
        When the file cannot be written.
    ImportError
        When matplotlib is missing; names the pip command.
    """
    with atomic_write(path) as temporary:
        temporary.write_text(_page(evaluation, title), encoding="utf-8")


def _page(evaluation: Evaluation, title: str) -> str:
    drawn = panels(evaluation)
    return _PAGE.substitute(
        accent=AFTER,
        fonts=FONTS,
        title=html.escape(title),
        subtitle=html.escape(_subtitle(evaluation)),
        reading=html.escape(reading(evaluation)).replace(" %", "&nbsp;%"),
        cards="\n".join(_card(line) for line in lines(evaluation) if not math.isnan(line.change)),
        halves="\n".join(_figure(panel) for panel in drawn if not panel.wide),
        wides="\n".join(_figure(panel) for panel in drawn if panel.wide),
        settings=_settings_rows(evaluation),
    )


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


def _seconds(evaluation: Evaluation) -> str:
    return ", ".join(f"{name} {value:.1f}" for name, value in evaluation.seconds.items())


def _subtitle(evaluation: Evaluation) -> str:
    counts = evaluation.train_counts
    return (
        f"{len(counts)} classes, {counts.sum():,} training rows, "
        f"{counts.max() / counts.min():.0f}:1 between the largest and the smallest class, "
        f"{evaluation.before.confusion.sum():,} test rows"
    )


def _card(line: Line) -> str:
    before, after, change = line.texts()
    mood = {True: "better", False: "worse", None: "same"}[line.improved]
    unit = f"<small> {line.unit}</small>" if line.unit else ""
    return (
        f'<div class="card"><h2>{html.escape(line.name)}</h2>'
        f'<p class="number">{after}{unit}</p>'
        f'<p class="was"><span class="{mood}">{change}</span> was {before}</p></div>'
    )


def _figure(panel: Panel) -> str:
    return _FIGURE.substitute(
        kind="wide" if panel.wide else "half",
        title=html.escape(panel.title),
        caption=html.escape(panel.caption),
        svg=panel.svg,
    )


def _settings_rows(evaluation: Evaluation) -> str:
    shown = {**evaluation.settings, "seconds": _seconds(evaluation)}
    return "\n".join(
        f"<tr><th>{html.escape(str(name).replace('_', ' '))}</th>"
        f"<td>{html.escape(_text(value))}</td></tr>"
        for name, value in shown.items()
    )


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return "default" if value is None else str(value)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return _plain(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value


_FIGURE = Template(
    """<figure class="$kind"><h2>$title</h2>
$svg
<figcaption>$caption</figcaption></figure>"""
)

_PAGE = Template(
    """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>$title</title>
<style>
:root { --ink: #1b2733; --muted: #5d6b7a; --line: #e3e8ee; --accent: $accent; }
* { box-sizing: border-box; }
body { margin: 0; background: #f5f7fa; color: var(--ink);
  font: 16px/1.55 $fonts; }
main { max-width: 1120px; margin: 0 auto; padding: 48px 24px 64px; }
h1 { font-size: 30px; line-height: 1.2; letter-spacing: -.015em; margin: 0 0 6px; }
.subtitle { color: var(--muted); margin: 0 0 24px; }
.reading { font-size: 17.5px; max-width: 48em; margin: 0 0 28px; padding-left: 18px;
  border-left: 3px solid var(--accent); }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(136px, 1fr)); gap: 12px;
  margin-bottom: 20px; }
.card, figure, .settings { background: #fff; border: 1px solid var(--line); border-radius: 10px; }
.card { padding: 14px 16px; display: flex; flex-direction: column; }
.card h2 { font-size: 12.5px; line-height: 1.3; font-weight: 500; color: var(--muted);
  margin: 0 0 auto; padding-bottom: 8px; }
.number { font-size: 27px; line-height: 1.1; font-weight: 650; letter-spacing: -.02em; margin: 0;
  font-variant-numeric: tabular-nums; }
.number small { font-size: 15px; font-weight: 400; color: var(--muted); }
.was { font-size: 13px; color: var(--muted); margin: 4px 0 0; font-variant-numeric: tabular-nums; }
.was { white-space: nowrap; } .was span { margin-right: 5px; font-weight: 600; }
.better { color: var(--accent); } .worse { color: #b34700; }
.grid { display: grid; grid-template-columns: 1fr 1fr; gap: 20px; align-items: stretch; }
figure { margin: 0; padding: 20px 22px; min-width: 0; }
.wide { grid-column: 1 / -1; }
figure h2, .settings h2 { font-size: 17px; margin: 0 0 8px; letter-spacing: -.01em; }
figure svg { display: block; width: 100%; height: auto; }
figcaption { color: var(--muted); font-size: 13.5px; line-height: 1.5; margin-top: 10px;
  max-width: 62em; }
.settings { padding: 20px 22px; min-width: 0; }
table { border-collapse: collapse; width: 100%; font-size: 12.5px; }
th, td { text-align: left; padding: 1px 0; border-bottom: 1px solid var(--line);
  vertical-align: top; overflow-wrap: anywhere; }
th { font-weight: 400; color: var(--muted); width: 45%; padding-right: 12px; }
td { font-variant-numeric: tabular-nums; }
@media (max-width: 860px) { .grid { grid-template-columns: 1fr; } main { padding: 28px 14px; } }
@media print { body { background: #fff; } figure, .card, .settings { break-inside: avoid; } }
</style>
</head>
<body>
<main>
<h1>$title</h1>
<p class="subtitle">$subtitle</p>
<p class="reading">$reading</p>
<section class="cards">
$cards
</section>
<section class="grid">
$halves
<div class="settings"><h2>Settings</h2>
<table>
$settings
</table></div>
$wides
</section>
</main>
</body>
</html>
"""
)
