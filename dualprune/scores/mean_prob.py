"""The mean probability of the target class, μ: its only definition. Every score file has it beside the score."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualprune.core.arguments import check_whole
from dualprune.core.arrays import Axes
from dualprune.core.compiled import compiled
from dualprune.scores.arguments import Missing, is_tensor, statistic_of
from dualprune.scores.score import Accumulator, Values

TARGET_PROB = "target_prob"
# Samples whose sums stay in the nearest cache while the epochs pass by.
TILE = 1024


def mean_prob(
    target_prob: Any,
    epochs: int | None = None,
    *,
    axes: Axes | None = None,
    missing: Missing = "raise",
    num_threads: int = 1,
) -> Any:
    """Return the mean of target_prob [n, T] over its first `epochs` epochs, or over all: float64 [n].

    Further arguments and errors as for `dualprune.scores.dual`. A torch tensor yields a tensor on the same device.
    """
    if epochs is not None:
        check_whole("epochs", epochs, 1)
    check_whole("num_threads", num_threads, 1)
    return mean_over_epochs(statistic_of(target_prob, TARGET_PROB, axes, missing), epochs, num_threads=num_threads)


def mean_over_epochs(target_prob: Any, epochs: int | None = None, *, num_threads: int = 1) -> Any:
    """Return `mean_prob` of an array or tensor [n, T] that is right as it is; NaN where a value is.

    Values are added in the order of the epochs, in double precision, so that `MeanProb` has the same bits.
    """
    used = target_prob[:, :epochs]
    if is_tensor(target_prob):
        torch = sys.modules["torch"]
        total = torch.zeros(len(used), dtype=torch.float64, device=used.device)
        for epoch in used.T:
            total += epoch
        return total / used.shape[1]
    if used.dtype not in (np.float32, np.float64):
        used = used.astype(np.float32 if used.dtype == np.float16 else np.float64)
    total = np.zeros(len(used))
    share = max(1, -(-len(used) // (TILE * num_threads))) * TILE
    starts = range(0, len(used), share)
    if len(starts) <= 1:
        _add_epochs(used.T, 0, len(used), total)
    else:
        with ThreadPoolExecutor(num_threads) as pool:
            list(pool.map(lambda start: _add_epochs(used.T, start, min(start + share, len(used)), total), starts))
    return total / used.shape[1]


@compiled
def _add_epochs(
    prob_TN: NDArray[np.floating],  # noqa: N803
    start: int,
    stop: int,
    total: NDArray[np.float64],
) -> None:
    """Add the epochs of the samples start … stop-1 to total [N], epoch by epoch."""
    for first in range(start, stop, TILE):
        last = min(first + TILE, stop)
        sums = total[first:last]
        for epoch in range(prob_TN.shape[0]):
            # Loops over slices are vectorised; with an index of first + i they are not.
            values = prob_TN[epoch, first:last]
            for i in range(len(sums)):
                sums[i] += values[i]


class MeanProb(Accumulator):
    """`mean_prob` one epoch at a time: 8 bytes per sample."""

    def __init__(self, num_samples: int, epochs: int | None = None) -> None:
        self._epochs = epochs
        self.num_epochs = 0
        self.total = np.zeros(num_samples)

    def update(self, epoch: int, values: Values, seen: NDArray[np.bool_]) -> None:
        """Add the epoch's `target_prob` if the epoch is among the first `epochs`."""
        if self._epochs is None or self.num_epochs < self._epochs:
            self.total += values[TARGET_PROB]
            self.num_epochs += 1

    def result(self) -> NDArray[np.float64]:
        """Return the mean over the epochs so far."""
        return self.total / self.num_epochs
