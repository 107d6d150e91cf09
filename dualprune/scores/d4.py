"""D4: near duplicates are removed, and of the others the least prototypical ones come first (arXiv 2308.12284).

SemDeDup keeps the share `r_dedup` with the lowest M; these are clustered anew, and score by `prototypicality`. The
others score -inf: they are never kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from dualprune.core.registry import Difference
from dualprune.scores.features import Floats, from_features
from dualprune.scores.kmeans import ClusterOptions, ClusterScore, distances, kmeans
from dualprune.scores.score import SCORES, Values
from dualprune.scores.semdedup import likeness


def d4(
    features: Any,
    *,
    clusters: int | None = None,
    r_dedup: float = 0.75,
    seed: int = 0,
    sample_ids: Any = None,
) -> Floats:
    """Score samples by D4: float64 [n] for features [n, d], -inf for the near duplicates.

    `clusters`, `r_dedup` and `seed` are the method's options; further arguments and errors as for
    `dualprune.scores.from_features`.
    """
    return from_features("d4", features, sample_ids=sample_ids, clusters=clusters, r_dedup=r_dedup, seed=seed)


@SCORES.register("d4")
class D4(ClusterScore):
    """The least prototypical samples first, once near duplicates are removed (arXiv 2308.12284)."""

    source = "D4, arXiv 2308.12284, from notes on the paper; no code found"
    cost = "that of semdedup and of prototypicality, in one process"
    differences = (
        Difference("the paper's R_proto is the share of the deduplicated samples", "(1 - select.ratio) / r_dedup"),
    )

    class Options(ClusterOptions):
        """Options of `d4`."""

        baseline: ClassVar[Mapping[str, Any]] = {**ClusterOptions.baseline, "r_dedup": 0.75}
        r_dedup: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
            0.75, description="Share of the samples that SemDeDup keeps."
        )

    def score(self, columns: Values, labels: NDArray[np.int64] | None, summary: Any = None) -> Floats:
        order, features = self.in_order(columns)
        alike = likeness(
            features,
            kmeans(features, self.num_clusters(len(features), labels)),
            "hard",
            self.hashes(columns, "score/semdedup")[order],
        )
        kept = max(1, int(np.floor(self.options.r_dedup * len(features) + 0.5)))
        # In the order of the hashes again, in which clusters begin.
        left = np.sort(np.argsort(alike, kind="stable")[:kept])
        rest = features[left]
        score = np.full(len(features), -np.inf)
        score[order[left]] = distances(rest, kmeans(rest, self.num_clusters(len(rest), labels)))
        return score
