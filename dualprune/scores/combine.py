"""Several scores as one: of several methods, or of the same method in runs of other seeds or models.

mean:       the mean of the scores;
rank_mean:  the mean of their ranks, each as (rank - 1/2) / n in (0, 1), ties at their mean rank.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from dualprune.core.arguments import check_choice
from dualprune.core.arrays import as_array
from dualprune.core.registry import Difference
from dualprune.core.section import Section
from dualprune.errors import DataError
from dualprune.scores.score import SCORES, ColumnScore, Values

How = Literal["mean", "rank_mean"]
Floats = NDArray[np.float64]


def combine(scores: Sequence[Any], how: How = "rank_mean") -> Floats:
    """Return one score per sample, float64 [n], of two or more scores [n] each; a high score means: keep first.

    A sample that any score says never to keep (-inf) is never kept.

    Raises:
        DataError: no scores, scores of different lengths, or one that is NaN or +inf.
        ConfigError: an unknown choice of `how`.
    """
    check_choice("how", how, How)
    arrays = [as_array(score, f"score {number}") for number, score in enumerate(scores)]
    shapes = {array.shape for array in arrays}
    if len(shapes) != 1 or len(arrays[0].shape) != 1:
        raise DataError(f"scores have the shapes {[array.shape for array in arrays]}; expected [n] for each")
    for number, array in enumerate(arrays):
        bad = np.flatnonzero(np.isnan(array) | (array == np.inf))
        if len(bad):
            raise DataError(
                f"score {number} has {len(bad)} values of NaN or +inf, first at position {bad[0]}; leave such samples "
                "out of all scores, or score them -inf to keep none of them"
            )
    return _combined([array.astype(np.float64) for array in arrays], how)


def _combined(scores: Sequence[Floats], how: str) -> Floats:
    used = scores if how == "mean" else [_shares(score) for score in scores]
    total = np.zeros(len(scores[0]))
    for score in used:
        total += score
    return np.where(np.any(np.isneginf(scores), axis=0), -np.inf, total / len(scores))


def _shares(score: Floats) -> Floats:
    """Return (rank - 1/2) / n of each score, the lowest first."""
    _, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    shares: Floats = ((ends - 0.5 * counts) / len(score))[inverse]
    return shares


@SCORES.register("combine")
class Combine(ColumnScore):
    """Several scores as one: the mean of methods, or of runs with other seeds or models."""

    scope = "all"
    # The mean of scores that can be negative can be, too.
    signed = True
    source = "ours; EL2N and GraNd are means over ten models or more, arXiv 2107.07075"
    cost = "8 bytes per sample and score, in one process"
    differences = (Difference("published means are over models that differ in their seeds", "how: mean, and runs"),)

    class Options(Section):
        """Options of `combine`."""

        baseline: ClassVar[Mapping[str, Any]] = {"of": ["dual"], "how": "rank_mean", "runs": []}
        # The scores of the runs are inputs by what they are, not by where they lie.
        neutral = frozenset({"runs"})
        of: Annotated[list[str], Field(min_length=1)] = Field(["dual"], description="The score methods to combine.")
        how: How = Field("rank_mean", description="The mean of the scores, or of their ranks.")
        runs: list[str] = Field(
            default_factory=list,
            description="Further run directories of the same samples, whose scores of the same methods are included.",
        )

    @property
    def reads(self) -> tuple[str, ...]:
        """The scores of this run, then those of each other run."""
        own = [f"score:{name}" for name in self.options.of]
        others = [f"score:{name}@{run}" for run in self.options.runs for name in self.options.of]
        return tuple(dict.fromkeys([*own, *others]))

    def score(self, columns: Values, labels: NDArray[np.int64] | None, summary: Any = None) -> Floats:
        return _combined([columns[name] for name in self.reads], self.options.how)
