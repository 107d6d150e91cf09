"""DUAL: samples that are hard and whose prediction varies early in training rank first (arXiv 2502.06905).

With p[i, t] the probability that the model gives sample i's target class in epoch t, and windows of J epochs,

    DUAL(i) = mean over k = 0 … T-J of (1 - mean_k) · std_k,    mean_k, std_k (unbiased) of p[i, k … k+J-1].
"""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import Field

from dualprune.core.arguments import check_whole
from dualprune.core.arrays import Axes
from dualprune.core.section import Section
from dualprune.errors import ConfigError, DataError
from dualprune.scores.arguments import Missing, is_tensor, statistic_of
from dualprune.scores.mean_prob import TARGET_PROB, mean_over_epochs
from dualprune.scores.score import SCORES, Accumulator, EpochScore, Values

if TYPE_CHECKING:
    from torch import Tensor

WINDOW = 10
# Samples per block: those that are converted to float32 or float64 together, or processed on a device at once.
BLOCK = 1 << 18


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
    return _dual(array, window, num_threads)


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
    return Scored(_dual(array, window, num_threads), mean_over_epochs(array, num_threads=num_threads))


def _dual(prob: Any, window: int, num_threads: int = 1) -> Any:
    """Return DUAL of an array or tensor [n, T] that is right as it is."""
    _check_window(window, prob.shape[1])
    if is_tensor(prob):
        return _score_tensor(prob, window, num_threads)
    return _score_array(prob, window, num_threads)


def _check_window(window: int, num_epochs: int) -> None:
    check_whole("score.options.dual.window", window, 2)
    if num_epochs < window:
        raise ConfigError(
            f"dual: {num_epochs} recorded epochs are fewer than the window of {window}; record at least {window} "
            f"epochs (record.epochs) or shorten the window (score.options.dual.window)"
        )


def _score_array(prob: NDArray[np.floating], window: int, num_threads: int) -> NDArray[np.float64]:
    score = np.empty(len(prob))
    if prob.dtype not in (np.float32, np.float64):
        wider = np.float32 if prob.dtype == np.float16 else np.float64
        for start in range(0, len(prob), BLOCK):
            block = slice(start, start + BLOCK)
            _fill(prob[block].astype(wider), window, num_threads, score[block])
    else:
        _fill(prob, window, num_threads, score)
    return score


def _fill(prob: NDArray[np.floating], window: int, num_threads: int, score: NDArray[np.float64]) -> None:
    from dualprune.scores.windows import TILE, dual_all_epochs

    num_samples = prob.shape[0]
    share = max(1, -(-num_samples // (TILE * num_threads))) * TILE
    parts = [(start, min(start + share, num_samples)) for start in range(0, num_samples, share)]
    if len(parts) <= 1:
        dual_all_epochs(prob.T, window, 0, num_samples, score)
        return
    with ThreadPoolExecutor(num_threads) as pool:
        jobs = [pool.submit(dual_all_epochs, prob.T, window, *part, score) for part in parts]
        for job in jobs:
            job.result()


def _score_tensor(prob: Any, window: int, num_threads: int) -> Any:
    """Score a tensor where it is: through its memory on the CPU, by its own operations on another device."""
    torch = sys.modules["torch"]
    if prob.device.type == "cpu":
        array = (prob.float() if prob.dtype == torch.bfloat16 else prob).numpy()
        return torch.from_numpy(_score_array(array, window, num_threads))
    scores = []
    for part in prob.split(BLOCK):
        total = part.new_zeros(len(part), dtype=torch.float64)
        for k in range(prob.shape[1] - window + 1):
            values = part[:, k : k + window].double()
            deviation = values - values[:, :1]
            total += (1.0 - values[:, 0] - deviation.mean(1)) * deviation.std(1, correction=1)
        scores.append(total / (prob.shape[1] - window + 1))
    return torch.cat(scores)


class DualAccumulator(Accumulator):
    """DUAL of n samples, one epoch at a time; the same bits as `dual` on all epochs at once.

    Keeps the last J epochs and a sum: n · (4·J + 8) bytes for values up to float32, n · (8·J + 8) for float64.
    """

    def __init__(self, num_samples: int, window: int = WINDOW) -> None:
        _check_window(window, num_epochs=window)
        self.window = window
        self.num_epochs = 0
        self._score_sum = np.zeros(num_samples)
        # Made at the first update, when the values' precision is known.
        self._ring: NDArray[np.floating] | None = None

    def update(self, epoch: int, values: Values, seen: NDArray[np.bool_]) -> None:
        """Take one epoch's `target_prob` [n]; a DataError where the number of samples differs."""
        from dualprune.scores.windows import dual_next_epoch

        prob = values[TARGET_PROB]
        if prob.shape != self._score_sum.shape:
            raise DataError(f"epoch {epoch} has shape {prob.shape}; expected {self._score_sum.shape}")
        if self._ring is None:
            self._ring = np.empty((self.window, len(prob)), np.result_type(np.float32, prob.dtype))
        self._ring[self.num_epochs % self.window] = prob
        self.num_epochs += 1
        if self.num_epochs >= self.window:
            dual_next_epoch(self._ring, self.num_epochs - 1, self._score_sum)

    def result(self) -> NDArray[np.float64]:
        """Return the scores over the epochs so far; a ConfigError where they are fewer than a window."""
        _check_window(self.window, self.num_epochs)
        result: NDArray[np.float64] = self._score_sum / (self.num_epochs - self.window + 1)
        return result


@SCORES.register("dual")
class Dual(EpochScore):
    """Hard samples whose prediction varies early in training first (arXiv 2502.06905)."""

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
        scores: NDArray[np.float64] = _dual(dynamics[TARGET_PROB], self.options.window)
        return scores
