"""Prototypicality: samples far from the centroid of their cluster first (arXiv 2206.14486).

prototypicality(i) = 1 - ⟨x_i / ‖x_i‖, μ⟩,   μ the nearest centroid of spherical k-means.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from dualprune.core.registry import Difference
from dualprune.errors import ConfigError
from dualprune.scores.features import Floats, SeededOptions, from_features
from dualprune.scores.kmeans import ClusterScore, NumClusters, distances, kmeans
from dualprune.scores.score import SCORES, Result, Values


def prototypicality(
    features: Any, labels: Any = None, *, clusters: int | None = None, seed: int = 0, sample_ids: Any = None
) -> Floats:
    """Score samples by their distance from the nearest prototype: float64 [n] for features [n, d].

    Without `clusters`, their number is that of the classes in `labels`, int [n]. `clusters` and `seed` are the method's
    options; further arguments and errors as for `dualprune.scores.from_features`.
    """
    return from_features("prototypicality", features, labels, sample_ids=sample_ids, clusters=clusters, seed=seed)


@SCORES.register("prototypicality")
class Prototypicality(ClusterScore):
    """Samples far from the centroid of their cluster first: the least prototypical ones (arXiv 2206.14486)."""

    source = (
        "arXiv 2206.14486; rgeirhos/dataset-pruning-metrics; the quota of classes: amro-kamal/effective_pruning@42c8e54"
    )
    cost = "up to 100 rounds of n · K · d operations, in one process"
    differences = (
        Difference("the authors cluster by faiss", "not reproduced: other first centroids make other clusters"),
        Difference("the authors keep a share of each class, 0.5, before the rest", "the sampler top_k with floor: 0.5"),
        Difference("the easy samples are kept where data are few", "the sampler top_k with order: easiest"),
    )

    class Options(SeededOptions):
        """Options of `prototypicality`."""

        baseline: ClassVar[Mapping[str, Any]] = {**SeededOptions.baseline, "clusters": None}
        clusters: NumClusters = Field(None, description="Number of clusters; null: that of the classes.")

    def default_clusters(self, num_samples: int, labels: NDArray[np.int64] | None) -> int:
        if labels is None:
            raise ConfigError(
                f"score.options.{self.name}.clusters: null is the number of classes; pass labels, or set it"
            )
        return len(np.unique(labels))

    def score(self, columns: Values, labels: NDArray[np.int64] | None, summary: Any = None) -> Result:
        order, features = self.in_order(columns)
        found = kmeans(features, self.num_clusters(len(features), labels))
        score, cluster = np.empty(len(features)), np.empty(len(features), dtype=np.int64)
        score[order], cluster[order] = distances(features, found), found.of
        return score, {"cluster": cluster}
