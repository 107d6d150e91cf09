from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

import numpy as np
import pytest
import scipy.stats

from dualprune import selection
from dualprune.errors import ConfigError, DataError
from dualprune.selection.rows import Rows
from dualprune.selection.samplers.beta import BetaDraw, beta_parameters


def test_the_number_kept_is_exact() -> None:
    for n in range(1, 2001):
        for step in range(20):
            exact = (Decimal(100 - 5 * step) * n / 100).quantize(Decimal(1), rounding=ROUND_HALF_UP)
            assert selection.num_kept(n, 5 * step / 100) == exact
    assert selection.num_kept(50_000, 0.9) == 5000


@pytest.mark.parametrize("ratio", [step / 20 for step in range(20)])
def test_every_sampler_keeps_that_many(ratio: float) -> None:
    rng = np.random.default_rng(1)
    for n in (20, 37, 500):
        score, mean = rng.random(n), rng.random(n)
        for kept in (
            selection.beta(score, mean, ratio=ratio),
            selection.top_k(score, ratio=ratio),
            selection.random(n, ratio=ratio),
        ):
            assert len(set(kept.tolist())) == selection.num_kept(n, ratio)
            assert (np.diff(kept) > 0).all()


def test_weights_are_the_density_times_the_score() -> None:
    rng = np.random.default_rng(2)
    score, mean = rng.random(500), rng.random(500)
    weight = np.exp(BetaDraw(9.5, 6.5).order(Rows.of(score=score, mean_prob=mean)))
    np.testing.assert_allclose(weight, scipy.stats.beta.pdf(mean, 9.5, 6.5) * score, rtol=1e-10)


def test_parameters_by_hand() -> None:
    # b = 15 · 0.6 · (1 - 0.5^4) = 8.4375
    assert beta_parameters(0.4, 0.5, 4.0, "c_d", 16.0, 15.0) == pytest.approx((7.5625, 8.4375))
    # b = 15 · 0.6 · (1 - 0.5^6) = 8.859375
    assert beta_parameters(0.4, 0.5, 4.0, "2+c_d", 16.0, 15.0) == pytest.approx((7.140625, 8.859375))
    # CIFAR-10's c_d: b = 15 · 0.75 · (1 - 0.3^5.5) with 0.3^5.5 = 0.00133096581
    assert beta_parameters(0.25, 0.3, 5.5, "c_d", 16.0, 15.0) == pytest.approx((4.7649733654, 11.2350266346))
    # ImageNet's: b = 15 · 0.65 · (1 - 0.9^13) with 0.9^13 = 0.25418658283
    assert beta_parameters(0.35, 0.9, 11.0, "2+c_d", 16.0, 15.0) == pytest.approx((8.7283191826, 7.2716808174))
    a, b = beta_parameters(1.0, 0.5, 4.0, "c_d", 16.0, 15.0)
    assert a > 0
    assert b > 0


def test_the_mode_moves_to_easier_samples_as_the_ratio_grows() -> None:
    modes = []
    for ratio in (0.3, 0.5, 0.7, 0.9):
        a, b = beta_parameters(0.3, ratio, 4.0, "c_d", 16.0, 15.0)
        modes.append((a - 1) / (a + b - 2))
    assert modes == sorted(modes)
    assert modes[-1] > modes[0] + 0.1


def test_draws_agree_with_successive_sampling() -> None:
    """All subsets of 3 of 6 by a chi-square test against their exact probabilities."""
    from itertools import combinations, permutations

    score = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
    # A flat density leaves the score as the weight: a = b = 1.
    flat = {"concentration": 2.0, "scale": 1.0, "c_d": 1e6}
    expected = {}
    for subset in combinations(range(6), 3):
        chance = 0.0
        for order in permutations(subset):
            left, part = score.sum(), 1.0
            for item in order:
                part *= score[item] / left
                left -= score[item]
            chance += part
        expected[subset] = chance
    counts = dict.fromkeys(expected, 0)
    for seed in range(2000):
        kept = selection.beta(score, np.full(6, 0.0), ratio=0.5, seed=seed, **flat)
        counts[tuple(kept.tolist())] += 1
    result = scipy.stats.chisquare(list(counts.values()), [2000 * chance for chance in expected.values()])
    assert result.pvalue > 0.001


def test_row_order_does_not_matter() -> None:
    rng = np.random.default_rng(3)
    score, mean = rng.random(400), rng.random(400)
    ids = np.array([f"sample-{i}" for i in range(400)])
    kept = {str(ids[i]) for i in selection.beta(score, mean, ratio=0.6, sample_ids=ids, seed=7)}
    assert selection.beta(score, mean, ratio=0.6, sample_ids=ids.tolist(), seed=7).tolist() == [
        i for i in range(400) if str(ids[i]) in kept
    ]
    order = rng.permutation(400)
    again = selection.beta(score[order], mean[order], ratio=0.6, sample_ids=ids[order], seed=7)
    assert {str(ids[order][i]) for i in again} == kept


def test_too_few_positive_weights_are_filled_up_by_score() -> None:
    score = np.zeros(10)
    score[[2, 5]] = 0.5
    kept = selection.beta(score, np.full(10, 0.5), ratio=0.6)
    assert len(kept) == 4
    assert {2, 5} <= set(kept.tolist())
    assert len(selection.beta(np.zeros(10), np.full(10, 0.5), ratio=0.6)) == 4


def test_top_k_keeps_the_highest() -> None:
    assert selection.top_k([0.1, 0.9, 0.5, 0.7], ratio=0.5).tolist() == [1, 3]


def test_errors() -> None:
    with pytest.raises(ConfigError, match=r"1.0 is not in \[0, 1\)"):
        selection.top_k([1.0, 2.0], ratio=1.0)
    with pytest.raises(ConfigError, match=r"1.2 is not in \[0, 1\)"):
        selection.beta([1.0], [0.5], ratio=1.2)
    with pytest.raises(ConfigError, match="leaves none"):
        selection.random(2, ratio=0.9)
    with pytest.raises(DataError, match="first at position 1"):
        selection.top_k([1.0, float("nan")], ratio=0.5)
    with pytest.raises(DataError, match="mean_prob has 1 values, score has 2"):
        selection.beta([1.0, 2.0], [0.5], ratio=0.5)
