"""Confidence of data maps: samples whose target gets a low mean probability come first (arXiv 2009.10795).

confidence(i) = mean over the epochs of p[i, t];    the score is 1 - confidence.
"""

from __future__ import annotations

from typing import Any

from dualprune.core.arrays import Axes
from dualprune.core.registry import Difference
from dualprune.scores.arguments import Missing, score_array
from dualprune.scores.mean_prob import TARGET_PROB
from dualprune.scores.means import MeanAccumulator, RangeScore
from dualprune.scores.score import SCORES


def confidence(
    target_prob: Any,
    *,
    first_epoch: int = 0,
    last_epoch: int | None = None,
    axes: Axes | None = None,
    missing: Missing = "raise",
) -> Any:
    """Score samples by 1 - their mean probability: float64 [n] for target_prob [n, T]; high means: keep first.

    `first_epoch` and `last_epoch` (both count, None: the last) are the method's options; further arguments and errors
    as for `dualprune.scores.dual`.
    """
    return score_array(Confidence, target_prob, axes, missing, first_epoch=first_epoch, last_epoch=last_epoch)


@SCORES.register("confidence")
class Confidence(RangeScore):
    """Samples whose target gets a low mean probability first: 1 - confidence of data maps (arXiv 2009.10795)."""

    source = "data maps, arXiv 2009.10795; allenai/cartography@3df3438"
    cost = "none beyond training; while recording 8 bytes per sample"
    differences = (
        Difference("cartography's burn_out takes the first b epochs", "last_epoch: b - 1"),
        Difference("cartography keeps int(f·N) + 1 samples", "not reproduced: the number kept is exact"),
    )

    reads = (TARGET_PROB,)

    def accumulator(self, num_samples: int) -> MeanAccumulator:
        return MeanAccumulator(num_samples, self, offset=1.0, factor=-1.0)
