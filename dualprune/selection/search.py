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
from dualprune.selection.sample import Sample, guess
from dualprune.selection.screen import narrowed

# So many samples in doubt, of all questions together, are looked at one by one.
FEW = 1 << 19
# `each(function)` gives function(parts) for every bucket's parts.
Each = Callable[[Callable[[Iterable[Part]], Any]], Iterator[Any]]


@dataclass(frozen=True)
class Survey:
    """What one pass tells of the samples that take part: [C] arrays of all and of the forced ones, score range.

    `sample` are some of all samples, by chance.
    """

    num_samples: int
    available: Ints
    forced: Ints
    num_positive: int
    lowest: float
    highest: float
    anchor: float
    sample: Sample


def survey(each: Each, question: Question, anchor_size: int = 0) -> Survey:
    """Count the samples of each cell and find the range of their scores.

    The anchor is the mean of mean_prob over the `anchor_size` highest scores of all samples, ties by id; NaN for 0.
    """
    sums: list[Any] = [0, 0, 0, 0]
    low, high = np.inf, -np.inf
    best: list[tuple[float, Any, float]] = []
    sample = Sample(question.draw.seed)
    for found, top, chosen in each(partial(_survey, question, anchor_size)):
        sample.add(chosen)
        sums = [one + more for one, more in zip(sums, found[:4], strict=True)]
        low, high = min(low, found[4]), max(high, found[5])
        best = sorted(best + top, key=_by_score_then_id)[:anchor_size]
    anchor = float(np.mean([mean for _, _, mean in best])) if best else float("nan")
    num, available, forced, positive = sums
    return Survey(num, available, forced, positive, low, high, anchor, sample)


def _by_score_then_id(row: tuple[float, Any, float]) -> tuple[float, Any]:
    return -row[0], row[1]


def _survey(question: Question, anchor_size: int, parts: Iterable[Part]) -> Any:
    cells = question.num_cells
    num, positive, low, high = 0, 0, np.inf, -np.inf
    available, forced = np.zeros(cells, dtype=np.int64), np.zeros(cells, dtype=np.int64)
    best: list[tuple[float, Any, float]] = []
    sample = Sample(question.draw.seed)
    for part in parts:
        num += len(part)
        sample.choose(part, with_mean=anchor_size > 0, with_group=question.num_groups > 1)
        if anchor_size and len(part):
            floor = best[-1][0] if len(best) == anchor_size else -np.inf
            if part.score.max() >= floor:
                best = sorted(best + highest(part, anchor_size, floor), key=_by_score_then_id)[:anchor_size]
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
    return (num, available, forced, positive, low, high), best, sample.columns


def highest(part: Part, size: int, floor: float = -np.inf) -> list[tuple[float, Any, float]]:
    """Return (score, id, mean_prob) of the `size` highest scores from `floor` on, in that order, ties by id."""
    assert part.mean_prob is not None
    rows = np.flatnonzero(part.score >= floor)
    if len(rows) > size:
        rows = rows[part.score[rows] >= np.partition(part.score[rows], -size)[-size]]
    ids = np.asarray(part.sample_id.take(rows))
    order = np.lexsort((ids, -part.score[rows]))[:size]
    rows = rows[order]
    return list(zip(part.score[rows].tolist(), ids[order].tolist(), part.mean_prob[rows].tolist(), strict=True))


def find_last(
    each: Each, questions: Sequence[Question], wanted: Sequence[Ints], available: Sequence[Ints], sample: Sample
) -> list[Last]:
    """Return, for each question, the last sample of each cell that is kept when `wanted` [C] of `available` [C] are."""
    lasts = [Last.trivial(number) for number in wanted]
    left = [
        n for n, (number, of) in enumerate(zip(wanted, available, strict=True)) if ((number > 0) & (number < of)).any()
    ]
    # What a sample tells is wrong once in a while; the second search goes without.
    for known in (sample, Sample(sample.seed)):
        if left:
            guesses = {n: guess(questions[n], wanted[n], available[n], known) for n in left}
            few = FEW // len(left)
            searches = {n: Search.start(wanted[n], available[n], guesses[n], few) for n in left}
            _refine(each, questions, searches, few)
            left = _settle(each, questions, searches, lasts, narrow=len(known) > 0)
    assert not left, "a search without a guess finds the last kept samples"
    return lasts


def _refine(each: Each, questions: Sequence[Question], searches: dict[int, Search], few: int) -> None:
    """Go down until few samples of each question are in doubt."""
    while coarse := {n: search for n, search in searches.items() if search.num_left > few and search.refinable}:
        work = partial(_histograms, [questions[n] for n in coarse], list(coarse.values()))
        sums = [np.zeros((len(search.wanted), search.num_bins), dtype=np.int64) for search in coarse.values()]
        for found in each(work):
            for whole, histogram in zip(sums, found, strict=True):
                whole += histogram
        for search, histogram in zip(coarse.values(), sums, strict=True):
            search.refine(histogram)


def _histograms(questions: list[Question], searches: list[Search], parts: Iterable[Part]) -> list[NDArray[np.int64]]:
    sums = [np.zeros((len(search.wanted), search.num_bins), dtype=np.int64) for search in searches]
    for part in parts:
        for question, search, into in zip(questions, searches, sums, strict=True):
            rank, cell = question.standing(part)
            search.count(rank, part.hash(question.draw.seed) if search.by_hash.any() else None, cell, into)
    # Most bins of one bucket hold less than 2^32, and this travels.
    return [whole.astype(np.uint32) if whole.max(initial=0) < 1 << 32 else whole for whole in sums]


def _settle(
    each: Each, questions: Sequence[Question], searches: dict[int, Search], lasts: Sequence[Last], *, narrow: bool
) -> list[int]:
    """Enter the last kept samples, and return the questions where they are not among those in doubt.

    With `narrow`, samples that lie below those in doubt are passed over unranked.
    """
    found = list(each(partial(_doubtful, [questions[n] for n in searches], list(searches.values()), narrow)))
    missed = []
    for place, (n, search) in enumerate(searches.items()):
        cell, rank, hash_, position = (
            np.concatenate([rows[place][column] for rows, _, _ in found]) for column in range(4)
        )
        wanted = search.total - np.sum([above[place] for _, above, _ in found], axis=0)
        below = np.max([lower[place] for _, _, lower in found], axis=0)
        order = np.argsort(cell, kind="stable")
        starts = np.searchsorted(cell[order], np.arange(len(wanted) + 1))
        # The first not kept one counts, too, and may be below those in doubt: it is not known there if some were left out.
        if ((wanted < 1) | (wanted + narrow > np.diff(starts)))[search.active].any():
            missed.append(n)
            continue
        for c in np.flatnonzero(search.active):
            rows = order[starts[c] : starts[c + 1]]
            lasts[n].settle(int(c), int(wanted[c]), rank[rows], hash_[rows], position[rows], below[c])
    return missed


def _doubtful(questions: list[Question], searches: list[Search], narrow: bool, parts: Iterable[Part]) -> Any:
    collected: list[list[tuple[Any, ...]]] = [[] for _ in searches]
    above = [np.zeros(len(search.wanted), dtype=np.int64) for search in searches]
    below = [np.zeros(len(search.wanted), dtype=np.uint64) for search in searches]
    floors = [search.floor for search in searches]
    for whole in parts:
        part = narrowed(whole, questions, floors) if narrow else whole
        for n, (question, search) in enumerate(zip(questions, searches, strict=True)):
            rank, cell = question.standing(part)
            by_hash = part.hash(question.draw.seed) if search.by_hash.any() else None
            rows = search.in_doubt(rank, by_hash, cell, above[n], below[n])
            if len(rows):
                hash_ = part.hash(question.draw.seed)[rows]
                collected[n].append((cell[rows], rank[rows], hash_, part.position[rows]))
    return [_joined(columns) for columns in collected], above, below


def _joined(columns: list[tuple[Any, ...]]) -> tuple[NDArray[Any], ...]:
    kinds = (np.int64, np.uint64, np.uint64, np.int64)
    empty = [tuple(np.zeros(0, dtype=kind) for kind in kinds)]
    return tuple(np.concatenate(values) for values in zip(*(columns or empty), strict=True))
