"""OrderDP: of a random part of the set, the samples of the highest lagging loss, in every epoch (OrderDP, ICLR 2026).

An epoch draws a = int(pool·N) samples at random, and trains on the q = int(top·a) of them whose lagging loss is
highest.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from dualprune.core.registry import Difference
from dualprune.core.section import Section
from dualprune.data.choice import Choice, Weighted
from dualprune.errors import ConfigError
from dualprune.training.curricula import CURRICULA, Facts
from dualprune.training.curricula._draws import floor_of, hashes, lowest, subset, weights_of
from dualprune.training.curricula._lagging import LaggingLoss

Share = Annotated[float, Field(gt=0.0, le=1.0)]


@CURRICULA.register("orderdp")
class OrderDP(LaggingLoss):
    """Of a random part of the set, the samples of the highest loss, in every epoch."""

    source = "OrderDP, ICLR 2026; shengze-xu/OrderDP@b48eacc"
    cost = "8 bytes per sample on every worker; it saves 1 - pool · top of the sample visits"
    differences = (
        Difference(
            "the authors start losses at 3 (CIFAR) or 1 (ImageNet), which starves unseen samples of hard sets",
            "first_loss: 3.0 or 1.0",
        ),
        Difference("the authors' settings for ImageNet", "pool: 0.75, top: 0.8"),
    )
    leaves_out_from = 0

    class Options(Section):
        """Options of `orderdp`."""

        baseline: ClassVar[Mapping[str, Any]] = {"pool": 0.8, "top": 0.375, "first_loss": None}
        pool: Share = Field(0.8, description="Share of the samples that is drawn at random.")
        top: Share = Field(0.375, description="Share of the drawn ones to train on.")
        first_loss: Annotated[float, Field(ge=0.0)] | None = Field(
            None, description="Loss of a sample before its first step; null: log of the number of classes."
        )

    def first_loss(self) -> float:
        first: float | None = self.options.first_loss
        return super().first_loss() if first is None else first

    def start(self, facts: Facts) -> None:
        super().start(facts)
        self._drawn = floor_of(self.options.pool, facts.num_samples)
        self._trained = floor_of(self.options.top, self._drawn)
        if not self._trained:
            raise ConfigError(
                f"train.curriculum.options.top: {self.options.top:g} of {self._drawn} drawn samples is none; raise "
                "pool or top"
            )

    def plan(self, epoch: int) -> Choice | None:
        count = self.facts.num_samples
        drawn = subset(hashes(self.salt, epoch + 1, count), self._drawn)
        chosen = lowest(-self.loss.astype(np.float64), hashes(self.salt, 0, count), self._trained, np.sort(drawn))
        return Weighted(weights_of(chosen, count))
