"""How much scores and the kept set still change from epoch to epoch, and when recording may stop.

The scores after an epoch are compared with those `lag` epochs before: by Spearman's rank correlation, and by the share
of the kept set that both keep, for each pruning ratio.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypedDict

import numpy as np
from numpy.typing import NDArray

from dualprune.core.hashing import hash_ids
from dualprune.core.sections import BalanceConfig, SelectConfig, StableConfig
from dualprune.selection.arrays import draw
from dualprune.selection.engine.drawing import DrawRules
from dualprune.selection.sampler import SAMPLERS, Sampler

# Not a seed that a draw would use: the compared samples must not depend on which are kept.
SUBSAMPLE_SEED = 0x5AB5_A3B1


class Row(TypedDict):
    """The measurements after an epoch: correlation, and overlap by pruning ratio, both with `lag` epochs before."""

    epoch: int
    correlation: float
    overlap: dict[str, float]


@dataclass(frozen=True)
class Snapshot:
    """The scores after an epoch: ranks float64 [m] (NaN without a score), and the kept samples by ratio, bool [m]."""

    rank: NDArray[np.float64]
    kept: Mapping[str, NDArray[np.bool_]]


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

    The highest scores stand in for a sampler that has no ratio or ignores scores.
    """
    method = config.method if SAMPLERS[config.method].has_ratio and config.method != "random" else "top_k"
    free = {"balance": BalanceConfig(), "always_keep": None, "never_keep": None, "deduplicate": False, "nested": False}
    return config.model_copy(update={"name": None, "method": method, **free})


def snapshot(
    sampler: Sampler, rules: DrawRules, score: NDArray[np.float64], mean_prob: NDArray[np.float64], sample_ids: Any
) -> Snapshot:
    """Rank m samples by score [m] and draw the kept set of each ratio, as selection would.

    `sample_ids` [m] are a numpy or an Arrow array.
    """
    # Imported here, as scipy's statistics take a second to import.
    from scipy.stats import rankdata

    usable = np.flatnonzero(np.isfinite(score))
    rank = np.full(len(score), np.nan)
    rank[usable] = rankdata(score[usable])
    drawn = draw(sampler, rules, score[usable], mean_prob[usable], sample_ids=sample_ids.take(usable))
    kept = {f"{ratio:g}": np.zeros(len(score), dtype=bool) for ratio in rules.ratios}
    for mask, positions in zip(kept.values(), drawn, strict=True):
        mask[usable[positions]] = True
    return Snapshot(rank, kept)


def movement(epoch: int, now: Snapshot, before: Snapshot) -> Row:
    """Return how much two snapshots differ; the correlation is 0 where all scores are equal."""
    both = np.isfinite(now.rank) & np.isfinite(before.rank)
    a, b = now.rank[both], before.rank[both]
    spread = float(a.std() * b.std()) if len(a) else 0.0
    correlation = float(np.mean((a - a.mean()) * (b - b.mean()))) / spread if spread > 0.0 else 0.0
    overlap = {
        ratio: float(np.count_nonzero(kept & before.kept[ratio]) / max(kept.sum(), before.kept[ratio].sum(), 1))
        for ratio, kept in now.kept.items()
    }
    return {
        "epoch": epoch,
        "correlation": round(correlation, 6),
        "overlap": {r: round(o, 6) for r, o in overlap.items()},
    }


def settled_at(rows: Sequence[Row], rule: StableConfig, min_epochs: int = 0) -> int | None:
    """Return the first epoch after which `rule` lets recording stop, after at least `min_epochs`; None: not yet."""
    run = 0
    for row in rows:
        held = row["correlation"] >= rule.correlation and min(row["overlap"].values()) >= rule.overlap
        run = run + 1 if held else 0
        if run >= rule.patience and row["epoch"] + 1 >= min_epochs:
            return row["epoch"]
    return None
