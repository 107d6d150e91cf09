"""Curricula that decide from the losses and the batches of a whole epoch."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from dualprune.training.curricula import Curriculum, Facts
from dualprune.training.curricula._lagging import check_finite


class EpochOfLosses(Curriculum):
    """Collects an epoch's buckets, and passes all of it to `end_epoch`."""

    reads: ClassVar[tuple[str, ...]] = ("loss",)
    leaves_out_from: ClassVar[int | None] = 1

    def start(self, facts: Facts) -> None:
        super().start(facts)
        self._loss = np.zeros(facts.num_samples, dtype=np.float32)
        self._step = np.zeros(facts.num_samples, dtype=np.int64)

    def update(
        self, epoch: int, bucket: int, values: Mapping[str, NDArray[np.float32]], step: NDArray[np.int64]
    ) -> None:
        check_finite(values["loss"][step >= 0], epoch, self.name)
        start = bucket * self.facts.bucket_rows
        stop = start + len(step)
        self._loss[start:stop], self._step[start:stop] = values["loss"], step
        if stop == self.facts.num_samples:
            self.end_epoch(epoch, self._loss, self._step)

    @abstractmethod
    def end_epoch(self, epoch: int, loss: NDArray[np.float32], step: NDArray[np.int64]) -> None:
        """Take the losses [N] of an epoch and the steps [N] that trained the samples; -2 where none did."""
