"""Random samples from which a search estimates where the last kept ones lie; no result depends on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dualprune.selection.rows import Rows

# One of this many samples is taken, or fewer where that would be more than MOST.
SHARE = 256
MOST = 1 << 18
# This many scores of a block seed the choice of its samples.
SEEDS = 4


@dataclass
class Sketch:
    """Columns of some samples, in the order of their buckets; `score` is one. One of SHARE · step is taken."""

    step: int = 1
    pieces: list[dict[str, Any]] = field(default_factory=list)

    def __len__(self) -> int:
        return sum(len(piece["score"]) for piece in self.pieces)

    def choose(self, rows: Rows, columns: Sequence[str]) -> None:
        """Take random rows of these."""
        count = len(rows) // SHARE
        if count:
            rng = np.random.default_rng(rows.score[:SEEDS].view(np.uint64))
            numbers = np.unique(rng.integers(len(rows), size=count))
            self.pieces.append({name: getattr(rows, name)[numbers] for name in columns})

    def add(self, other: Sketch) -> None:
        """Add the samples that another sketch chose; where they become too many, drop every other one."""
        self._thin(max(1, other.step // self.step))
        self.pieces.extend(_thinned(piece, self.step // other.step) for piece in other.pieces)
        while len(self) > MOST:
            self._thin(2)

    def _thin(self, step: int) -> None:
        self.step *= step
        self.pieces = [_thinned(piece, step) for piece in self.pieces]

    def rows(self, salt: np.uint64) -> Rows:
        """Return all as rows with random hashes: these are as good as the ids' for an estimate, and no id is read."""
        columns = {name: np.concatenate([piece[name] for piece in self.pieces]) for name in self.pieces[0]}
        rows = Rows.of(**columns)
        hashes = np.random.default_rng(int(salt)).integers(1 << 64, size=len(rows), dtype=np.uint64)
        rows.once(("hash", salt), lambda: hashes)
        return rows


def _thinned(piece: dict[str, Any], step: int) -> dict[str, Any]:
    return {name: values[::step] for name, values in piece.items()}
