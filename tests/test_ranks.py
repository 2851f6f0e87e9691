"""The tests of significance of the benchmarks, against values computed by hand or published."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))

import ranks


def scores(n: int = 14) -> pd.DataFrame:
    """Four methods over n data sets: b always beats a, c varies, d equals a."""
    rng = np.random.default_rng(0)
    a = rng.random(n)
    return pd.DataFrame({"a": a, "b": a + np.linspace(0.1, 0.2, n), "c": rng.random(n), "d": a})


def test_critical_difference_is_the_published_one() -> None:
    # Demšar 2006, table 5a and section 3.2.2: q = 2.569 for 4 methods, 1.25 over 14 data sets.
    found = ranks.ranking(scores(14))
    assert found.critical_difference == pytest.approx(1.25, abs=0.005)


def test_ties_share_their_ranks() -> None:
    two = pd.DataFrame({"x": [0.5, 0.5], "y": [0.5 + 1e-12, 0.4], "z": [0.1, 0.9]})
    assert ranks.ranking(two).ranks.tolist() == [1.75, 2.25, 2.0]


def test_paired_counts_wins_ties_and_losses() -> None:
    found = ranks.paired(scores(), "a")
    assert found.loc["b", ["wins", "ties", "losses"]].tolist() == [0, 0, 14]
    assert found.loc["d", ["wins", "ties", "losses"]].tolist() == [0, 14, 0]
    assert found.loc["b", "difference"] == pytest.approx(-0.15)
    # The smallest two-sided p of 14 pairs is 2 / 2^14, here times the three methods.
    assert found.loc["b", "p_holm"] == pytest.approx(3 * 2 / 2**14)
    assert found.loc["d", "p_holm"] == 1.0


def test_holm_steps_down() -> None:
    corrected = ranks.holm(np.array([0.01, 0.04, 0.03, 0.9]))
    assert corrected.tolist() == pytest.approx([0.04, 0.09, 0.09, 0.9])
