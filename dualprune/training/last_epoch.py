"""The last epoch's values, for statistics that compare each epoch with the previous one (`Statistic.combine`)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualprune.dynamics.state import above, below
from dualprune.dynamics.statistics import Statistic


class LastEpoch:
    """Holds the last epoch's values of the buckets that this rank owns: 4 · width bytes per sample and statistic."""

    def __init__(self, statistics: Iterable[Statistic]) -> None:
        self.statistics = [statistic for statistic in statistics if statistic.combines()]
        self._before: dict[tuple[str, int], tuple[NDArray[np.float32], NDArray[np.bool_]]] = {}

    def combine(self, bucket: int, values: dict[str, NDArray[np.float32]], seen: NDArray[np.bool_]) -> None:
        """Replace the values of each statistic by what `combine` returns for them and the previous epoch's.

        The result is float32 [n], NaN for samples that were not seen in both. Statistics without a previous epoch are
        removed.
        """
        for statistic in self.statistics:
            now = values.pop(statistic.name)
            before = self._before.get((statistic.name, bucket))
            self._before[statistic.name, bucket] = (now, seen)
            if before is not None:
                both = seen & before[1]
                combined = np.full(len(now), np.nan, dtype=np.float32)
                combined[both] = statistic.combine(_two_dimensional(now)[both], _two_dimensional(before[0])[both])
                values[statistic.name] = combined

    def state_dict(self, bucket: int) -> dict[str, Any]:
        """Return the values of a bucket's last epoch, by statistic."""
        state: dict[str, Any] = {}
        for statistic in self.statistics:
            values, seen = self._before[statistic.name, bucket]
            state |= above({"values": values, "seen": seen}, statistic.name)
        return state

    def load_state_dict(self, bucket: int, state: Mapping[str, Any]) -> None:
        """Continue from what `state_dict` returned after the last committed epoch."""
        for statistic in self.statistics:
            own = below(state, statistic.name)
            self._before[statistic.name, bucket] = (own["values"], own["seen"])


def _two_dimensional(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return values.reshape(len(values), -1)
