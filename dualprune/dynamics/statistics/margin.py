"""`margin`: by how much the right answer leads the best wrong one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dualprune.dynamics.statistics import STATISTICS, Forward, Statistic

if TYPE_CHECKING:
    from torch import Tensor


@STATISTICS.register("margin")
class Margin(Statistic):
    """Probability of the target class minus the highest of the others."""

    low = -1.0
    high = 1.0
    needs = ("log_prob", "targets")

    def compute(self, forward: Forward) -> Tensor:
        others = forward.log_prob.exp().scatter(1, forward.targets[:, None], -1.0)
        return forward.target_prob - others.amax(dim=1)
