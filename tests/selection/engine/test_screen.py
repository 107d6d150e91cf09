"""The screen leaves out most samples that cannot rank high enough, and never one that can."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from dualprune.selection.engine import search, sketch
from dualprune.selection.engine.ranks import LARGEST_KEY, key_rank, ranks
from dualprune.selection.engine.screen import may_reach, narrowed
from dualprune.selection.engine.search import kth_highest
from dualprune.selection.engine.spec import DrawSpec
from dualprune.selection.engine.survey import survey
from dualprune.selection.rows import Rows
from dualprune.selection.sampler import ColumnDraw
from dualprune.selection.samplers.beta import BetaDraw
from dualprune.selection.samplers.random import RandomDraw

RNG = np.random.default_rng(5)
NUM = 20_000
SALT = np.uint64(0x5A17)
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
    rows = Rows.of(score=SCORES[name], mean_prob=MEAN)
    spec = DrawSpec(BetaDraw(*shape), SALT)
    rank = ranks(spec.draw, rows, SALT)
    for share in (0.0, 0.3, 0.9, 0.999, 1.0):
        floor = int(np.quantile(rank, share, method="lower"))
        for at in (floor - 1, floor, floor + 1):
            may = may_reach(spec, rows, max(0, at))
            assert may is None or may[rank >= at].all()


def test_no_sample_is_passed_over_by_chance_alone() -> None:
    rows, spec = Rows.of(score=np.ones(NUM)), DrawSpec(RandomDraw(), SALT)
    rank = ranks(spec.draw, rows, SALT)
    for floor in [0, *np.sort(rank)[::500].tolist(), *key_rank(np.array([-LARGEST_KEY, -900.0, LARGEST_KEY])).tolist()]:
        may = may_reach(spec, rows, floor)
        assert may is None or may[rank >= floor].all()
    assert may_reach(spec, rows, int(np.sort(rank)[-2000])).sum() <= 2001  # type: ignore[union-attr]


@pytest.mark.parametrize("share", [0.1, 0.3])
def test_most_others_are_passed_over(share: float) -> None:
    rows = Rows.of(score=SCORES["usual"], mean_prob=MEAN)
    spec = DrawSpec(BetaDraw(10.0, 6.0), SALT)
    floor = int(np.quantile(ranks(spec.draw, rows, SALT), 1 - share))
    few = narrowed(rows, [spec], [floor])
    assert share * NUM <= len(few) <= 1.25 * share * NUM
    np.testing.assert_array_equal(few.hash(SALT), rows.hash(SALT)[few.position])
    np.testing.assert_array_equal(few.score, rows.score[few.position])


def test_who_comes_first_is_never_passed_over_and_where_that_is_open_nobody_is() -> None:
    rows = Rows.of(score=SCORES["usual"], mean_prob=MEAN)
    spec = DrawSpec(BetaDraw(10.0, 6.0), SALT)
    floor = int(np.quantile(ranks(spec.draw, rows, SALT), 0.9))
    forced = np.array([3, 77, 19_999])
    assert np.isin(forced, narrowed(rows, [replace(spec, forced=forced)], [floor]).position).all()
    best = kth_highest(lambda f: iter([f([rows])]), [spec], [np.array([5])], [np.array([NUM])], sketch.Sketch())
    promoted = replace(spec, first=(best[0],))
    by_score = DrawSpec(ColumnDraw(), SALT)
    for specs in ([promoted], [by_score], [spec, by_score]):
        assert narrowed(rows, specs, [floor] * len(specs)) is rows
    # Two thirds of the samples may be kept: nothing is gained.
    assert narrowed(rows, [spec], [int(np.quantile(ranks(spec.draw, rows, SALT), 1 / 3))]) is rows


@pytest.mark.parametrize("few", [1, 40, 10_000])
@pytest.mark.parametrize("deviations", [-1.0, -0.05, 0.0, 0.02, 0.5, 3.5])
def test_last_and_first_not_kept_are_exact_where_samples_were_passed_over(
    monkeypatch: pytest.MonkeyPatch, few: int, deviations: float
) -> None:
    monkeypatch.setattr(search, "FEW", few)
    monkeypatch.setattr(sketch, "SHARE", 20)
    monkeypatch.setattr(search, "DEVIATIONS", deviations)
    buckets = [
        Rows.of(score=SCORES["usual"][cut], mean_prob=MEAN[cut], position=cut) for cut in np.split(np.arange(NUM), 5)
    ]

    def each(function: Callable[[Iterable[Rows]], Any]) -> Iterator[Any]:
        for rows in buckets:
            yield function([rows])

    for draw in (BetaDraw(10.0, 6.0), RandomDraw()):
        spec = DrawSpec(draw, SALT)
        seen = survey(each, spec, reads=["mean_prob"])
        found = np.sort(np.concatenate([ranks(draw, rows, SALT) for rows in buckets]))[::-1]
        for wanted in (1, 30, 2000, 19_999):
            [cutoff] = kth_highest(each, [spec], [np.array([wanted])], [seen.available], seen.sketch)
            assert cutoff.rank[0] == found[wanted - 1]
            assert cutoff.next_rank[0] == found[wanted]
