"""Logit history: samples whose logits, averaged over training, leave the class open (arXiv 2412.10091).

With z̄[i] = mean over the epochs of z[i, t], the average taken before the softmax,

    logit_history(i) = entropy of softmax(z̄[i]), in nats.

The class with the highest z̄ is the column `mean_label`. Where it is not the label, the sample is probably mislabelled;
where the entropy is close to its highest value, log K, it is probably an outlier. Both are lists of ids.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from dualprune.core.arrays import Axes
from dualprune.core.registry import Difference
from dualprune.core.section import Section
from dualprune.scores.arguments import Missing, score_array
from dualprune.scores.score import SCORES, Accumulator, EpochScore, Values

STATISTIC = "class_logits"
MEAN_LABEL = "mean_label"


def logit_history(logits: Any, *, axes: Axes | None = None, missing: Missing = "raise") -> Any:
    """Score samples by the entropy of their mean logits: float64 [n] for logits [n, T, K]; high means: keep first.

    Log-probabilities are as good. Further arguments and errors as for `dualprune.scores.dual`.
    """
    return score_array(LogitHistory, logits, axes, missing)


@SCORES.register("logit_history")
class LogitHistory(EpochScore):
    """Samples whose mean logits leave the class open first, with lists of mislabelled ones and outliers."""

    source = "data pruning for re-identification, arXiv 2412.10091; Zi-Y/data-pruning-reid has no code"
    cost = "8 · K bytes per sample while recording, kept with each checkpoint; nothing in the store"
    differences = (
        Difference("the thresholds of the paper's lists are not published", "relabel needs none; outlier is ours"),
        Difference("the paper takes T = 12 epochs", "record.epochs: 12"),
    )

    class Options(Section):
        """Options of `logit_history`."""

        baseline: ClassVar[Mapping[str, Any]] = {"outlier": 0.9}
        outlier: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
            0.9, description="A sample is listed as an outlier from this share of the highest entropy, log K, on."
        )

    reads = (STATISTIC,)
    list_names = ("relabel", "outliers")

    def accumulator(self, num_samples: int) -> Accumulator:
        return _MeanLogits(num_samples)

    def lists(
        self, score: NDArray[np.float64], labels: NDArray[np.int64], extras: Values, num_classes: int
    ) -> dict[str, NDArray[np.bool_]]:
        """Return which samples are probably mislabelled, and which are probably outliers."""
        return {
            "relabel": extras[MEAN_LABEL] != labels,
            "outliers": score >= self.options.outlier * math.log(num_classes),
        }


class _MeanLogits(Accumulator):
    """Sums of logits: 8 · K bytes per sample."""

    def __init__(self, num_samples: int) -> None:
        self.num_epochs = 0
        # Made at the first update, when the number of classes is known.
        self.total = np.zeros((num_samples, 0))

    def update(self, epoch: int, values: Values, seen: NDArray[np.bool_]) -> None:
        logits = values[STATISTIC]
        self.total = self.total + logits if self.num_epochs else logits.astype(np.float64)
        self.num_epochs += 1

    def result(self) -> NDArray[np.float64]:
        mean = self.total / self.num_epochs
        mean -= mean.max(axis=1, keepdims=True)
        log_prob = mean - np.log(np.exp(mean).sum(axis=1, keepdims=True))
        entropy: NDArray[np.float64] = -(np.exp(log_prob) * log_prob).sum(axis=1)
        return np.maximum(entropy, 0.0)

    def extras(self) -> dict[str, NDArray[Any]]:
        return {MEAN_LABEL: self.total.argmax(axis=1)}
