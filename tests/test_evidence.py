"""The commands behind the evidence: they resume, and their reports say what the figures say."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

import bench_cost
import cost_report
import tables_report

pytestmark = pytest.mark.train

TINY: dict[str, Any] = {
    "data": "digits",
    "imbalance": 10.0,
    "n_max": 20,
    "width": 4,
    "epochs": 1,
    "head_epochs": 1,
    "gan_steps": 1,
}
METHODS = ["phase 1 alone", "EOS", "SMOTE of pixels", "conditional GAN", "BAGAN", "GAMO"]


def test_cost_measures_what_is_missing_and_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = bench_cost.Study.run
    asked: list[tuple[int, str]] = []

    def killed_at_bagan(study: bench_cost.Study, method: str) -> list[dict[str, Any]]:
        if method == "BAGAN" and not (tmp_path / "again").exists():
            raise KeyboardInterrupt
        asked.append((study.seed, method))
        return run(study, method)

    monkeypatch.setattr(bench_cost.Study, "run", killed_at_bagan)
    with pytest.raises(KeyboardInterrupt):
        bench_cost.main(tmp_path, **TINY)
    kept = (tmp_path / "cost.csv").read_text()
    (tmp_path / "again").touch()
    bench_cost.main(tmp_path, **TINY)
    csv = (tmp_path / "cost.csv").read_text()
    assert csv.startswith(kept)
    assert asked == [(0, method) for method in METHODS[1:]]
    bench_cost.main(tmp_path, **TINY)
    assert (tmp_path / "cost.csv").read_text() == csv
    assert len(asked) == 5

    rows = pd.read_csv(tmp_path / "cost.csv").set_index("method")
    assert rows.index.tolist() == METHODS
    assert (rows["images"] == [78, 78, 200, 200, 200, 200]).all()
    assert (rows["parameters"] > 0).tolist() == [False, False, False, True, True, True]
    assert (rows["train_cpu"] > 0).all()
    assert rows["head_cpu"].notna().tolist() == [False, True, False, False, False, False]
    report = (tmp_path / "cost.md").read_text()
    assert all(f"| {method} |" in report for method in METHODS)


def test_cost_report_says_where_eos_does_not_win() -> None:
    rows = pd.DataFrame(
        {
            "schedule": '{"data": "digits", "imbalance": 10.0, "epochs": 20}',
            "seed": 0,
            "threads": 1,
            "method": ["phase 1 alone", "EOS", "GAMO"],
            "balanced_accuracy": [0.5, 0.6, 0.7],
            "g_mean": 0.5,
            "macro_f1": 0.5,
            "images": 10,
            "parameters": 0,
            **{f"fit_{clock}": [0.0, 0.0, 30.0] for clock in ("cpu", "wall")},
            **{f"make_{clock}": [0.0, 1.0, 2.0] for clock in ("cpu", "wall")},
            **{f"train_{clock}": [100.0, 100.0, 400.0] for clock in ("cpu", "wall")},
            **{f"head_{clock}": [0.0, 3.0, 0.0] for clock in ("cpu", "wall")},
        }
    )
    text = cost_report.text(rows)
    assert "Phases 2 and 3 take 4.0 % of the CPU seconds of phase 1, 20 epochs." in text
    assert "EOS (0.600) is not the best: above it GAMO (0.700)." in text
    assert "Cheaper than EOS in all: none of the over-samplers." in text
    assert "| 432.0 | 432.00 | 4.15 | 108.0 |" in text
    rows.loc[2, "balanced_accuracy"] = 0.4
    rows.loc[2, "train_cpu"] = 10.0
    text = cost_report.text(rows)
    assert "EOS (0.600) is the best of these." in text
    assert "Cheaper than EOS in all: GAMO." in text


def test_tables_report_says_better_worse_and_not_shown() -> None:
    rng = np.random.default_rng(0)
    n = 12
    base = rng.random(n) / 2
    scores = {"none": base - np.linspace(0.1, 0.2, n), "SMOTE": base + np.linspace(0.1, 0.2, n)}
    scores |= {"random": base + rng.normal(0, 0.01, n), "EOS nearest": base}
    results = pd.concat(
        pd.DataFrame(
            {
                "table": [f"t{i}" for i in range(n)],
                "classifier": "logistic regression",
                "method": method,
                "G-mean": found,
                "refused": [3 if method == "SMOTE" and i == 0 else 0 for i in range(n)],
                "repeats": 2,
                "rows": 100,
                "features": 4,
                "minority": 10,
                "ratio": 9.0,
            }
        )
        for method, found in scores.items()
    )
    text = tables_report.text(results, ["G-mean"], folds=5, admitted=13)
    assert (
        "- G-mean: **better** than none; **worse** than SMOTE; no difference shown to random"
        in text
    )
    assert "- SMOTE on t0 (logistic regression): 3 of 10 fits" in text
    assert "| none | 12/0/0, +0.150, p = 0.0015 |" in text
    assert "12 of the 13 tables of [KEEL]" in text
    assert "- logistic regression, G-mean: first is SMOTE; EOS nearest is " in text
