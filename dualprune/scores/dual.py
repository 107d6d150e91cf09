"""DUAL: samples that are hard and on which the model wavers early come first (arXiv 2502.06905).

With p[i, t] the probability that the model gives sample i's target class in epoch t, and windows of J epochs,

    DUAL(i) = mean over k = 0 … T-J of (1 - mean_k) · std_k,    mean_k, std_k (unbiased) of p[i, k … k+J-1].
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self, overload

import numpy as np
from numpy.typing import NDArray

from dualprune.core.config import ScoreConfig
from dualprune.errors import ConfigError, DataError
from dualprune.scores.score import SCORES, Accumulator, Scored, ScoreMethod

if TYPE_CHECKING:
    from torch import Tensor

WINDOW = 10
STATISTIC = "target_prob"
# What is not float32 or float64 is converted in blocks of so many samples; a device works on as many at once.
BLOCK = 1 << 18


@overload
def dual(target_prob: NDArray[np.floating], window: int = ..., *, num_threads: int = ...) -> NDArray[np.float64]: ...
@overload
def dual(target_prob: Tensor, window: int = ..., *, num_threads: int = ...) -> Tensor: ...
def dual(target_prob: Any, window: int = WINDOW, *, num_threads: int = 1) -> Any:
    """Score samples by DUAL; a high score means: keep first.

    Args:
        target_prob: [n, T] target probabilities in [0, 1], a numpy array or a torch tensor; float16 to float64, any
            strides. Nothing is copied as a whole, so the transposed view of a [T, n] buffer is as good.
        window: J, epochs a window; 2 … T.
        num_threads: threads that share the samples out, for numpy and tensors on the CPU.

    Returns:
        float64 [n], in [0, 0.5·sqrt(J/(J-1))]; a tensor on the same device where a tensor came. NaN where any value is.

    Raises:
        ConfigError: a window shorter than 2, or longer than the T epochs.
        DataError: `target_prob` is not two-dimensional.
    """
    return dual_and_mean(target_prob, window, num_threads=num_threads)[0]


def dual_and_mean(target_prob: Any, window: int = WINDOW, *, num_threads: int = 1) -> Scored:
    """Return `dual` and the mean over all T epochs, from one pass; arguments and errors as for `dual`."""
    if len(target_prob.shape) != 2:
        raise DataError(f"target_prob has shape {tuple(target_prob.shape)}; expected [n, T], samples by epochs")
    _check_window(window, target_prob.shape[1])
    if type(target_prob).__module__.partition(".")[0] == "torch":
        return _score_tensor(target_prob, window, num_threads)
    return _score_array(np.asarray(target_prob), window, num_threads)


def _check_window(window: int, num_epochs: int) -> None:
    if window < 2:
        raise ConfigError(f"score.window: {window} is too short; a standard deviation needs 2 epochs or more")
    if num_epochs < window:
        raise ConfigError(
            f"dual: {num_epochs} recorded epochs are fewer than the window of {window}; record at least {window} "
            f"epochs (record.epochs) or shorten the window (score.window)"
        )


def _score_array(prob: NDArray[np.floating], window: int, num_threads: int) -> Scored:
    num_samples = prob.shape[0]
    score, mean_prob = np.empty(num_samples), np.empty(num_samples)
    if prob.dtype not in (np.float32, np.float64):
        wider = np.float32 if prob.dtype == np.float16 else np.float64
        for start in range(0, num_samples, BLOCK):
            block = slice(start, start + BLOCK)
            _fill(prob[block].astype(wider), window, num_threads, (score[block], mean_prob[block]))
    else:
        _fill(prob, window, num_threads, (score, mean_prob))
    return Scored(score, mean_prob)


def _fill(prob: NDArray[np.floating], window: int, num_threads: int, out: tuple[Any, Any]) -> None:
    # Imported here, as numba takes half a second to import.
    from dualprune.scores.windows import TILE, dual_all_epochs

    num_samples = prob.shape[0]
    share = max(1, -(-num_samples // (TILE * num_threads))) * TILE
    parts = [(start, min(start + share, num_samples)) for start in range(0, num_samples, share)]
    if len(parts) <= 1:
        dual_all_epochs(prob.T, window, 0, num_samples, *out)
        return
    with ThreadPoolExecutor(num_threads) as pool:
        jobs = [pool.submit(dual_all_epochs, prob.T, window, *part, *out) for part in parts]
        for job in jobs:
            job.result()


def _score_tensor(prob: Any, window: int, num_threads: int) -> Scored:
    """Score a tensor where it is: through its memory on the CPU, by its own operations on another device."""
    torch = sys.modules["torch"]
    prob = prob.detach()
    if prob.device.type == "cpu":
        array = (prob.float() if prob.dtype == torch.bfloat16 else prob).numpy()
        return Scored(*(torch.from_numpy(column) for column in _score_array(array, window, num_threads)))
    scores, means = [], []
    for part in prob.split(BLOCK):
        total = part.new_zeros(len(part), dtype=torch.float64)
        for k in range(prob.shape[1] - window + 1):
            values = part[:, k : k + window].double()
            deviation = values - values[:, :1]
            total += (1.0 - values[:, 0] - deviation.mean(1)) * deviation.std(1, correction=1)
        scores.append(total / (prob.shape[1] - window + 1))
        means.append(part.double().mean(1))
    return Scored(torch.cat(scores), torch.cat(means))


class DualAccumulator(Accumulator):
    """DUAL of n samples, one epoch at a time; gives the same bits as `dual` on all epochs at once.

    Keeps the last J epochs and two sums: n · (J + 4) float32 for values up to float32, twice the former for float64.
    """

    def __init__(self, num_samples: int, window: int = WINDOW) -> None:
        _check_window(window, num_epochs=window)
        self.window = window
        self.num_epochs = 0
        self._score_sum = np.zeros(num_samples)
        self._prob_sum = np.zeros(num_samples)
        self._ring: NDArray[np.floating] | None = None

    def update(self, statistics: Mapping[str, NDArray[np.floating]] | NDArray[np.floating]) -> None:
        """Take one epoch's target probabilities [n]; a DataError where their number differs."""
        from dualprune.scores.windows import dual_next_epoch

        prob = np.asarray(statistics[STATISTIC] if isinstance(statistics, Mapping) else statistics)
        if prob.shape != self._prob_sum.shape:
            raise DataError(f"epoch {self.num_epochs} has shape {prob.shape}; expected {self._prob_sum.shape}")
        if self._ring is None:
            self._ring = np.empty((self.window, len(prob)), np.result_type(np.float32, prob.dtype))
        self._ring[self.num_epochs % self.window] = prob
        self._prob_sum += prob
        self.num_epochs += 1
        if self.num_epochs >= self.window:
            dual_next_epoch(self._ring, self.num_epochs - 1, self._score_sum)

    def result(self) -> Scored:
        """Return score and mean_prob over the epochs so far; a ConfigError where they are fewer than a window."""
        _check_window(self.window, self.num_epochs)
        return Scored(self._score_sum / (self.num_epochs - self.window + 1), self._prob_sum / self.num_epochs)


@SCORES.register("dual")
@dataclass(frozen=True)
class Dual(ScoreMethod):
    """DUAL with a window of J epochs."""

    name: ClassVar[str] = "dual"
    requires: ClassVar[tuple[str, ...]] = (STATISTIC,)
    has_mean_prob: ClassVar[bool] = True
    window: int = WINDOW

    @classmethod
    def from_config(cls, config: ScoreConfig) -> Self:
        """Return the method with `score.window`."""
        return cls(window=config.window)

    @property
    def parameters(self) -> dict[str, Any]:
        """The window."""
        return {"window": self.window}

    @property
    def min_epochs(self) -> int:
        """One window."""
        return self.window

    def score(self, statistics: Mapping[str, NDArray[np.floating]]) -> Scored:
        """Return DUAL and the mean target probability of n samples from `target_prob` [n, T]."""
        return dual_and_mean(statistics[STATISTIC], self.window)

    def accumulator(self, num_samples: int) -> DualAccumulator:
        """Return the form that takes one epoch at a time."""
        return DualAccumulator(num_samples, self.window)
