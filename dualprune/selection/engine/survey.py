"""A first pass over the samples: their number per cell, their range, those of the highest scores, and a sketch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from dualprune.selection.engine.sketch import Sketch
from dualprune.selection.engine.spec import DrawSpec
from dualprune.selection.rows import Rows
from dualprune.selection.sampler import Floats, Ints

# `each(function)` yields function(rows of the bucket, block by block) for every bucket.
Each = Callable[[Callable[[Iterable[Rows]], Any]], Iterator[Any]]
# Rows that share one maximum: few, so that a block has more such stretches than hardest samples are needed.
STRETCH = 128
# Score, id and mean_prob of a sample.
Hard = tuple[float, Any, float]


@dataclass
class Survey:
    """The facts about some samples; more are added block by block, or as another survey.

    Of all samples: `num_samples`, the `num_hardest` with the highest scores, in that order with ties by id, and a
    `sketch` with the columns `reads`. Of those that take part in a draw: `available` and `forced`, int64 [C], how many
    there are in each cell; and the `lowest` and `highest` score.
    """

    available: Ints
    forced: Ints
    num_hardest: int = 0
    num_samples: int = 0
    lowest: float = np.inf
    highest: float = -np.inf
    hardest: list[Hard] = field(default_factory=list)
    sketch: Sketch = field(default_factory=Sketch)
    reads: tuple[str, ...] = ()

    @classmethod
    def begin(cls, num_cells: int = 1, num_hardest: int = 0, reads: Sequence[str] = ()) -> Survey:
        """Return a survey of no samples."""
        zeros = np.zeros(num_cells, dtype=np.int64)
        return cls(zeros, zeros.copy(), num_hardest, reads=tuple(reads))

    def look(self, spec: DrawSpec, rows: Rows) -> None:
        """Add a block of rows."""
        if not len(rows):
            return
        self.num_samples += len(rows)
        grouped, placed = spec.num_groups > 1, len(spec.forced) or len(spec.excluded)
        self.sketch.choose(
            rows, ["score", *self.reads, *(["group"] if grouped else []), *(["position"] if placed else [])]
        )
        if self.num_hardest:
            floor = self.hardest[-1][0] if len(self.hardest) == self.num_hardest else -np.inf
            if rows.score.max() >= floor:
                self._add_hardest(hardest(rows, self.num_hardest, floor))
        score = rows.score
        if spec.is_of_all:
            self.available[0] += len(rows)
        else:
            cell, must = spec.cells(rows)
            inside = cell >= 0
            cell, score = cell[inside], score[inside]
            if must is not None:
                self.forced += np.bincount(cell[must[inside]], minlength=spec.num_cells)
            self.available += np.bincount(cell, minlength=spec.num_cells)
        if len(score):
            self.lowest, self.highest = min(self.lowest, float(score.min())), max(self.highest, float(score.max()))

    def add(self, other: Survey) -> None:
        """Add the facts of another survey, of other samples."""
        self.num_samples += other.num_samples
        self.available = self.available + other.available
        self.forced = self.forced + other.forced
        self.lowest, self.highest = min(self.lowest, other.lowest), max(self.highest, other.highest)
        self.sketch.add(other.sketch)
        self._add_hardest(other.hardest)

    def _add_hardest(self, more: list[Hard]) -> None:
        self.hardest = sorted(self.hardest + more, key=lambda row: (-row[0], row[1]))[: self.num_hardest]


def survey(each: Each, spec: DrawSpec, num_hardest: int = 0, reads: Sequence[str] = ()) -> Survey:
    """Survey all samples in one pass."""
    whole = Survey.begin(spec.num_cells, num_hardest, reads)
    for found in each(partial(_survey, spec, num_hardest, tuple(reads))):
        whole.add(found)
    return whole


def _survey(spec: DrawSpec, num_hardest: int, reads: Sequence[str], blocks: Iterable[Rows]) -> Survey:
    seen = Survey.begin(spec.num_cells, num_hardest, reads)
    for rows in blocks:
        seen.look(spec, rows)
    return seen


def all_scores(each: Each, spec: DrawSpec) -> Floats:
    """Return the scores of all samples that take part in a draw, float64 [n]; they are held in memory."""
    return np.concatenate(list(each(partial(_scores, spec))))


def _scores(spec: DrawSpec, blocks: Iterable[Rows]) -> Floats:
    parts = [np.zeros(0)]
    for rows in blocks:
        parts.append(rows.score if spec.is_of_all else rows.score[spec.cells(rows)[0] >= 0])
    return np.concatenate(parts)


def hardest(rows: Rows, size: int, floor: float = -np.inf) -> list[Hard]:
    """Return the `size` samples of the highest scores from `floor` on, in that order, ties by id."""
    # At least `size` stretches reach this maximum, each with a row that does, so few other rows are compared.
    maxima = np.maximum.reduceat(rows.score, np.arange(0, len(rows), STRETCH))
    if len(maxima) > size:
        floor = max(floor, float(np.partition(maxima, -size)[-size]))
    numbers = np.flatnonzero(rows.score >= floor)
    if len(numbers) > size:
        numbers = numbers[rows.score[numbers] >= np.partition(rows.score[numbers], -size)[-size]]
    ids = np.asarray(rows.sample_id.take(numbers))
    order = np.lexsort((ids, -rows.score[numbers]))[:size]
    numbers = numbers[order]
    return list(zip(rows.score[numbers].tolist(), ids[order].tolist(), rows.mean_prob[numbers].tolist(), strict=True))
