"""DUAL: samples that are hard and whose prediction varies early in training rank first (arXiv 2502.06905).

With p[i, t] the probability that the model gives sample i's target class in epoch t, and windows of J epochs,

    DUAL(i) = mean over k = 0 … T-J of (1 - mean_k) · std_k,    mean_k, std_k (unbiased) of p[i, k … k+J-1].
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from dualprune.core.arguments import check_whole
from dualprune.core.arrays import Axes
from dualprune.core.registry import Difference
from dualprune.core.section import Section
from dualprune.scores.arguments import Missing, statistic_of
from dualprune.scores.mean_prob import TARGET_PROB, mean_over_epochs
from dualprune.scores.score import SCORES, EpochScore, Values
from dualprune.scores.windowed import WindowAccumulator, mean_over_windows

if TYPE_CHECKING:
    from torch import Tensor

WINDOW = 10
# The window's mean counts in (1 - mean) · std.
MEAN_WEIGHT = 1.0


class Scored(NamedTuple):
    """DUAL and the mean target probability of n samples, float64 [n] each; tensors for a tensor."""

    score: Any
    mean_prob: Any


@overload
def dual(
    target_prob: ArrayLike,
    window: int = ...,
    *,
    axes: Axes | None = ...,
    missing: Missing = ...,
    num_threads: int = ...,
) -> NDArray[np.float64]: ...
@overload
def dual(
    target_prob: Tensor,
    window: int = ...,
    *,
    axes: Axes | None = ...,
    missing: Missing = ...,
    num_threads: int = ...,
) -> Tensor: ...
def dual(
    target_prob: Any,
    window: int = WINDOW,
    *,
    axes: Axes | None = None,
    missing: Missing = "raise",
    num_threads: int = 1,
) -> Any:
    """Score samples by DUAL; a high score means: keep first.

    Args:
        target_prob: [n, T] target probabilities in [0, 1]: a numpy array or torch tensor of any type and strides, or
            lists. An array of float32 or float64 is not copied, so the transposed view of a [T, n] buffer is as good.
        window: J, epochs per window; 2 … T.
        axes: "NT", samples by epochs, or "TN", epochs by samples; None: [n, T], where more epochs than samples are an
            error.
        missing: "raise": a NaN is an error; "keep": it stands for a missing value, and the sample's score is NaN.
        num_threads: threads that divide the samples among them, for numpy and tensors on the CPU.

    Returns:
        float64 [n], in [0, 0.5·sqrt(J/(J-1))]; a tensor on the same device for a tensor.

    Raises:
        ConfigError: a window shorter than 2, or longer than the T epochs; an unknown choice of `axes` or `missing`.
        DataError: `target_prob` is not two-dimensional, probably transposed, out of range, or not all there.
    """
    check_whole("num_threads", num_threads, 1)
    array = statistic_of(target_prob, TARGET_PROB, axes, missing)
    return mean_over_windows("dual", array, window, MEAN_WEIGHT, num_threads)


def dual_and_mean(
    target_prob: Any,
    window: int = WINDOW,
    *,
    axes: Axes | None = None,
    missing: Missing = "raise",
    num_threads: int = 1,
) -> Scored:
    """Return `dual`, and `mean_prob` over all T epochs; arguments and errors as for `dual`."""
    check_whole("num_threads", num_threads, 1)
    array = statistic_of(target_prob, TARGET_PROB, axes, missing)
    score = mean_over_windows("dual", array, window, MEAN_WEIGHT, num_threads)
    return Scored(score, mean_over_epochs(array, num_threads=num_threads))


class DualAccumulator(WindowAccumulator):
    """DUAL of n samples, one epoch at a time; the same bits as `dual` on all epochs at once."""

    def __init__(self, num_samples: int, window: int = WINDOW) -> None:
        super().__init__("dual", num_samples, window, MEAN_WEIGHT)


@SCORES.register("dual")
class Dual(EpochScore):
    """Hard samples whose prediction varies early in training first (arXiv 2502.06905)."""

    source = "DUAL, arXiv 2502.06905; behaapyy/dual-pruning@4ab525d"
    cost = "none beyond training; while recording 4 · (window + 2) bytes per sample"
    differences = (
        Difference("the authors multiply by 10", "not reproduced: it changes no order"),
        Difference("T is 30 for CIFAR; for ImageNet the authors train a complete schedule of 60", "record.epochs"),
        Difference(
            "the authors' code and the paper disagree on the constants of the Beta draw and of mean_prob",
            "preset: authors-code | paper",
        ),
    )

    class Options(Section):
        """Options of `dual`."""

        baseline: ClassVar[dict[str, Any]] = {"window": WINDOW}
        window: Annotated[int, Field(ge=2)] = Field(WINDOW, description="Window length J, in epochs.")

    reads = (TARGET_PROB,)

    @property
    def min_epochs(self) -> int:
        """One window."""
        return int(self.options.window)

    def accumulator(self, num_samples: int) -> DualAccumulator:
        return DualAccumulator(num_samples, self.options.window)

    def score(self, dynamics: Values) -> NDArray[np.float64]:
        """Return DUAL in one pass over `target_prob` [n, T]: faster than folding the accumulator, and the same bits."""
        window = self.options.window
        scores: NDArray[np.float64] = mean_over_windows("dual", dynamics[TARGET_PROB], window, MEAN_WEIGHT)
        return scores
