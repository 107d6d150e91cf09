"""Finds the k highest of ranks that lie in parts, by histograms that are refined until the rest is few."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dualprune.selection.ranking import Ranked

BITS = 16
# So many undecided samples are looked at one by one.
FEW = 100_000


@dataclass(frozen=True)
class Range:
    """The undecided ranks: those whose upper `known_bits` are `prefix`; `wanted` of them are kept, all above are."""

    wanted: int
    prefix: int = 0
    known_bits: int = 0

    def inside(self, ranks: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Return which ranks are undecided."""
        if not self.known_bits:
            return np.ones(len(ranks), dtype=bool)
        result: NDArray[np.bool_] = ranks >> np.uint64(64 - self.known_bits) == self.prefix
        return result

    def histogram(self, ranks: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return how many undecided ranks have each value of the next 16 bits."""
        shift = np.uint64(64 - self.known_bits - BITS)
        next_bits = (ranks[self.inside(ranks)] >> shift) & np.uint64((1 << BITS) - 1)
        return np.bincount(next_bits.astype(np.int64), minlength=1 << BITS)

    def refined(self, histogram: NDArray[np.int64]) -> Range:
        """Return the range of the one value of the next bits in which the last kept rank lies."""
        above = np.cumsum(histogram[::-1])[::-1]
        value = int(np.flatnonzero(above >= self.wanted)[-1])
        beyond = int(above[value + 1]) if value + 1 < len(above) else 0
        return Range(self.wanted - beyond, (self.prefix << BITS) | value, self.known_bits + BITS)

    @property
    def decided(self) -> bool:
        """Whether no bits are left to look at."""
        return self.known_bits == 64


class Undecided(NamedTuple):
    """Undecided samples: rank and hash uint64 [m], position int64 [m]."""

    rank: NDArray[np.uint64]
    hash: NDArray[np.uint64]
    position: NDArray[np.int64]


def undecided(ranked: Ranked, positions: NDArray[np.int64], part: Range) -> Undecided:
    """Return the samples of a part that `kept_mask` cannot decide by the range alone."""
    rows = np.flatnonzero(part.inside(ranked.rank))
    return Undecided(ranked.rank[rows], ranked.hash[rows], positions[rows])


def last_kept(candidates: Undecided, wanted: int) -> tuple[int, int, int]:
    """Return (rank, hash, position) of the last sample that is kept of the undecided ones."""
    order = np.lexsort((candidates.position, ~candidates.hash, ~candidates.rank))
    last = order[wanted - 1]
    return int(candidates.rank[last]), int(candidates.hash[last]), int(candidates.position[last])


def kept_mask(ranked: Ranked, positions: NDArray[np.int64], last: tuple[int, int, int]) -> NDArray[np.bool_]:
    """Return which samples come before or at the last one that is kept, bool [n]."""
    rank, hash_, position = np.uint64(last[0]), np.uint64(last[1]), last[2]
    same_rank = ranked.rank == rank
    same_hash = same_rank & (ranked.hash == hash_)
    before = (ranked.rank > rank) | (same_rank & (ranked.hash > hash_))
    result: NDArray[np.bool_] = before | (same_hash & (positions <= position))
    return result
