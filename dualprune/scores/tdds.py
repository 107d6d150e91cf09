"""TDDS: samples whose predictions change most unevenly from epoch to epoch (arXiv 2311.13613).

With d[i, t] = Σ_c |p[t+1, c] · (log(p[t+1, c] + 1e-8) - log(p[t, c] + 1e-8))|, the statistic `kl`, and windows of J
epochs, that is of J - 1 changes,

    TDDS(i) = Σ over k = 0 … T-J of a·(1 - a)^(T-J-k) · ‖d[i, k … k+J-2] - mean_k‖₂,    a the decay.
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


def tdds(kl: Any, window: int = 10, *, decay: float = 0.9, axes: Axes | None = None, missing: Missing = "raise") -> Any:
    """Score samples by TDDS: float64 [n]; a high score means: keep first.

    Args:
        kl: [n, T-1] class-wise changes of the T epochs, the statistic `kl`; from probabilities of all classes use
            `from_probs("tdds", …)`.
        window: J, epochs per window; it holds J - 1 changes.
        decay: weight of the last window, and share by which each earlier one counts less.
        axes: as for `dualprune.scores.dual`.
        missing: as for `dualprune.scores.dual`.

    Raises:
        ConfigError: fewer changes than a window holds, or a wrong option.
        DataError: the array is not what is expected.
    """
    return score_array(Tdds, kl, axes, missing, window=window, decay=decay)


@SCORES.register("tdds")
class Tdds(EpochScore):
    """Samples whose predictions change most unevenly from epoch to epoch first (arXiv 2311.13613)."""

    source = "TDDS, arXiv 2311.13613; zhangxin-xd/Dataset-Pruning-TDDS@9c1e3bd"
    cost = (
        "the probabilities of all classes of the last epoch, 4 · K bytes per sample, while recording; then "
        "4 · (window + 1) bytes per sample"
    )
    differences = (
        Difference(
            "the paper speaks of the KL divergence, the authors sum its absolute terms by class",
            "not reproduced: ours is the authors' code",
        ),
        Difference(
            "the authors' T and J by pruning ratio: (30, 10), (90, 10), (60, 20), (20, 10), (10, 5)",
            "window, with score.epochs for T",
        ),
        Difference(
            "the DUAL repository's tdds reads the first window only, and raw logits", "not reproduced: it is a fault"
        ),
        Difference(
            "the authors train on the kept set with a weighted loss", "not reproduced: evaluation trains all alike"
        ),
    )

    class Options(Section):
        """Options of `tdds`."""

        baseline: ClassVar[Mapping[str, Any]] = {"window": 10, "decay": 0.9}
        window: Annotated[int, Field(ge=3)] = Field(10, description="Window length J in epochs, of J - 1 changes.")
        decay: Annotated[float, Field(gt=0.0, le=1.0)] = Field(
            0.9, description="Weight of the last window, and share by which each earlier one counts less."
        )

    reads = ("kl",)

    @property
    def min_epochs(self) -> int:
        """The changes of one window."""
        return int(self.options.window) - 1

    def accumulator(self, num_samples: int) -> Accumulator:
        return _TddsAccumulator(num_samples, self)


class _TddsAccumulator(Accumulator):
    """TDDS of n samples, one change at a time: n · (4·J + 4) bytes for values up to float32."""

    def __init__(self, num_samples: int, method: Tdds) -> None:
        self._check = method.check_epochs
        # The changes of a window.
        self.window, self.decay = method.options.window - 1, method.options.decay
        self.num_epochs = 0
        self.total = np.zeros(num_samples)
        # Made at the first update, when the values' precision is known.
        self.ring: NDArray[np.floating] | None = None

    def update(self, epoch: int, values: Values, seen: NDArray[np.bool_]) -> None:
        """Take one epoch's `kl` [n]."""
        from dualprune.scores.windows import next_window

        changes = values["kl"]
        if self.ring is None:
            self.ring = np.empty((self.window, len(changes)), np.result_type(np.float32, changes.dtype))
        self.ring[self.num_epochs % self.window] = changes
        self.num_epochs += 1
        if self.num_epochs >= self.window:
            # Adds the unbiased standard deviation, after each earlier window has lost its share.
            self.total *= 1.0 - self.decay
            next_window(self.ring, self.num_epochs - 1, 0.0, self.total)

    def result(self) -> NDArray[np.float64]:
        """Return the scores over the epochs so far; a ConfigError where they are fewer than a window."""
        self._check(self.num_epochs)
        # The norm of the deviations is sqrt(J - 2) times the unbiased standard deviation of J - 1 changes.
        result: NDArray[np.float64] = self.decay * math.sqrt(self.window - 1) * self.total
        return result
