"""Squared distances of many samples from a point, in double precision and at the speed of memory.

Samples stand in tiles [t, d, WIDTH], so that a loop over the samples of a tile is vectorised and no sum is reordered:
equal samples have equal distances, bit for bit.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualprune.core.compiled import compiled
from dualprune.scores.features import Floats

WIDTH = 128


def tiled(features: NDArray[Any]) -> NDArray[Any]:
    """Return features [n, d] in tiles [t, d, WIDTH]; sample i is [i // WIDTH, :, i % WIDTH], and the rest is 0."""
    num, width = features.shape
    tiles = np.zeros((-(-num // WIDTH), width, WIDTH), dtype=features.dtype)
    for tile in range(len(tiles)):
        rows = features[tile * WIDTH : (tile + 1) * WIDTH]
        tiles[tile, :, : len(rows)] = rows.T
    return tiles


@compiled
def squared_distances(tiles: NDArray[Any], point: Floats, result: Floats) -> None:
    """Write the squared distance of each sample from a point [d] into result, float64 [t · WIDTH]."""
    for tile in range(tiles.shape[0]):
        sums = result[tile * tiles.shape[2] : (tile + 1) * tiles.shape[2]]
        for i in range(len(sums)):
            sums[i] = 0.0
        for j in range(tiles.shape[1]):
            values, at = tiles[tile, j], point[j]
            for i in range(len(sums)):
                apart = values[i] - at
                sums[i] += apart * apart
