"""Ranks and tests of a study, against scipy and by hand."""

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from expansive.study import statistics as tests_of

pytestmark = pytest.mark.train

torch.set_num_threads(1)


def test_holm_corrects_step_by_step():
    p = np.array([0.01, 0.04, 0.03, 0.5])
    np.testing.assert_allclose(tests_of.holm(p), [0.04, 0.09, 0.09, 0.5])


def test_blocks_average_over_losses_and_keep_pairs():
    rows = [
        {"data": "d", "seed": seed, "loss": loss, "method": method, "balanced_accuracy": value}
        for seed in (0, 1)
        for loss, shift in (("a", 0.0), ("b", 0.2))
        for method, value in (("z", seed + shift), ("y", 5 + seed + shift))
    ]
    rows.append({"data": "d", "seed": 0, "loss": "a", "method": "half", "balanced_accuracy": 1.0})
    wide = tests_of.blocks(pd.DataFrame(rows))
    assert list(wide.columns) == ["z", "y"]
    np.testing.assert_allclose(wide.to_numpy(), [[0.1, 5.1], [1.1, 6.1]])


def test_ranks_follow_demsar():
    # Table 6 of Demšar 2006: four methods on 14 data sets have these ranks and this distance.
    wide = pd.DataFrame(np.random.default_rng(0).normal(size=(14, 4)), columns=list("abcd"))
    found = tests_of.ranking(wide)
    assert found.critical_difference == pytest.approx(2.569 * (4 * 5 / (6 * 14)) ** 0.5, rel=1e-3)
    assert found.ranks.sum() == pytest.approx(10)
    assert found.p_friedman == pytest.approx(stats.friedmanchisquare(*wide.T.to_numpy()).pvalue)
    at_distance = stats.studentized_range.sf(2.569 * 2**0.5, 4, np.inf)
    assert at_distance == pytest.approx(0.05, abs=1e-3)
    a, b = found.ranks[["a", "b"]]
    significant = abs(a - b) > found.critical_difference
    assert (found.p_nemenyi.loc["a", "b"] < 0.05) == significant


def test_nemenyi_compares_all_pairs_of_ranks():
    # Six blocks in the same order: the ranks are 1, 2 and 3, and q is 2.343 (Demšar 2006, table 5).
    wide = pd.DataFrame({"c": [0.1] * 6, "a": [0.3] * 6, "b": [0.2] * 6}).add(np.arange(6), axis=0)
    found = tests_of.ranking(wide)
    assert found.ranks.to_dict() == {"a": 1.0, "b": 2.0, "c": 3.0}
    assert found.critical_difference == pytest.approx(2.343 * (3 * 4 / (6 * 6)) ** 0.5, rel=1e-3)
    unit = (3 * 4 / (6 * 6)) ** 0.5
    for one, other, distance in (("a", "b", 1), ("a", "c", 2), ("b", "b", 0)):
        expected = stats.studentized_range.sf(2**0.5 * distance / unit, 3, np.inf)
        assert found.p_nemenyi.loc[one, other] == pytest.approx(expected)
        assert found.p_nemenyi.loc[other, one] == pytest.approx(expected)


def test_ranks_of_one_block_or_of_ties_alone_differ_by_nothing():
    even = pd.DataFrame(0.5, range(4), list("abc"))
    assert tests_of.ranking(even).p_friedman == 1.0
    assert np.isnan(tests_of.ranking(even[:1]).p_friedman)
    with pytest.raises(ValueError, match="three methods or more, not 2"):
        tests_of.ranking(even[["a", "b"]])


def test_between_methods_that_never_differ_p_is_one():
    same = np.random.default_rng(0).random(6)
    found = tests_of.against(pd.DataFrame({"a": same, "b": same}), "a").loc["b"]
    assert found[["p_t", "p_permutation", "p_wilcoxon", "p_holm"]].tolist() == [1.0] * 4
    assert found["verdict"] == "no difference claimed"


def test_differences_that_are_all_the_same_are_no_noise():
    a = np.array([0.5, 0.6, 0.9])
    assert tests_of.against(pd.DataFrame({"a": a, "b": a + 0.1}), "a").loc["b", "p_t"] == 0.0


def test_more_signs_than_are_tried_are_drawn_the_same_each_time():
    wide = pd.DataFrame(np.random.default_rng(1).normal(size=(20, 2)), columns=["a", "b"])
    first, again = (tests_of.against(wide, "a").loc["b", "p_permutation"] for _ in range(2))
    assert 0.05 < first == again


def test_a_difference_within_the_noise_is_not_claimed():
    rng = np.random.default_rng(0)
    base = rng.normal(0.7, 0.05, 5)
    wide = pd.DataFrame(
        {
            "ours": base + rng.normal(0, 0.002, 5),
            "far": base - 0.03,
            "near": base + rng.normal(0, 0.02, 5),
        }
    )
    found = tests_of.against(wide, "ours")
    assert found["verdict"].to_dict() == {"far": "better", "near": "no difference claimed"}
    expected = stats.ttest_rel(wide["ours"], wide["far"]).pvalue
    assert found.loc["far", "p_t"] == pytest.approx(expected)
    assert found.loc["far", "p_holm"] == pytest.approx(2 * expected)
    # Five pairs: however clear, these two cannot be smaller.
    least = tests_of.smallest_wilcoxon(5)
    assert least == found.loc["far", "p_wilcoxon"] == found.loc["far", "p_permutation"] == 0.0625


def test_ties_share_their_ranks():
    two = pd.DataFrame({"x": [0.5, 0.5], "y": [0.5 + 1e-12, 0.4], "z": [0.1, 0.9]})
    assert tests_of.ranking(two).ranks.tolist() == [1.75, 2.25, 2.0]


def test_wins_ties_and_losses_are_counted_and_the_test_may_be_chosen():
    a = np.random.default_rng(0).random(14)
    wide = pd.DataFrame({"a": a, "b": a + np.linspace(0.1, 0.2, 14), "c": a + 1e-12})
    found = tests_of.against(wide, "a", "p_wilcoxon")
    assert found.loc["b", ["wins", "ties", "losses"]].tolist() == [0, 0, 14]
    assert found.loc["c", ["wins", "ties", "losses"]].tolist() == [0, 14, 0]
    # The smallest two-sided p of 14 pairs is 2 / 2^14, here times the two methods.
    assert found.loc["b", "p_holm"] == pytest.approx(2 * 2 / 2**14)
    assert found["verdict"].to_dict() == {"b": "worse", "c": "no difference claimed"}
    half = wide.assign(b=np.where(np.arange(14) < 2, a, wide["b"]))
    p = tests_of.against(half, "a").loc["b", "p_wilcoxon"]
    assert p == stats.wilcoxon(half["a"] - half["b"], zero_method="zsplit").pvalue
    assert p != stats.wilcoxon(half["a"] - half["b"]).pvalue
