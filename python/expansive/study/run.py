"""Run what is left of a study, cell by cell."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from rich import progress as bars
from rich.console import Console

from expansive.study.cells import Cells, held
from expansive.study.measure import failed, measure
from expansive.study.networks import is_trained, trained
from expansive.study.plan import Cell, Network, Study, selected

CELLS, NETWORKS = "cells", "networks"


class Outcome(NamedTuple):
    """How a run ended.

    Attributes
    ----------
    finished, failed, left : int
        Cells of the selection with a result, of these without scores, and without a result.
    """

    finished: int
    failed: int
    left: int


def run(
    study: Study,
    out: Path,
    console: Console,
    *,
    only: str | None = None,
    max_minutes: float | None = None,
    cpu: bool = False,
) -> Outcome:
    """Run the cells of a study that have no result yet.

    Parameters
    ----------
    study : Study
    out : Path
        Folder of the study: ``cells/`` with a JSON file each, and ``networks/`` with what phase 1
        left. Another run in the same folder is refused.
    console : Console
        Where progress is shown.
    only : str or None
        Pattern of the names of the cells to run.
    max_minutes : float or None
        Begin no other cell after this time.
    cpu : bool
        Use the CPU even where there is an accelerator.

    Returns
    -------
    Outcome

    Raises
    ------
    BlockingIOError
        When another process runs a study in this folder.
    ValueError
        When no cell fits `only`.
    """
    chosen = selected(study.cells(), only)
    deadline = None if max_minutes is None else time.monotonic() + 60 * max_minutes
    with held(out):
        kept = Cells(out / CELLS)
        kept.sweep()
        todo = [cell for cell in chosen if not kept.done(cell)]
        with _shown(console, todo, out) as advance:
            for network, cells in groupby(todo, key=lambda cell: cell.network):
                if deadline is not None and time.monotonic() > deadline:
                    break
                _run_network(network, list(cells), kept, out, cpu, deadline, advance)
        done = [kept.read(cell) for cell in chosen if kept.done(cell)]
    n_failed = sum(result["status"] == "failed" for result in done)
    return Outcome(len(done), n_failed, len(chosen) - len(done))


def _run_network(
    network: Network,
    cells: list[Cell],
    kept: Cells,
    out: Path,
    cpu: bool,
    deadline: float | None,
    advance: Callable[[str, int], None],
) -> None:
    def on_epoch(record: dict[str, Any]) -> None:
        advance(f"{network.name}: epoch {record['epoch']} of {network.schedule['epochs']}", 1)

    advance(f"{network.name}: phase 1", 0)
    try:
        result = trained(network, out / NETWORKS, cpu, on_epoch)
    except FloatingPointError as error:
        for cell in cells:
            kept.write(cell, failed(error))
        return
    for cell in cells:
        if deadline is not None and time.monotonic() > deadline:
            return
        advance(cell.name, 0)
        kept.write(cell, measure(cell, result, cpu))
        advance(cell.name, 1)


@contextmanager
def _shown(console: Console, todo: list[Cell], out: Path) -> Iterator[Callable[[str, int], None]]:
    """Show how far the work is: in epochs of phase 1 and, which take about as long, cells."""
    networks = [network for network, _ in groupby(todo, key=lambda cell: cell.network)]
    epochs = sum(
        network.schedule["epochs"]
        for network in networks
        if not is_trained(network, out / NETWORKS)
    )
    columns = (
        bars.BarColumn(),
        bars.TaskProgressColumn(),
        bars.TimeElapsedColumn(),
        bars.TextColumn("left"),
        bars.TimeRemainingColumn(),
        bars.TextColumn("{task.description}"),
    )
    with bars.Progress(*columns, console=console, speed_estimate_period=3600) as bar:
        task = bar.add_task(f"{len(todo)} cells", total=epochs + len(todo))
        yield lambda doing, steps: bar.update(task, description=doing, advance=steps)
