"""The search for the last kept sample, against a sort, in many cells, in small steps and with ties."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from dualprune.core.hashing import hash_ids, seed_salt
from dualprune.selection.engine import search, sketch
from dualprune.selection.engine.ranks import key_rank, rank_key, ranks
from dualprune.selection.engine.search import kth_highest
from dualprune.selection.engine.sketch import Sketch
from dualprune.selection.engine.spec import DrawSpec
from dualprune.selection.engine.survey import survey
from dualprune.selection.rows import Rows
from dualprune.selection.sampler import ColumnDraw
from dualprune.selection.samplers.random import RandomDraw

RNG = np.random.default_rng(0)
SALT = np.uint64(0x5A17)
SCORES = {
    "spread": RNG.random(3000),
    "one value": np.zeros(3000),
    "few values": RNG.integers(-2, 3, 3000).astype(float),
    "all orders of magnitude": np.exp(RNG.normal(0, 100, 3000)) * RNG.choice([-1, 1], 3000),
}


@dataclass
class InBuckets:
    buckets: list[Rows]

    def each(self, function: Callable[[Iterable[Rows]], Any]) -> Iterator[Any]:
        for rows in self.buckets:
            yield function([rows])


def in_buckets(columns: dict[str, np.ndarray], count: int) -> InBuckets:
    cuts = np.array_split(np.arange(len(columns["score"])), count)
    return InBuckets([Rows.of(**{name: values[cut] for name, values in columns.items()}) for cut in cuts])


@pytest.mark.parametrize("name", list(SCORES))
@pytest.mark.parametrize("end", ["high", "low"])
@pytest.mark.parametrize("few", [5, 700, 10_000])
# With an empty sketch, with good ends, and with ends so narrow that they are wrong.
@pytest.mark.parametrize(("share", "deviations"), [(10_000, 0.0), (3, 3.5), (3, -2.0)])
def test_the_k_highest_of_each_cell(
    monkeypatch: pytest.MonkeyPatch, name: str, end: Any, few: int, share: int, deviations: float
) -> None:
    monkeypatch.setattr(search, "FEW", few)
    monkeypatch.setattr(sketch, "SHARE", share)
    monkeypatch.setattr(search, "DEVIATIONS", deviations)
    score = SCORES[name]
    columns = {
        "score": score,
        "position": np.arange(3000),
        "sample_id": np.arange(3000) * 7,
        "group": RNG.integers(0, 4, 3000),
    }
    samples = in_buckets(columns, 7)
    spec = DrawSpec(ColumnDraw("score", end), seed_salt(3), num_groups=4)
    seen = survey(samples.each, spec)
    available = seen.available
    wanted = np.array([0, 17, int(available[2]), 300])
    [cutoff] = kth_highest(samples.each, [spec], [wanted], [available], seen.sketch)
    kept = np.concatenate([cutoff.keeps(rows) for rows in samples.buckets])
    expected = np.zeros(3000, dtype=bool)
    hashes = hash_ids(columns["sample_id"], 3)
    for group, number in enumerate(wanted):
        rows = np.flatnonzero(columns["group"] == group)
        order = np.lexsort((~hashes[rows], score[rows] * (-1 if end == "high" else 1)))
        expected[rows[order[:number]]] = True
    np.testing.assert_array_equal(kept, expected)


def test_a_sketch_saves_passes_and_ends_that_are_too_close_cost_them(monkeypatch: pytest.MonkeyPatch) -> None:
    size = 300_000
    score = RNG.random(size)
    samples = in_buckets({"score": score, "position": np.arange(size), "sample_id": np.arange(size)}, 5)
    spec = DrawSpec(ColumnDraw(), SALT)
    seen = survey(samples.each, spec)
    passes = []

    def each(function: Callable[[Iterable[Rows]], Any]) -> Iterator[Any]:
        passes.append(function)
        return samples.each(function)

    monkeypatch.setattr(search, "FEW", 50_000)
    found, number = [], []
    for deviations, known in ((3.5, seen.sketch), (3.5, Sketch()), (-3.5, seen.sketch)):
        monkeypatch.setattr(search, "DEVIATIONS", deviations)
        passes.clear()
        [cutoff] = kth_highest(each, [spec], [np.array([90_000])], [seen.available], known)
        found.append(cutoff.position[0])
        number.append(len(passes))
    assert set(found) == {np.argsort(-score)[89_999]}
    # Those in doubt; some of all by chance first; none between the ends, some of those on the other side, and so on.
    assert number[:2] == [1, 2]
    assert 3 <= number[2] <= 6


def test_a_sketch_stays_small_and_in_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sketch, "MOST", 100)
    samples = in_buckets({"score": np.ones(90_000), "position": np.arange(90_000), "sample_id": np.arange(90_000)}, 9)
    chosen = survey(samples.each, DrawSpec(RandomDraw(), SALT, excluded=np.array([7]))).sketch.rows(SALT)
    assert 50 <= len(chosen) <= 100
    assert (np.diff(chosen.position) > 0).all()
    assert chosen.position.max() - chosen.position.min() > 80_000
    assert len(set(chosen.hash(SALT).tolist())) == len(chosen)


@pytest.mark.parametrize("few", [5, 10_000])
def test_the_rank_of_the_first_not_kept(monkeypatch: pytest.MonkeyPatch, few: int) -> None:
    monkeypatch.setattr(search, "FEW", few)
    samples = in_buckets({"score": np.ones(3000), "position": np.arange(3000), "sample_id": np.arange(3000)}, 3)
    spec = DrawSpec(RandomDraw(), SALT)
    seen = survey(samples.each, spec)
    [cutoff] = kth_highest(samples.each, [spec], [np.array([700])], [np.array([3000])], seen.sketch)
    found = np.sort(np.concatenate([ranks(spec.draw, rows, SALT) for rows in samples.buckets]))[::-1]
    assert cutoff.rank[0] == found[699]
    assert cutoff.next_rank[0] == found[700]
    hashes = np.sort(np.concatenate([rows.hash(SALT) for rows in samples.buckets]))[::-1]
    assert (cutoff.hash[0], cutoff.next_hash[0]) == (hashes[699], hashes[700])


def test_many_small_cells_need_few_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a sketch has next to nothing of a cell, more is brought back until it does."""
    size, groups = 60_000, 3000
    columns = {"score": RNG.random(size), "position": np.arange(size), "sample_id": np.arange(size)}
    columns["group"] = np.arange(size) % groups
    samples = in_buckets(columns, 4)
    spec = DrawSpec(ColumnDraw(), SALT, num_groups=groups)
    seen = survey(samples.each, spec)
    monkeypatch.setattr(search, "FEW", 2000)
    passes = []

    def each(function: Callable[[Iterable[Rows]], Any]) -> Iterator[Any]:
        passes.append(function)
        return samples.each(function)

    wanted = np.full(groups, 7)
    [cutoff] = kth_highest(each, [spec], [wanted], [seen.available], seen.sketch)
    kept = np.concatenate([cutoff.keeps(rows) for rows in samples.buckets])
    assert np.bincount(columns["group"][kept]).tolist() == wanted.tolist()
    assert len(passes) <= 7


def test_a_rank_gives_its_key_back() -> None:
    keys = np.array([-700.25, -1.0, 0.0, 3.5, 36.0])
    np.testing.assert_array_equal(rank_key(key_rank(keys)), keys)
