"""SeTa: a window that slides from easy to hard groups of samples, of a random part of the set (mrazhou/BLS).

An epoch draws int((1 - ratio)·N) samples and cuts them by their lagging loss into G groups, with k-means in one
dimension. It trains on W = round(G·window) neighbouring groups, those from o = epoch mod (G - W + 1) on. Epoch 0, and
the epochs from the share `delta` of the schedule on, train on all that are drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from dualprune.core.registry import Difference
from dualprune.core.section import Section
from dualprune.data.choice import Choice, Weighted
from dualprune.errors import ConfigError
from dualprune.training.curricula import CURRICULA, Facts
from dualprune.training.curricula._draws import exact, floor_of, hashes, lowest, nearest_of, subset, weights_of
from dualprune.training.curricula._lagging import LaggingLoss

ROUNDS = 100


def groups(values: NDArray[np.float64], number: int) -> NDArray[np.int64]:
    """Cut ascending values [m] into groups of near values: int64 [number + 1], where group g is ends[g] … ends[g + 1].

    K-means in one dimension: it starts with pieces of equal size, and a value half-way belongs to the lower group.
    Where there are too few different values for that, the pieces stay.
    """
    pieces = np.arange(number + 1) * len(values) // number
    ends, sums = pieces, np.concatenate([[0.0], np.cumsum(values)])
    for _ in range(ROUNDS):
        sizes = np.diff(ends)
        if (sizes == 0).any():
            return pieces
        means = np.diff(sums[ends]) / sizes
        middles = (means[:-1] + means[1:]) / 2
        moved = np.concatenate([[0], np.searchsorted(values, middles, side="right"), [len(values)]])
        if (moved == ends).all():
            break
        ends = moved
    return ends


@CURRICULA.register("seta")
class SeTa(LaggingLoss):
    """A window that slides from the groups of low loss to those of high loss, of a random part of the set."""

    source = "SeTa, arXiv 2503.13385; mrazhou/BLS@726279b"
    cost = "8 bytes per sample on every worker; what it saves beside `ratio` depends on the sizes of the groups"
    differences = (
        Difference(
            "where the authors' k-means starts is not known to us",
            "not reproduced: ours starts with pieces of equal size, so that all workers find the same groups",
        ),
        Difference("the authors' loss of samples not trained on yet is not known to us", "not reproduced: log K"),
    )
    leaves_out_from = 0

    class Options(Section):
        """Options of `seta`."""

        baseline: ClassVar[Mapping[str, Any]] = {"ratio": 0.1, "groups": 5, "window": 0.9, "delta": 0.875}
        ratio: Annotated[float, Field(ge=0.0, lt=1.0)] = Field(
            0.1, description="Share of samples to leave out at random."
        )
        groups: PositiveInt = Field(5, le=10_000, description="Number of groups, G.")
        window: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
            0.9, description="Share of the groups that an epoch trains on."
        )
        delta: Annotated[float, Field(ge=0.0, le=1.0)] = Field(
            0.875, description="Train on all groups from this share of train.epochs on."
        )

    def start(self, facts: Facts) -> None:
        super().start(facts)
        self._drawn = floor_of(1 - self.options.ratio, facts.num_samples)
        if self._drawn < self.options.groups:
            raise ConfigError(
                f"train.curriculum.options.groups: {self.options.groups} groups of {self._drawn} drawn samples; use "
                "fewer groups, or a smaller ratio"
            )

    def plan(self, epoch: int) -> Choice | None:
        options, count = self.options, self.facts.num_samples
        drawn = subset(hashes(self.salt, epoch + 1, count), self._drawn)
        if 0 < epoch < exact(options.delta, self.facts.epochs):
            drawn = lowest(self.loss, hashes(self.salt, 0, count), len(drawn), np.sort(drawn))
            ends = groups(self.loss[drawn].astype(np.float64), options.groups)
            window = max(1, nearest_of(options.window, options.groups))
            first = epoch % (options.groups - window + 1)
            drawn = drawn[ends[first] : ends[first + window]]
        return None if len(drawn) == count else Weighted(weights_of(drawn, count))
