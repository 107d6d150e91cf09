"""The result of decoding a source: its parts, and facts about all of them. No torch, which decoding does not need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualprune.core.sections import TrainConfig
from dualprune.errors import ConfigError

# Decoded images uint8 [n, C, H, W] or arrays float [n, d], their labels int64 [n], and which can be used, bool [n].
DecodedShard = tuple[NDArray[np.uint8] | NDArray[np.floating[Any]], NDArray[np.int64], NDArray[np.bool_]]


@dataclass(frozen=True)
class DataFacts:
    """The facts about a decoded data set: of images (C, H, W) or of arrays (d,).

    `mean` and `std` are those of each channel, of pixels in [0, 1], or of each number of an array.
    """

    shape: tuple[int, ...]
    num_train: int
    num_classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    skipped_ids: tuple[Any, ...]

    def normalisation(self, recipe: TrainConfig) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return mean and standard deviation per channel or number of an array: the recipe's, or the training set's.

        Raises:
            ConfigError: the recipe has another number of values than the images have channels, or the arrays numbers.
        """
        what = "the images have {} channels" if len(self.shape) == 3 else "the arrays have {} numbers"
        for name, values in (("mean", recipe.mean), ("std", recipe.std)):
            if values is not None and len(values) != self.shape[0]:
                raise ConfigError(
                    f"config.train.{name}: {values} has length {len(values)}, but {what.format(self.shape[0])}; "
                    "write one value for each, or null for those of the training set"
                )
        return (
            self.mean if recipe.mean is None else tuple(recipe.mean),
            self.std if recipe.std is None else tuple(recipe.std),
        )
