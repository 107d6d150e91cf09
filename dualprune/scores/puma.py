"""PUMA: samples near the decision boundary of a robust model come first (arXiv 2405.06298).

The score is minus the distance, by DeepFool. A sample that the model gets wrong has the distance 0.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualprune.core.registry import Difference
from dualprune.scores.score import SCORES, ColumnScore, Values


@SCORES.register("puma")
class Puma(ColumnScore):
    """Samples near the decision boundary first, those that the model gets wrong before all (arXiv 2405.06298)."""

    reads = ("boundary_distance",)
    signed = True
    source = "PUMA, arXiv 2405.06298, no code published; DeepFool, arXiv 1511.04599"
    cost = "per sample up to 50 forward passes, each with a backward pass per class"
    differences = (
        Difference("the paper measures with a model trained to be robust", "measure.options.boundary_distance.weights"),
        Difference(
            "the paper weakens the attack in training on samples near the boundary",
            "not reproduced: its rule is not published, and training here is not adversarial",
        ),
        Difference(
            "DeepFool's authors look at the ten classes with the highest logits (nine others)",
            "measure.options.boundary_distance.classes: 9",
        ),
    )

    def score(self, columns: Values, labels: NDArray[np.int64] | None, summary: Any = None) -> NDArray[np.float64]:
        return 0.0 - columns["boundary_distance"].astype(np.float64)
