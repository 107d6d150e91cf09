"""RePB: leave out easy samples of each few batches at random, with weights that make up for it (OpenReview Zw1Uw7u6Su).

D is what an epoch trains on, at first all samples. A window is `window` consecutive batches, μ its mean loss. A sample
of D stays if its loss is at least μ, or with the probability 1 - rho; one outside D comes back with that probability.
In epoch e a sample's loss counts e / n, n the number of epochs before e that trained on it; 1 in epoch 0.

Neither the authors' code nor the paper's settings were open to us: the rule is from notes on the paper.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from dualprune.core.registry import Difference
from dualprune.core.section import Section
from dualprune.data.choice import Choice, Weighted
from dualprune.training.curricula import CURRICULA, Facts
from dualprune.training.curricula._draws import uniforms
from dualprune.training.curricula._epoch import EpochOfLosses


@CURRICULA.register("repb")
class RePB(EpochOfLosses):
    """Leaves out samples that are easier than their batch at random, and counts the others by how seldom they came."""

    source = "RePB, OpenReview Zw1Uw7u6Su; from notes on the paper, without its code: no claim of parity"
    cost = "21 bytes per sample on every worker; what it saves depends on the losses"
    differences = (
        Difference("window and rho of the paper are not known to us", "window and rho; the defaults are ours"),
    )

    class Options(Section):
        """Options of `repb`."""

        baseline: ClassVar[Mapping[str, Any]] = {"window": 1, "rho": 0.5}
        window: PositiveInt = Field(1, description="Consecutive batches that are compared.")
        rho: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(
            0.5, description="Probability that a sample easier than its window is left out."
        )

    def start(self, facts: Facts) -> None:
        super().start(facts)
        self.chosen = np.ones(facts.num_samples, dtype=bool)
        # Epochs so far that trained on each sample.
        self.num_chosen = np.zeros(facts.num_samples, dtype=np.int32)

    def plan(self, epoch: int) -> Choice | None:
        if epoch == 0:
            return None
        weights = np.zeros(len(self.chosen), dtype=np.float32)
        weights[self.chosen] = epoch / self.num_chosen[self.chosen]
        return Weighted(weights)

    def end_epoch(self, epoch: int, loss: NDArray[np.float32], step: NDArray[np.int64]) -> None:
        self.num_chosen += self.chosen
        noise = uniforms(self.salt, epoch, len(loss))
        rho = self.options.rho
        back = ~self.chosen & (noise < 1 - rho)
        trained = np.flatnonzero(step >= 0)
        windows = step[trained] // self.options.window
        means = np.bincount(windows, weights=loss[trained]) / np.maximum(np.bincount(windows), 1)
        # Equal losses may have a mean that is rounded up.
        below = loss[trained] < means[windows] * (1 - 1e-12)
        # Samples of D without a loss, whose images cannot be decoded, stay.
        self.chosen[trained[below & (noise[trained] < rho)]] = False
        self.chosen |= back

    def state_dict(self) -> dict[str, Any]:
        return {"chosen": self.chosen, "num_chosen": self.num_chosen}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.chosen, self.num_chosen = state["chosen"].copy(), state["num_chosen"].copy()
