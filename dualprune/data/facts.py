"""The result of decoding a source: its parts, and facts about all of them. No torch, which decoding does not need."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualprune.core.sections import TrainConfig
from dualprune.errors import ConfigError

# Decoded images uint8 [n, C, H, W], their labels int64 [n], and which of them could be decoded, bool [n].
DecodedShard = tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.bool_]]


@dataclass(frozen=True)
class DataFacts:
    """The facts about a decoded data set; `mean` and `std` per channel are those of pixels in [0, 1]."""

    shape: tuple[int, int, int]
    num_train: int
    num_classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    skipped_ids: tuple[Any, ...]

    def normalisation(self, recipe: TrainConfig) -> tuple[tuple[float, ...], tuple[float, ...]]:
        """Return mean and standard deviation per channel: the recipe's, or those of the training set.

        Raises:
            ConfigError: the recipe has another number of values than the images have channels.
        """
        for name, values in (("mean", recipe.mean), ("std", recipe.std)):
            if values is not None and len(values) != self.shape[0]:
                raise ConfigError(
                    f"config.train.{name}: {values} has length {len(values)}, but the images have "
                    f"{self.shape[0]} channels; write one value per channel, or null for those of the training set"
                )
        return (
            self.mean if recipe.mean is None else tuple(recipe.mean),
            self.std if recipe.std is None else tuple(recipe.std),
        )
