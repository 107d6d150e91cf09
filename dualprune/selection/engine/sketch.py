"""Some samples by chance, from which a search guesses where the last kept ones lie; no result depends on them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from dualprune.core.hashing import hash_bits, id_bits
from dualprune.selection.engine.cells import Guess, Ints
from dualprune.selection.engine.question import Question
from dualprune.selection.engine.ranking import Part

# One of so many samples is taken, or fewer where that would be more than MOST.
SHARE = 256
MOST = 1 << 18
# A guess reaches so many standard deviations to both sides: it is wrong once in 2 000 times, and costs two passes then.
DEVIATIONS = 3.5


@dataclass
class Sample:
    """Columns of some samples, in the order of their positions: score, position, id_bits, mean_prob and group if asked.

    One of SHARE · step is taken.
    """

    step: int = 1
    pieces: list[dict[str, Any]] = field(default_factory=list)

    def __len__(self) -> int:
        return sum(len(piece["score"]) for piece in self.pieces)

    def choose(self, part: Part, *, with_mean: bool, with_group: bool) -> None:
        """Take some rows of a part."""
        count = len(part) // SHARE
        if not count:
            return
        rows = np.unique(np.random.default_rng(int(part.position[0])).integers(len(part), size=count))
        names = ["score", "position", *(["mean_prob"] if with_mean else []), *(["group"] if with_group else [])]
        piece = {name: getattr(part, name)[rows] for name in names}
        piece["id_bits"] = id_bits(part.sample_id.take(rows))
        self.pieces.append(piece)

    @property
    def columns(self) -> dict[str, Any]:
        """All columns, whole; none where nothing is chosen."""
        names = self.pieces[0] if self.pieces else ()
        whole = {name: np.concatenate([piece[name] for piece in self.pieces]) for name in names}
        order = np.argsort(whole["position"], kind="stable") if whole else None
        return {name: values[order] for name, values in whole.items()}

    def add(self, other: Sample) -> None:
        """Take what was chosen elsewhere, too; of too many, every other one is given up."""
        self._thin(max(1, other.step // self.step))
        self.pieces.extend(_thinned(piece, self.step // other.step) for piece in other.pieces)
        while len(self) > MOST:
            self._thin(2)

    def _thin(self, step: int) -> None:
        self.step *= step
        self.pieces = [_thinned(piece, step) for piece in self.pieces]

    def part(self, seed: int) -> Part:
        """Return all as one part that knows its hashes for a seed."""
        columns = self.columns
        bits = columns.pop("id_bits")
        part = Part.of(**columns)
        part.once(("hash", seed), lambda: hash_bits(bits, seed))
        return part


def _thinned(piece: dict[str, Any], step: int) -> dict[str, Any]:
    return {name: values[::step] for name, values in piece.items()}


def guess(question: Question, wanted: Ints, available: Ints, sample: Sample) -> Guess:
    """Guess where the last sample of each cell is that is kept when `wanted` [C] of `available` [C] are."""
    lowest, highest = question.draw.focus()
    cells = len(wanted)
    low, high = np.full(cells, lowest, dtype=np.uint64), np.full(cells, highest, dtype=np.uint64)
    if not len(sample):
        return Guess(low, high, available)
    rank, cell = question.standing(sample.part(question.draw.seed))
    order = np.lexsort((rank, cell))
    order = order[np.searchsorted(cell[order], 0) :]
    rank, cell = rank[order], cell[order]
    starts = np.searchsorted(cell, np.arange(cells))
    sizes = np.bincount(cell, minlength=cells)
    # In the sample, the number below the last kept one is binomial.
    share = 1.0 - wanted / np.maximum(available, 1)
    slack = DEVIATIONS * np.sqrt(sizes * share * (1.0 - share)) + 1.0
    below, above = np.floor(sizes * share - slack).astype(np.int64), np.ceil(sizes * share + slack).astype(np.int64)
    inside = (below >= 0) & (above < sizes)
    low[inside], high[inside] = rank[(starts + below)[inside]], rank[(starts + above)[inside]]
    among = (rank >= low[cell]) & (rank <= high[cell])
    count = np.bincount(cell[among], minlength=cells)
    in_doubt = np.where(inside, count / np.maximum(sizes, 1) * available, available)
    return Guess(low, high, in_doubt.astype(np.int64))
