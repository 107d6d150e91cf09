"""Statistics: what is computed for every sample in the training pass; a file per statistic.

A statistic is computed on the device from a step's outputs (`Forward`). If it is `stored`, the run keeps one number (or
one per class) per sample and epoch; if not, only the accumulators of scores see it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from dualprune.core.registry import Plugin, Registry
from dualprune.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor


class Forward:
    """A step's outputs for b samples, on the device and without gradient. Each may be missing; see `names`.

    Where they are not passed, `log_prob` follows from `logits`, `target_prob` from `log_prob` and `targets`, and
    `loss`, the cross-entropy in nats, from those. A loop over tokens or pairs may pass only a target probability, and a
    regression only a loss.
    """

    NAMES = ("logits", "log_prob", "targets", "target_prob", "loss", "features")

    def __init__(
        self,
        *,
        logits: Tensor | None = None,
        targets: Tensor | None = None,
        target_prob: Tensor | None = None,
        loss: Tensor | None = None,
        features: Tensor | None = None,
    ) -> None:
        given = {"logits": logits, "targets": targets, "target_prob": target_prob, "loss": loss, "features": features}
        self._given = {name: value.detach() for name, value in given.items() if value is not None}

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Names of the outputs that were passed, or follow from those."""
        there = set(self._given)
        there |= {"log_prob"} if "logits" in there else set()
        there |= {"target_prob"} if {"log_prob", "targets"} <= there else set()
        there |= {"loss"} if {"log_prob", "targets"} <= there or "target_prob" in there else set()
        return tuple(name for name in self.NAMES if name in there)

    @property
    def logits(self) -> Tensor:
        """Logits [b, K], in the precision of the training."""
        return self._given["logits"]

    @property
    def targets(self) -> Tensor:
        """Targets, int64 [b] of a classification."""
        return self._given["targets"]

    @property
    def features(self) -> Tensor:
        """Features [b, d]."""
        return self._given["features"]

    @cached_property
    def log_prob(self) -> Tensor:
        """Log-probabilities, float32 [b, K]."""
        return self.logits.float().log_softmax(dim=1)

    @cached_property
    def target_prob(self) -> Tensor:
        """Probability of the target, float32 [b]."""
        return self._given["target_prob"].float() if "target_prob" in self._given else self._target_log_prob.exp()

    @cached_property
    def loss(self) -> Tensor:
        """Loss, float32 [b]."""
        return self._given["loss"].float() if "loss" in self._given else -self._target_log_prob

    @cached_property
    def _target_log_prob(self) -> Tensor:
        if "target_prob" in self._given:
            return self.target_prob.log()
        return self.log_prob.gather(1, self.targets[:, None])[:, 0]


class Statistic(Plugin, ABC):
    """A value, or one per class, that is computed per sample and epoch.

    Define `compute`, and import torch inside it. `low` and `high` bound the values: a value outside was recorded or
    copied wrongly. A width of "classes" means one value per class. If the last epoch matters, also define `combine`:
    then its result, one number, is stored, and `first_epoch` is 1.
    """

    low: ClassVar[float] = -math.inf
    high: ClassVar[float] = math.inf
    width: ClassVar[Literal[1, "classes"]] = 1
    # The first epoch in which there is a value.
    first_epoch: ClassVar[int] = 0
    # The outputs of `Forward` that it reads.
    needs: ClassVar[tuple[str, ...]] = ("log_prob", "targets")
    stored: ClassVar[bool] = True

    @abstractmethod
    def compute(self, forward: Forward) -> Tensor:
        """Return the values of a step's samples, [b], or [b, K] where the width is "classes"."""

    def combine(self, now: NDArray[np.float32], before: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return one number per sample, float32 [n], from this epoch's values and the previous one's, [n, width] each.

        It runs with numpy where a bucket is written, for the samples that were seen in both epochs.
        """
        raise NotImplementedError

    @classmethod
    def combines(cls) -> bool:
        """Whether it has `combine`."""
        return cls.combine is not Statistic.combine

    @classmethod
    def num_values(cls, num_classes: int) -> int:
        """Return how many values `compute` returns per sample."""
        return num_classes if cls.width == "classes" else 1


def make_statistics(names: Iterable[str]) -> list[Statistic]:
    """Return the statistics of these names; a ConfigError names one that is not registered."""
    return [STATISTICS[name]() for name in names]


def check_needs(statistics: Sequence[Statistic], forward: Forward) -> None:
    """Raise a ConfigError where a statistic needs what the training step does not have."""
    for statistic in statistics:
        missing = [name for name in statistic.needs if name not in forward.names]
        if missing:
            raise ConfigError(
                f"record.statistics: {statistic.name} needs {missing[0]}, and a step of this training has only: "
                f"{', '.join(forward.names) or 'nothing'}; remove {statistic.name}, and the score methods that read it"
            )


STATISTICS: Registry[type[Statistic]] = Registry("statistic", "dualprune.dynamics.statistics", "dualprune.statistics")
