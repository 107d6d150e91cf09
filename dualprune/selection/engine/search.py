"""Answers questions about samples that lie in parts, in a few passes; the caller never holds more than some of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualprune.selection.engine.cells import Ints, Last, Search
from dualprune.selection.engine.question import Question
from dualprune.selection.engine.ranking import Part
from dualprune.selection.engine.screen import narrowed
from dualprune.selection.engine.sketch import Sample, guess
from dualprune.selection.engine.survey import Each

# So many samples in doubt, of all questions together, are looked at one by one.
FEW = 1 << 19


def find_last(
    each: Each, questions: Sequence[Question], wanted: Sequence[Ints], available: Sequence[Ints], sample: Sample
) -> list[Last]:
    """Return, for each question, the last sample of each cell that is kept when `wanted` [C] of `available` [C] are."""
    lasts = [Last.trivial(number) for number in wanted]
    left = [
        n for n, (number, of) in enumerate(zip(wanted, available, strict=True)) if ((number > 0) & (number < of)).any()
    ]
    # What a sample tells is wrong once in a while; the second search goes without.
    for known in (sample, Sample()):
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
        # The first not kept one is wanted, too: below those in doubt it is not known where some were passed over.
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
