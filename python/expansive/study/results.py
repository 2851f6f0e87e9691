"""The results of a study as one table: a row for each cell."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from expansive.files import atomic_write
from expansive.study.cells import Result
from expansive.study.methods import eos_settings
from expansive.study.plan import label_of

PARQUET = "results.parquet"
PHASES = ("backbone", "embed", "expand", "head")
SCORES = ("balanced_accuracy", "g_mean", "macro_f1", "many", "medium", "few")
PER_CLASS = ("recall", "gap", "head_norms", "train_counts", "classes")
MACHINE = ("processor", "device", "threads", "torch", "imbalanced-learn", "expansive")
GROUP = ["data", "backbone", "loss"]


def frame(results: Mapping[str, Result]) -> pd.DataFrame:
    """Make a table of results, failed cells included.

    Parameters
    ----------
    results : mapping of str to dict
        As `Cells.read` gives them, by the `file_stem` of the cell.

    Returns
    -------
    DataFrame
        ``cell`` (its file stem), names (a method's as `plan.label_of` has it), scores in [0, 1],
        mean gap, seconds of each phase (``seconds_*``) and of phases 2 and 3 together with
        embedding (``seconds_after``), parameters; nan where there is none.
    """
    return pd.DataFrame([{"cell": stem} | _row(result) for stem, result in results.items()])


def read(folder: Path) -> pd.DataFrame:
    """Read the table that `write` left; empty, with no columns, where there is none."""
    path = folder / PARQUET
    return pd.read_parquet(path) if path.is_file() else pd.DataFrame()


def write(table: pd.DataFrame, folder: Path) -> None:
    """Write results.parquet and, rounded to six digits, results.csv; each whole or not at all."""
    with atomic_write(folder / PARQUET) as temporary:
        table.to_parquet(temporary, index=False, compression="zstd")
    with atomic_write(folder / "results.csv") as temporary:
        table.drop(columns=list(PER_CLASS)).to_csv(temporary, index=False, float_format="%.6g")


def _row(result: Result) -> dict[str, Any]:
    settings = result["settings"]
    names = {key: result[key] for key in GROUP}
    names["method"] = label_of(settings["method"], settings["parameters"])
    names |= {key: result[key] for key in ("seed", "status")}
    done = result["status"] == "done"
    scores = result["scores"] if done else {}
    seconds = result["seconds"] if done else {}
    cpu_seconds = result["cpu_seconds"] if done else {}
    # A method that only changes the head needs no embeddings of the training rows.
    after = PHASES[1:] if "expand" in seconds else PHASES[-1:]
    return {
        **names,
        "error": result.get("error"),
        **_expansive(settings),
        **{key: _number(scores.get(key)) for key in SCORES},
        "mean_gap": float(np.mean(result["gap"])) if done else np.nan,
        "synthetic_rows": _number(result.get("synthetic_rows")),
        **{f"seconds_{phase}": _number(seconds.get(phase)) for phase in PHASES},
        **{f"cpu_seconds_{phase}": _number(cpu_seconds.get(phase)) for phase in PHASES},
        "seconds_after": sum(seconds[phase] for phase in after) if done else np.nan,
        "parameters": _number(result.get("parameters")),
        "generator_parameters": _number(result.get("generator_parameters")),
        "epochs": settings["network"]["schedule"]["epochs"],
        "head_epochs": settings["head"]["epochs"],
        **{key: result["environment"][key] for key in MACHINE},
        "recall": scores.get("recall"),
        "gap": result.get("gap"),
        "head_norms": result.get("head_norms"),
        "train_counts": result.get("train_counts"),
        "classes": result.get("classes"),
    }


def _expansive(settings: Result) -> dict[str, Any]:
    """Give what EOS draws from; other methods have none of it."""
    if settings["method"] != "eos":
        return {"enemies": None, "k": np.nan, "expansion": None}
    enemies, k, expansion = eos_settings(settings["parameters"])
    return {"enemies": enemies, "k": float(k), "expansion": expansion}


def _number(value: Any) -> float:
    return np.nan if value is None else float(value)
