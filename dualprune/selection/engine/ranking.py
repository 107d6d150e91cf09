"""Ranks as 64-bit whole numbers, so that "the k highest" is exact, whatever the parts in which samples come.

A rank's upper half of values is for samples with a positive weight, ordered by their sampling key; the lower half is
for the others, ordered by score: they are kept when the former are too few. Equal ranks are ordered by the id's hash.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualprune.core.compiled import compiled
from dualprune.core.hashing import hash_ids, uniform

TOP_BIT = np.uint64(1 << 63)
HIGHEST = np.uint64((1 << 64) - 1)
# A key is kept as a fixed-point number of so many bits behind the point: bins of equal width are then a shift away.
FRACTION_BITS = 48
LARGEST_KEY = 16_383.0
SCALE = 2.0**FRACTION_BITS
ZERO = np.int64(1 << 62)
# What belongs to so many samples stays in a core's own cache.
BLOCK_ROWS = 1 << 16


class Part:
    """Rows start … stop-1 of a bucket: columns are read when they are asked for, and what follows is made once.

    `column(name)` gives a whole column of the bucket: sample_id int64 or string; position, label and group int64; score
    and mean_prob float64; or None where there is no such column.
    """

    def __init__(self, column: Callable[[str], Any], start: int, stop: int) -> None:
        self._column, self._start, self._stop = column, start, stop
        self._made: dict[tuple[Any, ...], NDArray[Any]] = {}
        self._taken: tuple[Part, NDArray[np.int64]] | None = None

    @classmethod
    def of(cls, **columns: Any) -> Part:
        """Return a part of columns in memory; positions count from 0 where none are given, and are the ids then."""
        if "position" not in columns:
            columns["position"] = np.arange(len(columns["score"]))
        columns.setdefault("sample_id", columns["position"])
        return cls(columns.get, 0, len(columns["score"]))

    def __len__(self) -> int:
        return self._stop - self._start

    def __getattr__(self, name: str) -> Any:
        if name not in {"sample_id", "position", "label", "score", "mean_prob", "group"}:
            raise AttributeError(name)
        whole = self._column(name)
        values = None if whole is None else whole[self._start : self._stop]
        setattr(self, name, values)
        return values

    def take(self, rows: NDArray[np.int64]) -> Part:
        """Return some rows, given by their numbers in this part, as a part."""

        def column(name: str) -> Any:
            values = getattr(self, name)
            return None if values is None else values.take(rows)

        taken = Part(column, 0, len(rows))
        taken._taken = self, rows
        return taken

    def once(self, key: tuple[Any, ...], make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """Return the array [n] that `make` gives, from the first call for that key; what a whole has, its rows have."""
        if key not in self._made:
            if self._taken is not None and key in self._taken[0]._made:
                whole, rows = self._taken
                self._made[key] = whole._made[key].take(rows)
            else:
                self._made[key] = make()
        return self._made[key]

    def hash(self, seed: int) -> NDArray[np.uint64]:
        """Return the hash of the ids, uint64 [n]."""
        result: NDArray[np.uint64] = self.once(("hash", seed), lambda: hash_ids(self.sample_id, seed))
        return result

    def noise(self, seed: int) -> NDArray[np.float64]:
        """Return standard Gumbel noise that follows from the ids, float64 [n]."""
        result: NDArray[np.float64] = self.once(("noise", seed), lambda: _gumbel(self.hash(seed)))
        return result


def _gumbel(hashes: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Return -log(-log u) of the uniform numbers u that hashes give."""
    values = uniform(hashes)
    for _ in range(2):
        np.negative(np.log(values, out=values), out=values)
    return values


def ordered_bits(values: NDArray[np.float64]) -> NDArray[np.uint64]:
    """Return uint64 [n] in the same order as the float64 values [n]."""
    # Adding zero makes -0.0 equal to 0.0.
    bits = (values + 0.0).view(np.uint64)
    return np.where(bits & TOP_BIT, ~bits, bits | TOP_BIT)


def weighted_rank(part: Part, log_weight: NDArray[np.float64] | None, seed: int) -> NDArray[np.uint64]:
    """Rank such that the k highest are a draw without replacement, with probability proportional to the weight.

    key_i = log(weight_i) + Gumbel(u_i) with u_i from the hash of the id; log weights of -inf come last, by score.
    Without weights all have the same.
    """
    noise = part.noise(seed)
    if log_weight is None:
        return key_rank(noise)
    rank = key_rank(log_weight + noise)
    none = log_weight == -np.inf
    if none.any():
        rank[none] = ordered_bits(part.score[none]) >> np.uint64(1)
    return rank


def key_rank(key: NDArray[np.float64]) -> NDArray[np.uint64]:
    """Return the rank uint64 [n] of sampling keys float64 [n]."""
    rank: NDArray[np.uint64] = _fixed_point(key)
    return rank


@compiled
def _fixed_point(key: NDArray[np.float64]) -> NDArray[np.uint64]:
    rank = np.empty(len(key), dtype=np.uint64)
    for i in range(len(key)):
        inside = min(max(key[i], -LARGEST_KEY), LARGEST_KEY)
        rank[i] = np.uint64(np.int64(inside * SCALE) + ZERO) | TOP_BIT
    return rank


def rank_key(rank: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Return the sampling keys float64 [n] of ranks, -inf for those of samples without a weight."""
    key = ((rank & ~TOP_BIT).view(np.int64) - ZERO) * 2.0**-FRACTION_BITS
    result: NDArray[np.float64] = np.where(rank >= TOP_BIT, key, -np.inf)
    return result
