"""A question put to every part of the samples: who takes part, in which cell, and in which order they are kept."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from dualprune.selection.engine.cells import Ints, Last, UInts
from dualprune.selection.engine.ranking import HIGHEST, Part, rank_key
from dualprune.selection.sampler import Draw

Mask = NDArray[np.bool_]


def no_positions() -> Ints:
    """Return an empty list of positions."""
    return np.zeros(0, dtype=np.int64)


@dataclass(frozen=True)
class Strata:
    """`count` parts of equal width of the scores lowest … highest."""

    count: int
    lowest: float
    highest: float

    def of(self, score: NDArray[np.float64]) -> Ints:
        """Return each score's stratum, int64 [n]."""
        if self.count == 1 or not self.highest > self.lowest:
            return np.zeros(len(score), dtype=np.int64)
        share = (score - self.lowest) / (self.highest - self.lowest)
        return np.clip((share * self.count).astype(np.int64), 0, self.count - 1)


@dataclass(frozen=True)
class Question:
    """One draw with its constraints.

    `forced` and `excluded` are positions, ascending; a forced sample is never excluded. Samples outside `score_range`,
    those that a decision in `without` keeps, and those that one in `within` does not keep, take no part. Those that
    one in `promoted` keeps come first.
    """

    draw: Draw
    num_groups: int = 1
    strata: Strata = Strata(1, 0.0, 0.0)
    forced: Ints = field(default_factory=no_positions)
    excluded: Ints = field(default_factory=no_positions)
    score_range: tuple[float, float] = (-np.inf, np.inf)
    without: tuple[Decision, ...] = ()
    within: tuple[Decision, ...] = ()
    promoted: tuple[Decision, ...] = ()

    @property
    def num_cells(self) -> int:
        """The number of cells: groups times strata."""
        return self.num_groups * self.strata.count

    @property
    def is_of_all(self) -> bool:
        """Whether every sample takes part, none is forced, and there is one cell."""
        left_out = len(self.excluded) or self.without or self.within or self.score_range != (-np.inf, np.inf)
        return self.num_cells == 1 and not left_out and not len(self.forced)

    def forced_among(self, part: Part) -> Mask | None:
        """Return which samples of a part are forced, bool [n]; None where none is."""
        return _among(self.forced, part)

    def cells(self, part: Part) -> tuple[Ints, Mask | None]:
        """Return each sample's cell, int64 [n] with -1 for those that take no part; and who is forced, if any."""
        cell = np.zeros(len(part), dtype=np.int64)
        if self.num_groups > 1:
            assert part.group is not None
            cell += part.group * self.strata.count
        if self.strata.count > 1:
            cell += self.strata.of(part.score)
        out = _among(self.excluded, part)
        if self.score_range != (-np.inf, np.inf):
            low, high = self.score_range
            out = _either(out, (part.score < low) | (part.score > high))
        for decision in self.without:
            out = _either(out, decision.keeps(part))
        for decision in self.within:
            out = _either(out, ~decision.keeps(part))
        forced = self.forced_among(part)
        if out is not None:
            cell[out if forced is None else out & ~forced] = -1
        return cell, forced

    def places(self, part: Part) -> tuple[Ints, Mask | None]:
        """Return each sample's cell, as `cells` does; and who comes first, forced or promoted, if any."""
        cell, first = self.cells(part)
        for decision in self.promoted:
            first = _either(first, decision.keeps(part))
        return cell, first

    def standing(self, part: Part) -> tuple[UInts, Ints]:
        """Return each sample's rank and cell."""
        cell, first = self.places(part)
        rank = self.draw.rank(part)
        return rank if first is None else np.where(first, HIGHEST, rank), cell


@dataclass(frozen=True)
class Decision:
    """A question with its answer: the last kept sample of each cell."""

    question: Question
    last: Last

    @property
    def floor(self) -> int:
        """The lowest rank of a kept sample, in any cell; the highest of all where none is kept."""
        return int(self.last.rank.min())

    def keeps(self, part: Part) -> Mask:
        """Return which samples of a part are kept, bool [n]."""
        result: Mask = part.once(("keeps", id(self)), lambda: self._kept(part))
        return result

    def _kept(self, part: Part) -> Mask:
        rank, cell = self.question.standing(part)
        last = self.last
        inside = cell >= 0
        # One cell is the usual case, and indexing by it costs more than the comparison.
        one = self.question.num_cells == 1
        at: slice | Ints = slice(None) if one else np.where(inside, cell, 0)
        kept = rank > last.rank[at]
        tied = rank == last.rank[at]
        if tied.any():
            rows = np.flatnonzero(tied & inside)
            c = cell[rows]
            hash_ = part.hash(self.question.draw.seed)[rows]
            same = hash_ == last.hash[c]
            kept[rows] = (hash_ > last.hash[c]) | (same & (part.position[rows] <= last.position[c]))
        return kept & inside

    def inclusion(self, part: Part, num_drawn: Ints, num_candidates: Ints) -> NDArray[np.float64]:
        """Return the inclusion probability of a part's kept samples, float64 [n].

        By weight it is that of a key above the cell's first not kept one, 1 - exp(-weight · exp(-key)), given the
        other samples' keys: sums over kept samples of value / probability are then free of bias (Cohen and Kaplan
        2007). With equal weights it is drawn / candidates of the cell. Forced and ranked samples have 1.
        """
        draw = self.question.draw
        if draw.chance == "none":
            return np.ones(len(part))
        cell, first = self.question.places(part)
        if draw.chance == "equal":
            chance = (num_drawn / np.maximum(num_candidates, 1))[cell]
        else:
            key = rank_key(self.last.next_rank)[cell]
            with np.errstate(over="ignore", divide="ignore"):
                chance = -np.expm1(-np.exp(np.log(draw.weight(part)) - key))
            chance[key == -np.inf] = 1.0
        return chance if first is None else np.where(first, 1.0, chance)


def _among(positions: Ints, part: Part) -> Mask | None:
    """Return which positions of a part, ascending, are in the list; None where none is."""
    # The column is not read where nothing is looked for.
    if not len(positions) or not len(part):
        return None
    block = part.position
    first, last = np.searchsorted(positions, [block[0], block[-1] + 1])
    if first == last:
        return None
    return np.isin(block, positions[first:last], assume_unique=True)


def _either(one: Mask | None, other: Mask | None) -> Mask | None:
    if one is None or other is None:
        return one if other is None else other
    return one | other
