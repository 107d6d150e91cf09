"""Forgetting events: samples that the model learns and loses again most often come first (arXiv 1812.05159).

forgetting(i) = number of epochs t with a right prediction in t - 1 and a wrong one in t.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from dualprune.core.arrays import Axes
from dualprune.core.registry import Difference
from dualprune.core.section import Section
from dualprune.scores.arguments import Missing, score_array
from dualprune.scores.score import SCORES, Accumulator, EpochScore, Values

Never = Literal["highest", "zero"]


def forgetting(correct: Any, *, never: Never = "highest", axes: Axes | None = None, missing: Missing = "raise") -> Any:
    """Score samples by their forgetting events: float64 [n] for correct [n, T], 1 or 0; high means: keep first.

    `never` is the method's option; further arguments and errors as for `dualprune.scores.dual`.
    """
    return score_array(Forgetting, correct, axes, missing, never=never)


@SCORES.register("forgetting")
class Forgetting(EpochScore):
    """Samples that the model learns and loses again most often first (arXiv 1812.05159)."""

    source = "forgetting events, arXiv 1812.05159; mansheej/data_diet"
    cost = "none beyond training; while recording 10 bytes per sample"
    differences = (
        Difference(
            "CCS, DeepCore and the DUAL repository leave samples that were never right at 0, as if they were easy",
            "never: zero",
        ),
        Difference(
            "data_diet gives those samples infinity",
            "not reproduced: never: highest gives T, which is above all others, too, and a number",
        ),
    )

    class Options(Section):
        """Options of `forgetting`."""

        baseline: ClassVar[Mapping[str, Any]] = {"never": "highest"}
        never: Never = Field(
            "highest",
            description="Score of a sample that was never right: the number of epochs, above all others, or 0.",
        )

    reads = ("correct",)

    def accumulator(self, num_samples: int) -> Accumulator:
        return _Events(num_samples, self.options.never)


class _Events(Accumulator):
    def __init__(self, num_samples: int, never: Never) -> None:
        self._never = never
        self.num_epochs = 0
        self.events = np.zeros(num_samples)
        self.ever, self.last = np.zeros((2, num_samples), dtype=bool)

    def update(self, epoch: int, values: Values, seen: NDArray[np.bool_]) -> None:
        # Before the first epoch every sample counts as wrong.
        now = values["correct"] > 0.5
        self.events += self.last & ~now
        self.ever |= now
        self.last = now
        self.num_epochs += 1

    def result(self) -> NDArray[np.float64]:
        never = float(self.num_epochs) if self._never == "highest" else 0.0
        return np.where(self.ever, self.events, never)
