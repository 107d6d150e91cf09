"""`loss`: the training loss of the sample."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from dualprune.dynamics.statistics import STATISTICS, Forward, Statistic

if TYPE_CHECKING:
    from torch import Tensor


@STATISTICS.register("loss")
class Loss(Statistic):
    """Loss per sample; the cross-entropy in nats."""

    low = 0.0
    high = math.inf
    needs = ("loss",)

    def compute(self, forward: Forward) -> Tensor:
        return forward.loss
