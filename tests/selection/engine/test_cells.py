"""The search for the last kept sample, against a sort, in many cells, in small steps and with ties."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from dualprune.core.hashing import hash_ids
from dualprune.selection.engine import cells, search
from dualprune.selection.engine import sketch as sample
from dualprune.selection.engine.question import Decision, Question
from dualprune.selection.engine.ranking import Part, key_rank, rank_key
from dualprune.selection.engine.search import find_last
from dualprune.selection.engine.survey import survey
from dualprune.selection.samplers.plain import RandomDraw, ScoreDraw

RNG = np.random.default_rng(0)
SCORES = {
    "spread": RNG.random(3000),
    "one value": np.zeros(3000),
    "few values": RNG.integers(-2, 3, 3000).astype(float),
    "all orders of magnitude": np.exp(RNG.normal(0, 100, 3000)) * RNG.choice([-1, 1], 3000),
}


@dataclass
class InParts:
    part: list[Part]

    def each(self, function: Callable[[Iterable[Part]], Any]) -> Iterator[Any]:
        for part in self.part:
            yield function([part])


def in_parts(columns: dict[str, np.ndarray], count: int) -> InParts:
    cuts = np.array_split(np.arange(len(columns["score"])), count)
    return InParts([Part.of(**{name: values[cut] for name, values in columns.items()}) for cut in cuts])


@pytest.mark.parametrize("name", list(SCORES))
@pytest.mark.parametrize("end", ["hardest", "easiest"])
@pytest.mark.parametrize("few", [5, 700, 10_000])
# Without a sample, with a good guess, with one so narrow that it is wrong.
@pytest.mark.parametrize(("share", "deviations"), [(10_000, 0.0), (3, 3.5), (3, -2.0)])
def test_the_k_highest_of_each_cell(
    monkeypatch: pytest.MonkeyPatch, name: str, end: Any, few: int, share: int, deviations: float
) -> None:
    monkeypatch.setattr(search, "FEW", few)
    monkeypatch.setattr(cells, "BINS", 64)
    monkeypatch.setattr(sample, "SHARE", share)
    monkeypatch.setattr(sample, "DEVIATIONS", deviations)
    score = SCORES[name]
    columns = {
        "score": score,
        "position": np.arange(3000),
        "sample_id": np.arange(3000) * 7,
        "group": RNG.integers(0, 4, 3000),
    }
    samples = in_parts(columns, 7)
    question = Question(ScoreDraw(3, end, score.min(), score.max()), num_groups=4)
    seen = survey(samples.each, question)
    available = seen.available
    wanted = np.array([0, 17, int(available[2]), 300])
    [last] = find_last(samples.each, [question], [wanted], [available], seen.sample)
    kept = np.concatenate([Decision(question, last).keeps(part) for part in samples.part])
    expected = np.zeros(3000, dtype=bool)
    hashes = hash_ids(columns["sample_id"], 3)
    for group, number in enumerate(wanted):
        rows = np.flatnonzero(columns["group"] == group)
        order = np.lexsort((~hashes[rows], score[rows] * (-1 if end == "hardest" else 1)))
        expected[rows[order[:number]]] = True
    np.testing.assert_array_equal(kept, expected)


def test_a_good_guess_saves_the_histograms_and_a_wrong_one_costs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    size = 300_000
    score = RNG.random(size)
    samples = in_parts({"score": score, "position": np.arange(size), "sample_id": np.arange(size)}, 5)
    question = Question(ScoreDraw(0))
    seen = survey(samples.each, question)
    passes = []

    def each(function: Callable[[Iterable[Part]], Any]) -> Iterator[Any]:
        passes.append(function)
        return samples.each(function)

    monkeypatch.setattr(search, "FEW", 50_000)
    found, number = [], []
    for deviations in (3.5, 100.0, -3.5):
        monkeypatch.setattr(sample, "DEVIATIONS", deviations)
        passes.clear()
        [last] = find_last(each, [question], [np.array([90_000])], [seen.available], seen.sample)
        found.append(last.position[0])
        number.append(len(passes))
    assert set(found) == {np.argsort(-score)[89_999]}
    # The samples in doubt; a histogram first; the wrong ones in doubt, then both.
    assert number == [1, 2, 3]


def test_a_sample_stays_small_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "MOST", 100)
    samples = in_parts({"score": np.ones(90_000), "position": np.arange(90_000), "sample_id": np.arange(90_000)}, 9)
    chosen = survey(samples.each, Question(RandomDraw(4))).sample.part(4)
    assert 50 <= len(chosen) <= 100
    assert (np.diff(chosen.position) > 0).all()
    assert chosen.position.max() - chosen.position.min() > 80_000
    assert chosen.hash(4).tolist() == hash_ids(chosen.position, 4).tolist()


@pytest.mark.parametrize("few", [5, 10_000])
def test_the_rank_of_the_first_not_kept(monkeypatch: pytest.MonkeyPatch, few: int) -> None:
    monkeypatch.setattr(search, "FEW", few)
    samples = in_parts({"score": np.ones(3000), "position": np.arange(3000), "sample_id": np.arange(3000)}, 3)
    question = Question(RandomDraw(1))
    seen = survey(samples.each, question)
    [last] = find_last(samples.each, [question], [np.array([700])], [np.array([3000])], seen.sample)
    ranks = np.sort(np.concatenate([question.draw.rank(part) for part in samples.part]))[::-1]
    assert last.rank[0] == ranks[699]
    assert last.next_rank[0] == ranks[700]


def test_a_rank_gives_its_key_back() -> None:
    keys = np.array([-700.25, -1.0, 0.0, 3.5, 36.0])
    np.testing.assert_array_equal(rank_key(key_rank(keys)), keys)
