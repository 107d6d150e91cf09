"""Which samples an epoch trains on, and with what weight; an epoch's plan is made from such a choice."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Choice:
    """The whole set, each sample with the weight 1; a subclass chooses otherwise.

    A choice is a function of the position alone: the answers do not depend on how calls divide the positions.

    Attributes:
        lr_factor: what the epoch's learning rates are multiplied by.
        cap: how many samples may be left out at most, where that is a setting; None where the number itself is.
    """

    lr_factor: float = 1.0
    cap: int | None = None

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
        self.positions = np.unique(positions)
        self._kept = np.zeros(num_samples, dtype=np.float32)
        self._kept[positions] = 1.0

    def weights(self, positions: NDArray[np.int64]) -> NDArray[np.float32]:
        weights: NDArray[np.float32] = self._kept[positions]
        return weights


class Weighted(Choice):
    """Weights float32 [N] by position, 0 where a sample is left out, and which samples are refreshed, bool [N]."""

    def __init__(
        self,
        weights: NDArray[np.float32],
        refreshed: NDArray[np.bool_] | None = None,
        *,
        lr_factor: float = 1.0,
        cap: int | None = None,
    ) -> None:
        self._weights, self._refreshed = weights.astype(np.float32, copy=False), refreshed
        self.lr_factor, self.cap = lr_factor, cap

    def weights(self, positions: NDArray[np.int64]) -> NDArray[np.float32]:
        weights: NDArray[np.float32] = self._weights[positions]
        return weights

    def refresh(self, positions: NDArray[np.int64]) -> NDArray[np.bool_] | None:
        return None if self._refreshed is None else self._refreshed[positions]


class Within(Choice):
    """What another choice takes of a subset; to that choice, the subset's samples are 0 … k-1, by rising position."""

    def __init__(self, subset: Subset, choice: Choice) -> None:
        self._subset, self._choice = subset, choice
        self.lr_factor, self.cap = choice.lr_factor, choice.cap

    def weights(self, positions: NDArray[np.int64]) -> NDArray[np.float32]:
        weights = self._subset.weights(positions)
        inside = weights > 0
        weights[inside] = self._choice.weights(self._numbers(positions[inside]))
        return weights

    def refresh(self, positions: NDArray[np.int64]) -> NDArray[np.bool_] | None:
        again = self._subset.weights(positions) > 0
        found = self._choice.refresh(self._numbers(positions[again]))
        if found is None:
            return None
        again[again] = found
        return again

    def _numbers(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.searchsorted(self._subset.positions, positions)
