"""ZCore: samples that cover the space of features, without labels and without training (arXiv 2411.15349).

Each of S draws takes two coordinates at random, a point z with z_j ~ Triangular(lowest, median, highest value of
coordinate j), and the sample i nearest to z by L1 distance. Sample i gets +1. With d the L1 distances from i in these
coordinates, the others ascending: where the least is 0, that sample gets -1, or else the 1000 nearest get -d⁻⁴ / Σ d⁻⁴.
Every sample gets a uniform number in (0, 1) once, and the scores are brought to [0, 1].
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from os import cpu_count
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, PositiveInt

from dualprune.core.compiled import compiled
from dualprune.core.hashing import salted, stream_salt, uniform
from dualprune.core.registry import Difference
from dualprune.scores.features import FeatureScore, Floats, Ints, SeededOptions, by_hash, from_features
from dualprune.scores.score import SCORES, Values

Preset = Literal["ours", "authors"]
NUM_NEAREST = 1000
# The authors' ten workers make the same draws.
WORKERS = 10
# A fixed number of partial sums: their total has the same bits for any number of threads.
PARTS = 16


def zcore(
    features: Any, *, draws: int = 1_000_000, preset: Preset = "ours", seed: int = 0, sample_ids: Any = None
) -> Floats:
    """Score samples by how they cover the space of features: float64 [n] in [0, 1] for features [n, d].

    `draws`, `preset` and `seed` are the method's options; further arguments and errors as for
    `dualprune.scores.from_features`.
    """
    return from_features("zcore", features, sample_ids=sample_ids, draws=draws, preset=preset, seed=seed)


@SCORES.register("zcore")
class Zcore(FeatureScore):
    """Samples that cover the space of features first, without labels or training (arXiv 2411.15349)."""

    scope = "all"
    needs_ids = True
    source = "ZCore, arXiv 2411.15349; voxel51/zcore@5fe8048"
    cost = "draws · n operations and 8 · n · d bytes, in one process"
    differences = (
        Difference(
            "the authors' ten workers share one random state, so that each draw counts ten times", "preset: authors"
        ),
        Difference("the authors put features of CLIP and of a ResNet-18 side by side", "columns: [clip, resnet18]"),
    )

    class Options(SeededOptions):
        """Options of `zcore`."""

        baseline: ClassVar[Mapping[str, Any]] = {**SeededOptions.baseline, "draws": 1_000_000, "preset": "ours"}
        draws: PositiveInt = Field(1_000_000, description="Number of random points.")
        preset: Preset = Field("ours", description="ours: each draw is another; authors: a tenth, each ten times.")

    def score(self, columns: Values, labels: NDArray[np.int64] | None, summary: Any = None) -> Floats:
        order = by_hash(self.hashes(columns))
        by_coordinate = np.ascontiguousarray(self.features(columns)[order].T, dtype=np.float64)
        salt = stream_salt(self.options.seed, f"score/{self.name}/draws")
        if self.options.preset == "ours":
            total = covered(by_coordinate, self.options.draws, salt)
        else:
            total = WORKERS * covered(by_coordinate, max(1, self.options.draws // WORKERS), salt)
        result = np.empty(len(order))
        result[order] = total
        result += uniform(self.hashes(columns, f"score/{self.name}/noise"))
        result -= result.min()
        highest = float(result.max())
        return result / highest if highest > 0.0 else result


def covered(by_coordinate: Floats, num_draws: int, salt: np.uint64) -> Floats:
    """Return what n samples get in all draws, float64 [n], for features [d, n]; of equal samples, the first gets it."""
    coordinates, points = drawn(by_coordinate, num_draws, salt)
    bounds = np.linspace(0, num_draws, PARTS + 1).astype(int)
    with ThreadPoolExecutor(cpu_count() or 1) as pool:
        parts = pool.map(partial(_part, by_coordinate, coordinates, points), bounds[:-1].tolist(), bounds[1:].tolist())
        total: Floats = np.sum(list(parts), axis=0)
    return total


def drawn(by_coordinate: Floats, num_draws: int, salt: np.uint64) -> tuple[Ints, Floats]:
    """Return the coordinates of each draw, int64 [S, 1 or 2], and its point in them, float64 [S, 1 or 2]."""
    width = len(by_coordinate)
    chance = uniform(salted(np.arange(4 * num_draws, dtype=np.uint64), salt)).reshape(num_draws, 4)
    first = np.minimum((chance[:, 0] * width).astype(np.int64), width - 1)
    if width == 1:
        coordinates = first[:, None]
    else:
        # One of the others.
        step = 1 + np.minimum((chance[:, 1] * (width - 1)).astype(np.int64), width - 2)
        coordinates = np.stack([first, (first + step) % width], axis=1)
    low, middle, high = by_coordinate.min(axis=1), np.median(by_coordinate, axis=1), by_coordinate.max(axis=1)
    low, middle, high = low[coordinates], middle[coordinates], high[coordinates]
    share = chance[:, 2 : 2 + coordinates.shape[1]]
    width_of = high - low
    mode = np.divide(middle - low, width_of, out=np.zeros_like(low), where=width_of > 0.0)
    rising = low + width_of * np.sqrt(share * mode)
    falling = high - width_of * np.sqrt((1.0 - share) * (1.0 - mode))
    return coordinates, np.where(share < mode, rising, falling)


def _part(by_coordinate: Floats, coordinates: Ints, points: Floats, start: int, stop: int) -> Floats:
    total = np.zeros(by_coordinate.shape[1])
    _cover(by_coordinate, coordinates[start:stop], points[start:stop], total)
    return total


@compiled
def _l1(by_coordinate: Floats, coordinates: Ints, point: Floats, result: Floats) -> None:
    """Write the L1 distances of all samples from a point in some coordinates into result [n]."""
    for i in range(len(result)):
        result[i] = 0.0
    for place in range(len(coordinates)):
        values, at = by_coordinate[coordinates[place]], point[place]
        for i in range(len(result)):
            result[i] += abs(values[i] - at)


@compiled
def _cover(by_coordinate: Floats, coordinates: Ints, points: Floats, total: Floats) -> None:
    """Add what each sample gets in these draws."""
    num = by_coordinate.shape[1]
    distance = np.empty(num)
    own = np.empty(coordinates.shape[1])
    for draw in range(len(coordinates)):
        _l1(by_coordinate, coordinates[draw], points[draw], distance)
        hit = np.argmin(distance)
        total[hit] += 1.0
        if num == 1:
            continue
        for place in range(len(own)):
            own[place] = by_coordinate[coordinates[draw, place], hit]
        _l1(by_coordinate, coordinates[draw], own, distance)
        distance[hit] = np.inf
        nearest = np.argmin(distance)
        least = distance[nearest]
        if least == 0.0:
            total[nearest] -= 1.0
            continue
        wanted = min(NUM_NEAREST, num - 1)
        farthest = np.partition(distance, wanted - 1)[wanted - 1]
        closer = 0
        for i in range(num):
            if distance[i] < farthest:
                closer += 1
        # Of those at the same distance as the last one, the first.
        ties, weights = wanted - closer, 0.0
        for turn in range(2):
            left = ties
            for i in range(num):
                if distance[i] < farthest or (distance[i] == farthest and left > 0):
                    if distance[i] == farthest:
                        left -= 1
                    # In units of the least distance: powers neither overflow nor vanish all.
                    weight = (least / distance[i]) ** 4
                    if turn == 0:
                        weights += weight
                    else:
                        total[i] -= weight / weights
