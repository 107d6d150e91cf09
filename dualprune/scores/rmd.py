"""Relative Mahalanobis distance: samples far from their class, for how far they are from all, first (arXiv 2304.10127).

    rmd(x) = (x - μ_y)ᵀ S_w⁻¹ (x - μ_y) - (x - μ)ᵀ S_t⁻¹ (x - μ),

μ_y the mean of the sample's class, S_w the covariance within the classes, shared by all, μ and S_t mean and covariance
of all samples, both with divisor n, and with `ridge` · trace / d added to the diagonal. A covariance of trace 0 makes
its distance 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveFloat

from dualprune.core.registry import Difference
from dualprune.scores.features import FeatureOptions, FeatureScore, Floats, Ints, from_features
from dualprune.scores.score import SCORES, Values

BLOCK = 1 << 12


def rmd(features: Any, labels: Any, *, ridge: float = 1e-6) -> Floats:
    """Score samples by their relative Mahalanobis distance: float64 [n] for features [n, d] and labels int [n].

    `ridge` is the method's option; errors as for `dualprune.scores.from_features`.
    """
    return from_features("rmd", features, labels, ridge=ridge)


@dataclass(frozen=True)
class Moments:
    """Of some samples: number [K] and mean [K, d] of each class, and the scatter within the classes [d, d]."""

    counts: Ints
    means: Floats
    within: Floats

    def resized(self, num_classes: int) -> Moments:
        """Return the same with further classes, which have no samples."""
        more = num_classes - len(self.counts)
        return Moments(np.pad(self.counts, (0, more)), np.pad(self.means, ((0, more), (0, 0))), self.within)


@SCORES.register("rmd")
class Rmd(FeatureScore):
    """Samples far from their class, against the distance from all, first (arXiv 2304.10127)."""

    scope = "all"
    signed = True
    needs_labels = True
    source = "arXiv 2304.10127, no code read; the distance of arXiv 2106.09022 with the sample's own class"
    cost = "two passes over the features, 8 · d · (d + K) bytes"
    differences = (
        Difference(
            "the paper weights a regulariser of each sample's loss by it", "not reproduced: here it orders samples"
        ),
        Difference("arXiv 2106.09022 takes the least distance to any class", "not reproduced: it detects other data"),
    )

    class Options(FeatureOptions):
        """Options of `rmd`."""

        baseline: ClassVar[Mapping[str, Any]] = {**FeatureOptions.baseline, "ridge": 1e-6}
        ridge: PositiveFloat = Field(
            1e-6, description="What is added to a covariance's diagonal, as a share of its mean."
        )

    def summarise(self, columns: Values, labels: NDArray[np.int64] | None) -> Moments:
        """Return number, mean and scatter of the classes."""
        assert labels is not None
        features = self.features(columns)
        counts = np.bincount(labels)
        means = np.zeros((len(counts), features.shape[1]))
        within = np.zeros((features.shape[1],) * 2)
        for label in np.flatnonzero(counts):
            own = features[labels == label].astype(np.float64)
            means[label] = own.mean(axis=0)
            own -= means[label]
            within += own.T @ own
        return Moments(counts, means, within)

    def merge(self, first: Moments, second: Moments) -> Moments:
        """Return the moments of the samples of both."""
        num_classes = max(len(first.counts), len(second.counts))
        one, two = first.resized(num_classes), second.resized(num_classes)
        counts = one.counts + two.counts
        apart = two.means - one.means
        share = two.counts / np.maximum(counts, 1)
        scaled = np.sqrt(one.counts * share)[:, None] * apart
        return Moments(counts, one.means + share[:, None] * apart, one.within + two.within + scaled.T @ scaled)

    def score(self, columns: Values, labels: NDArray[np.int64] | None, summary: Any = None) -> Floats:
        assert labels is not None
        moments = self.summarise(columns, labels) if summary is None else summary
        total = int(moments.counts.sum())
        mean = moments.counts @ moments.means / total
        between = np.sqrt(moments.counts)[:, None] * (moments.means - mean)
        own = self._whitener(moments.within / total)
        all_ = self._whitener((moments.within + between.T @ between) / total)
        features = self.features(columns)
        result = np.empty(len(features))
        for start in range(0, len(features), BLOCK):
            rows = slice(start, start + BLOCK)
            block = features[rows].astype(np.float64)
            to_class = (block - moments.means[labels[rows]]) @ own
            to_all = (block - mean) @ all_
            result[rows] = (to_class**2).sum(axis=1) - (to_all**2).sum(axis=1)
        return result

    def _whitener(self, covariance: Floats) -> Floats:
        """Return W [d, d] for which ‖x W‖² is the squared Mahalanobis distance of x from 0."""
        size, trace = len(covariance), float(np.trace(covariance))
        if trace <= 0.0:
            return np.zeros((size, size))
        root = np.linalg.cholesky(covariance + self.options.ridge * trace / size * np.eye(size))
        whitener: Floats = np.linalg.inv(root).T
        return whitener
