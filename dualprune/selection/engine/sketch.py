"""Some samples by chance, from which a search guesses where the last kept ones lie; no result depends on them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dualprune.core.hashing import hash_bits, id_bits
from dualprune.selection.rows import Rows

# One of this many samples is taken, or fewer where that would be more than MOST.
SHARE = 256
MOST = 1 << 18


@dataclass
class Sketch:
    """Columns of some samples, in the order of their positions: position, id_bits and what else was asked for.

    One of SHARE · step is taken.
    """

    step: int = 1
    pieces: list[dict[str, Any]] = field(default_factory=list)

    def __len__(self) -> int:
        return sum(len(piece["position"]) for piece in self.pieces)

    def choose(self, rows: Rows, columns: Sequence[str]) -> None:
        """Take some of the rows."""
        count = len(rows) // SHARE
        if not count:
            return
        numbers = np.unique(np.random.default_rng(int(rows.position[0])).integers(len(rows), size=count))
        piece = {name: getattr(rows, name)[numbers] for name in ("position", *columns)}
        piece["id_bits"] = id_bits(rows.sample_id.take(numbers))
        self.pieces.append(piece)

    @property
    def columns(self) -> dict[str, Any]:
        """All columns, whole; none where nothing is chosen."""
        names = self.pieces[0] if self.pieces else ()
        whole = {name: np.concatenate([piece[name] for piece in self.pieces]) for name in names}
        order = np.argsort(whole["position"], kind="stable") if whole else None
        return {name: values[order] for name, values in whole.items()}

    def add(self, other: Sketch) -> None:
        """Take what was chosen elsewhere, too; of too many, every other one is given up."""
        self._thin(max(1, other.step // self.step))
        self.pieces.extend(_thinned(piece, self.step // other.step) for piece in other.pieces)
        while len(self) > MOST:
            self._thin(2)

    def _thin(self, step: int) -> None:
        self.step *= step
        self.pieces = [_thinned(piece, step) for piece in self.pieces]

    def rows(self, seed: int) -> Rows:
        """Return all as rows that know their hashes for a seed."""
        columns = self.columns
        bits = columns.pop("id_bits")
        rows = Rows.of(**columns)
        rows.once(("hash", seed), lambda: hash_bits(bits, seed))
        return rows


def _thinned(piece: dict[str, Any], step: int) -> dict[str, Any]:
    return {name: values[::step] for name, values in piece.items()}
