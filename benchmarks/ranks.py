"""Whether differences between methods over many data sets are more than noise.

Friedman test and Nemenyi's critical difference (Demšar 2006, "Statistical Comparisons of
Classifiers over Multiple Data Sets", JMLR 7, sections 3.1.3 and 3.2.2), and paired Wilcoxon tests
with Holm's correction (1979).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats  # type: ignore[import-untyped]

LEVEL = 0.05
TIE = 1e-9
"""Scores closer than this are equal: only rounding sets them apart."""


class Ranking(NamedTuple):
    """Mean ranks over data sets.

    Attributes
    ----------
    ranks : Series
        Mean rank of each method, 1 the best.
    p_value : float
        Of the Friedman test: small when some methods differ.
    critical_difference : float
        Mean ranks further apart than this differ at `LEVEL` (Nemenyi).
    """

    ranks: pd.Series
    p_value: float
    critical_difference: float


def ranking(scores: pd.DataFrame) -> Ranking:
    """Rank methods over data sets.

    Parameters
    ----------
    scores : DataFrame
        A row for each data set, a column for each of three or more methods; higher is better.
    """
    n, k = scores.shape
    ranks = scores.round(9).rank(axis=1, ascending=False).mean()
    q = stats.studentized_range.ppf(1 - LEVEL, k, np.inf) / np.sqrt(2)
    critical = float(q * np.sqrt(k * (k + 1) / (6 * n)))
    return Ranking(ranks, float(stats.friedmanchisquare(*scores.T.to_numpy()).pvalue), critical)


def paired(scores: pd.DataFrame, method: str) -> pd.DataFrame:
    """Compare one method with each other method, data set by data set.

    Parameters
    ----------
    scores : DataFrame
        A row for each data set, a column for each method; higher is better.
    method : str
        Which column to compare with all others.

    Returns
    -------
    DataFrame
        A row for each other method: ``wins``, ``ties`` and ``losses`` of `method` over data sets,
        the mean ``difference`` (above 0: `method` is better), and ``p_holm`` of the two-sided
        Wilcoxon test, corrected for the number of rows.
    """
    rows = []
    for other in scores.columns.drop(method):
        gain = (scores[method] - scores[other]).to_numpy()
        gain = np.where(np.abs(gain) < TIE, 0.0, gain)
        # Ties count half for each side; without any difference there is nothing to test.
        p = stats.wilcoxon(gain, zero_method="zsplit").pvalue if gain.any() else 1.0
        sides = (np.sum(gain > 0), np.sum(gain == 0), np.sum(gain < 0))
        rows.append((other, *map(int, sides), float(gain.mean()), float(p)))
    names = ["other", "wins", "ties", "losses", "difference", "p"]
    table = pd.DataFrame(rows, columns=names).set_index("other")
    return table.assign(p_holm=holm(table.pop("p").to_numpy()))


def holm(p_values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Correct p-values for their number, step down."""
    order = np.argsort(p_values, kind="stable")
    steps = p_values[order] * np.arange(len(p_values), 0, -1)
    corrected = np.empty_like(p_values)
    corrected[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return corrected
