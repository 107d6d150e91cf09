"""What curricula share: exact numbers of samples, and draws that any process makes alike.

A draw ranks positions by a seeded hash, so it depends on neither a generator's history nor the number of workers.
"""

from __future__ import annotations

import math
from decimal import ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualprune.core.hashing import mix, salted, uniform
from dualprune.errors import ConfigError
from dualprune.selection.engine.counts import num_kept

Ints = NDArray[np.int64]


def exact(share: float, number: int) -> Decimal:
    """Return share · number in decimals: digits after the twelfth are noise of arithmetic."""
    return Decimal(f"{share:.12f}") * number


def floor_of(share: float, number: int) -> int:
    """Return share · number, rounded down: 0.29 · 100 is 29, which floats miss."""
    return int(exact(share, number).to_integral_value(rounding=ROUND_FLOOR))


def nearest_of(share: float, number: int) -> int:
    """Return share · number rounded to the nearest, a half to the even number."""
    return int(exact(share, number).to_integral_value(rounding=ROUND_HALF_EVEN))


def some_of(ratio: float, number: int, name: str) -> int:
    """Return how many of `number` samples remain where the share `ratio` is left out, rounded half up.

    Raises:
        ConfigError: none remains.
    """
    kept = num_kept(number, ratio)
    if kept == 0:
        raise ConfigError(
            f"train.curriculum.options.ratio: {ratio:g} of {number} samples leaves {name!r} none to train on; choose a "
            "smaller ratio"
        )
    return kept


def hashes(salt: np.uint64, number: int, num_samples: int) -> NDArray[np.uint64]:
    """Return the hashes uint64 [N] of all positions in the draw of this number, such as an epoch."""
    own = mix(np.array([salt, number], dtype=np.uint64))
    return salted(np.arange(num_samples, dtype=np.uint64), own[0] ^ own[1])


def uniforms(salt: np.uint64, number: int, num_samples: int) -> NDArray[np.float64]:
    """Return a number in (0, 1) for every position, float64 [N]."""
    return uniform(hashes(salt, number, num_samples))


def lowest(keys: NDArray[Any], ties: NDArray[np.uint64], count: int, among: Ints | None = None) -> Ints:
    """Return the `count` positions of the lowest keys [N], in that order, ties by hash [N]; of `among`, or of all."""
    rows = np.arange(len(keys)) if among is None else among
    found: Ints = rows[np.lexsort((ties[rows], keys[rows]))[:count]]
    return found


def subset(noise: NDArray[np.uint64], count: int, among: Ints | None = None) -> Ints:
    """Return `count` positions at random, without replacement: those of the lowest hashes [N]."""
    rows = np.arange(len(noise)) if among is None else among
    found: Ints = rows[np.argsort(noise[rows], kind="stable")[:count]]
    return found


def mean(values: NDArray[Any]) -> float:
    """Return the mean, correctly rounded: the same on every kind of processor, so that all workers decide alike."""
    return math.fsum(values.tolist()) / len(values)


def weights_of(positions: Ints, num_samples: int, weight: float = 1.0) -> NDArray[np.float32]:
    """Return float32 [N]: `weight` at the positions, 0 elsewhere."""
    weights = np.zeros(num_samples, dtype=np.float32)
    weights[positions] = weight
    return weights
