"""The contract of loaders: a loader turns the plan of an epoch into batches on the training device."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from dualprune.data.plan import EpochPlan

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Batch:
    """One step's samples of a rank, on the device.

    Attributes:
        inputs: what the model takes, such as float32 [b, C, H, W].
        targets: int64 [b].
        positions: int64 [b]; -1 for padding and for samples that could not be decoded.
        weights: float32 [b], of the losses; 0 where the position is -1.
        num_global: samples of this step over all ranks.
    """

    inputs: torch.Tensor
    targets: torch.Tensor
    positions: torch.Tensor
    weights: torch.Tensor
    num_global: int


class Loader(Protocol):
    """Holds or reads the data of one rank."""

    def epoch(self, epoch: int, plan: EpochPlan) -> Iterator[Batch]:
        """Yield this rank's batches of an epoch, augmented: one per step of the plan, of at least two samples."""

    def as_is(self, positions: NDArray[np.int64], batch_size: int) -> Iterator[Batch]:
        """Yield these samples in order, unaugmented; samples that cannot be decoded are left out."""
