"""An evaluation as a self-contained HTML page."""

from __future__ import annotations

import html
import math
from pathlib import Path
from string import Template
from typing import Any

from expansive.files import PathLike, atomic_write
from expansive.metrics import Evaluation
from expansive.report.figures import AFTER, FONTS, Panel, panels
from expansive.report.numbers import Line, lines, reading, seconds

_PAGE = Template(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))
_FIGURE = Template(
    """<figure class="$kind"><h2>$title</h2>
$svg
<figcaption>$caption</figcaption></figure>"""
)


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
    shown = {**evaluation.settings, "seconds": seconds(evaluation)}
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
