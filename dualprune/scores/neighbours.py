"""The nearest neighbours of samples, exact and in blocks: memory grows with the samples, never with their pairs.

Products in float32 leave a few candidates per sample, each with a lower bound of its distance. The distances of these
are then computed in double precision, and where the bounds cannot exclude all others, those of all samples.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from dualprune.core.compiled import compiled
from dualprune.scores.distances import squared_distances, tiled
from dualprune.scores.features import Floats, Ints

Singles = NDArray[np.float32]
ROWS, COLUMNS = 1 << 10, 1 << 13
# Candidates beyond the neighbours: with fewer, bounds exclude the others less often.
SPARE = 16
# In place of a point.
NONE = -1


class Neighbours(NamedTuple):
    """The k nearest points of each of m queries, nearest first, int64 [m, k], and their distances [m, k]."""

    points: Ints
    distances: Floats


def neighbours(queries: NDArray[Any], points: NDArray[Any], k: int, *, itself: bool = True) -> Neighbours:
    """Return the k nearest points [n, d] of each query [m, d]; of equal distances, the point that comes first.

    `itself`: False where the queries are the points, and none is its own neighbour. There must be k points.
    """
    result = Neighbours(np.empty((len(queries), k), np.int64), np.empty((len(queries), k)))
    if k == 0:
        return result
    mean = points.mean(axis=0, dtype=np.float64)
    scale = _scale(queries, points, mean)
    single = _centred(points, mean, scale)
    norms = np.linalg.norm(single, axis=1).astype(np.float64)
    tiles: list[NDArray[Any]] = []
    for start in range(0, len(queries), ROWS):
        block = queries[start : start + ROWS]
        found, distance = result.points[start : start + ROWS], result.distances[start : start + ROWS]
        candidates, bounds = _candidates(_centred(block, mean, scale), single, norms, k, NONE if itself else start)
        _refine(block, points, candidates, found, distance)
        # A point that was left out is at least as far as the bound of the last candidate.
        certain = (distance[:, -1] < bounds * scale * scale) | (candidates[:, -1] == NONE)
        for row in np.flatnonzero(~certain):
            tiles = tiles or [tiled(points)]
            found[row], distance[row] = _of_all(
                block[row], tiles[0], len(points), k, NONE if itself else start + int(row)
            )
    np.sqrt(result.distances, out=result.distances)
    return result


def _scale(queries: NDArray[Any], points: NDArray[Any], mean: Floats) -> float:
    """Return the largest coordinate, by which features are divided: squares then fit into float32."""
    largest = max(
        float(np.abs(values[start : start + ROWS] - mean).max())
        for values in (queries, points)
        for start in range(0, len(values), ROWS)
    )
    return largest if largest > 0.0 else 1.0


def _centred(features: NDArray[Any], mean: Floats, scale: float) -> Singles:
    result = np.empty(features.shape, dtype=np.float32)
    for start in range(0, len(features), ROWS):
        result[start : start + ROWS] = (features[start : start + ROWS] - mean) / scale
    return result


def _candidates(block: Singles, points: Singles, norms: Floats, k: int, first: int) -> tuple[Ints, Floats]:
    """Return the candidates of each query, int64 [b, k + SPARE], NONE where there are no more, and bounds [b].

    Every other point's squared distance is at least the bound. `first` is the first query's own place, or NONE.
    """
    candidates = np.full((len(block), k + SPARE), NONE, dtype=np.int64)
    keys = np.full(candidates.shape, np.inf)
    own_norms = np.linalg.norm(block, axis=1).astype(np.float64)
    # Rounding of the coordinates, the products and their sum.
    slack = (block.shape[1] + 8) * float(np.finfo(np.float32).eps)
    for start in range(0, len(points), COLUMNS):
        products = block @ points[start : start + COLUMNS].T
        _keep_nearest(products, own_norms, norms[start : start + COLUMNS], slack, start, first, candidates, keys)
    bounds = keys.max(axis=1)
    order = np.argsort(keys, axis=1, kind="stable")
    return np.take_along_axis(candidates, order, axis=1), bounds


@compiled
def _keep_nearest(
    products: Singles,
    own_norms: Floats,
    norms: Floats,
    slack: float,
    start: int,
    first: int,
    candidates: Ints,
    keys: Floats,
) -> None:
    """Put the points of a tile among each query's candidates, by a lower bound of the squared distance."""
    for row in range(products.shape[0]):
        own, itself = own_norms[row], (first + row if first >= 0 else -1)
        worst = np.argmax(keys[row])
        highest = keys[row, worst]
        for column in range(products.shape[1]):
            norm = norms[column]
            both = own + norm
            key = own * own + norm * norm - 2.0 * products[row, column] - slack * both * both
            if key < highest and start + column != itself:
                keys[row, worst], candidates[row, worst] = key, start + column
                worst = np.argmax(keys[row])
                highest = keys[row, worst]


@compiled
def _refine(block: NDArray[Any], points: NDArray[Any], candidates: Ints, found: Ints, distance: Floats) -> None:
    """Write the nearest of each query's candidates, and their squared distances, in double precision."""
    for row in range(len(candidates)):
        filled = 0
        for candidate in candidates[row]:
            if candidate < 0:
                continue
            total = 0.0
            for j in range(block.shape[1]):
                apart = np.float64(block[row, j]) - np.float64(points[candidate, j])
                total += apart * apart
            # Insert by distance, then by place.
            at = filled
            while at > 0 and (
                distance[row, at - 1] > total or (distance[row, at - 1] == total and found[row, at - 1] > candidate)
            ):
                at -= 1
            if at < found.shape[1]:
                filled = min(filled + 1, found.shape[1])
                for place in range(filled - 1, at, -1):
                    distance[row, place], found[row, place] = distance[row, place - 1], found[row, place - 1]
                distance[row, at], found[row, at] = total, candidate


def _of_all(query: NDArray[Any], tiles: NDArray[Any], size: int, k: int, itself: int) -> tuple[Ints, Floats]:
    """Return the nearest points of one query and their squared distances, from those of all points."""
    distance = np.empty(tiles.shape[0] * tiles.shape[2])
    squared_distances(tiles, query.astype(np.float64), distance)
    distance = distance[:size]
    if itself >= 0:
        distance[itself] = np.inf
    near = np.flatnonzero(distance <= np.partition(distance, k - 1)[k - 1])
    near = near[np.argsort(distance[near], kind="stable")][:k]
    return near, distance[near]
