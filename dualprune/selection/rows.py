"""Rows of a bucket, as samplers and the engine see them: columns are read when they are first used."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualprune.core.hashing import id_bits, salted, uniform

# The arrays of this many rows fit into a core's own cache.
BLOCK_ROWS = 1 << 16


class Rows:
    """Rows start … stop-1 of a bucket.

    Columns are attributes: `sample_id` int64 or string; `position`, `label` and `group` int64; `score`, `mean_prob` and
    whatever else a sampler `reads`, float64. `column(name)` returns a whole column of the bucket, or None.
    """

    def __init__(self, column: Callable[[str], Any], start: int, stop: int) -> None:
        self._column, self._start, self._stop = column, start, stop
        self._made: dict[tuple[Any, ...], NDArray[Any]] = {}
        self._taken: tuple[Rows, NDArray[np.int64]] | None = None

    @classmethod
    def of(cls, **columns: Any) -> Rows:
        """Return rows from columns in memory; positions default to 0, 1, …, and ids to positions."""
        if "position" not in columns:
            columns["position"] = np.arange(len(columns["score"]))
        columns.setdefault("sample_id", columns["position"])
        return cls(columns.get, 0, len(columns["score"]))

    def __len__(self) -> int:
        return self._stop - self._start

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        whole = self._column(name)
        values = None if whole is None else whole[self._start : self._stop]
        setattr(self, name, values)
        return values

    def take(self, numbers: NDArray[np.int64]) -> Rows:
        """Return some of these rows, given by their numbers."""

        def column(name: str) -> Any:
            values = getattr(self, name)
            return None if values is None else values.take(numbers)

        taken = Rows(column, 0, len(numbers))
        taken._taken = self, numbers
        return taken

    def once(self, key: tuple[Any, ...], make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        """Return the array [n] that `make` returned at the first call with this key, so that all ratios share it."""
        if key not in self._made:
            if self._taken is not None and key in self._taken[0]._made:
                whole, numbers = self._taken
                self._made[key] = whole._made[key].take(numbers)
            else:
                self._made[key] = make()
        return self._made[key]

    def hash(self, salt: np.uint64) -> NDArray[np.uint64]:
        """Return the hash of the ids in the stream of a salt, uint64 [n]."""
        result: NDArray[np.uint64] = self.once(("hash", salt), lambda: salted(id_bits(self.sample_id), salt))
        return result

    def noise(self, salt: np.uint64) -> NDArray[np.float64]:
        """Return standard Gumbel noise that follows from the ids and a salt, float64 [n]."""
        result: NDArray[np.float64] = self.once(("noise", salt), lambda: _gumbel(self.hash(salt)))
        return result


def _gumbel(hashes: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Return -log(-log u) of the uniform numbers u that follow from the hashes."""
    values = uniform(hashes)
    for _ in range(2):
        np.negative(np.log(values, out=values), out=values)
    return values
