"""InfoBatch: leave out a random share of the easy samples, and weight the others of them up (arXiv 2303.04947).

Before an epoch, a sample is well learned if its lagging loss is below the mean over all N. Of the w well-learned
samples, int((1 - ratio)·w) stay, at least one, drawn at random, and count w / stay each; all others count 1. The first
epoch, and those after the share `delta` of the schedule, train on all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from pydantic import Field

from dualprune.core.registry import Difference
from dualprune.core.section import Section
from dualprune.data.choice import Choice, Weighted
from dualprune.training.curricula import CURRICULA
from dualprune.training.curricula._draws import exact, floor_of, hashes, mean, subset
from dualprune.training.curricula._lagging import LaggingLoss


@CURRICULA.register("infobatch")
class InfoBatch(LaggingLoss):
    """Leaves out a random half of the samples with a loss below the mean, and counts the other half double."""

    source = "InfoBatch, arXiv 2303.04947; NUS-HPC-AI-Lab/InfoBatch@8bbb012"
    cost = "8 bytes per sample on every worker; it saves `ratio` of the well-learned samples' visits"
    differences = (
        Difference("the authors weight by 1 / (1 - ratio), though they round the number down", "weight: ratio"),
        Difference(
            "the authors' code may leave samples out in epoch 0, where all scores are equal",
            "not reproduced: it is a fault; epoch 0 trains on all",
        ),
        Difference(
            "the authors' plug-in never resets its weights where delta · epochs is no whole number",
            "not reproduced: it is a fault",
        ),
        Difference(
            "the authors send positions as floats between workers, which rounds them above 2^24",
            "not reproduced: it is a fault; ours are int64",
        ),
    )

    class Options(Section):
        """Options of `infobatch`."""

        baseline: ClassVar[Mapping[str, Any]] = {"ratio": 0.5, "delta": 0.875, "weight": "exact"}
        ratio: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(
            0.5, description="Share of the well-learned samples to leave out."
        )
        delta: Annotated[float, Field(ge=0.0, le=1.0)] = Field(
            0.875, description="Train on all samples after this share of train.epochs."
        )
        weight: Literal["exact", "ratio"] = Field(
            "exact",
            description="Of a well-learned sample that stays: exact: well learned / staying; ratio: 1 / (1 - ratio).",
        )

    def first_loss(self) -> float:
        return 3.0

    def plan(self, epoch: int) -> Choice | None:
        options, facts = self.options, self.facts
        if epoch == 0 or epoch + 1 > exact(options.delta, facts.epochs):
            return None
        well = np.flatnonzero(self.loss < mean(self.loss))
        if not len(well):
            return None
        stay = subset(hashes(self.salt, epoch, facts.num_samples), max(1, floor_of(1 - options.ratio, len(well))), well)
        weights = np.ones(facts.num_samples, dtype=np.float32)
        weights[well] = 0.0
        weights[stay] = len(well) / len(stay) if options.weight == "exact" else 1 / (1 - options.ratio)
        return Weighted(weights)
