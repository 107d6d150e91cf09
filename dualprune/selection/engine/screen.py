"""Leaves out samples that cannot rank high enough, at a fraction of the price of their ranks.

Samples are kept from some rank on. A bound of a sample's rank that is cheap to make says of most samples that they lie
below it; only the others are ranked, exactly. A bound may be as loose as it likes: it costs time, never the result.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dualprune.core.compiled import compiled
from dualprune.selection.engine.question import Decision, Question
from dualprune.selection.engine.ranking import Part

# Where more samples than this share may rank high enough, the bound has gained too little.
WORTH_IT = 0.6
# The arithmetic of keys is exact to about 1e-12 of a weight.
SLACK = 1.0 + 1e-9
# A bound below would lose digits, and be multiplied by scores of any size.
SMALLEST = 1e-290


def narrowed(part: Part, questions: Sequence[Question], floors: Sequence[int]) -> Part:
    """Return the samples of a part that may rank as high as the floor of any of the questions, or all of them."""
    possible = np.zeros(len(part), dtype=bool)
    for question, floor in zip(questions, floors, strict=True):
        may = None if question.promoted else question.draw.possible(part, floor)
        if may is None:
            return part
        forced = question.forced_among(part)
        possible |= may if forced is None else may | forced
        if np.count_nonzero(possible) > WORTH_IT * len(part):
            return part
    return part.take(np.flatnonzero(possible))


def possibly_kept(part: Part, decisions: Sequence[Decision]) -> Part:
    """Return the samples of a part that any of the decisions may keep, or all of them."""
    return narrowed(part, [one.question for one in decisions], [one.floor for one in decisions])


def may_reach(
    hashes: NDArray[np.uint64], score: NDArray[np.float64], mean_prob: NDArray[np.float64], bound: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Return which samples may have a key log(weight) + noise from some key t on, bool [n].

    `bound` [bins] is the highest weight / score of any mean_prob in each of as many parts of [0, 1], over exp(t).
    With noise = -log(-log u) of the uniform number u, such a key needs -log u <= weight / exp(t).
    """
    result: NDArray[np.bool_] = _may_reach(hashes, score, mean_prob, np.maximum(bound * SLACK, SMALLEST))
    return result


@compiled
def _may_reach(
    hashes: NDArray[np.uint64], score: NDArray[np.float64], mean_prob: NDArray[np.float64], bound: NDArray[np.float64]
) -> NDArray[np.bool_]:
    may = np.empty(len(hashes), dtype=np.bool_)
    bins = len(bound)
    for i in range(len(hashes)):
        # 1 - u, exactly; -log u is no less than the first terms of its series.
        rest = (4503599627370495.5 - np.float64(np.int64(hashes[i] >> np.uint64(12)))) * 2.0**-52
        least = rest * (1.0 + rest * (0.5 + rest * (1.0 / 3.0 + rest * 0.25)))
        place = max(0, min(int(mean_prob[i] * bins), bins - 1))
        may[i] = not least > bound[place] * score[i]
    return may
