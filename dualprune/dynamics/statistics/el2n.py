"""`el2n`: how far the prediction is from the one-hot target."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from dualprune.dynamics.statistics import STATISTICS, Forward, Statistic

if TYPE_CHECKING:
    from torch import Tensor


@STATISTICS.register("el2n")
class El2n(Statistic):
    """Euclidean norm of the error vector (arXiv 2107.07075)."""

    low = 0.0
    high = math.sqrt(2.0)
    needs = ("log_prob", "targets")

    def compute(self, forward: Forward) -> Tensor:
        from torch import zeros_like
        from torch.linalg import vector_norm

        prob = forward.log_prob.exp()
        ones = zeros_like(prob).scatter_(1, forward.targets[:, None], 1.0)
        result: Tensor = vector_norm(prob - ones, dim=1)
        return result
