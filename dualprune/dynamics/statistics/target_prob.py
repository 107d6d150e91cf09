"""`target_prob`: how confident the model is in the right answer."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dualprune.dynamics.statistics import STATISTICS, Forward, Statistic

if TYPE_CHECKING:
    from torch import Tensor


@STATISTICS.register("target_prob")
class TargetProb(Statistic):
    """Probability of the target class."""

    low = 0.0
    high = 1.0
    needs = ("target_prob",)

    def compute(self, forward: Forward) -> Tensor:
        return forward.target_prob
