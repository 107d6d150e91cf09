"""BLS: the mean loss of a sample's batches stands in for its own loss, inside another curriculum (mrazhou/BLS).

After each epoch v ← alpha·v + (1 - alpha)·L for the samples of a batch, L the mean loss of that batch over all workers;
v begins at 0. The curriculum `inside` then chooses by v. Epoch 0 trains on all.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from dualprune.core.plugins import make, options_of
from dualprune.core.registry import Difference
from dualprune.core.section import Section
from dualprune.data.choice import Choice
from dualprune.training.curricula import CURRICULA, Facts
from dualprune.training.curricula._epoch import EpochOfLosses
from dualprune.training.curricula._lagging import LaggingLoss

# Where the options of the curriculum inside stand.
KEY = "train.curriculum.options.options"


@CURRICULA.register("bls")
class BLS(EpochOfLosses):
    """Another curriculum that knows the losses of batches alone: their moving mean stands in for a sample's loss."""

    source = "BLS; mrazhou/BLS@726279b"
    cost = "28 bytes per sample on every worker; it saves what the curriculum inside saves"
    differences = (
        Difference("the paper's alpha is 0.7, that of the authors' code 0.9", "alpha: 0.9"),
        Difference(
            "the authors take the mean loss of each worker's own part of the batch",
            "not reproduced: it depends on the number of workers",
        ),
        Difference("samples that are seldom seen look easy, as v begins at 0", "the same here: it is the rule"),
    )

    class Options(Section):
        """Options of `bls`."""

        baseline: ClassVar[Mapping[str, Any]] = {"alpha": 0.7, "inside": "infobatch", "options": {}}
        alpha: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(0.7, description="Weight of the mean so far.")
        inside: Literal["infobatch", "seta"] = Field("infobatch", description="The curriculum that chooses.")
        options: dict[str, Any] = Field(default_factory=dict, description="Options of the curriculum inside.")

        @model_validator(mode="after")
        def _inside_takes_them(self) -> BLS.Options:
            options_of("curriculum", self.inside, self.options, KEY)
            return self

    def start(self, facts: Facts) -> None:
        super().start(facts)
        options = self.options
        self._inside: LaggingLoss = make("curriculum", options.inside, options.options, KEY)
        self._inside.start(facts)
        self.mean = np.zeros(facts.num_samples)

    def plan(self, epoch: int) -> Choice | None:
        if epoch == 0:
            return None
        self._inside.loss = self.mean
        return self._inside.plan(epoch)

    def end_epoch(self, epoch: int, loss: NDArray[np.float32], step: NDArray[np.int64]) -> None:
        trained = np.flatnonzero(step >= 0)
        sizes = np.bincount(step[trained])
        means = np.bincount(step[trained], weights=loss[trained]) / np.maximum(sizes, 1)
        alpha = self.options.alpha
        self.mean[trained] = alpha * self.mean[trained] + (1 - alpha) * means[step[trained]]

    def state_dict(self) -> dict[str, Any]:
        return {"mean": self.mean}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.mean = state["mean"].copy()
