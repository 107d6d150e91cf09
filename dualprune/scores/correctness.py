"""Correctness of data maps: samples that the model gets wrong in most epochs come first (arXiv 2009.10795).

correctness(i) = number of epochs with a right prediction;    the score is the number of epochs with a wrong one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualprune.core.arrays import Axes
from dualprune.core.registry import Difference
from dualprune.scores.arguments import Missing, score_array
from dualprune.scores.means import RangeAccumulator, RangeScore
from dualprune.scores.score import SCORES


def correctness(
    correct: Any,
    *,
    first_epoch: int = 0,
    last_epoch: int | None = None,
    axes: Axes | None = None,
    missing: Missing = "raise",
) -> Any:
    """Score samples by their number of wrong predictions: float64 [n] for correct [n, T], 1 or 0; high: keep first.

    `first_epoch` and `last_epoch` (both count, None: the last) are the method's options; further arguments and errors
    as for `dualprune.scores.dual`.
    """
    return score_array(Correctness, correct, axes, missing, first_epoch=first_epoch, last_epoch=last_epoch)


@SCORES.register("correctness")
class Correctness(RangeScore):
    """Samples that the model gets wrong in most epochs first: correctness of data maps, reversed (arXiv 2009.10795)."""

    source = "data maps, arXiv 2009.10795; allenai/cartography@3df3438"
    cost = "none beyond training; while recording 8 bytes per sample"
    differences = (Difference("cartography's burn_out takes the first b epochs", "last_epoch: b - 1"),)

    reads = ("correct",)

    def accumulator(self, num_samples: int) -> _Wrong:
        return _Wrong(num_samples, self)


class _Wrong(RangeAccumulator):
    def __init__(self, num_samples: int, method: Correctness) -> None:
        super().__init__("correct", method.options, method.check_epochs)
        self.total = np.zeros(num_samples)

    def add(self, values: NDArray[Any]) -> None:
        self.total += 1.0 - values

    def scores(self) -> NDArray[np.float64]:
        return self.total.copy()
