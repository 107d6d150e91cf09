from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import spearmanr

from dualprune import selection
from dualprune.core.sections import SelectConfig, StableConfig
from dualprune.selection.engine.rules import DrawRules
from dualprune.selection.samplers.beta import Beta
from dualprune.selection.samplers.ccs import Ccs
from dualprune.selection.samplers.top_k import TopK
from dualprune.selection.stability import (
    Row,
    chances,
    measured_select,
    movement,
    rank_correlation,
    settled_at,
    subsample,
)

RANDOM = np.random.default_rng(0)
SCORE, MEAN = RANDOM.random(500), RANDOM.random(500)
IDS = np.arange(500) * 3
SELECT = Beta(), DrawRules((0.5, 0.9), seed=4)


def test_the_correlation_is_spearmans_of_the_samples_with_both_scores() -> None:
    moved = SCORE + 0.2 * RANDOM.random(500)
    assert rank_correlation(moved, SCORE) == pytest.approx(spearmanr(moved, SCORE).statistic)
    first, second = moved.copy(), SCORE.copy()
    first[[3, 77]], second[5] = np.nan, np.nan
    both = np.isfinite(first) & np.isfinite(second)
    assert rank_correlation(first, second) == pytest.approx(spearmanr(moved[both], SCORE[both]).statistic)
    assert rank_correlation(np.full(500, 0.1), SCORE) == 0.0
    assert rank_correlation(np.full(500, np.nan), SCORE) == 0.0


def test_chances_are_how_often_a_selection_keeps_a_sample() -> None:
    found = chances(*SELECT, SCORE, MEAN, pa.array(IDS))
    several = [chances(SELECT[0], replace(SELECT[1], seed=seed), SCORE, MEAN, IDS) for seed in range(40)]
    draws = 150
    for ratio, num_kept in ((0.5, 250), (0.9, 50)):
        often = np.zeros(500)
        for seed in range(draws):
            often[selection.beta(SCORE, MEAN, ratio=ratio, seed=seed, sample_ids=IDS)] += 1 / draws
        chance = found[f"{ratio:g}"].astype(float)
        # The cutoff of one draw of 50 samples varies by a tenth; the chances vary with it.
        assert np.mean([one[f"{ratio:g}"].sum() for one in several]) == pytest.approx(num_kept, rel=0.05)
        assert np.corrcoef(chance, often)[0, 1] > 0.97


def test_the_overlap_has_no_noise_that_two_draws_share() -> None:
    same, other = chances(*SELECT, SCORE, MEAN, IDS), chances(*SELECT, RANDOM.random(500), RANDOM.random(500), IDS)
    assert movement(7, 0.25, same, same) == {"epoch": 7, "correlation": 0.25, "overlap": {"0.5": 1.0, "0.9": 1.0}}
    assert max(map(abs, movement(0, 0.0, other, same)["overlap"].values())) < 0.15


def test_the_overlap_of_highest_scores_is_the_shared_part_beyond_chance() -> None:
    select = TopK(), DrawRules((0.5, 0.9), seed=4)
    moved = SCORE + 0.5 * RANDOM.random(500)
    row = movement(0, 0.0, chances(*select, moved, MEAN, IDS), chances(*select, SCORE, MEAN, IDS))
    for ratio, num_kept in ((0.5, 250), (0.9, 50)):
        now, before = (set(selection.top_k(score, ratio=ratio).tolist()) for score in (moved, SCORE))
        shared = len(now & before) / num_kept
        assert row["overlap"][f"{ratio}"] == pytest.approx((shared - 1 + ratio) / ratio, abs=1e-6)


def test_strata_and_samples_without_a_score_have_their_own_chances() -> None:
    score = SCORE.copy()
    score[[3, 77]] = np.nan
    found = chances(Ccs(Ccs.Options(drop=0.1, drop_by="score")), DrawRules((0.5,), seed=4), score, MEAN, IDS)["0.5"]
    assert not found[[3, 77]].any()
    usable = np.isfinite(score)
    dropped = np.argsort(-np.where(usable, score, -1.0))[:49]
    assert not found[dropped].any()
    assert found.sum() == pytest.approx(249, abs=1.0)
    assert found.max() <= 1.0


def test_by_what_the_kept_set_is_followed() -> None:
    assert measured_select(SelectConfig(method="random", name="x")) == SelectConfig(method="top_k")
    assert (
        measured_select(SelectConfig(method="threshold", options={"threshold": {"min_score": 0.1}})).method == "top_k"
    )
    options = {"beta": {"c_d": 5.5}}
    given = SelectConfig(method="beta", options=options, ratio=0.4, always_keep="ids.txt", nested=True)
    assert measured_select(given) == SelectConfig(method="beta", options=options, ratio=0.4)


def test_the_samples_looked_at_are_few_and_chosen_by_their_ids_alone() -> None:
    ids = np.arange(1000)
    assert subsample(ids[:300], 1000, 1000).tolist() == list(range(300))
    chosen = subsample(ids[:300], 1000, 100)
    assert len(chosen) == 30
    assert (np.diff(chosen) > 0).all()
    assert sum(len(subsample(part, 1000, 97)) for part in np.array_split(ids, 7)) <= 97
    order = RANDOM.permutation(300)
    assert sorted(ids[:300][order][subsample(ids[:300][order], 1000, 100)]) == chosen.tolist()
    assert subsample(pa.array([f"id-{i}" for i in range(300)]), 1000, 100).tolist() != chosen.tolist()


def rows(*measured: tuple[float, float]) -> list[Row]:
    return [
        {"epoch": 12 + number, "correlation": correlation, "overlap": {"0.3": 1.0, "0.9": overlap}}
        for number, (correlation, overlap) in enumerate(measured)
    ]


RULE = StableConfig(correlation=0.9, overlap=0.8, patience=2)


@pytest.mark.parametrize(
    ("measured", "min_epochs", "settled"),
    [
        ([], 0, None),
        ([(0.95, 0.85)], 0, None),
        ([(0.95, 0.85), (0.90, 0.80)], 0, 13),
        ([(0.95, 0.85), (0.95, 0.79), (0.95, 0.85)], 0, None),
        ([(0.95, 0.85), (0.89, 0.95), (0.95, 0.85), (0.95, 0.85), (0.1, 0.1)], 0, 15),
        ([(0.95, 0.85)] * 4, 15, 14),
        ([(0.95, 0.85)] * 4, 17, None),
    ],
)
def test_both_must_hold_for_some_epochs_one_after_the_other(
    measured: list[tuple[float, float]], min_epochs: int, settled: int | None
) -> None:
    assert settled_at(rows(*measured), RULE, min_epochs) == settled
