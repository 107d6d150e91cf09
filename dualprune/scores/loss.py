"""The mean loss: works for any training that has a loss per sample, regression included.

    loss(i) = mean over the epochs of the statistic `loss`, for a classification -log p[i, t].

The band of the super-resolution study (arXiv 2403.17083), which drops the highest losses and keeps those behind them,
is the sampler `top_k` with `skip: 0.05`.
"""

from __future__ import annotations

from typing import Any

from dualprune.core.arrays import Axes
from dualprune.core.registry import Difference
from dualprune.scores.arguments import Missing, score_array
from dualprune.scores.means import MeanAccumulator, RangeScore
from dualprune.scores.score import SCORES


def loss(
    losses: Any,
    *,
    first_epoch: int = 0,
    last_epoch: int | None = None,
    axes: Axes | None = None,
    missing: Missing = "raise",
) -> Any:
    """Score samples by their mean loss: float64 [n] for losses [n, T]; a high score means: keep first.

    `first_epoch` and `last_epoch` (both count, None: the last) are the method's options; further arguments and errors
    as for `dualprune.scores.dual`.
    """
    return score_array(Loss, losses, axes, missing, first_epoch=first_epoch, last_epoch=last_epoch)


@SCORES.register("loss")
class Loss(RangeScore):
    """Samples with the highest mean loss first; for regression, too."""

    source = "the band rule: arXiv 2403.17083, no code published"
    cost = "none beyond training; while recording 8 bytes per sample"
    differences = (
        Difference(
            "the super-resolution study takes one loss of a small trained network",
            "the score at_rest with of: loss",
        ),
        Difference(
            "the super-resolution study drops the top 5 % and keeps the next 50 %",
            "the sampler top_k with skip: 0.05 and ratio 0.5",
        ),
    )

    reads = ("loss",)

    def accumulator(self, num_samples: int) -> MeanAccumulator:
        return MeanAccumulator(num_samples, self)
