"""SemDeDup: of samples whose features are nearly the same, one comes first and the others last (arXiv 2303.09540).

Within each cluster of spherical k-means samples are put in order, by default those far from the centroid first. Then

    M_j = max(0, max over the earlier samples i of the cluster of ⟨x_i, x_j⟩),    semdedup(j) = 1 - M_j,

x of length 1. The published rule removes the samples with M_j > 1 - ε: the sampler `threshold` with `min_score: ε`.
With `top_k`, the samples with the lowest M are kept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from dualprune.core.registry import Difference
from dualprune.scores.features import Floats, Ints, from_features
from dualprune.scores.kmeans import ClusterOptions, Clusters, ClusterScore, distances, kmeans
from dualprune.scores.score import SCORES, Result, Values

Keep = Literal["hard", "easy", "random"]
BLOCK = 1 << 11


def semdedup(
    features: Any, *, clusters: int | None = None, keep: Keep = "hard", seed: int = 0, sample_ids: Any = None
) -> Floats:
    """Score samples by how new they are in their cluster, 1 - M: float64 [n] for features [n, d].

    `clusters`, `keep` and `seed` are the method's options; further arguments and errors as for
    `dualprune.scores.from_features`.
    """
    return from_features("semdedup", features, sample_ids=sample_ids, clusters=clusters, keep=keep, seed=seed)


@SCORES.register("semdedup")
class Semdedup(ClusterScore):
    """Samples unlike any earlier one of their cluster first: near duplicates come last (arXiv 2303.09540)."""

    source = "SemDeDup, arXiv 2303.09540; facebookresearch/SemDeDup@6b41945"
    cost = "k-means, and m² · d operations for a cluster of m samples, in one process"
    differences = (
        Difference("the authors remove samples above a cosine of 1 - ε", "the sampler threshold with min_score: ε"),
        Difference("the authors cluster by faiss", "not reproduced: other first centroids make other clusters"),
        Difference("a sample that is removed still removes others", "the same here"),
    )

    class Options(ClusterOptions):
        """Options of `semdedup`."""

        baseline: ClassVar[Mapping[str, Any]] = {**ClusterOptions.baseline, "keep": "hard"}
        keep: Keep = Field("hard", description="Of near duplicates, keep the one farthest from the centroid, the "
            "nearest (easy), or any.")  # fmt: skip

    def score(self, columns: Values, labels: NDArray[np.int64] | None, summary: Any = None) -> Result:
        order, features = self.in_order(columns)
        found = kmeans(features, self.num_clusters(len(features), labels))
        score, cluster = np.empty(len(features)), np.empty(len(features), dtype=np.int64)
        score[order] = 1.0 - likeness(features, found, self.options.keep, self.hashes(columns)[order])
        cluster[order] = found.of
        return score, {"cluster": cluster}


def likeness(features: Floats, clusters: Clusters, keep: Keep, hashes: NDArray[np.uint64]) -> Floats:
    """Return M of n unit vectors, float64 [n]; `hashes` decide the order of `random`, and ties."""
    apart = distances(features, clusters)
    key = {"hard": -apart, "easy": apart, "random": np.zeros(len(apart))}[keep]
    order = np.lexsort((hashes, key, clusters.of))
    result = np.empty(len(features))
    for members in np.split(order, np.flatnonzero(np.diff(clusters.of[order])) + 1):
        result[members] = _earlier(features, members)
    return result


def _earlier(features: Floats, members: Ints) -> Floats:
    """Return the highest cosine of each member with an earlier one, at least 0; in blocks, never all pairs."""
    highest = np.zeros(len(members))
    for start in range(0, len(members), BLOCK):
        block = features[members[start : start + BLOCK]]
        own = highest[start : start + BLOCK]
        for before in range(0, start + 1, BLOCK):
            cosines = block @ (block if before == start else features[members[before : before + BLOCK]]).T
            if before == start:
                cosines[np.triu_indices(len(block))] = 0.0
            np.maximum(own, cosines.max(axis=1), out=own)
    return highest
