"""What a score method is, and the registry of them: adding a method is adding one file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from dualprune.core.config import ScoreConfig
from dualprune.core.registry import Registry


class Scored(NamedTuple):
    """Scores of n samples.

    `score` is float64 [n]; high means: keep first. NaN where a statistic that the method reads was NaN.
    `mean_prob` is float64 [n], the mean target probability over the epochs, where the method has it at no cost.
    """

    score: NDArray[np.float64]
    mean_prob: NDArray[np.float64] | None = None


class Accumulator(ABC):
    """A score method that is fed one epoch at a time, in order; its memory does not grow with the epochs."""

    @abstractmethod
    def update(self, statistics: Mapping[str, NDArray[np.floating]]) -> None:
        """Take one epoch's values, an array [n] a statistic."""

    @abstractmethod
    def result(self) -> Scored:
        """Return the scores over the epochs so far; a ConfigError where they are too few. More may follow."""


class ScoreMethod(ABC):
    """One way to score samples by their training dynamics.

    Define `name` (the one in the configuration), `requires` (the recorded statistics that it reads, such as
    `target_prob`), and the methods below, and register the class in `SCORES`. The same statistics must give the same
    scores by `score` and by `accumulator`, to 1e-6. A sample's score depends on that sample's values alone: scoring
    runs on any part of the samples at a time.
    """

    name: ClassVar[str]
    requires: ClassVar[tuple[str, ...]]
    # Whether `mean_prob` comes with the scores; otherwise who needs it adds it up.
    has_mean_prob: ClassVar[bool] = False

    @classmethod
    @abstractmethod
    def from_config(cls, config: ScoreConfig) -> Self:
        """Return the method with the parameters that the configuration gives it."""

    @property
    @abstractmethod
    def parameters(self) -> dict[str, Any]:
        """The parameters on which scores depend, as JSON values."""

    @property
    def min_epochs(self) -> int:
        """The fewest epochs that give a score."""
        return 1

    @abstractmethod
    def score(self, statistics: Mapping[str, NDArray[np.floating]]) -> Scored:
        """Return the scores of n samples from an array [n, T] a statistic; any strides, not copied as a whole."""

    @abstractmethod
    def accumulator(self, num_samples: int) -> Accumulator:
        """Return the form that takes one epoch at a time."""


SCORES: Registry[type[ScoreMethod]] = Registry("score method", "dualprune.scores", "dualprune.scores")
