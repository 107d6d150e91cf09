"""Passing over samples that cannot rank high enough: never one too many, and most of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pytest

from dualprune.selection.engine import sketch as sample
from dualprune.selection.engine.question import Decision, Question
from dualprune.selection.engine.ranking import LARGEST_KEY, Part, key_rank
from dualprune.selection.engine.screen import narrowed
from dualprune.selection.engine.search import find_last
from dualprune.selection.engine.survey import survey
from dualprune.selection.samplers.beta import BetaDraw
from dualprune.selection.samplers.plain import RandomDraw, ScoreDraw

RNG = np.random.default_rng(5)
NUM = 20_000
MEAN = np.concatenate([RNG.random(NUM - 6), [0.0, 1.0, 1e-320, 1 - 1e-16, 0.5, 0.25]])
SCORES = {
    "usual": RNG.gamma(2.0, 0.02, NUM),
    "huge": RNG.random(NUM) * 1e300,
    "tiny": RNG.random(NUM) * 1e-300,
    "any": np.exp(np.clip(RNG.normal(0, 200, NUM), -700, 700)) * RNG.choice([-1, 0, 1, 1], NUM),
}
# Both below 1, one below, at 1, with a peak, with a sharp peak at an end.
SHAPES = [(0.3, 0.2), (0.5, 4.0), (1.0, 1.0), (10.0, 6.0), (15.999999, 1e-6), (3.0, 13.0)]


@pytest.mark.parametrize("name", list(SCORES))
@pytest.mark.parametrize("shape", SHAPES)
def test_no_sample_that_ranks_high_enough_is_passed_over(name: str, shape: tuple[float, float]) -> None:
    score = SCORES[name]
    part = Part.of(score=score, mean_prob=MEAN)
    draw = BetaDraw(*shape, 7, float(score.max()))
    rank = draw.rank(part)
    for share in (0.0, 0.3, 0.9, 0.999, 1.0):
        floor = int(np.quantile(rank, share, method="lower"))
        for at in (floor - 1, floor, floor + 1):
            may = draw.possible(part, max(0, at))
            assert may is None or may[rank >= at].all()


def test_no_sample_is_passed_over_by_chance_alone() -> None:
    part = Part.of(score=np.ones(NUM))
    rank = RandomDraw(3).rank(part)
    for floor in [0, *np.sort(rank)[::500].tolist(), *key_rank(np.array([-LARGEST_KEY, -900.0, LARGEST_KEY])).tolist()]:
        may = RandomDraw(3).possible(part, floor)
        assert may is None or may[rank >= floor].all()
    assert RandomDraw(3).possible(part, int(np.sort(rank)[-2000])).sum() <= 2001  # type: ignore[union-attr]


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_most_others_are_passed_over(share: float) -> None:
    part = Part.of(score=SCORES["usual"], mean_prob=MEAN)
    question = Question(BetaDraw(10.0, 6.0, 0))
    floor = int(np.quantile(question.draw.rank(part), 1 - share))
    few = narrowed(part, [question], [floor])
    assert share * NUM <= len(few) <= 1.25 * share * NUM
    np.testing.assert_array_equal(few.hash(0), part.hash(0)[few.position])
    np.testing.assert_array_equal(few.score, part.score[few.position])


def test_who_comes_first_is_never_passed_over_and_where_that_is_open_nobody_is() -> None:
    part = Part.of(score=SCORES["usual"], mean_prob=MEAN)
    draw = BetaDraw(10.0, 6.0, 0)
    floor = int(np.quantile(draw.rank(part), 0.9))
    forced = np.array([3, 77, 19_999])
    assert np.isin(forced, narrowed(part, [Question(draw, forced=forced)], [floor]).position).all()
    last = find_last(lambda f: iter([f([part])]), [Question(draw)], [np.array([5])], [np.array([NUM])], sample.Sample())
    promoted = Question(draw, promoted=(Decision(Question(draw), last[0]),))
    whole = [[promoted], [Question(ScoreDraw(0))], [Question(draw), Question(ScoreDraw(0))]]
    for questions in whole:
        assert narrowed(part, questions, [floor] * len(questions)) is part
    # Two thirds of the samples may be kept: nothing is gained.
    assert narrowed(part, [Question(draw)], [int(np.quantile(draw.rank(part), 1 / 3))]) is part


@pytest.mark.parametrize("few", [1, 40, 10_000])
@pytest.mark.parametrize("deviations", [-1.0, -0.05, 0.0, 0.02, 0.5, 3.5])
def test_last_and_first_not_kept_are_exact_where_samples_were_passed_over(
    monkeypatch: pytest.MonkeyPatch, few: int, deviations: float
) -> None:
    monkeypatch.setattr("dualprune.selection.engine.search.FEW", few)
    monkeypatch.setattr(sample, "SHARE", 20)
    monkeypatch.setattr(sample, "DEVIATIONS", deviations)
    parts = [
        Part.of(score=SCORES["usual"][cut], mean_prob=MEAN[cut], position=cut) for cut in np.split(np.arange(NUM), 5)
    ]

    def each(function: Callable[[Iterable[Part]], Any]) -> Iterator[Any]:
        for part in parts:
            yield function([part])

    for draw in (BetaDraw(10.0, 6.0, 1), RandomDraw(1)):
        question = Question(draw)
        seen = survey(each, question, 1)
        ranks = np.sort(np.concatenate([draw.rank(part) for part in parts]))[::-1]
        for wanted in (1, 30, 2000, 19_999):
            [last] = find_last(each, [question], [np.array([wanted])], [seen.available], seen.sample)
            assert last.rank[0] == ranks[wanted - 1]
            assert last.next_rank[0] == ranks[wanted]
