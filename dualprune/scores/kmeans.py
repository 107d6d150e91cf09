"""Spherical k-means, by which several scores group features: one module, one definition.

It begins with the samples of the lowest hash(seed, "kmeans", id). Each round assigns every sample to the centroid of
the highest cosine (of equal ones, the lower number) and sets each centroid to the normalised mean of its samples; one
without samples stays. It ends when no sample changes, or after 100 rounds.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from dualprune.core.compiled import compiled
from dualprune.errors import ConfigError
from dualprune.scores.features import FeatureScore, Floats, Ints, SeededOptions, by_hash
from dualprune.scores.score import Values

MOST_ROUNDS = 100
BLOCK = 1 << 12

NumClusters = Annotated[int | None, Field(ge=1)]


class Clusters(NamedTuple):
    """The cluster of each of n samples, int64 [n], and the centroids [K, d], of length 1 or 0."""

    of: Ints
    centroids: Floats


class ClusterOptions(SeededOptions):
    """Options of a score that groups features."""

    baseline: ClassVar[Mapping[str, Any]] = {**SeededOptions.baseline, "clusters": None}
    clusters: NumClusters = Field(None, description="Number of clusters; null: the root of the number of samples.")


class ClusterScore(FeatureScore):
    """A score of samples within clusters of their features; the options derive from `ClusterOptions`."""

    scope = "all"
    needs_ids = True

    def in_order(self, columns: Values) -> tuple[Ints, Floats]:
        """Return the samples in the order of the hashes by which clusters begin, and their unit features."""
        order = by_hash(self.hashes(columns, "kmeans"))
        return order, unit(self.features(columns)[order])

    def num_clusters(self, num_samples: int, labels: NDArray[np.int64] | None) -> int:
        """Return the number of clusters for n samples; a ConfigError where there are fewer samples."""
        number: int = self.options.clusters or self.default_clusters(num_samples, labels)
        if number > num_samples:
            raise ConfigError(
                f"score.options.{self.name}.clusters: {number} clusters of {num_samples} samples; expected at most one "
                "per sample"
            )
        return number

    def default_clusters(self, num_samples: int, labels: NDArray[np.int64] | None) -> int:
        """Return the number of clusters where the options name none."""
        return max(1, round(math.sqrt(num_samples)))


def unit(features: NDArray[Any]) -> Floats:
    """Return features [n, d] divided by their lengths, float64; 0 for vectors of length 0."""
    result = np.empty(features.shape)
    for start in range(0, len(features), BLOCK):
        block = result[start : start + BLOCK]
        block[:] = features[start : start + BLOCK]
        # By the largest coordinate first, so that no square overflows or vanishes.
        for order in (np.inf, 2):
            length = np.linalg.norm(block, order, axis=1, keepdims=True)
            np.divide(block, length, out=block, where=length > 0.0)
    return result


def kmeans(features: Floats, num_clusters: int) -> Clusters:
    """Group unit features [n, d], in the order of the samples' hashes, and return the clusters."""
    centroids = features[:num_clusters].copy()
    of = np.full(len(features), -1)
    for _ in range(MOST_ROUNDS):
        before, of = of, assigned(features, centroids)
        if (of == before).all():
            break
        sums = np.zeros_like(centroids)
        _add(sums, features, of)
        filled = np.bincount(of, minlength=num_clusters) > 0
        centroids[filled] = unit(sums[filled])
    else:
        of = assigned(features, centroids)
    return Clusters(of, centroids)


def assigned(features: Floats, centroids: Floats) -> Ints:
    """Return the centroid of the highest cosine for each of n unit vectors, the lower number of equal ones."""
    of = np.empty(len(features), dtype=np.int64)
    for start in range(0, len(features), BLOCK):
        block = features[start : start + BLOCK]
        of[start : start + BLOCK] = (block @ centroids.T).argmax(axis=1)
    return of


@compiled
def _add(sums: Floats, features: Floats, of: Ints) -> None:
    for i in range(len(features)):
        for j in range(features.shape[1]):
            sums[of[i], j] += features[i, j]


def distances(features: Floats, clusters: Clusters) -> Floats:
    """Return 1 - the cosine of each of n unit vectors with its centroid, float64 [n]."""
    apart = np.empty(len(features))
    for start in range(0, len(features), BLOCK):
        rows = slice(start, start + BLOCK)
        apart[rows] = 1.0 - np.einsum("ij,ij->i", features[rows], clusters.centroids[clusters.of[rows]])
    return apart
