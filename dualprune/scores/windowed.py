"""The mean over all windows of J epochs of (1 - w · mean) · std: DUAL for w = 1, dynamic uncertainty for w = 0."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualprune.core.arguments import check_whole
from dualprune.errors import ConfigError, DataError
from dualprune.scores.arguments import is_tensor
from dualprune.scores.mean_prob import TARGET_PROB
from dualprune.scores.score import Accumulator, Values

# Samples per block: those that are converted to float32 or float64 together, or processed on a device at once.
BLOCK = 1 << 18


def mean_over_windows(name: str, prob: Any, window: int, mean_weight: float, num_threads: int = 1) -> Any:
    """Return the mean over windows of prob [n, T], an array or tensor that is right as it is.

    The result is float64 [n], and NaN where a value is; a tensor on the same device for a tensor. A window that is
    shorter than 2 or longer than T is a ConfigError in the name of the method `name`.
    """
    _check_window(name, window, prob.shape[1])
    if is_tensor(prob):
        return _score_tensor(prob, window, mean_weight, num_threads)
    return _score_array(prob, window, mean_weight, num_threads)


def _check_window(name: str, window: int, num_epochs: int) -> None:
    check_whole(f"score.options.{name}.window", window, 2)
    if num_epochs < window:
        raise ConfigError(
            f"{name}: {num_epochs} recorded epochs are fewer than the window of {window}; record at least {window} "
            f"epochs (record.epochs) or shorten the window (score.options.{name}.window)"
        )


def _score_array(prob: NDArray[np.floating], window: int, mean_weight: float, num_threads: int) -> NDArray[np.float64]:
    score = np.empty(len(prob))
    if prob.dtype not in (np.float32, np.float64):
        wider = np.float32 if prob.dtype == np.float16 else np.float64
        for start in range(0, len(prob), BLOCK):
            block = slice(start, start + BLOCK)
            _fill(prob[block].astype(wider), window, mean_weight, num_threads, score[block])
    else:
        _fill(prob, window, mean_weight, num_threads, score)
    return score


def _fill(
    prob: NDArray[np.floating], window: int, mean_weight: float, num_threads: int, score: NDArray[np.float64]
) -> None:
    from dualprune.scores.windows import TILE, all_windows

    num_samples = prob.shape[0]
    share = max(1, -(-num_samples // (TILE * num_threads))) * TILE
    parts = [(start, min(start + share, num_samples)) for start in range(0, num_samples, share)]
    if len(parts) <= 1:
        all_windows(prob.T, window, mean_weight, 0, num_samples, score)
        return
    with ThreadPoolExecutor(num_threads) as pool:
        jobs = [pool.submit(all_windows, prob.T, window, mean_weight, *part, score) for part in parts]
        for job in jobs:
            job.result()


def _score_tensor(prob: Any, window: int, mean_weight: float, num_threads: int) -> Any:
    """Score a tensor where it is: through its memory on the CPU, by its own operations on another device."""
    torch = sys.modules["torch"]
    if prob.device.type == "cpu":
        array = (prob.float() if prob.dtype == torch.bfloat16 else prob).numpy()
        return torch.from_numpy(_score_array(array, window, mean_weight, num_threads))
    scores = []
    for part in prob.split(BLOCK):
        total = part.new_zeros(len(part), dtype=torch.float64)
        for k in range(prob.shape[1] - window + 1):
            values = part[:, k : k + window].double()
            deviation = values - values[:, :1]
            mean = values[:, 0] + deviation.mean(1)
            total += (1.0 - mean_weight * mean) * deviation.std(1, correction=1)
        scores.append(total / (prob.shape[1] - window + 1))
    return torch.cat(scores)


class WindowAccumulator(Accumulator):
    """`mean_over_windows` of n samples, one epoch at a time; the same bits as for all epochs at once.

    Keeps the last J epochs and a sum: n · (4·J + 8) bytes for values up to float32, n · (8·J + 8) for float64.
    """

    def __init__(self, name: str, num_samples: int, window: int, mean_weight: float) -> None:
        _check_window(name, window, num_epochs=window)
        self._name = name
        self.window, self.mean_weight = window, mean_weight
        self.num_epochs = 0
        self._score_sum = np.zeros(num_samples)
        # Made at the first update, when the values' precision is known.
        self._ring: NDArray[np.floating] | None = None

    def update(self, epoch: int, values: Values, seen: NDArray[np.bool_]) -> None:
        """Take one epoch's `target_prob` [n]; a DataError where the number of samples differs."""
        from dualprune.scores.windows import next_window

        prob = values[TARGET_PROB]
        if prob.shape != self._score_sum.shape:
            raise DataError(f"epoch {epoch} has shape {prob.shape}; expected {self._score_sum.shape}")
        if self._ring is None:
            self._ring = np.empty((self.window, len(prob)), np.result_type(np.float32, prob.dtype))
        self._ring[self.num_epochs % self.window] = prob
        self.num_epochs += 1
        if self.num_epochs >= self.window:
            next_window(self._ring, self.num_epochs - 1, self.mean_weight, self._score_sum)

    def result(self) -> NDArray[np.float64]:
        """Return the scores over the epochs so far; a ConfigError where they are fewer than a window."""
        _check_window(self._name, self.window, self.num_epochs)
        result: NDArray[np.float64] = self._score_sum / (self.num_epochs - self.window + 1)
        return result
