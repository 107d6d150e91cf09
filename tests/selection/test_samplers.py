"""Each sampler and each constraint against a small plain implementation."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import scipy.stats
from numpy.typing import NDArray

from dualprune import selection
from dualprune.core.config_file import make_config
from dualprune.core.plugins import make_sampler
from dualprune.core.sections import BalanceConfig, SelectConfig
from dualprune.errors import ConfigError, DataError
from dualprune.selection.arrays import draw
from dualprune.selection.engine.drawing import draw_all
from dualprune.selection.engine.outcome import Outcome
from dualprune.selection.engine.quotas import allot, stratum_budgets
from dualprune.selection.engine.rules import Constraints, DrawRules
from dualprune.selection.engine.survey import Each
from dualprune.selection.rows import Rows
from dualprune.selection.sampler import Draw, Sampler, Summary
from dualprune.selection.samplers.flexrand import pool_budgets

RNG = np.random.default_rng(11)
SCORE, MEAN = RNG.gamma(2.0, 0.05, 1000), RNG.random(1000)
LABEL = RNG.choice(5, 1000, p=[0.5, 0.3, 0.15, 0.04, 0.01])


def kept_per_class(config: SelectConfig) -> list[int]:
    [kept] = selection.select(config, SCORE, MEAN, labels=LABEL)
    assert len(kept) == selection.num_kept(1000, config.ratios[0])
    return np.bincount(LABEL[kept], minlength=5).tolist()


def test_a_window_of_ranks() -> None:
    order = np.argsort(-SCORE)
    assert selection.top_k(SCORE, ratio=0.7, skip=0.1).tolist() == sorted(order[100:400].tolist())
    assert selection.top_k(SCORE, ratio=0.7, order="easiest").tolist() == sorted(order[700:].tolist())
    assert selection.top_k(SCORE, ratio=0.7, order="easiest", skip=0.2).tolist() == sorted(order[500:800].tolist())
    with pytest.raises(ConfigError, match=r"ratio: 0.3 of 1000 samples keeps 700, but only 600 may be kept"):
        selection.top_k(SCORE, ratio=0.3, skip=0.4)


@pytest.mark.parametrize("ratio", [0.2, 0.5, 0.9])
def test_stratified_spreads_the_budget_from_the_smallest_stratum_on(ratio: float) -> None:
    kept = selection.stratified(SCORE, ratio=ratio, strata=20, drop_hardest=0.1)
    rest = np.argsort(-SCORE)[100:]
    low, high = SCORE[rest].min(), SCORE[rest].max()
    stratum = np.minimum(((SCORE - low) / (high - low) * 20).astype(int), 19)
    sizes = np.bincount(stratum[rest], minlength=20)
    left, strata_left, expected = selection.num_kept(1000, ratio), int((sizes > 0).sum()), np.zeros(20, dtype=int)
    for place in np.argsort(sizes, kind="stable"):
        if sizes[place]:
            expected[place] = min(sizes[place], left // strata_left)
            left, strata_left = left - expected[place], strata_left - 1
    assert left == 0
    assert set(kept.tolist()) <= set(rest.tolist())
    assert np.bincount(stratum[kept], minlength=20).tolist() == expected.tolist()


def test_strata_are_drawn_from_by_chance() -> None:
    counts = np.zeros(60)
    score = np.repeat([0.0, 0.5, 1.0], [10, 20, 30])
    for seed in range(600):
        counts[selection.stratified(score, ratio=0.5, strata=3, seed=seed)] += 1
    # 10 of 10, 10 of 20, 10 of 30
    assert (counts[:10] == 600).all()
    assert scipy.stats.chisquare(counts[10:30]).pvalue > 0.001
    assert counts[10:30].mean() == 300
    assert counts[30:].mean() == 200


def test_budgets_use_up_the_count() -> None:
    for sizes in ([5, 1, 9, 0, 3], [1, 1, 1], [100, 1]):
        for count in range(sum(sizes) + 1):
            assert stratum_budgets(np.array(sizes), count).sum() == count


def threshold(**limits: float) -> SelectConfig:
    return SelectConfig(method="threshold", options={"threshold": limits})


def test_a_threshold_keeps_what_lies_within() -> None:
    config = threshold(min_score=0.05, max_score=0.2)
    [kept] = selection.select(config, SCORE)
    assert kept.tolist() == np.flatnonzero((SCORE >= 0.05) & (SCORE <= 0.2)).tolist()
    with pytest.raises(ConfigError, match=r"threshold needs one of them"):
        selection.select(SelectConfig(method="threshold"), SCORE)
    with pytest.raises(ConfigError, match=r"no score lies in \[9.0, inf\]; scores go from 0.0"):
        selection.select(threshold(min_score=9.0), SCORE)
    with pytest.raises(ConfigError, match=r"3.0 is above select.max_score = 2.0"):
        selection.select(threshold(min_score=3.0, max_score=2.0), SCORE)
    with pytest.raises(ConfigError, match=r"groups have no quota"):
        selection.select(
            threshold(min_score=0.1).model_copy(update={"balance": BalanceConfig(minimum=1)}), SCORE, labels=LABEL
        )


@pytest.mark.parametrize("method", ["beta", "top_k", "random", "ccs"])
def test_quotas_around_any_sampler(method: str) -> None:
    sizes = np.bincount(LABEL)
    found = kept_per_class(SelectConfig(method=method, ratio=0.7, balance={"quota": "proportional"}))
    assert np.abs(np.array(found) - 0.3 * sizes).max() < 1.0
    equal = SelectConfig(method=method, ratio=0.7, balance={"quota": "equal", "short": "redistribute"})
    small, rest = sizes[3:], 300 - sizes[3:].sum()
    assert kept_per_class(equal) == [rest // 3 + (rest % 3 > 0), rest // 3 + (rest % 3 > 1), rest // 3, *small]
    least = SelectConfig(method=method, ratio=0.9, balance={"quota": "proportional", "minimum": 6})
    assert min(kept_per_class(least)) == 6
    weights = {"0": 1.0, "1": 1.0, "2": 2.0, "3": 0.5, "4": 0.1}
    by_weight = kept_per_class(SelectConfig(method=method, ratio=0.95, balance={"quota": weights}))
    assert by_weight == pytest.approx(np.array([1, 1, 2, 0.5, 0.1]) * 50 / 4.6, abs=1)


def test_top_k_by_class_keeps_the_highest_of_each() -> None:
    config = SelectConfig(method="top_k", ratio=0.9, balance={"quota": "equal", "short": "redistribute"})
    [kept] = selection.select(config, SCORE, labels=LABEL)
    for label, number in enumerate(np.bincount(LABEL[kept])):
        rows = np.flatnonzero(label == LABEL)
        best = rows[np.argsort(-SCORE[rows])[:number]]
        assert set(kept[LABEL[kept] == label].tolist()) == set(best.tolist())


def test_the_least_number_of_each_class_comes_first() -> None:
    config = SelectConfig(method="top_k", ratio=0.95, balance={"minimum": 4})
    [kept] = selection.select(config, SCORE, labels=LABEL)
    order = np.argsort(-SCORE)
    first = {int(row) for label in range(5) for row in order[LABEL[order] == label][:4]}
    others = [int(row) for row in order if row not in first][: 50 - len(first)]
    assert set(kept.tolist()) == first | set(others)


def test_shares_are_whole_numbers_that_never_shrink() -> None:
    weights, caps = np.array([7.0, 3.0, 1.5, 0.2]), np.array([60, 30, 5, 9])
    before = np.zeros(4, dtype=np.int64)
    for count in range(4, 105):
        shares = allot(weights, count, np.ones(4, dtype=np.int64), caps)
        assert shares.sum() == count
        assert (shares >= before).all()
        assert (shares <= caps).all()
        before = shares


@pytest.mark.parametrize(
    ("balance", "message"),
    [
        ({"quota": "equal"}, r"quota: 2 groups have fewer samples than their quota, first '3': 60 of"),
        ({"minimum": 20}, r"minimum: 1 groups have fewer samples than their quota, first '4': 20 of"),
        ({"minimum": 100, "short": "redistribute"}, r"100 of each of 5 groups are .* samples, but only 300 are kept"),
        ({"quota": {"0": 1.0, "one": 1.0}}, r"there is no group 'one' in 'label'"),
        ({"quota": {"0": 1.0}}, r"4 groups of 'label' have no weight, such as 1, 2, 3, 4"),
    ],
)
def test_quotas_that_cannot_be(balance: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        selection.select(SelectConfig(method="random", ratio=0.7, balance=balance), SCORE, labels=LABEL)


def test_a_minimum_with_strata_needs_a_quota() -> None:
    config = SelectConfig(method="ccs", balance={"minimum": 1})
    with pytest.raises(ConfigError, match=r"set select.balance.quota to proportional"):
        selection.select(config, SCORE, labels=LABEL)
    with pytest.raises(DataError, match=r"no labels were passed"):
        selection.select(SelectConfig(method="random", balance=BalanceConfig(minimum=1)), SCORE)


@pytest.mark.parametrize("method", ["random", "top_k", "beta"])
def test_nested_draws(method: str) -> None:
    ratios = [0.9, 0.3, 0.7]
    kept = selection.select(SelectConfig(method=method, ratio=ratios, nested=True), SCORE, MEAN)
    assert [len(rows) for rows in kept] == [100, 700, 300]
    assert set(kept[0].tolist()) < set(kept[2].tolist()) < set(kept[1].tolist())
    free = selection.select(SelectConfig(method=method, ratio=ratios), SCORE, MEAN)
    # Where weights do not change with the ratio, draws of one seed are always nested.
    assert ([rows.tolist() for rows in free] == [rows.tolist() for rows in kept]) == (method != "beta")


def test_all_ratios_at_once_are_the_ratios_one_by_one() -> None:
    together = selection.select(SelectConfig(ratio=[0.3, 0.5, 0.7, 0.9]), SCORE, MEAN)
    for ratio, kept in zip([0.3, 0.5, 0.7, 0.9], together, strict=True):
        assert kept.tolist() == selection.beta(SCORE, MEAN, ratio=ratio).tolist()


def drawn_with(config: SelectConfig, constraints: Constraints) -> tuple[Rows, list[Outcome]]:
    whole = Rows.of(score=SCORE, mean_prob=MEAN, group=LABEL)
    each: Each = lambda function: iter([function([whole])])  # noqa: E731
    return whole, draw_all(
        each, make_sampler(make_config({"select": config.model_dump()})), DrawRules.of(config), constraints
    )


@pytest.mark.parametrize("method", ["random", "top_k", "beta", "ccs"])
def test_always_and_never(method: str) -> None:
    always, never = np.arange(0, 1000, 13), np.arange(1, 1000, 13)
    whole, [drawn] = drawn_with(SelectConfig(method=method, ratio=0.7), Constraints(always, never))
    kept = np.flatnonzero(drawn.cutoff.keeps(whole))
    assert len(kept) == 300
    assert set(always.tolist()) <= set(kept.tolist())
    assert not set(never.tolist()) & set(kept.tolist())
    with pytest.raises(ConfigError, match=r"77 samples are always kept, but ratio 0.95 of 1000 samples keeps 50"):
        drawn_with(SelectConfig(method=method, ratio=0.95), Constraints(always, never))
    with pytest.raises(ConfigError, match=r"keeps 950, but only 923 may be kept"):
        drawn_with(SelectConfig(method=method, ratio=0.05), Constraints(excluded=never))


def test_inclusion_probabilities_make_totals_free_of_bias() -> None:
    value = MEAN**2
    totals, counts = [], np.zeros(1000)
    for seed in range(300):
        whole, [drawn] = drawn_with(SelectConfig(method="beta", ratio=0.7, seed=seed), Constraints())
        mask = drawn.cutoff.keeps(whole)
        chance = drawn.inclusion(whole)[mask]
        assert ((chance > 0) & (chance <= 1)).all()
        # A wrong probability shows at the heaviest samples; a tiny one makes the sum noisy without bias.
        heavy = SCORE[mask] > np.median(SCORE)
        totals.append((value[mask] / chance)[heavy & (MEAN[mask] > 0.3)].sum())
        counts += mask
    exact = value[(np.median(SCORE) < SCORE) & (MEAN > 0.3)].sum()
    error = np.std(totals) / np.sqrt(len(totals))
    assert abs(np.mean(totals) - exact) < 4 * error


def test_inclusion_of_random_and_ranked_draws() -> None:
    whole, [drawn] = drawn_with(SelectConfig(method="random", ratio=0.7), Constraints())
    assert drawn.inclusion(whole).tolist() == [0.3] * 1000
    assert drawn.by_chance
    whole, [drawn] = drawn_with(SelectConfig(method="top_k", ratio=0.7), Constraints())
    assert drawn.inclusion(whole).tolist() == drawn.cutoff.keeps(whole).astype(float).tolist()
    assert not drawn.by_chance


def test_zero_weights_warn_with_their_number(caplog: pytest.LogCaptureFixture) -> None:
    logging.getLogger("dualprune").propagate = True
    assert len(selection.beta(np.zeros(10), np.full(10, 0.5), ratio=0.6)) == 4
    assert "all 10 candidates have weight zero; the 4 kept" in caplog.text
    score = np.zeros(10)
    score[[2, 5]] = 0.5
    assert {2, 5} < set(selection.beta(score, np.full(10, 0.5), ratio=0.6).tolist())
    assert "8 of 10 candidates have weight zero, and only 2 have a positive one; the other 2 of the 4" in caplog.text


@pytest.mark.parametrize("method", ["random", "top_k", "beta", "ccs"])
def test_a_score_of_minus_infinity_is_never_kept(method: str) -> None:
    never = np.arange(0, 1000, 3)
    score = SCORE.copy()
    score[never] = -np.inf
    [kept] = selection.select(SelectConfig(method=method, ratio=0.5), score, MEAN)
    assert len(kept) == 500
    assert not set(never.tolist()) & set(kept.tolist())
    with pytest.raises(ConfigError, match=r"of 1000 samples keeps 700, but only 666 may be kept"):
        selection.select(SelectConfig(method=method, ratio=0.3), score, MEAN)


class Oldest(Sampler):
    """The simplest possible sampler."""

    def draw(self, ratio: float, summary: Summary) -> Draw:
        class Age(Draw):
            def order(self, rows: Rows) -> NDArray[np.float64]:
                return -rows.position.astype(float)

        return Age()


def test_a_plain_sampler_is_an_order() -> None:
    Oldest.name = "oldest"
    [kept] = draw(Oldest(), DrawRules((0.7,), balance=BalanceConfig(quota="proportional")), SCORE, labels=LABEL)
    for label in range(5):
        rows = np.flatnonzero(label == LABEL)
        assert kept[LABEL[kept] == label].tolist() == rows[: np.count_nonzero(LABEL[kept] == label)].tolist()
    assert len(kept) == 300


def test_ccs_by_aum_names_what_is_missing() -> None:
    assert selection.ccs(SCORE, ratio=0.5).tolist() == selection.stratified(SCORE, ratio=0.5).tolist()
    with pytest.raises(ConfigError, match=r"ccs with these options needs aum beside the score"):
        selection.ccs(SCORE, ratio=0.5, drop=0.1)
    dropped = selection.ccs(SCORE, ratio=0.5, drop=0.1, drop_by="score")
    assert dropped.tolist() == selection.stratified(SCORE, ratio=0.5, drop_hardest=0.1).tolist()


@pytest.mark.parametrize("drop", [0.3, 0.05, 0.29])
def test_ccs_drops_the_hardest_by_aum_as_published(drop: float) -> None:
    aum = RNG.normal(size=1000)
    kept = selection.ccs(SCORE, ratio=0.5, aum=aum, drop=drop)
    # int(β · N), in decimals.
    rest = np.argsort(-aum)[round(1000 * drop) :]
    assert set(kept.tolist()) <= set(rest.tolist())
    assert len(kept) == 500
    nine = selection.ccs(SCORE[:9], ratio=0.0, aum=aum[:9], drop=0.0)
    assert len(nine) == 9
    # int(0.3 · 9) = 2, where a rounded share would be 3.
    assert len(selection.ccs(SCORE[:9], ratio=2 / 9, aum=aum[:9], drop=0.3)) == 7
    with pytest.raises(DataError, match=r"1 samples have aum = NaN"):
        selection.ccs(SCORE[:3], ratio=0.5, aum=[0.0, np.nan, 1.0], drop=0.3)


@pytest.mark.parametrize("score", [-SCORE, SCORE - SCORE.max(), np.full(1000, -0.5)])
def test_ccs_of_keys_below_zero_loses_no_sample(score: NDArray[np.float64]) -> None:
    # The authors' upper edge, max · 1.0001, leaves out the best sample, or all of them where the keys are constant.
    chosen = sum(np.bincount(selection.ccs(score, ratio=0.2, seed=seed), minlength=1000) for seed in range(40))
    assert chosen.min() > 0


def pools_by_plain_rules(size: int, kept: int, split: float) -> tuple[int, int]:
    """Return how many of the easy pool and of the others FlexRand keeps of a class, by the published rounding."""
    share = kept / size
    if split <= 0.5:
        easy = min(split, share / 2)
        hard = share - easy
    else:
        hard = min(1 - split, share / 2)
        easy = share - hard
    return round(size * easy), round(size * hard)


@pytest.mark.parametrize("split", [0.05, 0.3, 0.5, 0.55, 0.95])
@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.7, 0.9])
def test_flexrand_draws_from_both_pools_of_each_class(split: float, ratio: float) -> None:
    kept = selection.flexrand(SCORE, LABEL, ratio=ratio, split=split)
    assert len(kept) == selection.num_kept(1000, ratio)
    same_share = kept_per_class(
        make_config({"select": {"method": "top_k", "ratio": ratio, "balance": {"quota": "proportional"}}}).select
    )
    assert np.bincount(LABEL[kept], minlength=5).tolist() == same_share
    for label in range(5):
        rows = np.flatnonzero(label == LABEL)
        pool = rows[np.argsort(SCORE[rows])[: round(split * len(rows))]]
        easy, hard = pools_by_plain_rules(len(rows), same_share[label], split)
        found = int(np.isin(pool, kept).sum())
        # The larger pool makes up for rounding.
        if len(pool) >= len(rows) - len(pool):
            assert same_share[label] - found == min(hard, len(rows) - len(pool))
        else:
            assert found == min(easy, len(pool))


def test_flexrand_by_hand() -> None:
    # Of 10, a share of 0.3 at a split of 0.5: 2 and 2 by the authors' rounding, 3 here.
    assert pools_by_plain_rules(10, 3, 0.5) == (2, 2)
    assert pool_budgets(5, 5, 3, 0.5).tolist() == [1, 2]
    score, label = np.arange(20.0), np.repeat([0, 1], 10)
    kept = selection.flexrand(score, label, ratio=0.7)
    assert [int(np.isin(kept, pool).sum()) for pool in np.split(np.arange(20), 4)] == [1, 2, 1, 2]
    # Every sample of a pool has the same chance.
    chosen = sum(np.bincount(selection.flexrand(score, label, ratio=0.7, seed=s), minlength=20) for s in range(300))
    for pool in np.split(chosen, 4):
        assert scipy.stats.chisquare(pool).pvalue > 0.001
    for easy in range(12):
        for hard in range(12 - easy):
            for k in range(easy + hard + 1):
                for split in (0.05, 0.5, 0.6, 0.95):
                    budgets = pool_budgets(easy, hard, k, split)
                    assert budgets.sum() == k
                    assert (budgets >= 0).all()
                    assert (budgets <= [easy, hard]).all()
    with pytest.raises(DataError, match=r"flexrand looks at classes, but no labels were passed"):
        selection.select(make_config({"select": {"method": "flexrand"}}).select, SCORE)


def test_flexrand_keeps_the_quotas_of_a_balance() -> None:
    equal = {"method": "flexrand", "ratio": 0.9, "balance": {"quota": "equal", "short": "redistribute"}}
    counts = kept_per_class(make_config({"select": equal}).select)
    assert counts == kept_per_class(make_config({"select": {**equal, "method": "top_k"}}).select)
    assert len(set(counts[:3])) <= 2
    # A single class has no groups to tell apart.
    assert len(selection.flexrand(SCORE, np.zeros(1000, int), ratio=0.9)) == 100


def test_a_floor_of_top_k_by_hand() -> None:
    score, label = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.1, 0.05, 0.02]), np.array([0] * 5 + [1] * 3)
    assert selection.top_k(score, ratio=0.5, floor=0.5, labels=label).tolist() == [0, 1, 2, 5]
    assert selection.top_k(score, ratio=0.5, labels=label).tolist() == [0, 1, 2, 3]
    assert selection.top_k(score, ratio=0.5, floor=1.0, labels=label).tolist() == [0, 1, 5, 6]
    assert selection.top_k(score, ratio=0.5, floor=0.5, order="easiest", labels=label).tolist() == [4, 5, 6, 7]
    # A class that is smaller than its share is kept whole.
    assert selection.top_k(score, ratio=0.0, floor=1.0, labels=label).tolist() == list(range(8))
    with pytest.raises(DataError, match=r"top_k looks at classes, but no labels were passed"):
        selection.top_k(score, ratio=0.5, floor=0.5)
    with pytest.raises(ConfigError, match=r"skip, floor: both are set"):
        selection.top_k(score, ratio=0.5, floor=0.5, skip=0.1, labels=label)


@pytest.mark.parametrize("floor", [0.2, 0.5, 0.9])
def test_a_floor_of_top_k_by_plain_rules(floor: float) -> None:
    kept = selection.top_k(SCORE, ratio=0.7, floor=floor, labels=LABEL)
    first = [
        np.flatnonzero(c == LABEL)[np.argsort(-SCORE[c == LABEL])][: int(floor * 300 / 5 + 1e-9)] for c in range(5)
    ]
    sure = np.concatenate(first)
    rest = np.setdiff1d(np.argsort(-SCORE), sure)
    more = rest[np.argsort(-SCORE[rest])][: 300 - len(sure)]
    assert kept.tolist() == sorted([*sure, *more])


def test_beta_weights_by_ranks_where_scores_can_be_negative() -> None:
    signed = SCORE - np.median(SCORE)
    with pytest.raises(ConfigError, match=r"the lowest is -0.0\d+; set select.options.beta.weight: rank"):
        selection.beta(signed, MEAN, ratio=0.7)
    kept = selection.beta(signed, MEAN, ratio=0.7, weight="rank")
    shares = (scipy.stats.rankdata(signed) - 0.5) / 1000
    assert kept.tolist() == selection.beta(shares, MEAN, ratio=0.7).tolist()
    # Ties have one rank; ranks do not change with the scale, or with samples that are never kept.
    coarse = signed.round(1)
    shares = (scipy.stats.rankdata(coarse) - 0.5) / 1000
    found = selection.beta(coarse, MEAN, ratio=0.7, weight="rank")
    assert found.tolist() == selection.beta(7 * coarse, MEAN, ratio=0.7, weight="rank").tolist()
    assert found.tolist() == selection.beta(shares, MEAN, ratio=0.7).tolist()
    never = np.where(np.arange(1000) % 3 == 0, -np.inf, signed)
    found = selection.beta(never, MEAN, ratio=0.7, weight="rank")
    ranks = np.full(1000, -np.inf)
    ranks[np.isfinite(never)] = (scipy.stats.rankdata(never[np.isfinite(never)]) - 0.5) / np.isfinite(never).sum()
    assert found.tolist() == selection.beta(ranks, MEAN, ratio=0.7).tolist()
