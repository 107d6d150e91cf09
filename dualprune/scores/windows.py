"""Compiled sums over sliding windows of epochs; the arithmetic under `dual` and `dyn_unc`.

The variance of a window is taken around a *pivot*, one of the window's own values: with d = p - pivot it is
(Σd² - (Σd)²/J) / (J-1). As the pivot belongs to the window, Σd² is at most J times the sum of squares around the mean,
so the subtraction loses at most a factor J of double precision, whatever the values; a constant window is exactly 0.
Every J-th epoch is a pivot, so each window holds exactly one. A window's sums are those from its pivot back to its
first epoch, made once per pivot, plus those from its pivot on to its last, made as the window slides: no sum is ever
subtracted from, and the work is O(1) per window.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from dualprune.core.compiled import compiled

# Samples per pass: their sums stay in the nearest caches, and the compiler vectorises the loops over them. Measured:
# 64 is half as fast on epoch-major data, 2048 is a tenth slower.
TILE = 512


@compiled
def term(
    deviation_sum: float, square_sum: float, pivot: float, share: float, share_unbiased: float, mean_weight: float
) -> float:
    """Return (1 - mean_weight · mean) · std of a window.

    It follows from Σ(p - pivot) and Σ(p - pivot)²; the shares are 1/J and 1/(J-1).
    """
    mean = deviation_sum * share
    square = square_sum - deviation_sum * mean
    # Below zero only where squares of numbers under 1e-160 underflow; a NaN passes.
    if square < 0.0:
        square = 0.0
    return (1.0 - mean_weight * pivot - mean_weight * mean) * math.sqrt(square * share_unbiased)


@compiled
def all_windows(
    prob_TN: NDArray[np.floating],  # noqa: N803
    window: int,
    mean_weight: float,
    start: int,
    stop: int,
    score: NDArray[np.float64],
) -> None:
    """Fill score [N] of the samples start … stop-1 with the mean `term` of all windows; arrays may have any strides."""
    num_epochs = prob_TN.shape[0]
    num_windows = num_epochs - window + 1
    share, share_unbiased = 1.0 / window, 1.0 / (window - 1)
    tile = np.zeros((num_epochs, TILE), prob_TN.dtype)
    # Row j holds the sums over the j epochs before the pivot.
    sums_back = np.zeros((window, TILE))
    squares_back = np.zeros((window, TILE))
    pivot, sum_on, square_on, total = np.zeros((4, TILE))
    for first in range(start, stop, TILE):
        count = min(TILE, stop - first)
        total[:] = 0.0
        for epoch in range(num_epochs):
            values = tile[epoch]
            for i in range(count):
                values[i] = prob_TN[epoch, first + i]
        for pivot_epoch in range(window - 1, num_epochs, window):
            pivot[:] = tile[pivot_epoch]
            for j in range(1, window):
                values = tile[pivot_epoch - j]
                sums, sums_before = sums_back[j], sums_back[j - 1]
                squares, squares_before = squares_back[j], squares_back[j - 1]
                for i in range(TILE):
                    deviation = values[i] - pivot[i]
                    sums[i] = sums_before[i] + deviation
                    squares[i] = squares_before[i] + deviation * deviation
            sum_on[:] = 0.0
            square_on[:] = 0.0
            for last in range(pivot_epoch, min(pivot_epoch + window, num_epochs)):
                values = tile[last]
                num_before = pivot_epoch - (last - window + 1)
                sums, squares = sums_back[num_before], squares_back[num_before]
                for i in range(TILE):
                    deviation = values[i] - pivot[i]
                    sum_on[i] += deviation
                    square_on[i] += deviation * deviation
                    total[i] += term(
                        sum_on[i] + sums[i], square_on[i] + squares[i], pivot[i], share, share_unbiased, mean_weight
                    )
        for i in range(count):
            score[first + i] = total[i] / num_windows


@compiled
def next_window(ring: NDArray[np.floating], epoch: int, mean_weight: float, total: NDArray[np.float64]) -> None:
    """Add the `term` of the window that ends at `epoch` to total [N]; ring [J, N] holds epoch t in row t mod J.

    The same operations in the same order as `all_windows`, so that both have the same bits.
    """
    window, num_samples = ring.shape
    pivot_epoch = epoch - (epoch + 1) % window
    share, share_unbiased = 1.0 / window, 1.0 / (window - 1)
    pivot, sum_back, square_back, sum_on, square_on = np.zeros((5, TILE))
    for start in range(0, num_samples, TILE):
        stop = min(start + TILE, num_samples)
        pivot[: stop - start] = ring[pivot_epoch % window, start:stop]
        sum_back[:] = 0.0
        square_back[:] = 0.0
        for earlier in range(pivot_epoch - 1, epoch - window, -1):
            values = ring[earlier % window, start:stop]
            for i in range(stop - start):
                deviation = values[i] - pivot[i]
                sum_back[i] += deviation
                square_back[i] += deviation * deviation
        sum_on[:] = 0.0
        square_on[:] = 0.0
        for later in range(pivot_epoch, epoch + 1):
            values = ring[later % window, start:stop]
            for i in range(stop - start):
                deviation = values[i] - pivot[i]
                sum_on[i] += deviation
                square_on[i] += deviation * deviation
        for i in range(stop - start):
            total[start + i] += term(
                sum_on[i] + sum_back[i], square_on[i] + square_back[i], pivot[i], share, share_unbiased, mean_weight
            )
