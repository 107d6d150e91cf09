"""A first look at the samples: how many there are in each cell, their range, the hardest, and some by chance.

It takes a pass, unless all that is asked is known since the scores were made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from dualprune.selection.engine.cells import Ints
from dualprune.selection.engine.question import Question
from dualprune.selection.engine.ranking import Part
from dualprune.selection.engine.sketch import Sample

# `each(function)` gives function(parts) for every bucket's parts.
Each = Callable[[Callable[[Iterable[Part]], Any]], Iterator[Any]]
# Rows of which one maximum is made: few, so that a block has more such stretches than hardest samples are asked for.
STRETCH = 128
# Score, id and mean_prob of a sample.
Hard = tuple[float, Any, float]


@dataclass
class Survey:
    """What was seen of some samples; more are added part by part, or as another survey.

    Of all samples: `num_samples`, the `num_hardest` with the highest scores, in that order with ties by id, and a
    `sample` of them. Of those that take part in a question: `available` and `forced`, int64 [C], how many there are in
    each cell; `num_positive`, how many have a positive score; and the `lowest` and `highest` score.
    """

    available: Ints
    forced: Ints
    num_hardest: int = 0
    num_samples: int = 0
    num_positive: int = 0
    lowest: float = np.inf
    highest: float = -np.inf
    hardest: list[Hard] = field(default_factory=list)
    sample: Sample = field(default_factory=Sample)

    @classmethod
    def begin(cls, num_cells: int = 1, num_hardest: int = 0) -> Survey:
        """Return a survey of nothing yet."""
        return cls(np.zeros(num_cells, dtype=np.int64), np.zeros(num_cells, dtype=np.int64), num_hardest)

    def anchor(self, size: int) -> float:
        """Return the mean of mean_prob over the `size` hardest samples, NaN for 0."""
        return float(np.mean([mean for _, _, mean in self.hardest[:size]])) if size else float("nan")

    def look(self, question: Question, part: Part) -> None:
        """Add the samples of a part."""
        if not len(part):
            return
        self.num_samples += len(part)
        self.sample.choose(part, with_mean=self.num_hardest > 0, with_group=question.num_groups > 1)
        if self.num_hardest:
            floor = self.hardest[-1][0] if len(self.hardest) == self.num_hardest else -np.inf
            if part.score.max() >= floor:
                self._add_hardest(hardest(part, self.num_hardest, floor))
        score = part.score
        if question.is_of_all:
            self.available[0] += len(part)
        else:
            cell, must = question.cells(part)
            inside = cell >= 0
            cell, score = cell[inside], score[inside]
            if must is not None:
                self.forced += np.bincount(cell[must[inside]], minlength=question.num_cells)
            self.available += np.bincount(cell, minlength=question.num_cells)
        if not len(score):
            return
        lowest = float(score.min())
        self.lowest, self.highest = min(self.lowest, lowest), max(self.highest, float(score.max()))
        self.num_positive += len(score) if lowest > 0.0 else int(np.count_nonzero(score > 0.0))

    def add(self, other: Survey) -> None:
        """Add what another survey, of other samples, has seen."""
        self.num_samples += other.num_samples
        self.available = self.available + other.available
        self.forced = self.forced + other.forced
        self.num_positive += other.num_positive
        self.lowest, self.highest = min(self.lowest, other.lowest), max(self.highest, other.highest)
        self.sample.add(other.sample)
        self._add_hardest(other.hardest)

    def _add_hardest(self, more: list[Hard]) -> None:
        self.hardest = sorted(self.hardest + more, key=_by_score_then_id)[: self.num_hardest]


def survey(each: Each, question: Question, num_hardest: int = 0, known: Survey | None = None) -> Survey:
    """Look at all samples, as far as `known`, a survey of all samples without a question, does not say it already."""
    if known is not None and question.is_of_all and num_hardest <= known.num_hardest:
        return known
    whole = Survey.begin(question.num_cells, num_hardest)
    for found in each(partial(_survey, question, num_hardest)):
        whole.add(found)
    return whole


def _survey(question: Question, num_hardest: int, parts: Iterable[Part]) -> Survey:
    seen = Survey.begin(question.num_cells, num_hardest)
    for part in parts:
        seen.look(question, part)
    return seen


def _by_score_then_id(row: Hard) -> tuple[float, Any]:
    return -row[0], row[1]


def hardest(part: Part, size: int, floor: float = -np.inf) -> list[Hard]:
    """Return the `size` samples of the highest scores from `floor` on, in that order, ties by id."""
    assert part.mean_prob is not None
    # As many stretches of rows have a maximum from here on, and so has a row of each: few others are looked at.
    maxima = np.maximum.reduceat(part.score, np.arange(0, len(part), STRETCH))
    if len(maxima) > size:
        floor = max(floor, float(np.partition(maxima, -size)[-size]))
    rows = np.flatnonzero(part.score >= floor)
    if len(rows) > size:
        rows = rows[part.score[rows] >= np.partition(part.score[rows], -size)[-size]]
    ids = np.asarray(part.sample_id.take(rows))
    order = np.lexsort((ids, -part.score[rows]))[:size]
    rows = rows[order]
    return list(zip(part.score[rows].tolist(), ids[order].tolist(), part.mean_prob[rows].tolist(), strict=True))
