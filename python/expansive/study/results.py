"""The results of a study as one table: a row for each cell."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from expansive.files import atomic_write
from expansive.study.cells import Result
from expansive.study.methods import defaults_of

PHASES = ("backbone", "embed", "expand", "head")
SCORES = ("balanced_accuracy", "g_mean", "macro_f1", "many", "medium", "few")
PER_CLASS = ("recall", "gap", "head_norms", "train_counts")
GROUP = ["data", "backbone", "loss"]


def frame(results: Sequence[Result]) -> pd.DataFrame:
    """Make a table of results, failed cells included.

    Parameters
    ----------
    results : sequence of dict
        As `Cells.read` gives them.

    Returns
    -------
    DataFrame
        Names, scores in [0, 1], mean gap, seconds of each phase (``seconds_*``) and of phases 2 and
        3 together with embedding (``seconds_after``), parameters; nan where there is none.
    """
    return pd.DataFrame([_row(result) for result in results])


def write(table: pd.DataFrame, folder: Path) -> None:
    """Write results.parquet and, rounded to six digits, results.csv; each whole or not at all."""
    with atomic_write(folder / "results.parquet") as temporary:
        table.to_parquet(temporary, index=False)
    with atomic_write(folder / "results.csv") as temporary:
        table.drop(columns=list(PER_CLASS)).to_csv(temporary, index=False, float_format="%.6g")


def _row(result: Result) -> dict[str, Any]:
    names = {key: result[key] for key in [*GROUP, "method", "seed", "status"]}
    done = result["status"] == "done"
    scores = result["scores"] if done else {}
    seconds = result["seconds"] if done else {}
    cpu_seconds = result["cpu_seconds"] if done else {}
    schedule = result["settings"]["network"]["schedule"]
    # A method that only changes the head needs no embeddings of the training rows.
    after = PHASES[1:] if "expand" in seconds else PHASES[-1:]
    return {
        **names,
        "error": result.get("error"),
        **_expansive(result["settings"]),
        **{key: _number(scores.get(key)) for key in SCORES},
        "mean_gap": float(np.mean(result["gap"])) if done else np.nan,
        "synthetic_rows": _number(result.get("synthetic_rows")),
        **{f"seconds_{phase}": _number(seconds.get(phase)) for phase in PHASES},
        **{f"cpu_seconds_{phase}": _number(cpu_seconds.get(phase)) for phase in PHASES},
        "seconds_after": sum(seconds[phase] for phase in after) if done else np.nan,
        "parameters": _number(result.get("parameters")),
        "generator_parameters": _number(result.get("generator_parameters")),
        "epochs": schedule["epochs"],
        "head_epochs": result["settings"]["head"]["epochs"],
        "processor": result["environment"]["processor"],
        "threads": result["environment"]["threads"],
        "recall": scores.get("recall"),
        "gap": result.get("gap"),
        "head_norms": result.get("head_norms"),
        "train_counts": result.get("train_counts"),
    }


def _expansive(settings: Result) -> dict[str, Any]:
    """Give what EOS draws from, defaults filled in; other methods have none of it."""
    if settings["method"] != "eos":
        return {"enemies": None, "k": np.nan, "expansion": None}
    chosen = defaults_of("eos") | settings["parameters"]
    enemies = "reference code" if chosen["reference_compat"] else chosen["enemies"]
    low, high = chosen["expansion"]
    return {"enemies": enemies, "k": float(chosen["k"]), "expansion": f"{low:g} to {high:g}"}


def _number(value: Any) -> float:
    return np.nan if value is None else float(value)
