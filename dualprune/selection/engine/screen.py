"""Leaves out samples that cannot rank high enough, at a fraction of the cost of ranking them.

Samples are kept from some rank on. A cheap bound of the weight shows that most samples lie below it; only the others
are ranked, exactly. A loose bound costs time, but never changes the result.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dualprune.core.compiled import compiled
from dualprune.selection.engine.ranks import TOP_BIT, rank_key
from dualprune.selection.engine.spec import Cutoff, DrawSpec, among
from dualprune.selection.rows import Rows
from dualprune.selection.sampler import Floats, Mask, UInts

# Where more samples than this share may rank high enough, the bound has gained too little.
WORTH_IT = 0.6
# The arithmetic of keys is exact to about 1e-12 of a weight.
SLACK = 1.0 + 1e-9


def narrowed(rows: Rows, specs: Sequence[DrawSpec], floors: Sequence[int]) -> Rows:
    """Return the rows that may rank as high as the floor of any of the draws, or all of them."""
    possible = np.zeros(len(rows), dtype=bool)
    for spec, floor in zip(specs, floors, strict=True):
        may = may_reach(spec, rows, floor)
        if may is None:
            return rows
        possible |= may
        if np.count_nonzero(possible) > WORTH_IT * len(rows):
            return rows
    return rows.take(np.flatnonzero(possible))


def possibly_kept(rows: Rows, cutoffs: Sequence[Cutoff]) -> Rows:
    """Return the rows that any of the cutoffs may keep, or all of them."""
    return narrowed(rows, [one.spec for one in cutoffs], [one.floor for one in cutoffs])


def may_reach(spec: DrawSpec, rows: Rows, floor: int) -> Mask | None:
    """Return which rows may rank from `floor` on, bool [n]; None where all may.

    A key log(weight) + noise from t on needs -log u <= weight / exp(t), as noise = -log(-log u) of a uniform number u.
    """
    if spec.first or not spec.draw.weighted or floor < TOP_BIT:
        return None
    bound = spec.draw.bound(rows, float(rank_key(np.array([floor], dtype=np.uint64))[0]))
    if bound is None:
        return None
    may: Mask = _may_reach(rows.hash(spec.salt), bound)
    forced = among(spec.forced, rows)
    return may if forced is None else may | forced


@compiled
def _may_reach(hashes: UInts, bound: Floats) -> Mask:
    may = np.empty(len(hashes), dtype=np.bool_)
    for i in range(len(hashes)):
        # 1 - u, exactly; -log u is no less than the first terms of its series.
        rest = (4503599627370495.5 - np.float64(np.int64(hashes[i] >> np.uint64(12)))) * 2.0**-52
        least = rest * (1.0 + rest * (0.5 + rest * (1.0 / 3.0 + rest * 0.25)))
        may[i] = not least > bound[i] * SLACK
    return may
