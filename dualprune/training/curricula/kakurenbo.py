"""KAKURENBO: hide the samples of the lowest loss that the model is sure of (NeurIPS 2023, arXiv 2310.10102).

Candidates for hiding in an epoch are the M = int(F_e·N) samples of the lowest lagging loss. A candidate is hidden if
its last prediction was right, with a probability of at least `tau`; the others are moved back. So F_e is a cap. Hidden
samples are forwarded at the end of the epoch, in evaluation mode, which renews their loss. After the warm-up the
learning rate is multiplied by 1 / (1 - F_e).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt, model_validator

from dualprune.core.registry import Difference
from dualprune.core.section import Section
from dualprune.data.choice import Choice, Weighted
from dualprune.training.curricula import CURRICULA, Facts
from dualprune.training.curricula._draws import exact, floor_of, hashes, lowest
from dualprune.training.curricula._lagging import LaggingLoss, check_finite

Share = Annotated[float, Field(ge=0.0, le=1.0)]


@CURRICULA.register("kakurenbo")
class Kakurenbo(LaggingLoss):
    """Hides the samples of the lowest loss that are predicted right and surely, up to a share."""

    source = "KAKURENBO, arXiv 2310.10102; TruongThaoNguyen/kakurenbo@6cb9f88"
    cost = "17 bytes per sample on every worker, and a forward pass of the hidden samples per epoch"
    differences = (
        Difference(
            "the authors' code takes the softmax over the batch in place of the classes",
            "not reproduced: it is a fault, and depends on the batch",
        ),
        Difference(
            "the authors forward hidden samples in training mode and augmented, which moves batch normalisation",
            "not reproduced: evaluation mode, unaugmented, leaves the model as it is",
        ),
        Difference(
            "the authors' fractions for ImageNet drop after 30, 60 and 80 of 90 epochs",
            "drop_at: [0.333, 0.666, 0.888]",
        ),
    )
    reads = ("loss", "correct", "target_prob")

    class Options(Section):
        """Options of `kakurenbo`."""

        baseline: ClassVar[Mapping[str, Any]] = {
            "fraction": 0.3,
            "tau": 0.7,
            "factors": (1.0, 0.8, 0.6, 0.4),
            "drop_at": (0.3, 0.6, 0.8),
            "warmup": 1,
        }
        fraction: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(
            0.3, description="Share of samples that may be hidden at most."
        )
        tau: Share = Field(0.7, description="Least probability of the last, right, prediction of a hidden sample.")
        factors: tuple[Share, ...] = Field(
            (1.0, 0.8, 0.6, 0.4), description="What `fraction` is multiplied by, part by part of the schedule."
        )
        drop_at: tuple[Share, ...] = Field(
            (0.3, 0.6, 0.8), description="Shares of train.epochs at which the next factor begins."
        )
        warmup: PositiveInt = Field(
            1, description="First epochs with the factor 1 and the learning rate as it is; epoch 0 hides none."
        )

        @model_validator(mode="after")
        def _parts_fit(self) -> Kakurenbo.Options:
            if len(self.factors) != len(self.drop_at) + 1 or list(self.drop_at) != sorted(self.drop_at):
                raise ValueError(
                    f": factors {list(self.factors)} with drop_at {list(self.drop_at)}; expected one factor more than "
                    "shares, and rising shares"
                )
            return self

    def first_loss(self) -> float:
        # A sample that was never trained on is the last to be hidden.
        return float("inf")

    def start(self, facts: Facts) -> None:
        super().start(facts)
        self.sure = np.zeros(facts.num_samples, dtype=bool)

    def plan(self, epoch: int) -> Choice | None:
        if epoch == 0:
            return None
        options, count = self.options, self.facts.num_samples
        warm = epoch < options.warmup
        begun = sum(epoch >= exact(share, self.facts.epochs) for share in options.drop_at)
        fraction = options.fraction * (1.0 if warm else options.factors[begun])
        candidates = lowest(self.loss, hashes(self.salt, 0, count), floor_of(fraction, count))
        hidden = np.zeros(count, dtype=bool)
        hidden[candidates] = self.sure[candidates]
        lr_factor = 1.0 if warm else 1.0 / (1.0 - fraction)
        return Weighted((~hidden).astype(np.float32), hidden, lr_factor=lr_factor, cap=len(candidates))

    def update(
        self, epoch: int, bucket: int, values: Mapping[str, NDArray[np.float32]], step: NDArray[np.int64]
    ) -> None:
        # Hidden samples were refreshed; those left have no value, as their images cannot be decoded.
        rows, seen = self.rows(bucket, step), step >= -1
        check_finite(values["loss"][seen], epoch, self.name)
        self.loss[rows][seen] = values["loss"][seen]
        # Where the prediction is right, the target's probability is the highest of all classes.
        sure = (values["correct"] == 1.0) & (values["target_prob"] >= np.float32(self.options.tau))
        self.sure[rows][seen] = sure[seen]

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "sure": self.sure}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        self.sure = state["sure"].copy()
