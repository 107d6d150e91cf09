"""Beta draws against numpy's own weighted sampling without replacement, and ratios with the noise of arithmetic."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

import numpy as np
import scipy.stats

from dualprune import selection
from dualprune.selection.rows import Rows
from dualprune.selection.samplers.beta import BetaDraw

NUM_SEEDS = 2000


def test_each_sample_is_kept_as_often_as_numpy_keeps_it() -> None:
    rng = np.random.default_rng(4)
    score, mean = rng.random(12) + 0.05, rng.random(12)
    facts = {"c_d": 4.0, "anchor_size": 3}
    anchor = mean[np.argsort(-score)[:3]].mean()
    b = 15 * (1 - anchor) * (1 - 0.6**4)
    weight = scipy.stats.beta.pdf(mean, 16 - b, b) * score
    np.testing.assert_allclose(np.exp(BetaDraw(16 - b, b).order(Rows.of(score=score, mean_prob=mean))), weight)
    ours, numpys = np.zeros(12, dtype=int), np.zeros(12, dtype=int)
    for seed in range(NUM_SEEDS):
        kept = selection.beta(score, mean, ratio=0.6, seed=seed, **facts)
        drawn = np.random.default_rng(seed).choice(12, len(kept), replace=False, p=weight / weight.sum())
        ours[kept] += 1
        numpys[drawn] += 1
    assert ours.sum() == numpys.sum() == 5 * NUM_SEEDS
    # Only samples that can be kept or left out are informative.
    sure = (ours + numpys < 10) | (2 * NUM_SEEDS - ours - numpys < 10)
    assert np.count_nonzero(~sure) >= 6
    assert scipy.stats.chi2_contingency([ours[~sure], numpys[~sure]]).pvalue > 0.001


def test_a_ratio_keeps_what_is_meant_by_it() -> None:
    noisy = [step * 0.05 for step in range(20)] + np.arange(0, 1, 0.05).tolist()
    for ratio in noisy:
        meant = Decimal(1) - Decimal(f"{ratio:.2f}")
        for n in range(1, 2001):
            assert selection.num_kept(n, ratio) == (meant * n).quantize(Decimal(1), rounding=ROUND_HALF_UP)
