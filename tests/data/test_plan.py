"""The plan of an epoch: every sample once, the same steps for any number of workers, sizes by the rule of places."""

from __future__ import annotations

import hashlib
import heapq
from fractions import Fraction
from itertools import chain

import numpy as np
import pytest
from numpy.typing import NDArray

from dualprune.data.arrangement import Bijection, Scatter
from dualprune.data.choice import Choice, Subset
from dualprune.data.plan import EpochPlan, step_table
from dualprune.errors import ConfigError, DataError

RANDOM = np.random.default_rng(0)
SHAPES = [
    (int(RANDOM.integers(1, 700)), int(RANDOM.integers(1, 90)), int(RANDOM.integers(1, 80))) for _ in range(150)
] + [(1, 1, 1), (1, 128, 64), (3, 2, 64), (63, 64, 64), (65, 64, 64), (5000, 128, 64)]


class Thirds(Choice):
    """Leaves out two of three samples; the others count double where they are even."""

    lr_factor = 0.5

    def weights(self, positions: NDArray[np.int64]) -> NDArray[np.float32]:
        return np.where(positions % 3 == 0, 1.0 + (positions % 2 == 0), 0.0).astype(np.float32)

    def refresh(self, positions: NDArray[np.int64]) -> NDArray[np.bool_]:
        return positions % 3 == 1


def per_step(plan: EpochPlan, world_size: int) -> list[list[tuple[NDArray[np.int64], NDArray[np.float32]]]]:
    """Return what each rank shows in each step, padding included."""
    found: list[list[tuple[NDArray[np.int64], NDArray[np.float32]]]] = [[] for _ in range(plan.num_steps)]
    for rank in range(world_size):
        number = 0
        for steps in plan.steps(plan.partitions(rank, world_size)):
            begin = 0
            for end in steps.ends.tolist():
                found[number].append((steps.samples[begin:end], steps.weights[begin:end]))
                begin, number = end, number + 1
        assert number == plan.num_steps
    return found


def real(step: list[tuple[NDArray[np.int64], NDArray[np.float32]]]) -> list[int]:
    return sorted(np.concatenate([samples[weights > 0] for samples, weights in step]).tolist())


def by_places(counts: list[int], batch_size: int) -> NDArray[np.int64]:
    """The rule in plain Python: a heap of cursors with exact fractions."""
    cursors = [(Fraction(1, 2 * count), -partition, 0) for partition, count in enumerate(counts) if count]
    heapq.heapify(cursors)
    order = []
    while cursors:
        _, partition, row = heapq.heappop(cursors)
        order.append(-partition)
        if row + 1 < counts[-partition]:
            heapq.heappush(cursors, (Fraction(2 * row + 3, 2 * counts[-partition]), partition, row + 1))
    num_steps = -(-len(order) // batch_size)
    before = [np.bincount(order[: step * batch_size], minlength=len(counts)) for step in range(num_steps + 1)]
    return np.stack(before, axis=1)


@pytest.mark.parametrize("size", [1, 2, 3, 5, 64, 1000, 4097])
def test_the_bijection_meets_every_value_once_and_has_an_inverse(size: int) -> None:
    values = np.arange(size)
    bijection = Bijection(size, np.uint64(7))
    images = bijection(values)
    assert np.array_equal(np.sort(images), values)
    assert np.array_equal(bijection.inverse(images), values)
    if size > 5:
        assert not np.array_equal(images, Bijection(size, np.uint64(8))(values))


@pytest.mark.parametrize(("num_samples", "batch_size", "num_partitions"), SHAPES)
def test_every_sample_is_in_one_step_of_an_epoch(num_samples: int, batch_size: int, num_partitions: int) -> None:
    plan = EpochPlan(Scatter(num_samples, num_partitions, seed=3), 5, batch_size)
    steps = [real(step) for step in per_step(plan, 1)]
    assert sorted(chain(*steps)) == list(range(num_samples))
    assert [len(step) for step in steps] == [plan.size(step) for step in range(plan.num_steps)]


@pytest.mark.parametrize(("num_samples", "batch_size", "num_partitions"), SHAPES)
def test_for_the_whole_set_the_formula_is_the_rule(num_samples: int, batch_size: int, num_partitions: int) -> None:
    arrangement = Scatter(num_samples, num_partitions, seed=0)
    counts = arrangement.sizes()
    assert counts.sum() == num_samples
    expected = by_places(counts.tolist(), batch_size)
    assert np.array_equal(step_table(counts, batch_size), expected)
    plan = EpochPlan(arrangement, 0, batch_size)
    assert np.array_equal(plan._cuts(range(num_partitions), 0, plan.num_steps), expected)


def test_any_choice_is_merged_by_the_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    # Few samples are planned together here, so that steps span several windows.
    monkeypatch.setattr("dualprune.data.plan.BLOCK", 16)
    for _ in range(150):
        counts = RANDOM.integers(0, RANDOM.choice([2, 5, 60]), RANDOM.integers(1, 30))
        if not counts.sum():
            continue
        batch_size = int(RANDOM.integers(1, 40))
        assert np.array_equal(step_table(counts, batch_size), by_places(counts.tolist(), batch_size))


@pytest.mark.parametrize("choice", [None, Thirds(), Subset(np.array([1, 2, 30, 31, 90]), 301)])
@pytest.mark.parametrize(("batch_size", "num_partitions"), [(16, 64), (128, 64), (7, 5), (3, 64)])
def test_workers_share_out_the_same_steps(choice: Choice | None, batch_size: int, num_partitions: int) -> None:
    arrangement = Scatter(301, num_partitions, seed=1)
    hashes = set()
    for world_size in (1, 2, 3, 4):
        plan = EpochPlan(arrangement, 2, batch_size, choice)
        steps = per_step(plan, world_size)
        assert all(len(samples) >= 2 for step in steps for samples, _ in step)
        for step in steps:
            for samples, weights in step:
                shown = weights > 0
                expected = np.ones(shown.sum()) if choice is None else choice.weights(samples[shown])
                assert np.array_equal(weights[shown], expected)
        hashes.add(hashlib.sha256(repr([real(step) for step in steps]).encode()).hexdigest())
        for rank in range(world_size):
            assert sum(len(step[rank][0]) for step in steps) <= plan.num_rows(rank, world_size)
    assert len(hashes) == 1
    expected_samples = np.arange(301) if choice is None else np.flatnonzero(choice.weights(np.arange(301)))
    assert sorted(chain(*(real(step) for step in steps))) == expected_samples.tolist()
    assert plan.num_samples == len(expected_samples)


def test_steps_that_are_planned_apart_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    plan = EpochPlan(Scatter(301, 8, seed=1), 2, 16)
    whole = [real(step) for step in per_step(plan, 2)]
    monkeypatch.setattr("dualprune.data.plan.BLOCK", 20)
    assert len(list(plan.steps(plan.partitions(0, 2)))) > 5
    assert [real(step) for step in per_step(plan, 2)] == whole


def test_more_ranks_than_samples_show_padding() -> None:
    plan = EpochPlan(Scatter(2, 64, seed=0), 0, 4)
    [step] = per_step(plan, 5)
    assert [len(samples) for samples, _ in step] == [2] * 5
    assert real(step) == [0, 1]


def test_a_choice_keeps_the_order_of_the_whole_partition() -> None:
    arrangement = Scatter(301, 4, seed=1)
    for partition in range(4):
        whole = np.concatenate([steps.samples for steps in EpochPlan(arrangement, 9, 16).steps([partition])])
        chosen = list(EpochPlan(arrangement, 9, 16, Thirds()).steps([partition]))
        samples = np.concatenate([steps.samples[steps.weights > 0] for steps in chosen])
        order = arrangement.order([partition], 9)
        assert np.array_equal(whole[: len(order)], order)
        assert np.array_equal(samples, order[order % 3 == 0])


def test_epochs_and_seeds_differ_and_partitions_do_not() -> None:
    first = Scatter(301, 4, seed=1)
    orders = [first.order([2], epoch) for epoch in (0, 1)] + [Scatter(301, 4, seed=2).order([2], 0)]
    assert np.array_equal(np.sort(orders[0]), np.sort(orders[1]))
    assert not np.array_equal(orders[0], orders[1])
    assert not np.array_equal(np.sort(orders[0]), np.sort(orders[2]))
    plan = EpochPlan(first, 0, 16, Thirds())
    again = plan.of_epoch(1)
    assert [real(s) for s in per_step(again, 1)] == [real(s) for s in per_step(EpochPlan(first, 1, 16, Thirds()), 1)]
    assert (plan.epoch, again.epoch) == (0, 1)


def test_a_file_sorted_by_class_yields_mixed_batches() -> None:
    labels = np.repeat(np.arange(10), 500)
    plan = EpochPlan(Scatter(5000, 64, seed=0), 0, 128)
    counts = np.stack([np.bincount(labels[real(step)], minlength=10) for step in per_step(plan, 1)[:-1]])
    # As mixed as a uniform draw, whose standard deviation is 3.4.
    assert counts.std() < 4.2
    ranks = [np.bincount(labels[Scatter(5000, 64, 0).order(range(r, 64, 4), 0)], minlength=10) for r in range(4)]
    assert np.stack(ranks).std() < 15


def test_refreshing_goes_to_the_rank_of_the_partition() -> None:
    plan = EpochPlan(Scatter(301, 64, seed=1), 2, 16, Thirds())
    again = np.concatenate([plan.refresh(plan.partitions(rank, 3)) for rank in range(3)])
    assert sorted(again.tolist()) == [n for n in range(301) if n % 3 == 1]
    assert plan.lr_factor == 0.5
    assert not len(EpochPlan(Scatter(301, 64, seed=1), 2, 16).refresh([0]))


def test_more_ranks_than_partitions_are_an_error() -> None:
    with pytest.raises(ConfigError, match=r"scaling\.partitions: 4 cannot be divided among 5 workers"):
        EpochPlan(Scatter(10, 4, seed=0), 3, 2).partitions(0, 5)


def test_an_empty_choice_is_an_error() -> None:
    with pytest.raises(DataError, match="epoch 3 has no sample to train on: none of 10 is chosen"):
        EpochPlan(Scatter(10, 4, seed=0), 3, 2, Subset(np.array([], dtype=np.int64), 10))
