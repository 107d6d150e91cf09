"""Herding: picks samples so that the mean of those picked stays near the mean of the class (arXiv 1203.3472).

    pick j + 1, j = 0, 1, …:  the sample i not yet picked with the least ‖(j + 1) · μ - s - x_i‖,

s the sum of the features picked so far and μ the mean of the class (or of all samples). Sample r in this order scores
1 - (r + 1/2) / n.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from dualprune.core.compiled import compiled
from dualprune.core.registry import Difference
from dualprune.scores.distances import squared_distances, tiled
from dualprune.scores.features import FeatureScore, Floats, Ints, SeededOptions, by_hash, from_features, picked
from dualprune.scores.score import SCORES, Scope, Values


def herding(
    features: Any, labels: Any = None, *, per_class: bool = True, seed: int = 0, sample_ids: Any = None
) -> Floats:
    """Score samples by the order in which herding picks them: float64 [n] for features [n, d] and labels int [n].

    `per_class` and `seed` are the method's options; further arguments and errors as for
    `dualprune.scores.from_features`.
    """
    return from_features("herding", features, labels, sample_ids=sample_ids, per_class=per_class, seed=seed)


@SCORES.register("herding")
class Herding(FeatureScore):
    """Samples whose mean stays near that of their class first, in the order of herding (arXiv 1203.3472)."""

    needs_ids = True
    source = "herding, arXiv 1203.3472; PatrickZH/DeepCore"
    cost = "n² · d operations for each class of n samples, which is held in one process"
    differences = (
        Difference(
            "DeepCore takes the largest distance where herding takes the least",
            "not reproduced: the mean of its picks runs away from the mean of the class",
        ),
    )

    class Options(SeededOptions):
        """Options of `herding`."""

        baseline: ClassVar[Mapping[str, Any]] = {**SeededOptions.baseline, "per_class": True}
        per_class: bool = Field(True, description="Pick in each class by its own mean; false: among all samples.")

    @property
    def scope(self) -> Scope:
        """A class, or all samples."""
        return "class" if self.options.per_class else "all"

    def score(self, columns: Values, labels: NDArray[np.int64] | None, summary: Any = None) -> Floats:
        order = by_hash(self.hashes(columns))
        return picked(order[herded(self.features(columns)[order])])


def herded(features: NDArray[Any]) -> Ints:
    """Return the samples in the order in which herding picks them, int64 [n]; of equal ones, the first."""
    mean = features.mean(axis=0, dtype=np.float64)
    total = np.zeros_like(mean)
    picks = np.zeros(len(features), dtype=np.int64)
    left = np.arange(len(features))
    done = 0
    while len(left):
        # Without the samples picked so far, further picks cost half as much.
        steps = -(-len(left) // 2)
        taken = np.zeros(len(left), dtype=np.bool_)
        found = np.zeros(steps, dtype=np.int64)
        _herd(tiled(features[left]), mean, total, done, taken, found)
        picks[done : done + steps] = left[found]
        left, done = left[~taken], done + steps
    return picks


@compiled
def _herd(tiles: NDArray[Any], mean: Floats, total: Floats, done: int, taken: NDArray[np.bool_], found: Ints) -> None:
    """Pick as many samples as `found` has places, and add them to the total of those `done` before."""
    distance = np.empty(tiles.shape[0] * tiles.shape[2])
    for step in range(len(found)):
        squared_distances(tiles, (done + step + 1.0) * mean - total, distance)
        best, least = -1, np.inf
        for i in range(len(taken)):
            if distance[i] < least and not taken[i]:
                best, least = i, distance[i]
        taken[best] = True
        found[step] = best
        for j in range(len(total)):
            total[j] += tiles[best // tiles.shape[2], j, best % tiles.shape[2]]
