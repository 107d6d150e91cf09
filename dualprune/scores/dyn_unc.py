"""Dynamic uncertainty: samples whose prediction varies most within windows of epochs (arXiv 2306.05175).

U(i) = mean over k = 0 … T-J of std_k,    std_k (unbiased) of p[i, k … k+J-1].
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from dualprune.core.arrays import Axes
from dualprune.core.registry import Difference
from dualprune.core.section import Section
from dualprune.scores.arguments import Missing, score_array
from dualprune.scores.mean_prob import TARGET_PROB
from dualprune.scores.score import SCORES, Accumulator, EpochScore, Result, Values
from dualprune.scores.windowed import WindowAccumulator, mean_over_windows

# The window's mean does not count.
MEAN_WEIGHT = 0.0


def dyn_unc(
    target_prob: Any,
    window: int = 10,
    *,
    last_window: bool = True,
    zeros: Literal["values", "unseen"] = "values",
    axes: Axes | None = None,
    missing: Missing = "raise",
) -> Any:
    """Score samples by dynamic uncertainty: float64 [n] for target_prob [n, T]; a high score means: keep first.

    `window`, `last_window` and `zeros` are the method's options; further arguments and errors as for
    `dualprune.scores.dual`.
    """
    return score_array(DynUnc, target_prob, axes, missing, window=window, last_window=last_window, zeros=zeros)


@SCORES.register("dyn_unc")
class DynUnc(EpochScore):
    """Samples whose prediction varies most within windows of epochs first (arXiv 2306.05175)."""

    source = "Dyn-Unc, arXiv 2306.05175; BAAI-DCAI/Dataset-Pruning@9f396a8"
    cost = "none beyond training; while recording 4 · (window + 2) bytes per sample"
    differences = (
        Difference("the authors multiply by 10", "not reproduced: it changes no order"),
        Difference("the authors' script leaves out the window that ends with the last epoch", "last_window: false"),
        Difference(
            "the authors' script takes a probability of exactly 0 for an epoch in which the sample was not seen, and "
            "begins with a window of zeros",
            "zeros: unseen",
        ),
        Difference(
            "the authors record the probability of the unaugmented image in a second forward pass in eval mode",
            "not reproduced: the training pass is recorded",
        ),
    )

    class Options(Section):
        """Options of `dyn_unc`."""

        baseline: ClassVar[Mapping[str, Any]] = {"window": 10, "last_window": True, "zeros": "values"}
        window: Annotated[int, Field(ge=2)] = Field(10, description="Window length J, in epochs.")
        last_window: bool = Field(True, description="Whether the window that ends with the last epoch counts.")
        zeros: Literal["values", "unseen"] = Field(
            "values",
            description="unseen: a probability of exactly 0 leaves the sample's window as it was, as in the authors' "
            "script.",
        )

    reads = (TARGET_PROB,)

    @property
    def min_epochs(self) -> int:
        """One window that counts."""
        return int(self.options.window) + (not self.options.last_window)

    @property
    def _is_plain(self) -> bool:
        return bool(self.options.last_window and self.options.zeros == "values")

    def accumulator(self, num_samples: int) -> Accumulator:
        if self._is_plain:
            return WindowAccumulator("dyn_unc", num_samples, self.options.window, MEAN_WEIGHT)
        return _AuthorsAccumulator(num_samples, self)

    def score(self, dynamics: Values) -> Result:
        """Return the scores in one pass over `target_prob` [n, T], the same bits as the accumulator's."""
        if not self._is_plain:
            return super().score(dynamics)
        window = self.options.window
        scores: NDArray[np.float64] = mean_over_windows("dyn_unc", dynamics[TARGET_PROB], window, MEAN_WEIGHT)
        return scores


class _AuthorsAccumulator(Accumulator):
    """The authors' script: zeros may not enter a sample's window, and the last window may not count."""

    def __init__(self, num_samples: int, method: DynUnc) -> None:
        self._options, self._check = method.options, method.check_epochs
        self.num_epochs = 0
        # The oldest value first; it begins as zeros, as in the script.
        self.ring = np.zeros((self._options.window, num_samples))
        self.total = np.zeros(num_samples)
        self.latest = np.zeros(num_samples)

    def update(self, epoch: int, values: Values, seen: NDArray[np.bool_]) -> None:
        """Take one epoch's `target_prob` [n]."""
        prob = values[TARGET_PROB].astype(np.float64)
        pushed = prob != 0.0 if self._options.zeros == "unseen" else np.ones(len(prob), dtype=bool)
        self.ring[:-1, pushed] = self.ring[1:, pushed]
        self.ring[-1, pushed] = prob[pushed]
        self.num_epochs += 1
        if self.num_epochs >= self._options.window:
            self.total += self.latest
            self.latest = (self.ring - self.ring[0]).std(axis=0, ddof=1)

    def result(self) -> NDArray[np.float64]:
        """Return the scores over the epochs so far; a ConfigError where no window counts yet."""
        self._check(self.num_epochs)
        num_windows = self.num_epochs - self._options.window + 1
        if self._options.last_window:
            total, count = self.total + self.latest, num_windows
        else:
            total, count = self.total, num_windows - 1
        result: NDArray[np.float64] = total / count
        return result
