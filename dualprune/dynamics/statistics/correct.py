"""`correct`: whether the prediction is right."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dualprune.dynamics.statistics import STATISTICS, Forward, Statistic

if TYPE_CHECKING:
    from torch import Tensor


@STATISTICS.register("correct")
class Correct(Statistic):
    """1 where the prediction is the target, else 0."""

    low = 0.0
    high = 1.0
    needs = ("log_prob", "targets")

    def compute(self, forward: Forward) -> Tensor:
        return (forward.log_prob.argmax(dim=1) == forward.targets).float()
