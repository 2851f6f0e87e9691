"""The Markdown report of ``bench_cost.py``: one table for each schedule, and what it says."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pandas as pd
from result_files import markdown

STAGES = ("fit", "make", "train", "head")
EOS, PHASE_1 = "EOS", "phase 1 alone"

INTRODUCTION = """\
# What over-sampling costs, in embedding space and in pixel space

`python benchmarks/bench_cost.py` regenerates this file and [cost.csv](cost.csv) (its options
choose the schedule; the csv keeps each schedule, seed and method that was measured).

*EOS* trains a network on the imbalanced images (phase 1), embeds them and plans (phase 2), and
retrains the head (phase 3). The others make images in pixel space until all classes are as
large as the largest, and train the same network by the same schedule on all of them: by SMOTE
of imbalanced-learn, or by the small generative networks of `benchmarks/gan`, trained as briefly as
the schedule says: what they score here is no verdict on larger ones, which cost more. Scores are on
all test images. Seconds are CPU seconds of all threads, on the CPU; *wall* is the total in wall
seconds, which depend on what else the machine does. Both are in the csv for each stage.

- *fit*: training the generative networks, all of whose weights are counted as *parameters*.
- *make*: making the images; for EOS phase 2, the embedding of all images included.
- *train*: training the network, phase 1; *head*: phase 3.
- */ EOS*: the total divided by EOS's total.
- */ phases 2+3*: the total divided by EOS's phases 2 and 3: the price for someone who has already
  trained a network on the images as they are.
"""


def text(rows: pd.DataFrame) -> str:
    """Write the report of all rows of cost.csv, which holds all methods of each schedule."""
    parts = [INTRODUCTION]
    for schedule, own in rows.groupby("schedule", sort=False):
        parts += section(json.loads(str(schedule)), own)
    return "\n".join(parts)


def section(schedule: dict[str, object], rows: pd.DataFrame) -> Iterator[str]:
    """Describe one schedule: settings, table, words."""
    settings = ", ".join(f"{name} {value}" for name, value in schedule.items() if name != "data")
    n_seeds = rows["seed"].nunique()
    yield f"## {schedule['data']}, {schedule['imbalance']:g}:1\n"
    yield f"Schedule: {settings}. Threads: {rows['threads'].iloc[0]}. Seeds: {n_seeds}.\n"
    means = rows.drop(columns=["schedule", "seed", "threads"]).apply(_numbers)
    means = means.groupby("method", sort=False).mean()
    total = _total(means, "cpu")
    yield markdown(table(means, total), "method") + "\n"
    yield from words(means, total, n_seeds, f"{schedule['epochs']} epochs")


def table(means: pd.DataFrame, total: pd.Series) -> pd.DataFrame:
    """Lay out scores, seconds and ratios, a row for each method."""
    late = _phases_2_and_3(means)
    shown = {
        "BAC": means["balanced_accuracy"].map("{:.3f}".format),
        "G-mean": means["g_mean"].map("{:.3f}".format),
        "F1": means["macro_f1"].map("{:.3f}".format),
        "images": means["images"].map("{:.0f}".format),
        "parameters": means["parameters"].map("{:.0f}".format),
    }
    for stage in STAGES:
        shown[stage] = means[f"{stage}_cpu"].map("{:.2f}".format)
    shown |= {
        "wall": _total(means, "wall").map("{:.1f}".format),
        "total": total.map("{:.2f}".format),
        "/ EOS": (total / total[EOS]).map("{:.2f}".format),
        "/ phases 2+3": (total / late).map("{:.1f}".format),
    }
    return pd.DataFrame(shown)


def words(means: pd.DataFrame, total: pd.Series, n_seeds: int, epochs: str) -> Iterator[str]:
    """Say what the table shows, also where EOS does not win."""
    share = _phases_2_and_3(means) / means.loc[EOS, "train_cpu"]
    yield f"- Phases 2 and 3 take {100 * share:.1f} % of the CPU seconds of phase 1, {epochs}."
    score = means["balanced_accuracy"]
    above = [f"{name} ({score[name]:.3f})" for name in score.index[score > score[EOS]]]
    verdict = f"not the best: above it {', '.join(above)}" if above else "the best of these"
    yield f"- By balanced accuracy EOS ({score[EOS]:.3f}) is {verdict}."
    cheaper = [name for name in total.index[total < total[EOS]] if name != PHASE_1]
    yield f"- Cheaper than EOS in all: {', '.join(cheaper) or 'none of the over-samplers'}."
    if n_seeds < 5:
        yield f"- Seeds: {n_seeds}. Too few to tell small differences of scores from noise."
    yield ""


def _total(means: pd.DataFrame, clock: str) -> pd.Series:
    return means[[f"{stage}_{clock}" for stage in STAGES]].sum(axis=1)


def _phases_2_and_3(means: pd.DataFrame) -> float:
    return float(means.loc[EOS, "make_cpu"] + means.loc[EOS, "head_cpu"])


def _numbers(column: pd.Series) -> pd.Series:
    """Take what a method has no figure for as zero."""
    return column if column.name == "method" else pd.to_numeric(column).fillna(0.0)
