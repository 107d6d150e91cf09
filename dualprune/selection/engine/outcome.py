"""The result of a draw, and the probability with which it kept each sample.

Given the noise of all other samples, a sample is kept if its own rank and hash exceed a threshold: those of the first
sample that is not kept. The probability of that is 1 - exp(-weight · exp(-key)) where the threshold is a sampling key;
sums over kept samples of value / probability are then free of bias (rank conditioning, Cohen and Kaplan 2007). Where
all weights are equal, and among samples of equal rank, of which hashes choose, every sample has the same chance:
kept / candidates, exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from dualprune.core.hashing import uniform
from dualprune.selection.engine.ranks import TOP_BIT, rank_key, ranks
from dualprune.selection.engine.spec import Cutoff
from dualprune.selection.rows import Rows
from dualprune.selection.sampler import Draw, Floats, Ints, Mask, UInts


@dataclass(frozen=True)
class Outcome:
    """One ratio's cutoff, and how many of how many samples were drawn per cell, without forced ones.

    `larger` are the outcomes that this one was drawn from, with `nested`, the largest first.
    """

    ratio: float
    num_samples: int
    num_kept: int
    num_candidates: int
    cutoff: Cutoff
    cells_drawn: Ints
    cells_candidates: Ints
    larger: tuple[Outcome, ...] = ()

    @property
    def draw(self) -> Draw:
        """The draw, with its parameters."""
        return self.cutoff.spec.draw

    @property
    def by_chance(self) -> bool:
        """Whether another seed would keep other samples."""
        cutoffs = [self.cutoff, *self.cutoff.spec.cuts, *self.cutoff.spec.first]
        own = any(cutoff.spec.draw.weighted or cutoff.divides_a_tie.any() for cutoff in cutoffs)
        return own or any(outcome.by_chance for outcome in self.larger)

    def inclusion(self, rows: Rows) -> Floats:
        """Return the probability with which each of these rows is kept, float64 [n]; above 0 where it is kept.

        It is 1 for forced samples, and where no chance is involved.
        """
        cuts = self.cutoff.spec.cuts
        shares = [_share_inside(cut, rows) for cut in cuts]
        by_chance = [number for number, cut in enumerate(cuts) if (cut.tie_share < 1.0).any()]
        inside = [cut.keeps(rows) for cut in cuts]
        if not by_chance:
            return self._given(rows, inside)
        # A sample at the edge of a cut could as well be on its other side, and drawn from another cell.
        total = np.zeros(len(rows))
        for sides in product((False, True), repeat=len(by_chance)):
            chance = np.ones(len(rows))
            for number, side in zip(by_chance, sides, strict=True):
                inside[number] = np.full(len(rows), side)
                chance *= shares[number] if side else 1.0 - shares[number]
            total += chance * self._given(rows, inside)
        return total

    def _given(self, rows: Rows, inside: Sequence[Mask]) -> Floats:
        """Return the probability, given which rows are inside each of the sampler's cuts."""
        shared, lowest = np.ones(len(rows)), np.ones(len(rows))
        for one in (*self.larger, self):
            same = one.cutoff.spec.cuts == self.cutoff.spec.cuts
            share, chance = one._chances(rows, inside if same else None, within=bool(self.larger))
            # A share is that of what the larger draw keeps. Thresholds apply to the same noise: the highest decides.
            shared, lowest = shared * share, np.minimum(lowest, chance)
        return shared * lowest

    def _chances(self, rows: Rows, inside: Sequence[Mask] | None, *, within: bool) -> tuple[Floats, Floats]:
        """Return each row's share among samples of equal chance, and its chance to pass a threshold; 1 where not so."""
        spec, draw = self.cutoff.spec, self.draw
        cell, forced = spec.cells(rows, inside)
        at = np.maximum(cell, 0)
        share, chance = np.ones(len(rows)), np.ones(len(rows))
        # The strata of nested draws differ: their samples have passed different thresholds before.
        if draw.uniform and draw.weighted and not spec.first and not (within and draw.num_cells > 1):
            share = (self.cells_drawn / np.maximum(self.cells_candidates, 1))[at]
        else:
            rank, hash_ = self._threshold(rows, at)
            light = np.ones(len(rows), dtype=bool)
            if draw.weighted:
                log_weight = draw.order(rows)
                by_key = rank >= TOP_BIT
                with np.errstate(over="ignore"):
                    chance[by_key] = -np.expm1(-np.exp(log_weight[by_key] - rank_key(rank[by_key])))
                light = ~by_key & (log_weight == -np.inf)
            if light.any():
                own = ranks(draw, rows, spec.salt)
                if spec.first:
                    tied, chance_of_tie = light & (own == rank), 1.0 - uniform(hash_)
                    chance[light & (own < rank)] = 0.0
                    chance[tied] = chance_of_tie[tied]
                else:
                    last = self.cutoff.rank[at]
                    share[light & (own < last)] = 0.0
                    tied = light & (own == last)
                    share[tied] = self.cutoff.tie_share[at][tied]
        share[cell < 0] = 0.0
        if forced is not None:
            share[forced], chance[forced] = 1.0, 1.0
        return share, chance

    def _threshold(self, rows: Rows, cell: Ints) -> tuple[UInts, UInts]:
        """Return the rank and the hash that each row has to exceed."""
        rank, hash_ = self.cutoff.next_rank[cell], self.cutoff.next_hash[cell]
        for best in self.cutoff.spec.first:
            # A sample among the best of its group would be drawn like others if it were not.
            group = np.maximum(best.spec.cells(rows)[0], 0)
            own_rank, own_hash = best.next_rank[group], best.next_hash[group]
            lower = (own_rank < rank) | ((own_rank == rank) & (own_hash < hash_))
            lower &= best.keeps(rows)
            rank, hash_ = np.where(lower, own_rank, rank), np.where(lower, own_hash, hash_)
        return rank, hash_


def _share_inside(cut: Cutoff, rows: Rows) -> Floats:
    """Return the probability with which each row lies inside a cut."""
    rank, cell = cut.spec.standing(rows)
    at = np.maximum(cell, 0)
    share = np.where(rank == cut.rank[at], cut.tie_share[at], (rank > cut.rank[at]).astype(np.float64))
    return np.where(cell >= 0, share, 0.0)
