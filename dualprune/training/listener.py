"""The contract of listeners, which follow recording epoch by epoch: running scores, or a rule that stops."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


class EpochListener(ABC):
    """Receives every epoch of the buckets that this rank owns.

    If it reads stored statistics alone, a resumed recording passes it the earlier epochs again, from the store. If it
    reads one that is not stored, it continues from its state, so it must define `state_dict` and `load_state_dict`.
    """

    # Identifies the listener's state among those of several listeners.
    name: str = "listener"

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the statistics that it receives."""
        return ()

    @abstractmethod
    def update(
        self, epoch: int, bucket: int, values: Mapping[str, NDArray[np.float32]], seen: NDArray[np.bool_]
    ) -> None:
        """Take an epoch of a bucket, in the thread that writes it while the next epoch trains.

        `values` holds [n], or [n, width], per statistic that has values in this epoch, in position order, NaN where a
        sample has none; `seen` bool [n] says which samples were recorded.
        """

    def committed(self, epoch: int) -> None:  # noqa: B027 - most listeners need not override it
        """Note that an epoch is committed. Every rank calls it, in order, so collectives may be used."""

    def prompt(self, epoch: int) -> bool:
        """Return whether `epoch` must be committed before the next one trains; the same on every rank."""
        return False

    @property
    def stopped_after(self) -> int | None:
        """The committed epoch after which recording may stop; None so far. The same on every rank."""
        return None

    def state_dict(self, bucket: int) -> dict[str, Any]:
        """Return all that `load_state_dict` needs to continue with a bucket: arrays, numbers and strings by name."""
        return {}

    def load_state_dict(self, bucket: int, state: Mapping[str, Any]) -> None:
        """Continue with a bucket from what `state_dict` returned after the last committed epoch."""
        raise NotImplementedError(f"{type(self).__name__} reads statistics that are not stored and has no state")
