"""Which samples an epoch trains on, and with what weight; an epoch's plan is made from such a choice."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Choice:
    """The whole set, each sample with the weight 1; a subclass chooses otherwise.

    A choice is a function of the position alone: the answers do not depend on how calls divide the positions.

    Attributes:
        lr_factor: what the epoch's learning rates are multiplied by.
    """

    lr_factor: float = 1.0

    def weights(self, positions: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return the weight of each sample's loss, float32 [m], not negative; 0 leaves the sample out."""
        return np.ones(len(positions), dtype=np.float32)

    def refresh(self, positions: NDArray[np.int64]) -> NDArray[np.bool_] | None:
        """Return which samples are forwarded once more after the last step, bool [m]; None: no sample."""
        del positions
        return None


class Subset(Choice):
    """Some samples of the set, each with the weight 1."""

    def __init__(self, positions: NDArray[np.int64], num_samples: int) -> None:
        self._kept = np.zeros(num_samples, dtype=np.float32)
        self._kept[positions] = 1.0

    def weights(self, positions: NDArray[np.int64]) -> NDArray[np.float32]:
        weights: NDArray[np.float32] = self._kept[positions]
        return weights


class Within(Choice):
    """The samples of a subset that another choice takes."""

    def __init__(self, subset: Choice, choice: Choice) -> None:
        self._subset, self._choice = subset, choice
        self.lr_factor = choice.lr_factor

    def weights(self, positions: NDArray[np.int64]) -> NDArray[np.float32]:
        return self._subset.weights(positions) * self._choice.weights(positions)

    def refresh(self, positions: NDArray[np.int64]) -> NDArray[np.bool_] | None:
        again = self._choice.refresh(positions)
        return None if again is None else again & (self._subset.weights(positions) > 0)
