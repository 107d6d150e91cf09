"""Finds the k highest ranks of every cell (a group, a stratum, or all samples) when the samples lie in parts.

A search begins with a guess of where the last kept sample of a cell lies. Where few samples lie there, they are looked
at one by one. Otherwise a histogram of the cell's ranks tells in which bin the last kept sample lies; the bin is then
cut again, until the samples in doubt are few. When one rank is left and still too many share it, their hashes are cut
the same way. A wrong guess costs passes, never the result: bins reach beyond it, and the samples above are counted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dualprune.core.compiled import compiled
from dualprune.selection.engine.ranking import HIGHEST

UInts = NDArray[np.uint64]
Ints = NDArray[np.int64]
# All cells of a draw share so many bins.
BINS = 1 << 16
FEWEST_BINS = 64


@dataclass(frozen=True)
class Guess:
    """The ranks low … high between which the last kept sample of each cell likely lies, and about how many do, all [C].

    Where as many are in doubt as a cell has, nothing is known: low … high only say where most of its ranks are.
    """

    low: UInts
    high: UInts
    in_doubt: Ints


@dataclass
class Search:
    """Where the last kept sample of each of C cells can still be: values low … high of its rank or, if tied, hash.

    `total` samples are kept, `wanted` of them from in between; `left` are in between. Bins are 2^shift wide and begin
    at `first`; the lowest and the highest bin reach to `low` and `high`. All are arrays [C].
    """

    total: Ints
    wanted: Ints
    left: Ints
    low: UInts
    high: UInts
    first: UInts
    shift: UInts
    tied: UInts
    by_hash: NDArray[np.bool_]
    active: NDArray[np.bool_]
    num_bins: int

    @classmethod
    def start(cls, wanted: Ints, available: Ints, guess: Guess, few: int) -> Search:
        """Begin with a guess: where it leaves no more than `few` in doubt, these are all; else bins go over it.

        Cells that keep none or all are decided already.
        """
        cells = len(wanted)
        num_bins = max(FEWEST_BINS, BINS >> max(0, (cells - 1).bit_length()))
        active = (wanted > 0) & (wanted < available)
        known = (guess.in_doubt < available) & (guess.in_doubt[active].sum() <= few)
        return cls(
            total=wanted,
            wanted=wanted.copy(),
            left=np.where(known, guess.in_doubt, available),
            low=np.where(known, guess.low, np.uint64(0)),
            high=np.where(known, guess.high, HIGHEST),
            first=guess.low.copy(),
            shift=_shifts(guess.high - guess.low, num_bins),
            tied=np.zeros(cells, dtype=np.uint64),
            by_hash=np.zeros(cells, dtype=bool),
            active=active,
            num_bins=num_bins,
        )

    @property
    def num_left(self) -> int:
        """The number of samples in doubt, over all cells."""
        return int(self.left[self.active].sum())

    @property
    def floor(self) -> int:
        """The lowest rank of a sample in doubt, in any cell."""
        return int(np.where(self.by_hash, self.tied, self.low)[self.active].min())

    @property
    def refinable(self) -> bool:
        """Whether another histogram would tell more."""
        return bool((self.active & ~(self.by_hash & (self.low == self.high))).any())

    def count(self, rank: UInts, hash_: UInts | None, cell: Ints, into: Ints) -> None:
        """Add a part's samples in doubt to the histogram int64 [C, num_bins]."""
        _count(
            rank,
            rank if hash_ is None else hash_,
            cell,
            self.low,
            self.high,
            self.first,
            self.shift,
            self.tied,
            self.by_hash,
            self.active,
            into,
        )

    def refine(self, histogram: Ints) -> None:
        """Go down to the bin of each cell in which its last kept sample lies."""
        for cell in np.flatnonzero(self.active):
            above = np.cumsum(histogram[cell][::-1])[::-1]
            value = int(np.flatnonzero(above >= self.wanted[cell])[-1])
            beyond = int(above[value + 1]) if value + 1 < len(above) else 0
            self.wanted[cell] -= beyond
            self.left[cell] = int(above[value]) - beyond
            first, width = int(self.first[cell]), 1 << int(self.shift[cell])
            low, high = int(self.low[cell]), int(self.high[cell])
            if value > 0:
                low = max(low, first + value * width)
            if value < self.num_bins - 1:
                high = min(high, first + (value + 1) * width - 1)
            if low == high and not self.by_hash[cell]:
                self.by_hash[cell], self.tied[cell] = True, low
                low, high = 0, int(HIGHEST)
            self.low[cell], self.high[cell], self.first[cell] = low, high, low
            self.shift[cell] = _shift(high - low, self.num_bins)

    def in_doubt(self, rank: UInts, hash_: UInts | None, cell: Ints, above: Ints, below: UInts) -> Ints:
        """Return a part's rows in doubt.

        Adds to above [C] the number of samples over those, and raises below [C] to the highest rank under those.
        """
        rows = np.empty(len(rank), dtype=np.int64)
        found = _in_doubt(
            rank,
            rank if hash_ is None else hash_,
            cell,
            self.low,
            self.high,
            self.tied,
            self.by_hash,
            self.active,
            rows,
            above,
            below,
        )
        return rows[:found]


def _shift(span: int, num_bins: int) -> int:
    return max(0, span.bit_length() - (num_bins.bit_length() - 1))


def _shifts(spans: UInts, num_bins: int) -> UInts:
    return np.array([_shift(int(span), num_bins) for span in spans], dtype=np.uint64)


@compiled
def _count(
    rank: UInts,
    hash_: UInts,
    cell: Ints,
    low: UInts,
    high: UInts,
    first: UInts,
    shift: UInts,
    tied: UInts,
    by_hash: NDArray[np.bool_],
    active: NDArray[np.bool_],
    into: Ints,
) -> None:
    last_bin = into.shape[1] - 1
    for row in range(len(rank)):
        c = cell[row]
        if c < 0 or not active[c]:
            continue
        value = rank[row]
        if by_hash[c]:
            if value != tied[c]:
                continue
            value = hash_[row]
        if value < low[c] or value > high[c]:
            continue
        place = np.int64(0)
        if value > first[c]:
            steps = (value - first[c]) >> shift[c]
            place = np.int64(min(steps, np.uint64(last_bin)))
        into[c, place] += 1


@compiled
def _in_doubt(
    rank: UInts,
    hash_: UInts,
    cell: Ints,
    low: UInts,
    high: UInts,
    tied: UInts,
    by_hash: NDArray[np.bool_],
    active: NDArray[np.bool_],
    rows: Ints,
    above: Ints,
    below: UInts,
) -> int:
    found = 0
    for row in range(len(rank)):
        c = cell[row]
        if c < 0 or not active[c]:
            continue
        value, lowest, highest = rank[row], low[c], high[c]
        if by_hash[c]:
            if value == tied[c]:
                value = hash_[row]
            else:
                # On one side of all that are tied.
                lowest = highest = tied[c]
        if value > highest:
            above[c] += 1
        elif value < lowest:
            below[c] = max(below[c], rank[row])
        else:
            rows[found] = row
            found += 1
    return found


@dataclass(frozen=True)
class Last:
    """The last kept sample of each cell, as rank, hash and position [C]; and the rank of the first not kept one."""

    rank: UInts
    hash: UInts
    position: Ints
    next_rank: UInts

    @classmethod
    def trivial(cls, wanted: Ints) -> Last:
        """Return cells that keep all where any are wanted, and none elsewhere."""
        some = wanted > 0
        return cls(
            np.where(some, np.uint64(0), HIGHEST),
            np.where(some, np.uint64(0), HIGHEST),
            np.where(some, np.iinfo(np.int64).max, -1),
            np.zeros(len(wanted), dtype=np.uint64),
        )

    def settle(self, cell: int, wanted: int, rank: UInts, hash_: UInts, position: Ints, below: np.uint64) -> None:
        """Enter the last of `wanted` samples of a cell, given all that are in doubt, and the rank below them."""
        # Whole sorting costs ten times as much, and ties are few.
        last_rank = np.partition(rank, len(rank) - wanted)[len(rank) - wanted]
        tied, under = np.flatnonzero(rank == last_rank), rank[rank < last_rank]
        tied = tied[np.lexsort((position[tied], ~hash_[tied]))]
        place = wanted - 1 - np.count_nonzero(rank > last_rank)
        last = tied[place]
        self.rank[cell], self.hash[cell], self.position[cell] = last_rank, hash_[last], position[last]
        self.next_rank[cell] = last_rank if place + 1 < len(tied) else under.max(initial=below)
