"""A draw with its constraints, and its result: the position of the last kept sample of each cell."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from dualprune.selection.engine.ranks import HIGHEST, TOP_BIT, ranks
from dualprune.selection.rows import Rows
from dualprune.selection.sampler import Draw, Floats, Ints, Mask, UInts


def no_positions() -> Ints:
    """Return an empty list of positions."""
    return np.zeros(0, dtype=np.int64)


@dataclass(frozen=True, eq=False)
class DrawSpec:
    """One draw with its constraints; a cell is one of the draw's cells within a group.

    `salt` is that of the stream of its noise, and of the hashes that order ties. `forced` and `excluded` are positions,
    ascending. A forced sample always takes part; where the draw has no cell for it, it counts in the last cell of its
    group. Samples that one of `within` does not keep take no part. Those that one of `first` keeps come before all
    others. `cuts` are the sampler's, in the order that the draw's cells expect. `has_unranked` says that some scores
    are -inf: such samples are never kept.
    """

    draw: Draw
    salt: np.uint64
    num_groups: int = 1
    forced: Ints = field(default_factory=no_positions)
    excluded: Ints = field(default_factory=no_positions)
    cuts: tuple[Cutoff, ...] = ()
    within: tuple[Cutoff, ...] = ()
    first: tuple[Cutoff, ...] = ()
    has_unranked: bool = False

    @property
    def num_cells(self) -> int:
        """The number of cells, over all groups."""
        return self.num_groups * self.draw.num_cells

    @property
    def has_own_cells(self) -> bool:
        """Whether the draw decides which samples take part."""
        return bool(self.cuts) or type(self.draw).cell is not Draw.cell

    @property
    def is_of_all(self) -> bool:
        """Whether every sample takes part, none is forced, and there is one cell."""
        constrained = len(self.excluded) or len(self.forced) or self.within or self.has_own_cells or self.has_unranked
        return self.num_groups == 1 and not constrained

    def cells(self, rows: Rows, inside: Sequence[Mask] | None = None) -> tuple[Ints, Mask | None]:
        """Return each row's cell, int64 [n] with -1 for rows that take no part; and which are forced, or None.

        `inside` says which rows lie in each of the cuts; None: as they were found.
        """
        per_group = self.draw.num_cells
        forced = among(self.forced, rows)
        cell = np.zeros(len(rows), dtype=np.int64)
        if self.has_own_cells:
            cell = self.draw.cell(rows, [cutoff.keeps(rows) for cutoff in self.cuts] if inside is None else inside)
        out = cell < 0 if self.has_own_cells else None
        if out is not None and forced is not None:
            cell = np.where(forced & out, per_group - 1, cell)
        if self.num_groups > 1:
            cell = cell + rows.group * per_group
        out = _either(out, among(self.excluded, rows))
        if self.has_unranked:
            out = _either(out, rows.score == -np.inf)
        for cutoff in self.within:
            out = _either(out, ~cutoff.keeps(rows))
        if out is not None:
            cell = np.where(out if forced is None else out & ~forced, -1, cell)
        return cell, forced

    def places(self, rows: Rows) -> tuple[Ints, Mask | None]:
        """Return each row's cell, as `cells` does; and which rows come first, forced or not, or None."""
        cell, first = self.cells(rows)
        for cutoff in self.first:
            first = _either(first, cutoff.keeps(rows))
        return cell, first

    def standing(self, rows: Rows) -> tuple[UInts, Ints]:
        """Return each row's rank and cell."""
        cell, first = self.places(rows)
        rank = ranks(self.draw, rows, self.salt)
        return rank if first is None else np.where(first, HIGHEST, rank), cell

    def weight(self, rows: Rows) -> Floats:
        """Return the sampling weight of each row, float64 [n]; 1 where the draw has no weights."""
        return np.exp(self.draw.order(rows)) if self.draw.weighted and not self.draw.uniform else np.ones(len(rows))


@dataclass(frozen=True, eq=False)
class Cutoff:
    """The last kept sample of each cell, as rank, hash and position [C]; and rank and hash of the first one not kept.

    `tie_share` is the share that is kept of the samples of the last kept rank, where hashes decide among them.
    """

    spec: DrawSpec
    rank: UInts
    hash: UInts
    position: Ints
    next_rank: UInts
    next_hash: UInts
    tie_share: Floats

    @classmethod
    def trivial(cls, spec: DrawSpec, wanted: Ints) -> Cutoff:
        """Return a cutoff that keeps all of a cell where any are wanted, and none elsewhere."""
        end = np.where(wanted > 0, np.uint64(0), HIGHEST)
        position = np.where(wanted > 0, np.iinfo(np.int64).max, -1)
        return cls(spec, end, end.copy(), position, end.copy(), end.copy(), np.ones(len(wanted)))

    @property
    def floor(self) -> int:
        """The lowest rank of a kept sample, in any cell; the highest possible rank where none is kept."""
        return int(self.rank.min())

    @property
    def divides_a_tie(self) -> Mask:
        """For which cells hashes decide who is kept among samples of equal rank, bool [C]."""
        # Sampling keys are equal by rounding alone.
        by_rank = (self.rank < TOP_BIT) | (not self.spec.draw.weighted)
        found = (self.position >= 0) & (self.position < np.iinfo(np.int64).max)
        result: Mask = by_rank & found & (self.rank == self.next_rank)
        return result

    def keeps(self, rows: Rows) -> Mask:
        """Return which rows are kept, bool [n]."""
        result: Mask = rows.once(("keeps", id(self)), lambda: self._kept(rows))
        return result

    def _kept(self, rows: Rows) -> Mask:
        rank, cell = self.spec.standing(rows)
        inside = cell >= 0
        # One cell is the usual case, in which indexing would cost more than the comparison.
        at: slice | Ints = slice(None) if self.spec.num_cells == 1 else np.where(inside, cell, 0)
        kept = rank > self.rank[at]
        tied = rank == self.rank[at]
        if tied.any():
            numbers = np.flatnonzero(tied & inside)
            c = cell[numbers]
            hash_ = rows.hash(self.spec.salt)[numbers]
            same = hash_ == self.hash[c]
            kept[numbers] = (hash_ > self.hash[c]) | (same & (rows.position[numbers] <= self.position[c]))
        return kept & inside


def among(positions: Ints, rows: Rows) -> Mask | None:
    """Return which rows, which ascend by position, are in an ascending list; None where none is."""
    # Without positions to find, the column is not read.
    if not len(positions) or not len(rows):
        return None
    here = rows.position
    first, last = np.searchsorted(positions, [here[0], here[-1] + 1])
    return np.isin(here, positions[first:last], assume_unique=True) if first < last else None


def _either(one: Mask | None, other: Mask | None) -> Mask | None:
    if one is None or other is None:
        return one if other is None else other
    return one | other
