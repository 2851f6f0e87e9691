"""`expansive bench`: run a study and write its report."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from expansive.arguments import as_count
from expansive.extras import import_extra

if TYPE_CHECKING:
    from expansive.study.plan import Study

console = Console()

SourceOption = Annotated[
    list[str] | None,
    typer.Option(help="Take data from elsewhere: NAME=SOURCE, NAME as in the study."),
]


def bench(
    study: Annotated[Path | None, typer.Argument(help="YAML file of a study.")] = None,
    preset: Annotated[
        str | None, typer.Option(help="One that comes along: quick, unaugmented, losses or paper.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder of results and report. Default: runs/bench-NAME.")
    ] = None,
    source: SourceOption = None,
    only: Annotated[
        str | None, typer.Option(help="Run only cells whose name has this pattern (* and ?).")
    ] = None,
    report_only: Annotated[
        bool, typer.Option(help="Write the report, also from results.parquet alone; run nothing.")
    ] = False,
    threads: Annotated[int | None, typer.Option(help="Threads. Default: torch's choice.")] = None,
    max_minutes: Annotated[
        float | None, typer.Option(help="Begin no other cell after so long.")
    ] = None,
    cpu: Annotated[bool, typer.Option(help="Use the CPU even where there is a GPU.")] = False,
) -> None:
    """Compare methods: data x imbalance x backbone x loss x method x seeds.

    The same command continues a study that was stopped or killed; finished cells are not repeated.
    """
    import_extra("torch", "train")
    for module in ("yaml", "pandas", "pyarrow"):
        import_extra(module, "study")
    import torch

    from expansive.study import reading, report
    from expansive.study.run import run

    if (study is None) == (preset is None):
        raise ValueError("give either the YAML file of a study or --preset")
    if threads is not None:
        torch.set_num_threads(as_count(threads, "--threads"))
    chosen = _read(study) if study is not None else reading.read_preset(str(preset))
    chosen = chosen.with_sources(_sources(source or []))
    folder = out or Path("runs") / f"bench-{preset or Path(str(study)).stem}"
    if not report_only:
        outcome = run(chosen, folder, console, only=only, max_minutes=max_minutes, cpu=cpu)
        console.print(
            f"{outcome.finished} cells have a result ({outcome.failed} failed), {outcome.left} are "
            f"left{': run the same command again' if outcome.left else ''}",
            soft_wrap=True,
        )
        if outcome.left and outcome.finished == outcome.failed:
            return  # nothing to report on yet
    console.print(report.write(chosen, folder))
    console.out(f"Report: {folder / 'report.html'}")


def _read(file: Path) -> Study:
    from expansive.study import reading

    if not file.is_file():
        raise FileNotFoundError(
            f"there is no file {str(file)!r}; give the YAML file of a study, or one of "
            f"{', '.join(reading.PRESETS)} with --preset"
        )
    try:
        return reading.read(file)
    except UnicodeDecodeError as error:
        raise ValueError(f"{str(file)!r} is not text; give the YAML file of a study") from error


def _sources(given: list[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in given]
    for name, _, source in pairs:
        if not (name and source):
            raise ValueError(f"source must be NAME=SOURCE, not {name!r}")
    return {name: source for name, _, source in pairs}
