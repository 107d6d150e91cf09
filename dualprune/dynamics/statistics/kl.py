"""`kl`: how far the prediction moved since the epoch before."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from dualprune.dynamics.statistics import STATISTICS, Forward, Statistic

if TYPE_CHECKING:
    from torch import Tensor

# As TDDS's authors add it within the logarithms.
SLACK = 1e-8


@STATISTICS.register("kl")
class Kl(Statistic):
    """Absolute class-wise terms of the KL divergence from the epoch before, summed (arXiv 2311.13613)."""

    low = 0.0
    high = math.inf
    width = "classes"
    first_epoch = 1
    needs = ("log_prob",)

    def compute(self, forward: Forward) -> Tensor:
        return forward.log_prob.exp()

    def combine(self, now: NDArray[np.float32], before: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return Σ_c |p · (log(p + 1e-8) - log(q + 1e-8))| of the probabilities p now and q before, float32 [n]."""
        later, earlier = now.astype(np.float64), before.astype(np.float64)
        terms = later * (np.log(later + SLACK) - np.log(earlier + SLACK))
        result: NDArray[np.float32] = np.abs(terms).sum(axis=1).astype(np.float32)
        return result
