"""Curricula, one file each, and their contract: a curriculum chooses what each epoch trains on, from earlier epochs."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from dualprune.core.hashing import stream_salt
from dualprune.core.registry import Plugin, Registry
from dualprune.data.choice import Choice


@dataclass(frozen=True)
class Facts:
    """The facts about a training that a curriculum gets before it begins.

    Attributes:
        num_samples: samples of the training set, N; positions are 0 … N-1.
        labels: int64 [N], or None where there are no classes.
        num_classes: the number of classes.
        epochs: epochs of the full schedule.
        batch_size: samples per step, over all workers.
        bucket_rows: positions per bucket; bucket b begins at b · bucket_rows.
        seed: of the training.
    """

    num_samples: int
    labels: NDArray[np.int64] | None
    num_classes: int
    epochs: int
    batch_size: int
    bucket_rows: int
    seed: int


class Curriculum(Plugin, ABC):
    """Chooses the samples of each epoch, their weights and a factor for the learning rate.

    Every rank holds all of it, passes it the same values, and must get the same decisions. It chooses samples; it never
    makes batches. In a training on a subset, its N samples are those of the subset, by rising position.
    """

    # Names of the statistics that are passed to `update`: of width 1, without `combine`.
    reads: ClassVar[tuple[str, ...]] = ()
    # The first epoch that may leave samples out, whose values are then missing in the store; None: no epoch does.
    leaves_out_from: ClassVar[int | None] = None

    def start(self, facts: Facts) -> None:
        """Prepare for a training; called once, before anything else.

        Afterwards `self.facts` are the facts, and `self.salt` is the salt of the curriculum's own stream of noise, for
        `dualprune.core.hashing.salted`.
        """
        self.facts = facts
        self.salt = stream_salt(facts.seed, f"curriculum/{self.name}")

    @abstractmethod
    def plan(self, epoch: int) -> Choice | None:
        """Return the choice for an epoch, a function of the state and the epoch alone; None: the whole set."""

    def update(
        self, epoch: int, bucket: int, values: Mapping[str, NDArray[np.float32]], step: NDArray[np.int64]
    ) -> None:
        """Take an epoch's values of a bucket's n samples; called for every bucket, in order, after the epoch.

        `values` holds float32 [n] for each name in `reads`. `step` int64 [n] is the step that trained the sample: -1
        where it was forwarded by `Choice.refresh` after the last step, -2 where it was not forwarded at all (its value
        is NaN).
        """

    def state_dict(self) -> dict[str, Any]:
        """Return all that `load_state_dict` needs to continue: arrays, numbers and strings by name."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned after the last epoch; `start` was called before."""


CURRICULA: Registry[type[Curriculum]] = Registry("curriculum", "dualprune.training.curricula", "dualprune.curricula")
