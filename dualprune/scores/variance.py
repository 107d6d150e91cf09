"""Variability of data maps: samples whose target probability varies most over training come first (arXiv 2009.10795).

variance(i) = std over the epochs of p[i, t],    of all T values (divisor T).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from dualprune.core.arrays import Axes
from dualprune.core.registry import Difference
from dualprune.scores.arguments import Missing, score_array
from dualprune.scores.mean_prob import TARGET_PROB
from dualprune.scores.means import EpochRange, RangeAccumulator, RangeScore
from dualprune.scores.score import SCORES


def variance(
    target_prob: Any,
    *,
    include_ci: bool = False,
    first_epoch: int = 0,
    last_epoch: int | None = None,
    axes: Axes | None = None,
    missing: Missing = "raise",
) -> Any:
    """Score samples by the standard deviation of target_prob [n, T]: float64 [n]; a high score means: keep first.

    `include_ci`, `first_epoch` and `last_epoch` (both count, None: the last) are the method's options; further
    arguments and errors as for `dualprune.scores.dual`.
    """
    options = {"include_ci": include_ci, "first_epoch": first_epoch, "last_epoch": last_epoch}
    return score_array(Variance, target_prob, axes, missing, **options)


@SCORES.register("variance")
class Variance(RangeScore):
    """Samples whose target probability varies most over training first: variability of data maps (arXiv 2009.10795)."""

    source = "data maps, arXiv 2009.10795; allenai/cartography@3df3438"
    cost = "none beyond training; while recording 24 bytes per sample"
    differences = (
        Difference("cartography's include_ci adds the variance of the variance", "include_ci: true"),
        Difference("cartography's burn_out takes the first b epochs", "last_epoch: b - 1"),
        Difference("cartography keeps int(f·N) + 1 samples", "not reproduced: the number kept is exact"),
    )

    class Options(EpochRange):
        """Options of `variance`."""

        baseline: ClassVar[Mapping[str, Any]] = {"include_ci": False, "first_epoch": 0, "last_epoch": None}
        include_ci: bool = Field(False, description="sqrt(v + v²/(T-1)) of the variance v, in place of sqrt(v).")

    reads = (TARGET_PROB,)

    def accumulator(self, num_samples: int) -> _Deviation:
        return _Deviation(num_samples, self)


class _Deviation(RangeAccumulator):
    """Sums of deviations from the first value, and of their squares: a constant sample has exactly 0."""

    def __init__(self, num_samples: int, method: Variance) -> None:
        super().__init__(TARGET_PROB, method.options, method.check_epochs)
        self._include_ci = method.options.include_ci
        self.first, self.sum, self.square = np.zeros((3, num_samples))

    def add(self, values: NDArray[Any]) -> None:
        if self.num_added == 1:
            self.first = values.astype(np.float64)
        deviation = values - self.first
        self.sum += deviation
        self.square += deviation * deviation

    def scores(self) -> NDArray[np.float64]:
        count = self.num_added
        # Below zero by rounding only; a NaN passes.
        variance = np.maximum((self.square - self.sum * self.sum / count) / count, 0.0)
        if self._include_ci and count > 1:
            variance = variance + variance * variance / (count - 1)
        result: NDArray[np.float64] = np.sqrt(variance)
        return result
