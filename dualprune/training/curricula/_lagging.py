"""The lagging loss: each sample's loss when it was last trained on. Most curricula decide by it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dualprune.errors import RunError
from dualprune.training.curricula import Curriculum, Facts


class LaggingLoss(Curriculum):
    """Holds the loss of each sample's last training step, float32 [N]; `first_loss` before there is one."""

    reads: ClassVar[tuple[str, ...]] = ("loss",)
    leaves_out_from: ClassVar[int | None] = 1

    def first_loss(self) -> float:
        """Return the loss that a sample has before it is trained on: that of a guess, log K."""
        return math.log(self.facts.num_classes)

    def start(self, facts: Facts) -> None:
        super().start(facts)
        self.loss: NDArray[Any] = np.full(facts.num_samples, self.first_loss(), dtype=np.float32)

    def update(
        self, epoch: int, bucket: int, values: Mapping[str, NDArray[np.float32]], step: NDArray[np.int64]
    ) -> None:
        rows, trained = self.rows(bucket, step), step >= 0
        check_finite(values["loss"][trained], epoch, self.name)
        self.loss[rows][trained] = values["loss"][trained]

    def rows(self, bucket: int, step: NDArray[np.int64]) -> slice:
        """Return the rows of a bucket among all samples."""
        start = bucket * self.facts.bucket_rows
        return slice(start, start + len(step))

    def state_dict(self) -> dict[str, Any]:
        return {"loss": self.loss}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.loss = state["loss"].copy()


def check_finite(loss: NDArray[np.float32], epoch: int, name: str) -> None:
    """Raise a RunError where a loss is not a number: no choice follows from it."""
    wrong = int(np.count_nonzero(~np.isfinite(loss)))
    if wrong:
        raise RunError(
            f"epoch {epoch}: the losses of {wrong:,} samples are not finite, so {name!r} cannot choose by them; the "
            "training has diverged: lower train.lr, or use train.warmup_epochs"
        )
