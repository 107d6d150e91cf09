"""`class_logits`: the logits of all classes; never stored, but summed by the score `logit_history`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dualprune.dynamics.statistics import STATISTICS, Forward, Statistic

if TYPE_CHECKING:
    from torch import Tensor


@STATISTICS.register("class_logits")
class ClassLogits(Statistic):
    """Logits of all classes, as log-probabilities: less a number that is the same for all classes."""

    width = "classes"
    needs = ("log_prob",)
    stored = False

    def compute(self, forward: Forward) -> Tensor:
        return forward.log_prob
