"""Answers questions about samples that lie in parts, in a few passes; the caller never holds more than some of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualprune.selection.cells import Ints, Last, Search
from dualprune.selection.question import Question
from dualprune.selection.ranking import Part

# So many samples in doubt are looked at one by one.
FEW = 100_000
# `each(function)` gives function(parts) for every bucket's parts.
Each = Callable[[Callable[[Iterable[Part]], Any]], Iterator[Any]]


@dataclass(frozen=True)
class Survey:
    """What one pass over the samples that take part tells: [C] arrays of all and of the forced ones, score range."""

    num_samples: int
    available: Ints
    forced: Ints
    num_positive: int
    lowest: float
    highest: float
    anchor: float


def survey(each: Each, question: Question, anchor_size: int = 0) -> Survey:
    """Count the samples of each cell and find the range of their scores.

    The anchor is the mean of mean_prob over the `anchor_size` highest scores of all samples, ties by id; NaN for 0.
    """
    sums: list[Any] = [0, 0, 0, 0]
    low, high = np.inf, -np.inf
    best: list[tuple[float, Any, float]] = []
    for found, top in each(partial(_survey, question, anchor_size)):
        sums = [one + more for one, more in zip(sums, found[:4], strict=True)]
        low, high = min(low, found[4]), max(high, found[5])
        best = sorted(best + top, key=_by_score_then_id)[:anchor_size]
    anchor = float(np.mean([mean for _, _, mean in best])) if best else float("nan")
    num, available, forced, positive = sums
    return Survey(num, available, forced, positive, low, high, anchor)


def _by_score_then_id(row: tuple[float, Any, float]) -> tuple[float, Any]:
    return -row[0], row[1]


def _survey(question: Question, anchor_size: int, parts: Iterable[Part]) -> Any:
    cells = question.num_cells
    num, positive, low, high = 0, 0, np.inf, -np.inf
    available, forced = np.zeros(cells, dtype=np.int64), np.zeros(cells, dtype=np.int64)
    best: list[tuple[float, Any, float]] = []
    for part in parts:
        num += len(part)
        if anchor_size and len(part):
            floor = best[-1][0] if len(best) == anchor_size else -np.inf
            if part.score.max() >= floor:
                best = sorted(best + highest(part, anchor_size), key=_by_score_then_id)[:anchor_size]
        cell, must = question.cells(part)
        inside = cell >= 0
        score = part.score
        if not inside.all():
            cell, score = cell[inside], score[inside]
        if must is not None:
            forced += np.bincount(cell[must[inside]], minlength=cells)
        if not len(score):
            continue
        if cells == 1:
            available[0] += len(cell)
        else:
            available += np.bincount(cell, minlength=cells)
        low, high = min(low, float(score.min())), max(high, float(score.max()))
        positive += len(score) if low > 0.0 else int(np.count_nonzero(score > 0.0))
    return (num, available, forced, positive, low, high), best


def highest(part: Part, size: int) -> list[tuple[float, Any, float]]:
    """Return (score, id, mean_prob) of the `size` highest scores, the highest first, ties by id ascending."""
    assert part.mean_prob is not None
    size = min(size, len(part))
    floor = np.partition(part.score, -size)[-size]
    rows = np.flatnonzero(part.score >= floor)
    ids = np.asarray(part.sample_id)[rows]
    rows = rows[np.lexsort((ids, -part.score[rows]))][:size]
    ids = np.asarray(part.sample_id)[rows].tolist()
    return list(zip(part.score[rows].tolist(), ids, part.mean_prob[rows].tolist(), strict=True))


def find_last(
    each: Each, questions: Sequence[Question], wanted: Sequence[Ints], available: Sequence[Ints]
) -> list[Last]:
    """Return, for each question, the last sample of each cell that is kept when `wanted` [C] of `available` [C] are."""
    searches = [
        Search.start(number, of, question.draw.focus())
        for question, number, of in zip(questions, wanted, available, strict=True)
    ]
    while True:
        coarse = [n for n, search in enumerate(searches) if search.num_left > FEW and search.refinable]
        if not coarse:
            break
        work = partial(_histograms, [questions[n] for n in coarse], [searches[n] for n in coarse])
        sums = [np.zeros((len(searches[n].wanted), searches[n].num_bins), dtype=np.int64) for n in coarse]
        for found in each(work):
            for whole, histogram in zip(sums, found, strict=True):
                whole += histogram
        for n, histogram in zip(coarse, sums, strict=True):
            searches[n].refine(histogram)
    lasts = [Last.trivial(number) for number in wanted]
    if any(search.active.any() for search in searches):
        _settle(each, questions, searches, lasts)
    return lasts


def _histograms(questions: list[Question], searches: list[Search], parts: Iterable[Part]) -> list[NDArray[np.int64]]:
    sums = [np.zeros((len(search.wanted), search.num_bins), dtype=np.int64) for search in searches]
    for part in parts:
        for question, search, into in zip(questions, searches, sums, strict=True):
            rank, cell = question.standing(part)
            search.count(rank, part.hash(question.draw.seed) if search.by_hash.any() else None, cell, into)
    # Most bins of one bucket hold less than 2^32, and this travels.
    return [whole.astype(np.uint32) if whole.max(initial=0) < 1 << 32 else whole for whole in sums]


def _settle(each: Each, questions: Sequence[Question], searches: list[Search], lasts: list[Last]) -> None:
    found = list(each(partial(_doubtful, questions, searches)))
    for n, (search, last) in enumerate(zip(searches, lasts, strict=True)):
        cell, rank, hash_, position = (np.concatenate([rows[n][column] for rows, _ in found]) for column in range(4))
        below = np.max([lower[n] for _, lower in found], axis=0)
        order = np.argsort(cell, kind="stable")
        starts = np.searchsorted(cell[order], np.arange(len(search.wanted) + 1))
        for c in np.flatnonzero(search.active):
            rows = order[starts[c] : starts[c + 1]]
            last.settle(int(c), int(search.wanted[c]), rank[rows], hash_[rows], position[rows], below[c])


def _doubtful(questions: Sequence[Question], searches: list[Search], parts: Iterable[Part]) -> Any:
    collected: list[list[tuple[Any, ...]]] = [[] for _ in searches]
    below = [np.zeros(len(search.wanted), dtype=np.uint64) for search in searches]
    for part in parts:
        for n, (question, search) in enumerate(zip(questions, searches, strict=True)):
            if not search.active.any():
                continue
            rank, cell = question.standing(part)
            rows, lower = search.in_doubt(rank, part.hash(question.draw.seed) if search.by_hash.any() else None, cell)
            np.maximum(below[n], lower, out=below[n])
            if len(rows):
                hash_ = part.hash(question.draw.seed)[rows]
                collected[n].append((cell[rows], rank[rows], hash_, part.position[rows]))
    return [_joined(columns) for columns in collected], below


def _joined(columns: list[tuple[Any, ...]]) -> tuple[NDArray[Any], ...]:
    kinds = (np.int64, np.uint64, np.uint64, np.int64)
    empty = [tuple(np.zeros(0, dtype=kind) for kind in kinds)]
    return tuple(np.concatenate(values) for values in zip(*(columns or empty), strict=True))
