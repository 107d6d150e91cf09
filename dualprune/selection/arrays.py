"""Selection of samples that are in memory: the same draws as at scale, on arrays."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from dualprune.config import SelectConfig
from dualprune.errors import DataError
from dualprune.selection.beta import Beta
from dualprune.selection.counts import some_kept
from dualprune.selection.plain import RandomDraw, TopDraw
from dualprune.selection.ranking import Draw, Samples
from dualprune.selection.registry import Summary
from dualprune.selection.threshold import Undecided, kept_mask, last_kept

Positions = NDArray[np.int64]


def beta(
    score: ArrayLike,
    mean_prob: ArrayLike,
    *,
    ratio: float,
    c_d: float = 4.0,
    seed: int = 0,
    sample_ids: Any = None,
    **constants: Any,
) -> Positions:
    """Draw the samples to keep by Beta sampling, and return their positions, int64 [k], ascending.

    Args:
        score: float [n], not NaN; high means: keep first.
        mean_prob: float [n] in [0, 1], mean target probability.
        ratio: pruning ratio in [0, 1), the share removed.
        c_d: the data set's constant.
        seed: of the draw.
        sample_ids: int64 or string [n], from which the randomness follows; positions where none are given.
        constants: `exponent`, `concentration`, `scale` and `anchor_size`, as in `config.select`.
    """
    config = SelectConfig(method="beta", ratio=ratio, c_d=c_d, seed=seed, **constants)
    samples = _samples(score, mean_prob, sample_ids)
    assert samples.mean_prob is not None
    summary = Summary(len(samples.score), anchor(samples, config.anchor_size))
    return _kept(Beta(config).draw(ratio, summary)[0], samples, ratio)


def top_k(score: ArrayLike, *, ratio: float, seed: int = 0, sample_ids: Any = None) -> Positions:
    """Keep the highest scores [n], ties by the hash of (seed, id), and return their positions, int64 [k], ascending."""
    return _kept(TopDraw(seed), _samples(score, None, sample_ids), ratio)


def random(num_samples: int, *, ratio: float, seed: int = 0, sample_ids: Any = None) -> Positions:
    """Keep samples by chance alone, and return their positions, int64 [k], ascending."""
    return _kept(RandomDraw(seed), _samples(np.ones(num_samples), None, sample_ids), ratio)


def anchor(samples: Samples, size: int) -> float:
    """Return the mean of mean_prob over the `size` samples of the highest score, ties by id."""
    assert samples.mean_prob is not None
    order = highest(samples, size)
    return float(np.mean(samples.mean_prob[order]))


def highest(samples: Samples, size: int) -> NDArray[np.int64]:
    """Return the rows of the `size` highest scores, the highest first, ties by id ascending."""
    size = min(size, len(samples.score))
    if size == 0:
        return np.zeros(0, dtype=np.int64)
    floor = np.partition(samples.score, -size)[-size]
    rows = np.flatnonzero(samples.score >= floor)
    ids = np.asarray(samples.sample_id)[rows]
    return rows[np.lexsort((ids, -samples.score[rows]))][:size]


def _samples(score: ArrayLike, mean_prob: ArrayLike | None, sample_ids: Any) -> Samples:
    scores = np.asarray(score, dtype=np.float64)
    means = None if mean_prob is None else np.asarray(mean_prob, dtype=np.float64)
    ids = np.arange(len(scores)) if sample_ids is None else sample_ids
    for name, values in (("mean_prob", means), ("sample_ids", ids)):
        if values is not None and len(values) != len(scores):
            raise DataError(f"{name} has {len(values)} values, score has {len(scores)}; expected one a sample")
    bad = np.flatnonzero(np.isnan(scores) | (np.isnan(means) if means is not None else False))
    if len(bad):
        raise DataError(f"{len(bad)} samples have a NaN score or mean_prob, first at position {bad[0]}; drop them")
    return Samples(ids, scores, means)


def _kept(draw: Draw, samples: Samples, ratio: float) -> Positions:
    count = some_kept(len(samples.score), ratio)
    ranked = draw.ranked(samples)
    positions = np.arange(len(samples.score))
    if count == len(positions):
        return positions
    # All at or above the k-th rank; of those at it, the hash decides.
    floor = np.partition(ranked.rank, -count)[-count]
    rows = np.flatnonzero(ranked.rank >= floor)
    last = last_kept(Undecided(ranked.rank[rows], ranked.hash[rows], rows), count)
    return np.flatnonzero(kept_mask(ranked, positions, last))
