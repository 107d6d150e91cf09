"""RS2: a new random subset in every epoch (Okanovic et al., ICLR 2024, arXiv 2305.18424).

k is the number of samples that `ratio` leaves, rounded half up. With replacement, every epoch draws k of all samples
anew. Without, the samples are permuted, and the epochs take consecutive pieces of k; a short last piece is filled from
the head of the same permutation, and then the samples are permuted anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from dualprune.core.hashing import stream_salt
from dualprune.core.registry import Difference
from dualprune.core.section import Section
from dualprune.data.choice import Choice, Weighted
from dualprune.errors import ConfigError
from dualprune.selection.engine.quotas import allot
from dualprune.training.curricula import CURRICULA, Curriculum, Facts
from dualprune.training.curricula._draws import exact, hashes, some_of, subset, weights_of


@CURRICULA.register("rs2")
class RS2(Curriculum):
    """A new random subset in every epoch (arXiv 2305.18424)."""

    source = "RS2, arXiv 2305.18424; PatrikOkanovic/RS2@99edfc8"
    cost = "8 bytes per sample on every worker; it saves `ratio` of the sample visits"
    differences: ClassVar[tuple[Difference, ...]] = (
        Difference("the authors' code balances the classes by default: round(f·n_c) of each", "balance: true"),
        Difference("the authors' balanced number is a sum of rounded numbers", "not reproduced: the number is exact"),
        Difference(
            "the piece that the authors fill from the permutation's head has k - 1 samples",
            "not reproduced: the number is exact",
        ),
    )
    leaves_out_from = 0

    class Options(Section):
        """Options of `rs2` and `dynamic_random`."""

        baseline: ClassVar[Mapping[str, Any]] = {
            "ratio": 0.5,
            "replacement": "with",
            "balance": False,
            "reweight": False,
            "delta": 1.0,
        }
        ratio: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(0.5, description="Share of samples to leave out.")
        replacement: Literal["with", "without"] = Field(
            "with",
            description="with: each epoch draws from all samples; without: from those that came least often so far.",
        )
        balance: bool = Field(False, description="Draw the same share of every class.")
        reweight: bool = Field(False, description="Divide losses by the share trained on.")
        delta: Annotated[float, Field(ge=0.0, le=1.0)] = Field(
            1.0, description="Train on all samples after this share of train.epochs."
        )

    def start(self, facts: Facts) -> None:
        super().start(facts)
        # Both names of the method draw the same samples.
        self.salt = stream_salt(facts.seed, "curriculum/rs2")
        count = some_of(self.options.ratio, facts.num_samples, self.name)
        if self.options.balance and facts.labels is None:
            raise ConfigError(
                "train.curriculum.options.balance: the data set has no classes to balance; set it to false"
            )
        labels = facts.labels if self.options.balance and facts.labels is not None else np.zeros(facts.num_samples, int)
        self._groups = [np.flatnonzero(labels == label) for label in np.unique(labels)]
        sizes = np.array([len(group) for group in self._groups])
        self._counts = allot(sizes.astype(np.float64), count, np.zeros(len(sizes), dtype=np.int64), sizes)

    def plan(self, epoch: int) -> Choice | None:
        options, facts = self.options, self.facts
        if epoch + 1 > exact(options.delta, facts.epochs) or sum(self._counts) == facts.num_samples:
            return None
        noise = lru_cache(1)(lambda number: hashes(self.salt, number, facts.num_samples))
        draws = zip(self._groups, self._counts.tolist(), strict=True)
        chosen = np.concatenate([self._draw(epoch, group, count, noise) for group, count in draws])
        weight = facts.num_samples / len(chosen) if options.reweight else 1.0
        return Weighted(weights_of(chosen, facts.num_samples, weight))

    def _draw(
        self, epoch: int, group: NDArray[np.int64], count: int, noise: Callable[[int], NDArray[np.uint64]]
    ) -> NDArray[np.int64]:
        """Return `count` positions of a group for an epoch."""
        if self.options.replacement == "with" or not count:
            return subset(noise(epoch), count, group)
        permutation, piece = divmod(epoch, -(-len(group) // count))
        order = subset(noise(permutation), len(group), group)
        return order[(piece * count + np.arange(count)) % len(group)]
