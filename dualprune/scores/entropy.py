"""Entropy of one epoch's prediction: samples on which the model is most undecided come first (arXiv 1906.11829).

entropy(i) = -Σ_c p[i, t, c] · log p[i, t, c]    of one epoch t, in nats: the statistic `entropy`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from dualprune.core.arrays import Axes
from dualprune.core.registry import Difference
from dualprune.core.section import Section
from dualprune.scores.arguments import Missing, score_array
from dualprune.scores.means import Epoch
from dualprune.scores.score import SCORES, Accumulator, EpochScore, Values


def entropy(entropies: Any, *, epoch: int | None = None, axes: Axes | None = None, missing: Missing = "raise") -> Any:
    """Score samples by the entropy of one epoch: float64 [n] for entropies [n, T]; a high score means: keep first.

    `epoch` (from 0, None: the last) is the method's option; further arguments and errors as for
    `dualprune.scores.dual`.
    """
    return score_array(Entropy, entropies, axes, missing, epoch=epoch)


@SCORES.register("entropy")
class Entropy(EpochScore):
    """Samples on which the model is most undecided first: the entropy of one epoch's prediction (arXiv 1906.11829)."""

    source = "selection via proxy, arXiv 1906.11829; PatrickZH/DeepCore"
    cost = "none beyond training; while recording 8 bytes per sample"
    differences = (
        Difference("the authors add 1e-10 in the logarithm", "not reproduced: it changes at most 1e-9"),
        Difference("the paper takes the final model in eval mode", "the score at_rest with of: entropy"),
    )

    class Options(Section):
        """Options of `entropy`."""

        baseline: ClassVar[Mapping[str, Any]] = {"epoch": None}
        epoch: Epoch | None = Field(None, description="The epoch, from 0; null: the last one recorded.")

    reads = ("entropy",)

    @property
    def min_epochs(self) -> int:
        """The epoch itself."""
        return 1 + (self.options.epoch or 0)

    def accumulator(self, num_samples: int) -> Accumulator:
        return _OneEpoch(num_samples, self)


class _OneEpoch(Accumulator):
    def __init__(self, num_samples: int, method: Entropy) -> None:
        self._epoch, self._check = method.options.epoch, method.check_epochs
        self.num_epochs = 0
        self.values = np.zeros(num_samples)

    def update(self, epoch: int, values: Values, seen: NDArray[np.bool_]) -> None:
        self.num_epochs += 1
        if self._epoch is None or epoch == self._epoch:
            self.values = values["entropy"].astype(np.float64)

    def result(self) -> NDArray[np.float64]:
        self._check(self.num_epochs)
        return self.values.copy()
