"""Counts the samples that share the last kept rank, where only a part of them is kept."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial

import numpy as np

from dualprune.selection.engine.spec import Cutoff
from dualprune.selection.engine.survey import Each
from dualprune.selection.rows import Rows
from dualprune.selection.sampler import Ints


def count_ties(each: Each, cutoffs: Sequence[Cutoff]) -> None:
    """Enter into the cutoffs the share that each keeps of the samples of its last rank.

    Hashes choose among these, so that the share is the chance of each. It takes a pass over the samples, and none
    where every tie is kept whole.
    """
    divided = [cutoff for cutoff in cutoffs if cutoff.divides_a_tie.any()]
    if not divided:
        return
    for cutoff, counts in zip(divided, zip(*each(partial(_count, divided)), strict=True), strict=True):
        tied, kept = sum(counts)
        cutoff.tie_share[:] = np.where(cutoff.divides_a_tie, kept / np.maximum(tied, 1), 1.0)


def _count(cutoffs: Sequence[Cutoff], blocks: Iterable[Rows]) -> list[Ints]:
    """Return for each cutoff how many samples have the last kept rank of their cell, and are kept; int64 [2, C]."""
    counts = [np.zeros((2, len(cutoff.rank)), dtype=np.int64) for cutoff in cutoffs]
    for rows in blocks:
        for cutoff, count in zip(cutoffs, counts, strict=True):
            rank, cell = cutoff.spec.standing(rows)
            tied = (cell >= 0) & (rank == cutoff.rank[np.maximum(cell, 0)])
            for number, mask in enumerate((tied, tied & cutoff.keeps(rows))):
                count[number] += np.bincount(cell[mask], minlength=len(cutoff.rank))
    return counts
