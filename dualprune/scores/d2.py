"""D2: a score spreads over the graph of neighbours, and each pick lowers its neighbours (arXiv 2310.07931).

Forward, with the k nearest neighbours j of i by Euclidean distance, i not among them:

    S_i = s_i + Σ_j exp(-d_ij) · s_j

Reverse: the sample i with the highest S is picked, and S_j -= exp(-γ · d_ij) · S_i for its neighbours j; repeatedly.
Sample r in this order scores 1 - (r + 1/2) / n.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from dualprune.core.registry import Difference
from dualprune.errors import DataError
from dualprune.scores.features import FeatureScore, Floats, Ints, SeededOptions, by_hash, from_features, picked
from dualprune.scores.neighbours import Neighbours, neighbours
from dualprune.scores.score import SCORES, Scope, Values


def d2(
    features: Any,
    score: Any,
    labels: Any = None,
    *,
    k: int = 5,
    gamma: float = 0.1,
    per_class: bool = False,
    seed: int = 0,
    sample_ids: Any = None,
) -> Floats:
    """Score samples by the order in which D2 picks them: float64 [n] for features [n, d] and a score [n] of hardness.

    `k`, `gamma`, `per_class` and `seed` are the method's options; further arguments and errors as for
    `dualprune.scores.from_features`.
    """
    options = {"k": k, "gamma": gamma, "per_class": per_class, "seed": seed}
    return from_features("d2", features, labels, score=score, sample_ids=sample_ids, **options)


@SCORES.register("d2")
class D2(FeatureScore):
    """Hard samples that are unlike each other first: a score passed over the graph of neighbours (arXiv 2310.07931)."""

    needs_ids = True
    source = "D2 pruning, arXiv 2310.07931; adymaharana/d2pruning@bf1ea46"
    cost = "n² · d operations for the graph, 16 · k · n bytes, in one process"
    differences = (
        Difference(
            "the authors' dense code makes the graph symmetric and adds max(s, 1e-7), the precomputed one does neither",
            "not reproduced: ours is the directed graph",
        ),
        Difference("γ is 0.1 and k 5 for CIFAR and ImageNet, 1.0 and 1 for DataComp", "gamma: 1.0, k: 1"),
        Difference("the authors draw class by class", "per_class: true"),
        Difference("the scores of the example are forgetting, or AUM with either sign", "of: forgetting; high is hard"),
    )

    class Options(SeededOptions):
        """Options of `d2`."""

        baseline: ClassVar[Mapping[str, Any]] = {
            **SeededOptions.baseline,
            "of": "forgetting",
            "k": 5,
            "gamma": 0.1,
            "per_class": False,
        }
        of: str = Field("forgetting", description="The score that is passed on; none of its values is negative.")
        k: PositiveInt = Field(5, description="Neighbours of each sample.")
        gamma: Annotated[float, Field(ge=0.0)] = Field(0.1, description="How fast the effect of a pick falls off.")
        per_class: bool = Field(False, description="Pick within each class; false: among all samples.")

    @property
    def scope(self) -> Scope:
        """All samples, or a class."""
        return "class" if self.options.per_class else "all"

    @property
    def score_name(self) -> str:
        """The score that is passed on."""
        return str(self.options.of)

    def score(self, columns: Values, labels: NDArray[np.int64] | None, summary: Any = None) -> Floats:
        order = by_hash(self.hashes(columns))
        given = columns[f"score:{self.options.of}"][order]
        never = np.isneginf(given)
        if (given[~never] < 0.0).any():
            raise DataError(
                f"score method {self.name}: {int((given[~never] < 0.0).sum()):,} scores of {self.options.of} are "
                f"negative, the lowest {given[~never].min():g}; expected positive ones, high for hard samples. Read "
                f"the score combine in its place, with of: [{self.options.of}] and how: rank_mean"
            )
        features = self.features(columns)[order]
        result = np.full(len(order), -np.inf)
        rows = np.flatnonzero(~never)
        if len(rows):
            features = features[rows] if never.any() else features
            graph = neighbours(features, features, min(self.options.k, len(rows) - 1), itself=False)
            result[order[rows[passed(graph, given[rows], self.options.gamma)]]] = picked(np.arange(len(rows)))
        return result


def passed(graph: Neighbours, score: Floats, gamma: float) -> Ints:
    """Return n samples in the order in which they are picked, int64 [n]; of equal ones, the first."""
    value = score + (np.exp(-graph.distances) * score[graph.points]).sum(axis=1)
    lowered = np.exp(-gamma * graph.distances).tolist()
    near, values = graph.points.tolist(), value.tolist()
    # A sample has an entry for each value that it had; only that of its present value counts.
    heap = [(-one, place) for place, one in enumerate(values)]
    heapq.heapify(heap)
    picks: list[int] = []
    taken = [False] * len(values)
    while heap:
        negative, place = heapq.heappop(heap)
        if taken[place] or -negative != values[place]:
            continue
        taken[place] = True
        picks.append(place)
        for other, share in zip(near[place], lowered[place], strict=True):
            if not taken[other]:
                values[other] -= share * values[place]
                heapq.heappush(heap, (-values[other], other))
    return np.array(picks, dtype=np.int64)
