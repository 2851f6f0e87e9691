"""The report of a study: results.parquet, results.csv, pictures, report.md and report.html."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd
from rich import box
from rich.console import Group
from rich.table import Table

from expansive.study import blocks, pictures, results, statistics
from expansive.study.blocks import Block, Heading, Paragraph, TextTable
from expansive.study.cells import Cells, Result
from expansive.study.plan import Study
from expansive.study.run import CELLS

SCORES = {
    "balanced_accuracy": ("balanced accuracy", 100),
    "g_mean": ("G-mean", 100),
    "macro_f1": ("macro F1", 100),
    "many": ("many", 100),
    "medium": ("medium", 100),
    "few": ("few", 100),
    "mean_gap": ("gap", 1),
}
"""Column of the results: heading and scale."""
MOST_METHODS_IN_RANKS = 30


def write(study: Study, folder: Path) -> Group:
    """Write the report of all cells of a study that have a result.

    Parameters
    ----------
    study : Study
    folder : Path
        Folder of the study.

    Returns
    -------
    rich.console.Group
        The summary, for the terminal.

    Raises
    ------
    ValueError
        When no cell has scores yet.
    """
    kept = Cells(folder / CELLS)
    found = [kept.read(cell) for cell in study.cells() if kept.done(cell)]
    table = results.frame(found)
    if not found or not (table["status"] == "done").any():
        raise ValueError(f"no cell of the study has scores in {str(folder)!r} yet: run it first")
    results.write(table, folder)
    written = list(_blocks(study, found, table, folder))
    blocks.write_markdown(written, folder / "report.md")
    blocks.write_html(written, folder / "report.html")
    return summary(table)


def summary(table: pd.DataFrame) -> Group:
    """Show the mean and standard deviation over seeds of the main scores: a table per network."""
    shown = {name: SCORES[name] for name in ("balanced_accuracy", "g_mean", "few", "mean_gap")}
    tables = []
    for names, group in _done(table).groupby(results.GROUP, sort=False):
        made = Table(box=box.SIMPLE_HEAD, title=", ".join(names), title_justify="left")
        made.add_column("method")
        for heading in ("seeds", *(heading for heading, _ in shown.values())):
            made.add_column(heading, justify="right")
        for method, rows in group.groupby("method", sort=False):
            values = [mean_sd(rows[name], scale) for name, (_, scale) in shown.items()]
            made.add_row(str(method), str(len(rows)), *values)
        tables.append(made)
    return Group(*tables)


def mean_sd(values: pd.Series[float], scale: float = 1.0) -> str:
    """Write the mean over seeds and, of two or more, the standard deviation; nothing for nan."""
    known = scale * values.dropna()
    if known.empty:
        return ""
    return f"{known.mean():.1f}" if len(known) < 2 else f"{known.mean():.1f} ± {known.std():.1f}"


def _done(table: pd.DataFrame) -> pd.DataFrame:
    return table[table["status"] == "done"]


def _blocks(
    study: Study, found: list[Result], table: pd.DataFrame, folder: Path
) -> Iterator[Block]:
    yield Heading(study.title, 1)
    yield Paragraph(_how(study, found, table))
    if study.note:
        yield Paragraph(study.note)
    done = _done(table)
    for (data, backbone), rows in done.groupby(["data", "backbone"], sort=False):
        yield Heading(f"{data}, {backbone}")
        yield Paragraph("Balanced accuracy in per cent, mean ± standard deviation over seeds.")
        yield TextTable(accuracy_table(rows))
        yield from pictures.draw(study, rows, folder)
    yield Heading("Are the differences more than noise?")
    yield from _tests(study, done)
    yield Heading("Cost")
    yield Paragraph(
        "Mean wall seconds, and in brackets CPU seconds, of phase 2 (embedding of the training "
        "rows, then the method) and phase 3; both together in per cent of phase 1. Wall seconds "
        "depend on what else ran on the machine."
    )
    yield TextTable(cost_table(done))
    yield Heading("All scores")
    yield Paragraph(
        "In per cent but for the gap: balanced accuracy, G-mean, macro F1, mean recall of classes "
        "with more than 100, 20 to 100 and fewer than 20 training rows, mean generalization gap."
    )
    yield TextTable(score_table(done))
    failed = table[table["status"] == "failed"]
    if len(failed):
        yield Heading("Cells that failed")
        yield TextTable(failed[[*results.GROUP, "method", "seed", "error"]])


def accuracy_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Arrange balanced accuracy: a row per method, a column per loss."""
    made = pd.DataFrame({"method": rows["method"].unique()})
    for loss, own in rows.groupby("loss", sort=False):
        by_method = own.groupby("method")["balanced_accuracy"]
        texts = {name: mean_sd(values, 100) for name, values in by_method}
        made[loss] = made["method"].map(texts).fillna("")
    return made


def score_table(done: pd.DataFrame) -> pd.DataFrame:
    """Write every score of every network and method: a row each."""
    rows = []
    for names, group in done.groupby([*results.GROUP, "method"], sort=False):
        scores = {heading: mean_sd(group[name], scale) for name, (heading, scale) in SCORES.items()}
        rows.append(
            {
                "network": ", ".join(names[:-1]),
                "method": names[-1],
                "seeds": len(group),
                **scores,
                "synthetic rows": f"{group['synthetic_rows'].mean():.0f}",
            }
        )
    return pd.DataFrame(rows)


def cost_table(done: pd.DataFrame) -> pd.DataFrame:
    """Write what each method costs, on average over networks."""
    rows = []
    for (data, backbone, method), group in done.groupby(["data", "backbone", "method"], sort=False):
        share = 100 * group["seconds_after"].sum() / group["seconds_backbone"].sum()
        rows.append(
            {
                "network": f"{data}, {backbone}",
                "method": method,
                "phase 1": _seconds(group, "backbone"),
                "embedding": _seconds(group, "embed"),
                "method's own": _seconds(group, "expand"),
                "phase 3": _seconds(group, "head"),
                "2 + 3, % of 1": f"{share:.1f}",
                "parameters": f"{group['parameters'].mean():.0f}",
                "of a generator": f"{group['generator_parameters'].mean():.0f}",
            }
        )
    return pd.DataFrame(rows)


def _seconds(group: pd.DataFrame, phase: str) -> str:
    wall, cpu = group[f"seconds_{phase}"].mean(), group[f"cpu_seconds_{phase}"].mean()
    return "" if pd.isna(wall) else f"{wall:.2f} ({cpu:.2f})"


def _how(study: Study, found: list[Result], table: pd.DataFrame) -> str:
    schedule, head = study.schedule, study.head
    machines = {
        f"{result['environment']['processor']}, {result['environment']['device']}, "
        f"{result['environment']['threads']} threads"
        for result in found
    }
    versions = found[-1]["environment"]
    n_all = sum(1 for _ in study.cells())
    return (
        f"{len(table)} of {n_all} cells have a result, "
        f"{(table['status'] == 'failed').sum()} of these failed. Phase 1: {schedule['epochs']} "
        f"epochs, batches of {schedule['batch_size']}, SGD at {schedule['lr']:g} with momentum "
        f"{schedule['momentum']:g} and weight decay {schedule['weight_decay']:g}, "
        f"{schedule['schedule']} schedule after {schedule['warmup_epochs']} epochs of warm-up, "
        f"precision {schedule['mixed_precision']}; phase 3, the same for every method: "
        f"{head['epochs']} epochs of the head at {head['lr']:g}, loss "
        f"{head['loss'] or 'of phase 1'}. The last epoch is taken; no choice looks at the test "
        f"rows. Seeds {', '.join(map(str, study.seeds))} decide long tail, weights and order. "
        f"Run on {'; '.join(sorted(machines))}; torch {versions['torch']}, imbalanced-learn "
        f"{versions['imbalanced-learn']}, expansive {versions['expansive']}."
    )


def _tests(study: Study, done: pd.DataFrame) -> Iterator[Block]:
    yield Paragraph(
        "Blocks are pairs of data set and seed: within one, all methods share network and rows. "
        "Where several losses are taken together, a block's score is the mean over them. A "
        "difference is claimed when the paired t test's p, corrected by Holm's rule for the "
        f"number of methods, is below {statistics.LEVEL:g}; beside it stand the test of random "
        "signs and Wilcoxon's, which need no normal distribution. Balanced accuracy in points."
    )
    losses = list(done["loss"].unique())
    groups = [("all losses", done)] if len(losses) > 1 else []
    groups += [(f"loss {loss}", done[done["loss"] == loss]) for loss in losses]
    for backbone in done["backbone"].unique():
        for name, rows in groups:
            chosen = rows[rows["backbone"] == backbone]
            if len(chosen):
                yield from _group_tests(study, statistics.blocks(chosen), f"{backbone}, {name}")


def _group_tests(study: Study, wide: pd.DataFrame, name: str) -> Iterator[Block]:
    n, k = wide.shape
    if n < 2 or k < 2 or study.reference not in wide.columns:
        yield Paragraph(f"{name}: too few blocks or methods to test ({n} and {k}).")
        return
    compared = statistics.against(wide, study.reference)
    yield Paragraph(f"{name}, {n} blocks: {study.reference} against each other method. {_floor(n)}")
    ranks = ""
    if 3 <= k <= MOST_METHODS_IN_RANKS:
        ranking = statistics.ranking(wide)
        compared["mean rank"] = ranking.ranks.map("{:.1f}".format)
        compared["p_nemenyi"] = ranking.p_nemenyi[study.reference]
        ranks = (
            f"Friedman's test that all {k} methods rank alike: p = {_p(ranking.p_friedman)}. The "
            f"mean rank of {study.reference} is {ranking.ranks[study.reference]:.1f}; mean ranks "
            f"differ significantly when {ranking.critical_difference:.1f} apart (Nemenyi)."
        )
    yield TextTable(_test_table(compared))
    if ranks:
        yield Paragraph(ranks)


def _floor(n: int) -> str:
    least = statistics.smallest_wilcoxon(n)
    if least <= statistics.LEVEL:
        return ""
    return (
        f"With {n} blocks the exact Wilcoxon and sign tests cannot go below p = {least:.4g}, "
        "however clear a difference is."
    )


def _test_table(compared: pd.DataFrame) -> pd.DataFrame:
    shown = pd.DataFrame({"against": compared.index})
    shown["difference"] = [
        f"{100 * mean:+.1f} ± {100 * sd:.1f}"
        for mean, sd in zip(compared["difference"], compared["sd"], strict=True)
    ]
    for name in ("p_holm", "p_t", "p_permutation", "p_wilcoxon", "p_nemenyi"):
        if name in compared:
            shown[name.replace("_", " ")] = [_p(value) for value in compared[name]]
    for name in ("mean rank", "verdict"):
        if name in compared:
            shown[name] = compared[name].to_numpy()
    return shown.rename(columns={"verdict": "reference is"})


def _p(value: float) -> str:
    return f"{value:.2g}" if value >= 1e-4 else "< 0.0001"
