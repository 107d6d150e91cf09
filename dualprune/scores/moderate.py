"""Moderate coreset: samples whose distance from the median of their class is in the middle (ICLR 2023).

    d_i = ‖x_i - m_y‖,   m_y the median of each coordinate over the class.

All d are ranked together, over all classes. The k samples kept by `top_k` are those of the ranks (n - k) // 2 up to
(n - k) // 2 + k - 1, so that classes come out unequal.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualprune.core.registry import Difference
from dualprune.scores.features import FeatureScore, Floats, SeededOptions, by_hash, from_features, picked
from dualprune.scores.score import SCORES, Values


def moderate(features: Any, labels: Any, *, seed: int = 0, sample_ids: Any = None) -> Floats:
    """Score samples by how near the middle their distance from their class is: float64 [n] for features [n, d].

    `labels` are int [n], and `seed` is the method's option; further arguments and errors as for
    `dualprune.scores.from_features`.
    """
    return from_features("moderate", features, labels, sample_ids=sample_ids, seed=seed)


@SCORES.register("moderate")
class Moderate(FeatureScore):
    """Samples at a middling distance from the median of their class first (moderate coreset, ICLR 2023)."""

    scope = "all"
    needs_labels = True
    needs_ids = True
    source = "moderate coreset, ICLR 2023; the `moderate` of adymaharana/d2pruning keeps two tails instead"
    cost = "a sort of each coordinate within each class, in one process"
    differences = (
        Difference(
            "the authors round both ends of the window, and keep 6 of 10 at a half",
            "not reproduced: the number kept is exact",
        ),
    )

    class Options(SeededOptions):
        """Options of `moderate`."""

    def score(self, columns: Values, labels: NDArray[np.int64] | None, summary: Any = None) -> Floats:
        assert labels is not None
        order = by_hash(self.hashes(columns))
        features, classes = self.features(columns)[order], labels[order]
        distance = np.empty(len(features))
        for label in np.unique(classes):
            own = features[classes == label].astype(np.float64)
            distance[classes == label] = np.linalg.norm(own - np.median(own, axis=0), axis=1)
        ranked = order[np.argsort(distance, kind="stable")]
        return picked(ranked[from_the_middle(len(ranked))])


def from_the_middle(size: int) -> NDArray[np.int64]:
    """Return ranks 0 … n-1 so that the first k of them are (n - k) // 2 up to (n - k) // 2 + k - 1, for any k."""
    starts = (size - np.arange(1, size + 1)) // 2
    # Either the window begins one rank earlier than that of k - 1, or it ends one rank later.
    earlier = np.diff(starts, prepend=starts[0] + 1) < 0
    return np.where(earlier, starts, starts + np.arange(size))
