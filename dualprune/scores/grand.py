"""GraNd: samples whose loss has the largest gradient come first (arXiv 2107.07075).

grand(i) = ‖p_i - e_i‖ · sqrt(1 + ‖h_i‖²),   p the class probabilities, e the one-hot target, h the last layer's input.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualprune.core.arrays import as_array
from dualprune.core.registry import Difference
from dualprune.errors import DataError
from dualprune.scores.arguments import labels_of
from dualprune.scores.features import checked_features
from dualprune.scores.score import SCORES, ColumnScore, Values

Floats = NDArray[np.float64]


def grand(probs: Any, labels: Any, features: Any, *, bias: bool = True) -> Floats:
    """Score samples by the norm of the gradient of the last layer: float64 [n]; high means: keep first.

    Args:
        probs: [n, K], class probabilities of one model.
        labels: int [n], in 0 … K-1.
        features: [n, d], the input of the last layer.
        bias: whether the last layer has a bias.

    Raises:
        DataError: the arrays do not fit together, or a value is NaN or infinite.
    """
    error = checked_features(as_array(probs, "probs"), "probs").astype(np.float64)
    vectors = checked_features(features, "features")
    if len(vectors) != len(error):
        raise DataError(f"features are of {len(vectors)} samples, probs of {len(error)}")
    error[np.arange(len(error)), labels_of(labels, *error.shape)] -= 1.0
    squared = (vectors.astype(np.float64) ** 2).sum(axis=1)
    norm: Floats = np.linalg.norm(error, axis=1) * np.sqrt(squared + float(bias))
    return norm


@SCORES.register("grand")
class Grand(ColumnScore):
    """Samples whose loss has the largest gradient first: the mean norm over models (arXiv 2107.07075)."""

    reads = ("grand",)
    source = "GraNd, arXiv 2107.07075; mansheej/data_diet; of the last layer as in PatrickZH/DeepCore"
    cost = "ten forward passes per sample, one for each new model"
    differences = (
        Difference("the paper takes the gradient by all parameters", "measure.options.grand.layers: all"),
        Difference(
            "the paper takes models after up to five epochs, too",
            "measure.options.grand.initialisations: 0 with record.epochs, and combine over runs",
        ),
    )

    def score(self, columns: Values, labels: NDArray[np.int64] | None, summary: Any = None) -> Floats:
        return columns["grand"].astype(np.float64)
