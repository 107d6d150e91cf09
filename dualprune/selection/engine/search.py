"""Finds the k highest ranks of every cell when the samples lie in buckets, in a few passes over them.

The last kept sample of a cell is searched for between two ends. A pass counts the samples above and between them, and
returns those between, or a random part of them where they are many; from these follow the next, closer ends. The first
ends follow from a sketch, so that one pass is usually enough. The counts reveal ends that were set too close: these
cost further passes, but never change the result.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from dualprune.selection.engine.ranks import HIGHEST
from dualprune.selection.engine.screen import narrowed
from dualprune.selection.engine.sketch import Sketch
from dualprune.selection.engine.spec import Cutoff, DrawSpec
from dualprune.selection.engine.survey import Each
from dualprune.selection.rows import Rows
from dualprune.selection.sampler import Ints, Mask, UInts

# About this many samples, of all draws together, are returned by the first pass; twice as many by each further one.
FEW = 1 << 19
# Ends lie this many standard deviations to both sides, and are too close once in 2 000 times.
DEVIATIONS = 3.5


class Found(NamedTuple):
    """Samples between the ends, or a random part of them, and how many of all samples [C] lie above and between."""

    cell: Ints
    rank: UInts
    hash: UInts
    position: Ints
    above: Ints
    between: Ints

    @classmethod
    def joined(cls, found: Sequence[Found]) -> Found:
        """Return the results of several buckets as one."""
        *columns, above, between = zip(*found, strict=True)
        cell, rank, hash_, position = (np.concatenate(column) for column in columns)
        return cls(cell, rank, hash_, position, np.sum(above, axis=0), np.sum(between, axis=0))


@dataclass
class Bracket:
    """The ends, low … high, as rank and hash; for `active` cells, about `count` samples lie between them.

    `wanted` of `available` samples are kept. All are arrays [C].
    """

    wanted: Ints
    available: Ints
    active: Mask
    count: Ints
    low: UInts
    low_hash: UInts
    high: UInts
    high_hash: UInts

    @classmethod
    def of_all(cls, wanted: Ints, available: Ints) -> Bracket:
        """Return ends that have all samples between them; cells that keep none or all are decided already."""
        zeros, tops = np.zeros(len(wanted), dtype=np.uint64), np.full(len(wanted), HIGHEST)
        active = (wanted > 0) & (wanted < available)
        return cls(wanted, available, active, available.copy(), zeros, zeros.copy(), tops, tops.copy())

    def narrow(self, cells: Mask, wanted: Ints, count: Ints, cell: Ints, rank: UInts, hash_: UInts) -> None:
        """Move the ends of `cells` closer, from some of the `count` samples between them; `wanted` are kept."""
        order = np.lexsort((hash_, rank, cell))
        order = order[np.searchsorted(cell[order], 0) :]
        cell, rank, hash_ = cell[order], rank[order], hash_[order]
        starts = np.searchsorted(cell, np.arange(len(wanted)))
        sizes = np.bincount(cell, minlength=len(wanted))
        # In a random part, the number of samples below the last kept one is binomial.
        share = 1.0 - wanted / np.maximum(count, 1)
        slack = DEVIATIONS * np.sqrt(sizes * np.abs(share * (1.0 - share))) + 1.0
        below = np.minimum(np.floor(sizes * share - slack).astype(np.int64), sizes - 1)
        above = np.maximum(np.ceil(sizes * share + slack).astype(np.int64), 0)
        up, down = cells & (below >= 0), cells & (above < sizes)
        at_low, at_high = (starts + below)[up], (starts + above)[down]
        self.low[up], self.high[down] = rank[at_low], rank[at_high]
        # Hashes are computed only where more samples than are wanted share a rank.
        tied = self.low == self.high
        self.low_hash[up] = np.where(tied[up], hash_[at_low], np.uint64(0))
        self.high_hash[down] = np.where(tied[down], hash_[at_high], HIGHEST)
        low = (rank > self.low[cell]) | ((rank == self.low[cell]) & (hash_ >= self.low_hash[cell]))
        high = (rank < self.high[cell]) | ((rank == self.high[cell]) & (hash_ <= self.high_hash[cell]))
        inside = np.bincount(cell[low & high], minlength=len(wanted))
        estimate = np.ceil(inside / np.maximum(sizes, 1) * count).astype(np.int64)
        self.count = np.where(cells, np.where(sizes > 0, estimate, count), self.count)

    def advance(self, found: Found, is_whole: bool, cutoff: Cutoff) -> None:
        """Take the result of a pass: all samples (`is_whole`) or a random part. Enter decided cells into the cutoff."""
        left = self.wanted - found.above
        too_low = self.active & (left < 1)
        # The first sample that is not kept is needed, too.
        too_high = self.active & ~too_low & (left + ((self.low > 0) | (self.low_hash > 0)) > found.between)
        right = self.active & ~too_low & ~too_high
        if is_whole:
            order = np.argsort(found.cell, kind="stable")
            starts = np.searchsorted(found.cell[order], np.arange(len(left) + 1))
            for c in np.flatnonzero(right):
                _settle(cutoff, int(c), int(left[c]), found, order[starts[c] : starts[c + 1]])
            self.active &= ~right
        else:
            self.narrow(right, left, found.between, found.cell, found.rank, found.hash)
        self.low, self.low_hash = (
            np.where(too_low, high, np.where(too_high, np.uint64(0), low))
            for low, high in ((self.low, self.high), (self.low_hash, self.high_hash))
        )
        self.high, self.high_hash = (np.where(too_low, HIGHEST, high) for high in (self.high, self.high_hash))
        self.count = np.where(too_low, found.above, np.where(too_high, self.available - found.above, self.count))

    def split(self, rank: UInts, cell: Ints, hashes: Callable[[], UInts]) -> tuple[Ints, Ints, Ints]:
        """Return which rows lie between the ends, and [C] how many lie above and between; hashes are made for ties."""
        # One cell is the usual case, and a branch for it costs a fraction.
        one = len(self.active) == 1
        at = 0 if one else np.maximum(cell, 0)
        over, under = rank > self.high[at], rank < self.low[at]
        if (self.active & ((self.low_hash > 0) | (self.high_hash < HIGHEST))).any():
            over |= (rank == self.high[at]) & (hashes() > self.high_hash[at])
            under |= (rank == self.low[at]) & (hashes() < self.low_hash[at])
        part = (cell >= 0) & self.active[at]
        above = part & over
        numbers = np.flatnonzero(part > (over | under))
        if one:
            return numbers, np.array([np.count_nonzero(above)]), np.array([len(numbers)])
        cells = len(self.active)
        return numbers, np.bincount(cell[above], minlength=cells), np.bincount(cell[numbers], minlength=cells)


def kth_highest(
    each: Each, specs: Sequence[DrawSpec], wanted: Sequence[Ints], available: Sequence[Ints], sketch: Sketch
) -> list[Cutoff]:
    """Return the cutoff of each draw that keeps `wanted` [C] of its `available` [C] samples."""
    cutoffs = [Cutoff.trivial(spec, number) for spec, number in zip(specs, wanted, strict=True)]
    brackets = [Bracket.of_all(number, of) for number, of in zip(wanted, available, strict=True)]
    if len(sketch):
        for spec, bracket in zip(specs, brackets, strict=True):
            if bracket.active.any():
                rows = sketch.rows(spec.salt)
                rank, cell = spec.standing(rows)
                bracket.narrow(bracket.active, bracket.wanted, bracket.available, cell, rank, rows.hash(spec.salt))
    few = FEW
    while todo := [n for n, bracket in enumerate(brackets) if bracket.active.any()]:
        expected = sum(int(brackets[n].count[brackets[n].active].sum()) for n in todo)
        # A power of two, as the lowest bits of the hash decide which samples are returned.
        step = 1 << max(0, -(-expected // few) - 1).bit_length()
        work = partial(_look, [specs[n] for n in todo], [brackets[n] for n in todo], step)
        for n, found in zip(todo, zip(*each(work), strict=True), strict=True):
            brackets[n].advance(Found.joined(found), step == 1, cutoffs[n])
        few *= 2
    return cutoffs


def _look(specs: list[DrawSpec], brackets: list[Bracket], step: int, blocks: Iterable[Rows]) -> list[Found]:
    counts = [np.zeros((2, len(bracket.wanted)), dtype=np.int64) for bracket in brackets]
    kinds = (np.int64, np.uint64, np.uint64, np.int64)
    columns: list[list[tuple[Any, ...]]] = [[tuple(np.zeros(0, dtype=kind) for kind in kinds)] for _ in brackets]
    floors = [int(bracket.low[bracket.active].min()) for bracket in brackets]
    for whole in blocks:
        rows = narrowed(whole, specs, floors)
        for spec, bracket, count, into in zip(specs, brackets, counts, columns, strict=True):
            rank, cell = spec.standing(rows)
            numbers, *more = bracket.split(rank, cell, partial(rows.hash, spec.salt))
            count += more
            if not len(numbers):
                continue
            some = rows.take(numbers)
            hash_, position = some.hash(spec.salt), some.position
            if step > 1:
                chosen = np.flatnonzero(hash_ & np.uint64(step - 1) == 0)
                numbers, hash_, position = numbers[chosen], hash_[chosen], position[chosen]
            into.append((cell[numbers], rank[numbers], hash_, position))
    return [
        Found(*(np.concatenate(column) for column in zip(*into, strict=True)), *count)
        for into, count in zip(columns, counts, strict=True)
    ]


def _settle(cutoff: Cutoff, cell: int, wanted: int, found: Found, numbers: Ints) -> None:
    """Enter the last of `wanted` samples of a cell into the cutoff, given all samples between its ends."""
    rank, hash_, position = found.rank[numbers], found.hash[numbers], found.position[numbers]
    # A full sort costs ten times as much, and ties are few.
    last_rank = np.partition(rank, len(rank) - wanted)[len(rank) - wanted]
    tied, under = np.flatnonzero(rank == last_rank), rank < last_rank
    tied = tied[np.lexsort((position[tied], ~hash_[tied]))]
    place = wanted - 1 - np.count_nonzero(rank > last_rank)
    last = tied[place]
    cutoff.rank[cell], cutoff.hash[cell], cutoff.position[cell] = last_rank, hash_[last], position[last]
    if place + 1 < len(tied):
        cutoff.next_rank[cell], cutoff.next_hash[cell] = last_rank, hash_[tied[place + 1]]
    else:
        next_rank = rank[under].max(initial=0)
        cutoff.next_rank[cell], cutoff.next_hash[cell] = next_rank, hash_[rank == next_rank].max(initial=0)
