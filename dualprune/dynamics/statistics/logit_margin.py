"""`logit_margin`: by how much the logit of the right answer leads the best wrong one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dualprune.dynamics.statistics import STATISTICS, Forward, Statistic

if TYPE_CHECKING:
    from torch import Tensor


@STATISTICS.register("logit_margin")
class LogitMargin(Statistic):
    """Logit of the target class minus the highest of the others."""

    needs = ("log_prob", "targets")

    def compute(self, forward: Forward) -> Tensor:
        # Log-probabilities are logits less a number that is the same for all classes.
        target = forward.log_prob.gather(1, forward.targets[:, None])[:, 0]
        others = forward.log_prob.scatter(1, forward.targets[:, None], float("-inf"))
        return target - others.amax(dim=1)
