"""What follows recording epoch by epoch: running scores, a rule that stops."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray


class EpochListener(ABC):
    """Is shown every epoch of the buckets that this rank owns.

    Where it reads stored statistics alone, a resumed recording shows it the earlier epochs anew, from the store. Where
    it reads one that is not stored, it goes on from its state, so it must define `state_dict` and `load_state_dict`.
    """

    # Whose state it is, where there are several listeners.
    name: str = "listener"

    @property
    def reads(self) -> tuple[str, ...]:
        """Names of the statistics that it is shown."""
        return ()

    @abstractmethod
    def update(
        self, epoch: int, bucket: int, values: Mapping[str, NDArray[np.float32]], seen: NDArray[np.bool_]
    ) -> None:
        """Take an epoch of a bucket, in the thread that writes it while the next epoch trains.

        `values` holds [n], or [n, width], per statistic that has values in this epoch, in position order, NaN where a
        sample has none; `seen` bool [n] says which samples came.
        """

    def committed(self, epoch: int) -> None:  # noqa: B027 - nothing to do is usual
        """Learn that an epoch counts. Called on every rank alike, in order, so that collectives may be used."""

    def prompt(self, epoch: int) -> bool:
        """Return whether `epoch` must be committed before the next one trains; the same on every rank."""
        return False

    @property
    def stopped_after(self) -> int | None:
        """The committed epoch after which recording may stop; None so far. The same on every rank."""
        return None

    def state_dict(self, bucket: int) -> dict[str, Any]:
        """Return all that `load_state_dict` needs to go on with a bucket: arrays, numbers and strings by name."""
        return {}

    def load_state_dict(self, bucket: int, state: Mapping[str, Any]) -> None:
        """Go on with a bucket from what `state_dict` returned after the last committed epoch."""
        raise NotImplementedError(f"{type(self).__name__} reads statistics that are not stored and has no state")
