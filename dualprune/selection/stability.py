"""How much the ranking and the kept set still change from epoch to epoch, and when recording may stop.

Two measurements are made per epoch, neither of which rises by itself.

The *correlation* is Spearman's, of the scores of the newest epochs alone with the scores of all epochs before these.
The two share no epoch, so it is low for a ranking that turns over, whatever running means say.

The *overlap* compares the selection after an epoch with that of `lag` epochs before, for each pruning ratio: it is the
correlation of the samples' chances of being kept. Chances hold no draw's noise, which two selections would share. It is
1 for the same chances, and 0 where the two are as alike as random draws. For a sampler that keeps the highest scores,
it is the shared part of the kept set, less what random sets share, rescaled to 1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from dualprune.core.hashing import hash_ids
from dualprune.core.plugins import make
from dualprune.core.sections import BalanceConfig, SelectConfig, StableConfig
from dualprune.selection.engine.drawing import draw_all
from dualprune.selection.engine.rules import Constraints, DrawRules
from dualprune.selection.rows import Rows
from dualprune.selection.sampler import Sampler

# Not a seed that a draw would use: the compared samples must not depend on which are kept.
SUBSAMPLE_SEED = 0x5AB5_A3B1


class Row(TypedDict):
    """The measurements after an epoch: correlation of new and old epochs, and overlap by pruning ratio."""

    epoch: int
    correlation: float
    overlap: dict[str, float]


# By ratio, the chance float32 [m] that each sample is kept; 0 for samples without a score.
Chances = Mapping[str, NDArray[np.float32]]


def subsample(sample_ids: Any, num_samples: int, max_samples: int) -> NDArray[np.int64]:
    """Return which rows of a bucket to compare, ascending, so that over all buckets they are at most `max_samples`.

    Of `num_samples` samples in all, each bucket contributes its share, at least one: those with the lowest id hashes.
    """
    if num_samples <= max_samples:
        return np.arange(len(sample_ids))
    share = max(1, len(sample_ids) * max_samples // num_samples)
    lowest: NDArray[np.int64] = np.argsort(hash_ids(sample_ids, SUBSAMPLE_SEED), kind="stable")[:share]
    return np.sort(lowest)


def measured_select(config: SelectConfig) -> SelectConfig:
    """Return the selection that is followed: the sampler and ratios of `config`, without its constraints.

    The highest scores stand in for a sampler that has no ratio, ignores scores, or reads other scores beside.
    """
    sampler = make("sampler", config.method, config.options.get(config.method, {}), f"select.options.{config.method}")
    follows = sampler.has_ratio and config.method != "random" and {*sampler.reads} <= {"mean_prob"}
    method = config.method if follows else "top_k"
    free = {"balance": BalanceConfig(), "always_keep": None, "never_keep": None, "deduplicate": False, "nested": False}
    return config.model_copy(update={"name": None, "method": method, **free})


def chances(
    sampler: Sampler, rules: DrawRules, score: NDArray[np.float64], mean_prob: NDArray[np.float64], sample_ids: Any
) -> Chances:
    """Return with what chance selection would keep each of m samples, by ratio.

    `score` and `mean_prob` are [m], NaN without a score; `sample_ids` [m] are a numpy or an Arrow array.
    """
    usable = np.flatnonzero(np.isfinite(score))
    rows = Rows.of(score=score[usable], mean_prob=mean_prob[usable], sample_id=sample_ids.take(usable))

    def each(function: Callable[[Iterable[Rows]], Any]) -> Iterator[Any]:
        yield function([rows])

    found = {}
    for outcome in draw_all(each, sampler, replace(rules, purpose="stability"), Constraints()):
        chance = np.zeros(len(score), dtype=np.float32)
        chance[usable] = outcome.inclusion(rows)
        found[f"{outcome.ratio:g}"] = chance
    return found


def rank_correlation(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Return Spearman's correlation of two scores [m], of the samples with both; 0 where all scores are equal."""
    # Imported here, as scipy's statistics take a second to import.
    from scipy.stats import rankdata

    both = np.isfinite(first) & np.isfinite(second)
    return _correlation(rankdata(first[both]), rankdata(second[both])) if both.any() else 0.0


def movement(epoch: int, correlation: float, now: Chances, before: Chances) -> Row:
    """Return the measurements after an epoch, from a `rank_correlation` and the chances now and `lag` epochs before."""
    overlap = {
        ratio: 1.0 if np.array_equal(chance, before[ratio]) else _correlation(chance, before[ratio])
        for ratio, chance in now.items()
    }
    return {
        "epoch": epoch,
        "correlation": round(correlation, 6),
        "overlap": {ratio: round(value, 6) for ratio, value in overlap.items()},
    }


def _correlation(first: NDArray[np.floating], second: NDArray[np.floating]) -> float:
    a, b = (values - values.mean(dtype=np.float64) for values in (first, second))
    spread = float(np.sqrt(np.mean(a * a) * np.mean(b * b)))
    return float(np.mean(a * b)) / spread if spread > 0.0 else 0.0


def settled_at(rows: Sequence[Row], rule: StableConfig, min_epochs: int = 0) -> int | None:
    """Return the first epoch after which `rule` lets recording stop, after at least `min_epochs`; None: not yet."""
    run = 0
    for row in rows:
        held = row["correlation"] >= rule.correlation and min(row["overlap"].values()) >= rule.overlap
        run = run + 1 if held else 0
        if run >= rule.patience and row["epoch"] + 1 >= min_epochs:
            return row["epoch"]
    return None
