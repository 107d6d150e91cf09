"""k-center greedy: picks the sample that is farthest from those picked so far (arXiv 1708.00489).

The first is the sample nearest to the mean. Sample r in this order scores 1 - (r + 1/2) / n.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from dualprune.core.compiled import compiled
from dualprune.core.registry import Difference
from dualprune.scores.distances import WIDTH, squared_distances, tiled
from dualprune.scores.features import FeatureScore, Floats, Ints, SeededOptions, by_hash, from_features, picked
from dualprune.scores.score import SCORES, Scope, Values

Start = Literal["mean", "random"]


def k_center(
    features: Any,
    labels: Any = None,
    *,
    start: Start = "mean",
    picks: float = 1.0,
    per_class: bool = False,
    seed: int = 0,
    sample_ids: Any = None,
) -> Floats:
    """Score samples by the order in which k-center greedy picks them: float64 [n] for features [n, d].

    `start`, `picks`, `per_class` and `seed` are the method's options; further arguments and errors as for
    `dualprune.scores.from_features`.
    """
    options = {"start": start, "picks": picks, "per_class": per_class, "seed": seed}
    return from_features("k_center", features, labels, sample_ids=sample_ids, **options)


@SCORES.register("k_center")
class KCenter(FeatureScore):
    """Samples that cover the features first: each is the farthest from those before it (arXiv 1708.00489)."""

    needs_ids = True
    source = "k-center greedy, arXiv 1708.00489; PatrickZH/DeepCore"
    cost = "picks · n² · d operations, in one process"
    differences = (
        Difference("DeepCore begins with a random sample", "start: random"),
        Difference("DeepCore measures in float32", "not reproduced: equal samples then lie apart by rounding"),
    )

    class Options(SeededOptions):
        """Options of `k_center`."""

        baseline: ClassVar[Mapping[str, Any]] = {
            **SeededOptions.baseline,
            "start": "mean",
            "picks": 1.0,
            "per_class": False,
        }
        start: Start = Field("mean", description="Begin with the sample nearest to the mean, or with a random one.")
        picks: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
            1.0,
            description="Share of the samples to pick one by one; the others follow by their distance from those. "
            "Enough where no larger share is kept.",
        )
        per_class: bool = Field(False, description="Pick within each class; false: among all samples.")

    @property
    def scope(self) -> Scope:
        """All samples, or a class."""
        return "class" if self.options.per_class else "all"

    def score(self, columns: Values, labels: NDArray[np.int64] | None, summary: Any = None) -> Floats:
        order = by_hash(self.hashes(columns))
        features = self.features(columns)[order]
        first = 0 if self.options.start == "random" else _nearest_to_mean(features)
        return picked(order[farthest_first(features, first, int(np.ceil(self.options.picks * len(features))))])


def farthest_first(features: NDArray[Any], first: int, count: int) -> Ints:
    """Return the samples as k-center greedy picks them from `first` on, int64 [n]; of equal ones, the first.

    Those after the first `count` are ordered by their distance from these.
    """
    # All are infinitely far from no pick at all, and of equal ones the first in this order is picked.
    left = np.concatenate([[first], np.delete(np.arange(len(features)), first)])
    nearest = np.full(len(features), np.inf)
    picks: list[Ints] = []
    while count:
        steps = min(count, -(-len(left) // 2))
        found = np.zeros(steps, dtype=np.int64)
        _pick(tiled(features[left]), nearest, found)
        picks.append(left[found])
        rest = np.setdiff1d(np.arange(len(left)), found)
        left, nearest, count = left[rest], nearest[rest], count - steps
    return np.concatenate([*picks, left[np.argsort(-nearest, kind="stable")]])


def _nearest_to_mean(features: NDArray[Any]) -> int:
    distance = np.empty(-(-len(features) // WIDTH) * WIDTH)
    squared_distances(tiled(features), features.mean(axis=0, dtype=np.float64), distance)
    return int(distance[: len(features)].argmin())


@compiled
def _pick(tiles: NDArray[Any], nearest: Floats, found: Ints) -> None:
    """Pick as many samples as `found` has places; `nearest` is the squared distance of each from those picked."""
    distance = np.empty(tiles.shape[0] * tiles.shape[2])
    point = np.empty(tiles.shape[1])
    for step in range(len(found)):
        best, most = -1, -1.0
        for i in range(len(nearest)):
            if nearest[i] > most:
                best, most = i, nearest[i]
        found[step] = best
        for j in range(len(point)):
            point[j] = tiles[best // tiles.shape[2], j, best % tiles.shape[2]]
        squared_distances(tiles, point, distance)
        for i in range(len(nearest)):
            nearest[i] = min(nearest[i], distance[i])
        # Below every distance, so that it is never picked again.
        nearest[best] = -1.0
