"""`entropy`: how undecided the model is."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from dualprune.dynamics.statistics import STATISTICS, Forward, Statistic

if TYPE_CHECKING:
    from torch import Tensor


@STATISTICS.register("entropy")
class Entropy(Statistic):
    """Entropy of the prediction, in nats."""

    low = 0.0
    high = math.inf
    needs = ("log_prob",)

    def compute(self, forward: Forward) -> Tensor:
        from torch.special import entr

        result: Tensor = entr(forward.log_prob.exp()).sum(dim=1)
        return result
