"""Whether methods differ by more than noise.

Scores are compared in blocks, within which all methods share what they work on: a table, or a pair
of data set and seed. Friedman's test with Nemenyi's comparison of all pairs (Demšar 2006,
"Statistical Comparisons of Classifiers over Multiple Data Sets", JMLR 7, sections 3.1.3 and 3.2.2)
looks at ranks; against one reference, paired tests with Holm's correction (1979) look at
differences.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy import stats  # type: ignore[import-untyped]

LEVEL = 0.05
DIGITS = 9
"""Scores that agree to so many decimals are equal: only rounding sets them apart."""


class Ranking(NamedTuple):
    """Ranks over blocks.

    Attributes
    ----------
    ranks : Series
        Mean rank of each method, 1 for the best.
    p_friedman : float
        That all methods rank alike; nan with fewer than two blocks.
    critical_difference : float
        Mean ranks that differ by more differ significantly at `LEVEL` (Nemenyi).
    p_nemenyi : DataFrame
        p of each pair.
    blocks : int
    """

    ranks: pd.Series[float]
    p_friedman: float
    critical_difference: float
    p_nemenyi: pd.DataFrame
    blocks: int


def blocks(
    table: pd.DataFrame, score: str = "balanced_accuracy", block: tuple[str, ...] = ("data", "seed")
) -> pd.DataFrame:
    """Arrange one score: a row per block, a column per method.

    Of several cells of a method in a block (losses, backbones) the mean is taken. Methods that
    miss a block are left out, so that all are compared on the same.
    """
    wide = table.pivot_table(score, list(block), "method", aggfunc="mean")
    return wide[list(table["method"].unique())].dropna(axis="columns")


def ranking(wide: pd.DataFrame) -> Ranking:
    """Rank methods: a row per block, a column per method, three or more; higher is better."""
    n, k = wide.shape
    if k < 3:
        raise ValueError(f"ranks are tested for three methods or more, not {k}")
    wide = wide.round(DIGITS)
    ranks = wide.rank(axis=1, ascending=False).mean()
    unit = np.sqrt(k * (k + 1) / (6 * n))
    q = np.abs(ranks.to_numpy()[:, None] - ranks.to_numpy()[None]) / unit * np.sqrt(2)
    p = pd.DataFrame(stats.studentized_range.sf(q, k, np.inf), wide.columns, wide.columns)
    critical = float(stats.studentized_range.ppf(1 - LEVEL, k, np.inf) / np.sqrt(2) * unit)
    return Ranking(ranks, _friedman(wide), critical, p, n)


def against(wide: pd.DataFrame, reference: str, test: str = "p_t") -> pd.DataFrame:
    """Compare the reference with each other method, block by block.

    Parameters
    ----------
    wide : DataFrame
        A row per block (two or more), a column per method.
    reference : str
        One of the columns.
    test : {"p_t", "p_wilcoxon", "p_permutation"}
        Which of the tests is corrected and decides.

    Returns
    -------
    DataFrame
        A row per other method: ``wins``, ``ties`` and ``losses`` of the reference over blocks,
        ``difference`` (reference minus it, mean over blocks), ``sd``, ``p_t`` (paired t),
        ``p_permutation`` (random signs, exact up to 2^13 of them), ``p_wilcoxon`` (ties count half
        for each side), all two-sided; ``p_holm``, of `test`, and ``verdict``: ``"better"``,
        ``"worse"`` or ``"no difference claimed"``. Between methods that never differ, p is 1.
    """
    others = [name for name in wide.columns if name != reference]
    rows = []
    for name in others:
        difference = (wide[reference] - wide[name]).round(DIGITS).to_numpy()
        rows.append({"method": name, "difference": difference.mean(), **_tests(difference)})
    made = pd.DataFrame(rows).set_index("method")
    made["p_holm"] = holm(made[test].to_numpy())
    sign = np.where(made["difference"] > 0, "better", "worse")
    made["verdict"] = np.where(made["p_holm"] < LEVEL, sign, "no difference claimed")
    return made


def smallest_wilcoxon(n: int) -> float:
    """Smallest p that an exact two-sided signed-rank test of n pairs can reach: 2^(1 - n)."""
    return float(2.0 ** (1 - n))


def holm(p: NDArray[np.float64]) -> NDArray[np.float64]:
    """Correct p-values for their number by Holm's step-down rule."""
    order = np.argsort(p)
    scaled = p[order] * np.arange(len(p), 0, -1)
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(1.0, np.maximum.accumulate(scaled))
    return corrected


def _friedman(wide: pd.DataFrame) -> float:
    if len(wide) < 2:
        return np.nan
    if (wide.nunique(axis=1) == 1).all():
        return 1.0  # nothing but ties, for which the statistic is undefined
    return float(stats.friedmanchisquare(*wide.T.to_numpy()).pvalue)


def _tests(difference: NDArray[np.float64]) -> dict[str, float]:
    sd = float(difference.std(ddof=1))
    found = {
        "wins": int(np.sum(difference > 0)),
        "ties": int(np.sum(difference == 0)),
        "losses": int(np.sum(difference < 0)),
        "sd": sd,
    }
    if not np.any(difference):
        return found | {"p_t": 1.0, "p_permutation": 1.0, "p_wilcoxon": 1.0}
    # Without spread, up to rounding, there is no t: differences that are all the same are no noise.
    spread = sd > 1e-12 * abs(difference.mean())
    p_t = float(stats.ttest_1samp(difference, 0.0).pvalue) if spread else 0.0
    signs = stats.permutation_test(
        (difference,), np.mean, permutation_type="samples", n_resamples=2**13, rng=0
    )
    return found | {
        "p_t": p_t,
        "p_permutation": float(signs.pvalue),
        "p_wilcoxon": float(stats.wilcoxon(difference, zero_method="zsplit").pvalue),
    }
