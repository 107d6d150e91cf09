"""RCAP: classes that are harder get more of each epoch's samples, and so do hard samples within a class.

p is the softmax, within the class, of the lagging loss, clipped to [0, log K] and divided by `beta`. L of a class is
the sum of p over the samples that the last epoch trained on, 1 at first. A class gets a number in proportion to the
root of L·π, π its share of the set, at least one and at most all of its samples, and draws them by p, each once.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from dualprune.core.registry import Difference
from dualprune.core.section import Section
from dualprune.data.choice import Choice, Weighted
from dualprune.errors import ConfigError
from dualprune.selection.engine.quotas import allot
from dualprune.training.curricula import CURRICULA, Facts
from dualprune.training.curricula._draws import hashes, some_of, uniforms, weights_of
from dualprune.training.curricula._lagging import LaggingLoss


def class_shares(total: NDArray[np.float64], sizes: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    """Return each class's part of `count`, float64 [C], from its sum of p and its size: count · √(L·π) / Σ √(L·π)."""
    roots = np.sqrt(total * sizes / sizes.sum())
    shares: NDArray[np.float64] = count * roots / roots.sum()
    return shares


@CURRICULA.register("rcap")
class RCAP(LaggingLoss):
    """Hard classes, and hard samples within a class, come more often: drawn anew in every epoch."""

    source = "RCAP; atif-hassan/RCAP-dynamic-dataset-pruning@d1879c2"
    cost = "17 bytes per sample on every worker; it saves `ratio` of the sample visits"
    differences = (
        Difference("the authors round every class up, and exceed the number", "not reproduced: the number is exact"),
    )
    leaves_out_from = 0

    class Options(Section):
        """Options of `rcap`."""

        baseline: ClassVar[Mapping[str, Any]] = {"ratio": 0.5, "beta": 2.0}
        ratio: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(0.5, description="Share of samples to leave out.")
        beta: Annotated[float, Field(gt=0.0)] = Field(
            2.0, description="Temperature: the higher, the less the loss of a sample matters within its class."
        )

    def start(self, facts: Facts) -> None:
        super().start(facts)
        if facts.labels is None:
            raise ConfigError(
                "train.curriculum.name: 'rcap' divides samples by class, but the data set has no classes; use another"
            )
        self._count = some_of(self.options.ratio, facts.num_samples, self.name)
        # Classes without samples have no part.
        _, self._class_of, self._sizes = np.unique(facts.labels, return_inverse=True, return_counts=True)
        self.last = np.zeros(facts.num_samples, dtype=bool)

    def plan(self, epoch: int) -> Choice | None:
        count = self.facts.num_samples
        if self._count == count:
            return None
        log_prob = self._log_prob()
        num_classes = len(self._sizes)
        weights = np.exp(log_prob) * self.last
        total = np.bincount(self._class_of, weights=weights, minlength=num_classes).astype(np.float64)
        # 1 where there is no last epoch, and for a class of which it trained on none.
        total[total == 0.0] = 1.0
        # The authors round up, so that no class is left without a sample.
        floors = np.full(num_classes, int(self._count >= num_classes))
        counts = allot(class_shares(total, self._sizes, self._count), self._count, floors, self._sizes)
        # The highest of log weight plus Gumbel noise are a weighted draw without replacement.
        keys = np.log(-np.log(uniforms(self.salt, epoch + 1, count))) - log_prob
        order = np.lexsort((hashes(self.salt, 0, count), keys, self._class_of))
        firsts = np.cumsum(self._sizes) - self._sizes
        rank = np.arange(count) - np.repeat(firsts, self._sizes)
        chosen = order[rank < np.repeat(counts, self._sizes)]
        return Weighted(weights_of(chosen, count))

    def update(
        self, epoch: int, bucket: int, values: Mapping[str, NDArray[np.float32]], step: NDArray[np.int64]
    ) -> None:
        super().update(epoch, bucket, values, step)
        self.last[self.rows(bucket, step)] = step >= 0

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "last": self.last}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.last = state["last"].copy()

    def _log_prob(self) -> NDArray[np.float64]:
        """Return log p of every sample, float64 [N]."""
        scaled = np.clip(self.loss.astype(np.float64), 0.0, math.log(self.facts.num_classes)) / self.options.beta
        # exp cannot overflow: the loss is at most log K.
        sums = np.bincount(self._class_of, weights=np.exp(scaled), minlength=len(self._sizes))
        log_prob: NDArray[np.float64] = scaled - np.log(sums)[self._class_of]
        return log_prob
