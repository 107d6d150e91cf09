"""EL2N: samples whose prediction is far from the one-hot target early in training (arXiv 2107.07075).

EL2N(i) = mean over the epochs of ‖p[i, t] - onehot(y_i)‖₂,    the statistic `el2n`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import Field

from dualprune.core.arrays import Axes
from dualprune.core.registry import Difference
from dualprune.scores.arguments import Missing, score_array
from dualprune.scores.means import Epoch, EpochRange, MeanAccumulator, RangeScore
from dualprune.scores.score import SCORES


def el2n(
    error_norm: Any,
    *,
    first_epoch: int = 0,
    last_epoch: int | None = 9,
    axes: Axes | None = None,
    missing: Missing = "raise",
) -> Any:
    """Score samples by EL2N: float64 [n] for the error norms [n, T]; a high score means: keep first.

    `first_epoch` and `last_epoch` (both count, None: the last) are the method's options; further arguments and errors
    as for `dualprune.scores.dual`.
    """
    return score_array(El2n, error_norm, axes, missing, first_epoch=first_epoch, last_epoch=last_epoch)


@SCORES.register("el2n")
class El2n(RangeScore):
    """Samples whose prediction is far from the target early in training first (arXiv 2107.07075)."""

    source = (
        "EL2N, arXiv 2107.07075; mansheej/data_diet; epochs 0 to 9 as in "
        "haizhongzheng/Coverage-centric-coreset-selection@b37f166"
    )
    cost = "none beyond training; while recording 8 bytes per sample"
    differences = (
        Difference("the paper takes one epoch, about 10 to 20", "first_epoch and last_epoch, both 20, say"),
        Difference("the paper averages ten models or more", "the score combine over runs of several seeds"),
        Difference("CCS sums over the epochs", "not reproduced: a sum has the order of the mean"),
        Difference("the DUAL repository takes epoch 20 alone", "first_epoch: 20, last_epoch: 20"),
    )

    class Options(EpochRange):
        """Options of `el2n`."""

        baseline: ClassVar[Mapping[str, Any]] = {"first_epoch": 0, "last_epoch": 9}
        last_epoch: Epoch | None = Field(9, description="Last epoch that counts; null: the last one recorded.")

    reads = ("el2n",)

    def accumulator(self, num_samples: int) -> MeanAccumulator:
        return MeanAccumulator(num_samples, self)
