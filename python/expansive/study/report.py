"""The report of a study: results.parquet, results.csv, report.md and report.html."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from rich import box
from rich.table import Table

from expansive.study import results
from expansive.study.cells import Cells
from expansive.study.plan import Study

CELLS = "cells"


def write(study: Study, folder: Path) -> Table:
    """Write the report of all cells of a study that have a result.

    Parameters
    ----------
    study : Study
    folder : Path
        Folder of the study.

    Returns
    -------
    rich.table.Table
        The summary, for the terminal.

    Raises
    ------
    ValueError
        When no cell has a result yet.
    """
    kept = Cells(folder / CELLS)
    found = [kept.read(cell) for cell in study.cells() if kept.done(cell)]
    if not found:
        raise ValueError(f"no cell of the study has a result in {str(folder)!r} yet: run it first")
    table = results.frame(found)
    results.write(table, folder)
    return summary(table)


def summary(table: pd.DataFrame) -> Table:
    """Show the mean and standard deviation over seeds of the main scores."""
    made = Table(box=box.SIMPLE_HEAD)
    for heading in (*results.GROUP, "method"):
        made.add_column(heading)
    for heading in ("seeds", "balanced accuracy", "G-mean", "gap"):
        made.add_column(heading, justify="right")
    done = table[table["status"] == "done"]
    for names, rows in done.groupby([*results.GROUP, "method"], sort=False):
        shown = [(rows[key], scale) for key, scale in SHOWN]
        made.add_row(*names, str(len(rows)), *(mean_sd(values, scale) for values, scale in shown))
    return made


SHOWN = (("balanced_accuracy", 100), ("g_mean", 100), ("mean_gap", 1))


def mean_sd(values: pd.Series[float], scale: float = 1.0) -> str:
    """Write the mean over seeds and, of two or more, the standard deviation."""
    mean, sd = scale * values.mean(), scale * values.std(ddof=1)
    return f"{mean:.1f}" if len(values) < 2 else f"{mean:.1f} ± {sd:.1f}"
