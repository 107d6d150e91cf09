"""The inclusion probability is that of the draw: among ties, without weights, with minimums, cuts and nested ratios."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dualprune.core.config_file import make_config
from dualprune.core.plugins import make_sampler
from dualprune.errors import ConfigError
from dualprune.selection.engine.drawing import draw_all
from dualprune.selection.engine.outcome import Outcome
from dualprune.selection.engine.rules import Constraints, DrawRules
from dualprune.selection.rows import Rows

Floats = NDArray[np.float64]
RNG = np.random.default_rng(9)
NUM = 24
MEAN, GROUP = RNG.random(NUM), np.arange(NUM) % 3
SCORES = {
    "spread": RNG.random(NUM) + 0.1,
    "equal": np.full(NUM, 0.2),
    "zero": np.zeros(NUM),
    "few weights": np.where(np.arange(NUM) < 5, RNG.random(NUM) + 0.1, 0.0),
    "few values": RNG.integers(0, 4, NUM) / 4.0,
    "negative": np.where(np.arange(NUM) < 8, 0.3, -RNG.integers(1, 4, NUM).astype(float)),
}
METHODS = ["beta", "random", "top_k", "ccs"]


@pytest.fixture(autouse=True)
def errors_alone(caplog: pytest.LogCaptureFixture) -> Any:
    """Make numpy's warnings errors, and leave out the hundreds of ours about samples without a weight."""
    caplog.set_level(logging.ERROR, logger="dualprune.selection")
    with np.errstate(all="raise", under="ignore"):
        yield


def drawn(
    score: Floats, *, seed: int = 0, always: tuple[int, ...] = (), mean: Floats = MEAN, **select: Any
) -> tuple[Outcome, Floats, NDArray[np.bool_]]:
    """Return the last ratio's outcome, the inclusion of each sample, and who is kept."""
    config = make_config({"select": {**select, "seed": seed}})
    rows = Rows.of(score=score, mean_prob=mean, group=np.arange(len(score)) % 3)
    constraints = Constraints(np.array(always, dtype=np.int64), groups=("0", "1", "2"))
    each = lambda function: iter([function([rows])])  # noqa: E731
    outcome = draw_all(each, make_sampler(config), DrawRules.of(config.select), constraints)[-1]
    return outcome, outcome.inclusion(rows), outcome.cutoff.keeps(rows)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("value", [0.0, 0.2, -3.0, 1e300])
@pytest.mark.parametrize("mean", [0.0, 0.5, 1.0])
def test_where_all_scores_are_equal_everyone_has_the_same_chance(method: str, value: float, mean: float) -> None:
    score, means = np.full(80, value), np.full(80, mean)
    options = {"beta": {"weight": "rank"}} if method == "beta" and value < 0.0 else {}
    outcome, chance, kept = drawn(score, mean=means, method=method, ratio=0.5, options=options)
    assert outcome.by_chance
    assert kept.sum() == 40
    if method == "beta" and value != 0.0:
        # By the threshold of the draw, an estimate.
        assert np.ptp(chance) == 0.0
        assert chance[0] == pytest.approx(0.5, abs=0.2)
    else:
        assert chance.tolist() == [0.5] * 80


@pytest.mark.parametrize("method", METHODS)
def test_samples_that_are_never_kept_leave_the_others_their_chance(method: str) -> None:
    score = np.zeros(80)
    score[::4] = -np.inf
    outcome, chance, kept = drawn(score, mean=np.full(80, 0.5), method=method, ratio=0.5)
    assert (kept.sum(), outcome.num_candidates) == (40, 60)
    assert chance[kept].tolist() == [40 / 60] * 40
    assert chance[::4].tolist() == [0.0] * 20


def test_no_sample_may_be_kept() -> None:
    with pytest.raises(ConfigError, match="only 0 may be kept"):
        drawn(np.full(10, -np.inf), mean=np.full(10, 0.5), method="beta", ratio=0.5)


@pytest.mark.parametrize("method", METHODS)
def test_equal_scores_with_a_quota_have_the_share_of_their_group(method: str) -> None:
    sizes, quotas = np.array([27, 27, 26]), np.array([10, 20, 10])
    balance = {"quota": {"0": 1.0, "1": 2.0, "2": 1.0}}
    _, chance, kept = drawn(np.zeros(80), mean=np.full(80, 0.5), method=method, ratio=0.5, balance=balance)
    groups = np.arange(80) % 3
    assert np.bincount(groups[kept]).tolist() == quotas.tolist()
    assert chance.tolist() == (quotas / sizes)[groups].tolist()


def test_fewer_weights_than_samples_to_keep() -> None:
    score = np.array([0.3, 0.2, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, -np.inf])
    mean = np.full(10, 0.5)
    for ratio, expected in {
        0.8: [1, 1, 0, 0, 0, 0, 0, 0, 0, 0],
        0.7: [1, 1, *[1 / 7] * 7, 0],
        0.4: [1, 1, *[4 / 7] * 7, 0],
        0.2: [1, 1, *[6 / 7] * 7, 0],
    }.items():
        _, chance, kept = drawn(score, mean=mean, method="beta", ratio=ratio)
        assert chance.tolist() == expected
        assert kept.sum() == round(10 * (1 - ratio))
        assert (chance[kept] > 0).all()


def test_ties_of_top_k() -> None:
    score = np.array([3.0, 2.0, 2.0, 2.0, 2.0, 1.0, 1.0, 1.0, 1.0, 0.0])
    outcome, chance, _ = drawn(score, mean=MEAN[:10], method="top_k", ratio=0.6)
    assert chance.tolist() == [1.0, 0.75, 0.75, 0.75, 0.75, 0, 0, 0, 0, 0]
    assert outcome.by_chance
    # One of the four is always kept, so that three others are drawn for two places.
    _, chance, _ = drawn(score, mean=MEAN[:10], method="top_k", ratio=0.6, always=(2,))
    assert chance.tolist() == [1.0, 2 / 3, 1.0, 2 / 3, 2 / 3, 0, 0, 0, 0, 0]
    # Two of four are skipped, and one of the other two is kept.
    _, chance, _ = drawn(score, mean=MEAN[:10], method="top_k", ratio=0.9, options={"top_k": {"skip": 0.3}})
    assert chance[1:5].max() <= 0.5
    # No tie is divided.
    outcome, chance, _ = drawn(score, mean=MEAN[:10], method="top_k", ratio=0.5)
    assert chance.tolist() == [1.0] * 5 + [0.0] * 5
    assert not outcome.by_chance


CASES: list[tuple[str, dict[str, Any]]] = [
    *((name, {"method": "beta", "balance": {"minimum": 2}}) for name in ("spread", "few weights", "zero")),
    ("spread", {"method": "random", "balance": {"minimum": 2}}),
    ("few values", {"method": "top_k", "balance": {"minimum": 2}}),
    *(("spread", {"method": name, "ratio": [0.3, 0.5, 0.75], "nested": True}) for name in ("beta", "random", "ccs")),
    ("few values", {"method": "top_k", "ratio": [0.3, 0.5, 0.75], "nested": True}),
    ("few values", {"method": "top_k", "options": {"top_k": {"skip": 0.2}}}),
    ("few values", {"method": "ccs", "options": {"ccs": {"strata": 3, "drop": 0.2, "drop_by": "score"}}}),
    ("negative", {"method": "beta", "options": {"beta": {"weight": "rank"}}}),
    ("few values", {"method": "flexrand", "options": {"flexrand": {"split": 0.3}}}),
    ("few weights", {"method": "beta", "balance": {"quota": "equal"}, "always": (1, 7)}),
]


@pytest.mark.parametrize(("name", "select"), CASES)
def test_totals_are_free_of_bias(name: str, select: dict[str, Any]) -> None:
    """Kept samples, each counted 1 / inclusion times, are on average all samples that can be kept."""
    score, seeds = SCORES[name], 250
    counts = np.zeros((seeds, NUM))
    for seed in range(seeds):
        _, chance, kept = drawn(score, seed=seed, **{"ratio": 0.6, **select})
        assert ((chance[kept] > 0.0) & (chance <= 1.0)[kept]).all()
        counts[seed, kept] = 1.0 / chance[kept]
    # Where a sample is hardly ever kept, its counts are too skewed to say anything.
    often = (counts > 0.0).mean(0) > 0.05
    totals = counts[:, often].sum(1)
    error = max(totals.std() / np.sqrt(seeds), 1e-9)
    assert abs(totals.mean() - often.sum()) < 4.0 * error
    # Such as every single one, too.
    errors = np.maximum(counts[:, often].std(0) / np.sqrt(seeds), 1e-9)
    assert (np.abs(counts[:, often].mean(0) - 1.0) < 4.5 * errors).all()
