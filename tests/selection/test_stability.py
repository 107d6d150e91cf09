from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from scipy.stats import spearmanr

from dualprune import selection
from dualprune.core.sections import SelectConfig, StableConfig
from dualprune.selection.engine.drawing import DrawRules
from dualprune.selection.samplers.beta import Beta
from dualprune.selection.stability import Row, measured_select, movement, settled_at, snapshot, subsample

RANDOM = np.random.default_rng(0)
SCORE, MEAN = RANDOM.random(500), RANDOM.random(500)
IDS = np.arange(500) * 3
SELECT = Beta(), DrawRules((0.5, 0.9), seed=4)


def test_the_correlation_is_spearmans_and_the_overlap_that_of_the_selections() -> None:
    moved = SCORE + 0.2 * RANDOM.random(500)
    row = movement(7, snapshot(*SELECT, moved, MEAN, IDS), snapshot(*SELECT, SCORE, MEAN, pa.array(IDS)))
    assert row["epoch"] == 7
    assert row["correlation"] == pytest.approx(spearmanr(moved, SCORE).statistic, abs=1e-6)
    for ratio, num_kept in ((0.5, 250), (0.9, 50)):
        before, after = (
            selection.beta(score, MEAN, ratio=ratio, seed=4, sample_ids=IDS).tolist() for score in (SCORE, moved)
        )
        assert row["overlap"][f"{ratio}"] == pytest.approx(len({*before} & {*after}) / num_kept, abs=1e-6)


def test_nothing_moves_from_a_set_to_itself_and_samples_without_a_score_take_no_part() -> None:
    score = SCORE.copy()
    score[[3, 77]] = np.nan
    now = snapshot(*SELECT, score, np.where(np.isnan(score), np.nan, MEAN), IDS)
    assert movement(0, now, now) == {"epoch": 0, "correlation": 1.0, "overlap": {"0.5": 1.0, "0.9": 1.0}}
    assert not now.kept["0.5"][[3, 77]].any()
    assert now.kept["0.5"].sum() == 249
    equal = snapshot(*SELECT, np.full(500, 0.1), MEAN, IDS)
    assert movement(0, equal, equal)["correlation"] == 0.0


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
