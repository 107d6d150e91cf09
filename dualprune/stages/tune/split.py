"""The validation split: a part of the training set on which trials are measured, and which is never selected."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dualprune.errors import ConfigError


def validation_positions(labels: NDArray[np.int64], fraction: float, seed: int) -> NDArray[np.int64]:
    """Return the positions of a share `fraction` of the samples of each class, int64 [v], ascending.

    `labels` are int64 [N] by position. Each class contributes fraction · its size, rounded half up; equal
    arguments return equal positions. A ConfigError where no sample is left on one of the sides.
    """
    rng = np.random.default_rng([seed, 0x5411])
    order = rng.permutation(len(labels))
    by_class = order[np.argsort(labels[order], kind="stable")]
    counts = np.bincount(labels)
    chosen = []
    for stop, count in zip(np.cumsum(counts), counts, strict=True):
        start = stop - count
        chosen.append(by_class[start : start + int(np.floor(fraction * count + 0.5))])
    positions = np.sort(np.concatenate(chosen)).astype(np.int64)
    if not 0 < len(positions) < len(labels):
        raise ConfigError(
            f"config.tune.validation_fraction: {fraction:g} of {len(labels)} samples leaves {len(positions)} to "
            f"validate on and {len(labels) - len(positions)} to select from; both need some"
        )
    return positions
