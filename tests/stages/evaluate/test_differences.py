"""Differences of accuracy: their intervals, and how often they raise a false alarm."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from benchmarks.false_alarms import alarm_rate
from dualprune.stages.evaluate.differences import PAIRED, WELCH, differences, estimate, levels
from tests.stages.evaluate.test_stage import FULL, trainings


def by_seed(values: np.ndarray, first: int = 0) -> dict[int, float]:
    return {first + n: float(value) for n, value in enumerate(values)}


def test_pairs_and_welch_agree_with_scipy() -> None:
    rng = np.random.default_rng(3)
    ours, others = rng.normal(0.8, 0.01, 5), rng.normal(0.79, 0.02, 5)
    paired = estimate(by_seed(ours), by_seed(others))
    expected = stats.ttest_rel(ours, others)
    assert (paired.test, paired.p) == (PAIRED, pytest.approx(expected.pvalue))
    assert paired.interval(0.05) == pytest.approx(tuple(expected.confidence_interval(0.95)))
    welch = estimate(by_seed(ours), by_seed(others[:3], first=7))
    expected = stats.ttest_ind(ours, others[:3], equal_var=False)
    assert (welch.test, welch.p) == (WELCH, pytest.approx(expected.pvalue))
    assert welch.interval(0.01) == pytest.approx(tuple(expected.confidence_interval(0.99)))


@pytest.mark.parametrize(
    ("ours", "others"),
    [
        ({0: 0.9}, {0: 0.8}),
        ({0: 0.9}, {0: 0.8, 1: 0.7}),
        # A test set of few samples: the seeds differ by the same step, or not at all.
        ({0: 0.3, 1: 0.5}, {0: 0.1, 1: 0.3}),
        ({0: 0.9, 1: 0.9}, {2: 0.8, 3: 0.8}),
    ],
)
def test_without_a_spread_nothing_is_claimed(ours: dict[int, float], others: dict[int, float]) -> None:
    found = estimate(ours, others)
    assert (found.error, found.p, found.interval(0.05)) == (None, 1.0, None)


def test_levels_are_those_of_holm() -> None:
    assert levels([0.001, 0.04, 0.02]) == pytest.approx([0.05 / 3, 0.05, 0.025])
    # The second is not rejected, so neither is the third, whatever its own level would be.
    assert levels([0.001, 0.03, 0.04]) == pytest.approx([0.05 / 3, 0.025, 0.025])
    assert levels([0.05]) == [0.05]
    assert levels([]) == []


def test_an_interval_excludes_zero_where_the_difference_is_distinguishable() -> None:
    rng = np.random.default_rng(5)
    for _ in range(50):
        rows = [*FULL]
        for kept in (100, 300, 500, 700):
            rows += trainings("random", kept, list(rng.normal(0.8, 0.01, 3)))
            rows += trainings(f"beta-{kept}", kept, list(rng.normal(0.83, 0.01, 3)))
        found = differences(rows, "full", "random")
        assert {one["family"] for one in found} == {4}
        assert [one["to"] for one in found] == ["random"] * 4 + ["full"] * 4
        assert all(one["distinguishable"] == (not one["low"] <= 0.0 <= one["high"]) for one in found)


def test_a_missing_side_is_no_difference() -> None:
    rows = [*trainings("beta-0.7", 300, [0.8, 0.81]), *trainings("random", 500, [0.8, 0.81])]
    assert differences(rows, "full", "random") == []
    assert differences([], "full", "random") == []


@pytest.mark.parametrize("seeds", [2, 3, 5])
@pytest.mark.parametrize("ratios", [1, 4])
def test_false_alarms_stay_within_five_percent(seeds: int, ratios: int) -> None:
    rate = alarm_rate("today", seeds, ratios, trials=1500)
    # Two standard errors of the simulation itself.
    assert rate < 0.05 + 2 * (0.05 * 0.95 / 1500) ** 0.5


def test_the_rule_of_before_raised_many() -> None:
    assert alarm_rate("two errors", seeds=3, ratios=4, trials=1500) > 0.3
