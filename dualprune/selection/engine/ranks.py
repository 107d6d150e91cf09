"""Ranks as 64-bit whole numbers, so that "the k highest" is exact, however the rows are divided.

A weighted draw's samples with a positive weight have the upper half of the values, ordered by their sampling key; the
others have the lower half, ordered by score: they are kept when the former are too few. Hashes order equal ranks.
"""

from __future__ import annotations

import numpy as np

from dualprune.core.compiled import compiled
from dualprune.selection.rows import Rows
from dualprune.selection.sampler import Draw, Floats, UInts

TOP_BIT = np.uint64(1 << 63)
HIGHEST = np.uint64((1 << 64) - 1)
# A key is stored as a fixed-point number with this many fractional bits.
FRACTION_BITS = 48
LARGEST_KEY = 16_383.0
SCALE = 2.0**FRACTION_BITS
ZERO = np.int64(1 << 62)


def ranks(draw: Draw, rows: Rows, salt: np.uint64) -> UInts:
    """Return the rank of each row, uint64 [n]; the highest are kept.

    The k highest keys log(weight_i) + Gumbel(u_i), u_i from the hash of the id in the stream of `salt`, are a draw
    without replacement with probability proportional to the weight.
    """
    if not draw.weighted:
        return ordered_bits(draw.order(rows))
    noise = rows.noise(salt)
    if draw.uniform:
        return key_rank(noise)
    log_weight = draw.order(rows)
    rank = key_rank(log_weight + noise)
    none = log_weight == -np.inf
    if none.any():
        rank[none] = ordered_bits(rows.score[none]) >> np.uint64(1)
    return rank


def ordered_bits(values: Floats) -> UInts:
    """Return uint64 [n] in the same order as the float64 values [n]."""
    # Adding zero makes -0.0 equal to 0.0.
    bits = (values + 0.0).view(np.uint64)
    return np.where(bits & TOP_BIT, ~bits, bits | TOP_BIT)


def key_rank(key: Floats) -> UInts:
    """Return the rank uint64 [n] of sampling keys float64 [n]."""
    rank: UInts = _fixed_point(key)
    return rank


@compiled
def _fixed_point(key: Floats) -> UInts:
    rank = np.empty(len(key), dtype=np.uint64)
    for i in range(len(key)):
        inside = min(max(key[i], -LARGEST_KEY), LARGEST_KEY)
        rank[i] = np.uint64(np.int64(inside * SCALE) + ZERO) | TOP_BIT
    return rank


def rank_key(rank: UInts) -> Floats:
    """Return the sampling keys float64 [n] of ranks, -inf for those of samples without a weight."""
    key = ((rank & ~TOP_BIT).view(np.int64) - ZERO) * 2.0**-FRACTION_BITS
    result: Floats = np.where(rank >= TOP_BIT, key, -np.inf)
    return result
