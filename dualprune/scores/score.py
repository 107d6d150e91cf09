"""The contract of score methods, and their registry: a method is one class in one file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from dualprune.core.registry import Plugin, Registry
from dualprune.errors import ConfigError

# Statistics or columns by name; numbers of samples, or vectors of them: [n, …].
Values: TypeAlias = Mapping[str, NDArray[Any]]
# Scores float64 [n], with or without further columns of the score file, by name.
Result: TypeAlias = NDArray[np.float64] | tuple[NDArray[np.float64], Values]
State: TypeAlias = Mapping[str, Any]
Scope: TypeAlias = Literal["sample", "class", "all"]
# The name by which a ColumnScore reads the ids of samples.
SAMPLE_ID = "sample_id"


class Accumulator(ABC):
    """Scores n samples from one epoch at a time, in order; memory does not grow with the epochs."""

    @abstractmethod
    def update(self, epoch: int, values: Values, seen: NDArray[np.bool_]) -> None:
        """Take one epoch.

        Args:
            epoch: its number among the epochs that this accumulator is fed, from 0.
            values: float32 [n], or [n, width], per statistic; NaN where a sample has no value.
            seen: bool [n], which samples have all values.
        """

    @abstractmethod
    def result(self) -> NDArray[np.float64]:
        """Return the scores float64 [n] over the epochs so far, more of which may follow; a ConfigError for too few.

        The value of a sample that missed an epoch does not matter: such a sample gets no score.
        """

    def extras(self) -> dict[str, NDArray[Any]]:
        """Return further columns [n] that are written beside the score, by name."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """Return all that `load_state_dict` needs to continue; by default, each array or number it has."""
        return {name: value for name, value in vars(self).items() if isinstance(value, np.ndarray | int | float)}

    def load_state_dict(self, state: State) -> None:
        """Continue from a state that an accumulator of the same samples returned."""
        for name, value in state.items():
            array = np.asarray(value)
            setattr(self, name, array.item() if array.ndim == 0 else array)


class ScoreMethod(Plugin):
    """The common base of the two kinds of score methods; derive from `EpochScore` or `ColumnScore`.

    A high score means: keep first. -inf means: never keep. `reads` and `min_epochs` are class attributes, or properties
    where they depend on the options.
    """

    # Whether a score can be negative: then samplers cannot use it as a weight.
    signed: ClassVar[bool] = False
    # Names of the lists of sample ids that it makes beside the scores, see `lists`.
    list_names: ClassVar[tuple[str, ...]] = ()

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of what it reads."""
        return ()

    def lists(
        self, score: NDArray[np.float64], labels: NDArray[np.int64], extras: Values, num_classes: int
    ) -> dict[str, NDArray[np.bool_]]:
        """Return for each of `list_names` which of n scored samples are on that list, bool [n]."""
        return {}


class EpochScore(ScoreMethod, ABC):
    """A score from the statistics of each epoch, such as `target_prob`: `reads` names them.

    Define `accumulator`. A sample's score depends on that sample's values alone: scoring runs on any part of the
    samples. The first line of the class's docstring is what `dualprune methods` prints.
    """

    @property
    def min_epochs(self) -> int:
        """The smallest number of epochs from which a score follows."""
        return 1

    def check_epochs(self, num_epochs: int) -> None:
        """Raise a ConfigError where this many epochs, in which all that it reads has values, are too few."""
        if num_epochs < self.min_epochs:
            raise ConfigError(
                f"{self.name}: {num_epochs} recorded epochs are fewer than the {self.min_epochs} that it needs; record "
                f"more epochs (record.epochs), or set options by which fewer are enough (score.options.{self.name})"
            )

    @abstractmethod
    def accumulator(self, num_samples: int) -> Accumulator:
        """Return the accumulator that scores n samples from one epoch at a time."""

    def score(self, dynamics: Values) -> Result:
        """Return the scores of n samples from all epochs at once: [n, T], or [n, T, width], per statistic.

        Arrays may have any strides. Where a method overrides this, for speed, the scores must have the same bits as the
        accumulator's, and NaN for a sample that lacks a value.
        """
        first = next(iter(dynamics.values()))
        accumulator = self.accumulator(len(first))
        incomplete = np.zeros(len(first), dtype=bool)
        for epoch in range(first.shape[1]):
            values = {name: array[:, epoch] for name, array in dynamics.items()}
            seen = complete(values)
            incomplete |= ~seen
            accumulator.update(epoch, values, seen)
        return without_incomplete(accumulator.result(), incomplete), accumulator.extras()


class ColumnScore(ScoreMethod, ABC):
    """A score from columns: what was measured once per sample, and other scores.

    `reads` names them: columns as in the run's `columns` folder, `score:NAME` for the scores of another method, and
    `sample_id` for the ids, brought to 64 bits (uint64 [n]), from which randomness and the order of ties follow.
    `scope` says which samples a call must see together: "sample" any rows, "class" all of a class, "all" every
    sample of the set. With "class" and "all", more bytes than `score.max_bytes` are refused, unless the method has
    `summarise` and `merge`: then `score` sees any rows, beside the summary of all (of their class). `reads` and
    `scope` are class attributes, or properties where they depend on the options.
    """

    @property
    def scope(self) -> Scope:
        """Which samples a call must see together."""
        return "sample"

    @abstractmethod
    def score(self, columns: Values, labels: NDArray[np.int64] | None, summary: Any = None) -> Result:
        """Return the scores of n samples from columns [n] or [n, d] by name; `labels` int64 [n] where there are any."""

    def summarise(self, columns: Values, labels: NDArray[np.int64] | None) -> Any:
        """Return what `score` needs to know of these samples, small and picklable."""
        raise NotImplementedError

    def merge(self, first: Any, second: Any) -> Any:
        """Return the summary of the samples of both."""
        raise NotImplementedError

    @property
    def summarises(self) -> bool:
        """Whether the method has `summarise` and `merge`."""
        return type(self).summarise is not ColumnScore.summarise and type(self).merge is not ColumnScore.merge


def split(result: Result) -> tuple[NDArray[np.float64], Values]:
    """Return what a method returned as its scores and its further columns."""
    score, extras = result if isinstance(result, tuple) else (result, {})
    return np.asarray(score, dtype=np.float64), extras


def complete(values: Values) -> NDArray[np.bool_]:
    """Return which of n samples have every statistic, without a NaN, bool [n]."""
    seen = np.ones(len(next(iter(values.values()))), dtype=bool)
    for array in values.values():
        there = ~np.isnan(array)
        seen &= there if there.ndim == 1 else there.all(axis=tuple(range(1, there.ndim)))
    return seen


def without_incomplete(score: NDArray[np.float64], incomplete: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return the scores with NaN for incomplete samples."""
    return np.where(incomplete, np.nan, score) if incomplete.any() else score


SCORES: Registry[type[ScoreMethod]] = Registry("score method", "dualprune.scores", "dualprune.scores")
