"""Scores of one statistic over a range of epochs, such as its mean: the base of `el2n`, `loss`, `aum` and others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from dualprune.core.section import Section
from dualprune.scores.score import Accumulator, EpochScore, Values

Epoch = Annotated[int, Field(ge=0)]


class EpochRange(Section):
    """Options: the epochs that count."""

    first_epoch: Epoch = Field(0, description="First epoch that counts, from 0.")
    last_epoch: Epoch | None = Field(None, description="Last epoch that counts; null: the last one recorded.")

    @model_validator(mode="after")
    def _in_order(self) -> Any:
        if self.last_epoch is not None and self.last_epoch < self.first_epoch:
            raise ValueError(f"last_epoch: {self.last_epoch} is before first_epoch = {self.first_epoch}")
        return self

    @property
    def least(self) -> int:
        """The fewest epochs of which all that count are there."""
        return 1 + (self.first_epoch if self.last_epoch is None else self.last_epoch)

    def holds(self, epoch: int) -> bool:
        """Return whether an epoch counts."""
        return self.first_epoch <= epoch and (self.last_epoch is None or epoch <= self.last_epoch)


class RangeAccumulator(Accumulator):
    """Passes the epochs of a range to `add`, and refuses to return a score before all of them were there.

    `check` is the method's `check_epochs`.
    """

    def __init__(self, statistic: str, epochs: EpochRange, check: Callable[[int], None]) -> None:
        self._statistic, self._epochs, self._check = statistic, epochs, check
        self.num_epochs = 0
        self.num_added = 0

    def update(self, epoch: int, values: Values, seen: NDArray[np.bool_]) -> None:
        """Take one epoch."""
        self.num_epochs += 1
        if self._epochs.holds(epoch):
            self.num_added += 1
            self.add(values[self._statistic])

    def result(self) -> NDArray[np.float64]:
        """Return the scores; a ConfigError where epochs of the range are still to come."""
        self._check(self.num_epochs)
        return self.scores()

    def add(self, values: NDArray[Any]) -> None:
        """Take the values [n], or [n, K], of an epoch that counts."""
        raise NotImplementedError

    def scores(self) -> NDArray[np.float64]:
        """Return the scores over the epochs so far."""
        raise NotImplementedError


class MeanAccumulator(RangeAccumulator):
    """`offset + factor · mean` of a statistic over a range of epochs: 8 bytes per sample."""

    def __init__(self, num_samples: int, method: EpochScore, offset: float = 0.0, factor: float = 1.0) -> None:
        [statistic] = method.reads
        super().__init__(statistic, method.options, method.check_epochs)
        self.offset, self.factor = offset, factor
        self.total = np.zeros(num_samples)

    def add(self, values: NDArray[Any]) -> None:
        """Add an epoch, in double precision and in the order of the epochs."""
        self.total += values

    def scores(self) -> NDArray[np.float64]:
        """Return the scores."""
        return self.offset + self.factor * (self.total / self.num_added)


class RangeScore(EpochScore):
    """A score of one statistic over a range of epochs; its options derive from `EpochRange`."""

    class Options(EpochRange):
        """The epochs that count."""

        baseline: ClassVar[Mapping[str, Any]] = {"first_epoch": 0, "last_epoch": None}

    @property
    def min_epochs(self) -> int:
        """All epochs of the range, or one where it is open."""
        return int(self.options.least)
