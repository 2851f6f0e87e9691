"""The report of a study: results.parquet, results.csv, pictures, report.md and report.html."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
from rich import box
from rich.console import Group
from rich.table import Table

from expansive.study import blocks, pictures, results, statistics
from expansive.study.blocks import Block, Heading, Paragraph, TextTable
from expansive.study.cells import Cells
from expansive.study.methods import defaults_of, purpose_of
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
NAME_WIDTH = 24
"""Characters of a method's name that stay on one line of a terminal of 80."""


def write(study: Study, folder: Path) -> Group:
    """Write the report of all cells of a study that have a result.

    Parameters
    ----------
    study : Study
    folder : Path
        Folder of the study. Where it holds no cells, their table is read from results.parquet, and
        the projection, which needs networks, is kept as it is.

    Returns
    -------
    rich.console.Group
        The summary, for the terminal.

    Raises
    ------
    ValueError
        When no cell has scores yet.
    """
    table = _table(study, folder)
    if table.empty or _done(table).empty:
        raise ValueError(f"no cell of the study has scores in {str(folder)!r} yet: run it first")
    results.write(table, folder)
    written = list(_blocks(study, table, folder))
    blocks.write_markdown(written, folder / "report.md")
    blocks.write_html(written, folder / "report.html")
    return summary(table)


def _table(study: Study, folder: Path) -> pd.DataFrame:
    cells = {cell.file_stem: cell for cell in study.cells()}
    if not (folder / CELLS).is_dir():
        table = results.read(folder)
        return table if table.empty else table[table["cell"].isin(list(cells))]
    kept = Cells(folder / CELLS)
    return results.frame({stem: kept.read(cell) for stem, cell in cells.items() if kept.done(cell)})


def summary(table: pd.DataFrame) -> Group:
    """Show the mean and standard deviation over seeds of the main scores: a table per network."""
    done = _done(table)
    # Recall of the smallest classes that there are.
    rare = next((name for name in ("few", "medium") if done[name].notna().any()), "many")
    shown = {name: SCORES[name] for name in ("balanced_accuracy", "g_mean", rare, "mean_gap")}
    tables = []
    for names, group in done.groupby(results.GROUP, sort=False):
        seeds = group["seed"].nunique()
        made = Table(box=box.SIMPLE_HEAD, title=f"{', '.join(names)}: {_count(seeds, 'seed')}")
        made.title_justify = "left"
        longest = int(group["method"].str.len().max())
        made.add_column("method", overflow="fold", min_width=min(longest, NAME_WIDTH))
        for heading, _ in shown.values():
            made.add_column(heading.replace(" ", "\n"), justify="right")
        for method, rows in group.groupby("method", sort=False):
            values = [mean_sd(rows[name], scale) for name, (_, scale) in shown.items()]
            missing = "" if len(rows) == seeds else f" ({_count(len(rows), 'seed')})"
            made.add_row(f"{method}{missing}", *values)
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


def _blocks(study: Study, table: pd.DataFrame, folder: Path) -> Iterator[Block]:
    yield Heading(study.title, 1)
    yield Paragraph(_how(study, table))
    if study.note:
        yield Paragraph(study.note)
    done = _done(table)
    yield TextTable(methods_table(study))
    for (data, backbone), rows in done.groupby(["data", "backbone"], sort=False):
        yield Heading(f"{data}, {backbone}")
        yield Paragraph("Balanced accuracy in per cent, mean ± standard deviation over seeds.")
        yield TextTable(accuracy_table(rows))
        yield from pictures.draw(study, rows, folder)
    yield Heading("Are the differences more than noise?")
    yield from _tests(study, done)
    yield Heading("Cost")
    yield Paragraph(
        "Mean wall seconds, and in brackets CPU seconds: of phase 1, trained once for all methods; "
        "of phase 2, split into embedding the training rows, also once for all methods that need "
        "it, and making the method's rows; of phase 3. Phases 2 and 3 together, with embedding, "
        "are set against the wall seconds of phase 1 with the schedule above: a longer one makes "
        "their share smaller, but not their cost in epochs of it. Wall seconds depend on what else "
        "ran on the machine."
    )
    for (data, backbone), rows in done.groupby(["data", "backbone"], sort=False):
        yield Paragraph(f"{data}, {backbone}, {rows['parameters'].iloc[0]:.0f} parameters:")
        yield TextTable(cost_table(rows))
    yield Heading("All scores")
    yield Paragraph(
        "In per cent but for the gap: balanced accuracy, G-mean, macro F1; mean recall of classes "
        "with more than 100 (many), 20 to 100 (medium) and fewer than 20 training rows (few), if "
        "there are such classes; generalization gap, mean over classes. A smaller gap is not by "
        "itself a better score: rows that mix all classes make it small as well."
    )
    for names, rows in done.groupby(results.GROUP, sort=False):
        yield Paragraph(f"{', '.join(names)}:")
        yield TextTable(score_table(rows))
    failed = table[table["status"] == "failed"]
    if len(failed):
        yield Heading("Cells that failed")
        yield TextTable(failed[[*results.GROUP, "method", "seed", "error"]])


def methods_table(study: Study) -> pd.DataFrame:
    """Say what each method does, and with which parameters where the study names none."""
    names = list(dict.fromkeys(name for name, _ in study.methods))
    usual = [", ".join(f"{k}={v}" for k, v in defaults_of(name).items()) for name in names]
    purposes = [purpose_of(name) for name in names]
    texts = pd.DataFrame({"method": names, "what it does": purposes, "by default": usual})
    return _filled(texts)


def accuracy_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Arrange balanced accuracy: a row per method, a column per loss."""
    made = pd.DataFrame({"method": rows["method"].unique()})
    for loss, own in rows.groupby("loss", sort=False):
        by_method = own.groupby("method")["balanced_accuracy"]
        texts = {name: mean_sd(values, 100) for name, values in by_method}
        made[loss] = made["method"].map(texts).fillna("")
    return made


def score_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Write every score of each method with one loss, backbone and data set."""
    made = []
    for method, group in rows.groupby("method", sort=False):
        scores = {heading: mean_sd(group[name], scale) for name, (heading, scale) in SCORES.items()}
        made.append(
            {
                "method": method,
                "seeds": len(group),
                **scores,
                "synthetic rows": f"{group['synthetic_rows'].mean():.0f}",
            }
        )
    return _filled(pd.DataFrame(made))


def cost_table(rows: pd.DataFrame) -> pd.DataFrame:
    """Write what each method costs on one backbone and data set, on average over losses and seeds.

    Phases 2 and 3 are also given in epochs of phase 1, which its length does not change.
    """
    made = []
    for method, group in rows.groupby("method", sort=False):
        epochs, head_epochs = int(group["epochs"].iloc[0]), int(group["head_epochs"].iloc[0])
        share = group["seconds_after"].sum() / group["seconds_backbone"].sum()
        uses_rows = group["seconds_expand"].notna().any()
        generator = group["generator_parameters"].mean()
        made.append(
            {
                "method": method,
                f"phase 1, {epochs} epochs": _seconds(group, "backbone"),
                "2: embedding": _seconds(group, "embed") if uses_rows else "",
                "2: making rows": _seconds(group, "expand"),
                f"3: head, {head_epochs} epochs": _seconds(group, "head"),
                "2 + 3, epochs of 1": f"{epochs * share:.2f}",
                "2 + 3, % of 1": f"{100 * share:.1f}",
                "parameters of a generator": f"{generator:.0f}" if generator else "",
            }
        )
    return _filled(pd.DataFrame(made))


def _seconds(group: pd.DataFrame, phase: str) -> str:
    wall, cpu = group[f"seconds_{phase}"].mean(), group[f"cpu_seconds_{phase}"].mean()
    return "" if pd.isna(wall) else f"{wall:.2f} ({cpu:.2f})"


def _filled(texts: pd.DataFrame) -> pd.DataFrame:
    """Leave out the columns in which nothing stands."""
    return texts.loc[:, (texts != "").any()]


def _how(study: Study, table: pd.DataFrame) -> str:
    schedule, head = study.schedule, study.head
    n_all = sum(1 for _ in study.cells())
    return (
        f"{len(table)} of {n_all} cells have a result, "
        f"{(table['status'] == 'failed').sum()} of these failed. Phase 1: {schedule['epochs']} "
        f"epochs, batches of {schedule['batch_size']}, SGD at {schedule['lr']:g} with momentum "
        f"{schedule['momentum']:g} and weight decay {schedule['weight_decay']:g}, "
        f"{schedule['schedule']} schedule after {_count(schedule['warmup_epochs'], 'epoch')} of "
        f"warm-up, precision {_precision(schedule)}; phase 3, the same for every method: "
        f"{_count(head['epochs'], 'epoch')} of the head at {head['lr']:g}, loss "
        f"{head['loss'] or 'of phase 1'}, precision {_precision(head)}. The last epoch is taken: "
        "no choice within a cell looks at the test rows. Seeds "
        f"{', '.join(map(str, study.seeds))} decide long tail, weights and order. "
        f"Run on {'; '.join(_machines(table))}."
    )


def _machines(table: pd.DataFrame) -> list[str]:
    made = table[list(results.MACHINE)].drop_duplicates().to_dict("records")
    return [
        f"{row['processor']}, {row['device']}, {_count(row['threads'], 'thread')}, torch "
        f"{row['torch']}, imbalanced-learn {row['imbalanced-learn']}, expansive "
        f"{row['expansive'].replace('not installed', 'from its source tree')}"
        for row in made
    ]


def _precision(schedule: Mapping[str, Any]) -> str:
    return str(schedule["mixed_precision"]).replace("no", "float32")


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


def _tests(study: Study, done: pd.DataFrame) -> Iterator[Block]:
    yield Paragraph(
        "Blocks are pairs of data set and seed: within one, all methods share network and rows. "
        "Where several losses are taken together, a block's score is the mean over them. A "
        "difference is claimed when the p of the two-sided paired t test, corrected by Holm's rule "
        f"for the number of methods in the table, is below {statistics.LEVEL:g}. That test takes "
        "the differences for normally distributed, which few blocks cannot show; beside it stand "
        "the test of random signs and Wilcoxon's, which do not, uncorrected. Seeds of one data set "
        "share its test rows and draw from the same training rows: the tests say whether a "
        "difference would be seen with other seeds, not with other data. The reference was fixed "
        "in the study's file; which setting of a method comes out best here was seen on the test "
        "rows, so its lead over other settings is flattering. Differences are of balanced accuracy "
        "in points, mean ± standard deviation over blocks; above 0 the reference is better."
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
    reference = study.reference_label
    if n < 2 or k < 2 or reference not in wide.columns:
        yield Paragraph(f"{name}: too few blocks or methods to test ({n} and {k}).")
        return
    compared = statistics.against(wide, reference)
    yield Paragraph(f"{name}, {n} blocks. {_verdicts(reference, compared)} {_floor(n)}".strip())
    ranks = ""
    if 3 <= k <= MOST_METHODS_IN_RANKS:
        ranking = statistics.ranking(wide)
        compared["mean_rank"] = ranking.ranks.map("{:.1f}".format)
        compared["p_nemenyi"] = ranking.p_nemenyi[reference]
        ranks = (
            f"Friedman's test that all {k} methods rank alike: p {_p(ranking.p_friedman, '= ')}. "
            f"The mean rank of {reference} is {ranking.ranks[reference]:.1f} (1 is the best); of "
            f"{k} methods on {n} blocks, mean ranks differ significantly when "
            f"{ranking.critical_difference:.1f} apart (Nemenyi)."
        )
    yield TextTable(_test_table(compared))
    if ranks:
        yield Paragraph(ranks)


def _verdicts(reference: str, compared: pd.DataFrame) -> str:
    """Say in words against which methods a difference is claimed."""
    words = {
        "better": "better than",
        "worse": "worse than",
        "no difference claimed": "no difference claimed from",
    }
    parts = [
        f"{words[verdict]} {', '.join(found)}"
        for verdict in words
        if len(found := compared.index[compared["verdict"] == verdict])
    ]
    return f"The reference, {reference}: {'; '.join(parts)}."


def _floor(n: int) -> str:
    least = statistics.smallest_wilcoxon(n)
    if least <= statistics.LEVEL:
        return ""
    return (
        f"With {n} blocks the exact Wilcoxon and sign tests cannot go below p = {least:.4g}, "
        "however clear a difference is: every claim here rests on the t test."
    )


TEST_COLUMNS = {
    "p_holm": "p (t, Holm)",
    "p_t": "p (t)",
    "p_permutation": "p (signs)",
    "p_wilcoxon": "p (Wilcoxon)",
    "p_nemenyi": "p (Nemenyi)",
}


def _test_table(compared: pd.DataFrame) -> pd.DataFrame:
    shown = pd.DataFrame({"against": compared.index})
    shown["difference"] = [
        f"{100 * mean:+.1f} ± {100 * sd:.1f}"
        for mean, sd in zip(compared["difference"], compared["sd"], strict=True)
    ]
    for name, heading in TEST_COLUMNS.items():
        if name in compared:
            shown[heading] = [_p(value) for value in compared[name]]
    if "mean_rank" in compared:
        shown["mean rank"] = compared["mean_rank"].to_numpy()
    shown["the reference is"] = compared["verdict"].to_numpy()
    return shown


def _p(value: float, equals: str = "") -> str:
    return f"{equals}{value:.2g}" if value >= 1e-4 else "< 0.0001"
