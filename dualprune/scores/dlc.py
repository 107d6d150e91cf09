"""DLC: samples that a network places worse as its weights are masked come first (arXiv 2402.05356)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualprune.core.registry import Difference
from dualprune.scores.score import SCORES, ColumnScore, Values


@SCORES.register("dlc")
class Dlc(ColumnScore):
    """Samples that a network places worse as more of its weights are masked first; low is easy (arXiv 2402.05356)."""

    reads = ("dlc",)
    source = "DLC, arXiv 2402.05356; ml-stat-Sustech/Efficient-Dataset-Pruning@6767d0e"
    cost = "a pass over all samples, then 50 forward passes per sample; no training with a file of weights"
    differences = (
        Difference("the authors take a pre-trained network", "measure.options.dlc.weights and architecture"),
        Difference(
            "the authors' passes see other crops and flips of an image each",
            "not reproduced: samples are not augmented, so that a score is a function of the sample",
        ),
        Difference(
            "the authors mask the linear layers alone of a vision transformer",
            "not reproduced: the convolution that makes its patches is masked, too",
        ),
    )

    def score(self, columns: Values, labels: NDArray[np.int64] | None, summary: Any = None) -> NDArray[np.float64]:
        return columns["dlc"].astype(np.float64)
