"""The plan of an epoch: which samples each step trains on, and on which rank.

It is a function of seed, epoch, choice and P canonical partitions, never of the number of workers. Each partition has
its samples in an order. The partitions are merged evenly, and each step takes the next `batch_size` samples.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dualprune.data.arrangement import Arrangement
from dualprune.data.choice import Choice
from dualprune.errors import ConfigError, DataError

# Samples per rank that are planned together.
BLOCK = 1 << 16


@dataclass(frozen=True)
class Steps:
    """Consecutive steps of one rank; step s takes the rows ends[s-1] … ends[s] - 1.

    `samples` int64 [m] are the positions to forward, and `weights` float32 [m] the weights of their losses. A weight of
    0 marks padding: it is forwarded, but counts neither for the loss nor as seen.
    """

    samples: NDArray[np.int64]
    weights: NDArray[np.float32]
    ends: NDArray[np.int64]


class EpochPlan:
    """An arrangement and a choice, cut into steps of `batch_size` samples over all ranks together.

    `num_samples` is the number of samples that the epoch trains on, `num_steps` the number of its steps. `lr_factor`
    multiplies its learning rates.
    """

    def __init__(self, arrangement: Arrangement, epoch: int, batch_size: int, choice: Choice | None = None) -> None:
        self.epoch, self.batch_size = epoch, batch_size
        self._arrangement, self._choice = arrangement, choice
        self._counts = _counts(arrangement, choice)
        # For the whole set a formula gives the same.
        self._table = None if choice is None else step_table(self._counts, batch_size)
        self.num_samples = int(self._counts.sum())
        if not self.num_samples:
            raise DataError(
                f"epoch {epoch} has no sample to train on: none of {arrangement.num_samples} is chosen; choose one "
                "at least"
            )
        self.num_steps = -(-self.num_samples // batch_size)

    def of_epoch(self, epoch: int) -> EpochPlan:
        """Return the plan of another epoch with the same choice, without counting anew."""
        other = object.__new__(EpochPlan)
        other.__dict__.update(self.__dict__, epoch=epoch)
        return other

    @property
    def lr_factor(self) -> float:
        """The factor of this epoch's learning rates."""
        return 1.0 if self._choice is None else self._choice.lr_factor

    @property
    def cap(self) -> int | None:
        """How many samples this epoch may leave out at most; None where what it leaves out is a setting."""
        return None if self._choice is None else self._choice.cap

    def size(self, step: int) -> int:
        """Return the number of samples of a step over all ranks."""
        return min(self.batch_size, self.num_samples - step * self.batch_size)

    def partitions(self, rank: int, world_size: int) -> range:
        """Return the partitions that a rank serves; a ConfigError where there are fewer partitions than ranks."""
        check_shared_out(self._arrangement.num_partitions, world_size)
        return range(rank, self._arrangement.num_partitions, world_size)

    def steps(self, partitions: Sequence[int]) -> Iterator[Steps]:
        """Yield the steps of a rank that serves these partitions, several at a time.

        A step of fewer than two samples is filled up to two with samples of these partitions: batch normalisation
        cannot train on one.
        """
        samples = self._arrangement.order(partitions, self.epoch)
        sizes = self._arrangement.sizes()[list(partitions)]
        # A rank without samples of its own pads with the first position.
        spare = np.resize(samples if len(samples) else np.zeros(1, dtype=np.int64), 2)
        weights = np.ones(len(samples), dtype=np.float32)
        if self._choice is not None:
            weights = self._choice.weights(samples)
            chosen = weights > 0
            samples, weights = samples[chosen], weights[chosen]
            sizes = self._counts[list(partitions)]
        first = np.cumsum(sizes) - sizes
        num_each = max(1, BLOCK * self._arrangement.num_partitions // (self.batch_size * max(1, len(partitions))))
        for start in range(0, self.num_steps, num_each):
            cuts = self._cuts(partitions, start, min(start + num_each, self.num_steps))
            lengths = np.diff(cuts, axis=1).T
            # Row by row: the first step's samples of each partition, then the second step's.
            runs = lengths.ravel()
            begins = (first[:, None] + cuts[:, :-1]).T.ravel()
            rows = np.arange(runs.sum()) + np.repeat(begins - (np.cumsum(runs) - runs), runs)
            yield _filled(samples[rows], weights[rows], lengths.sum(axis=1), spare)

    def refresh(self, partitions: Sequence[int]) -> NDArray[np.int64]:
        """Return the positions of these partitions that are forwarded once more after the last step."""
        none = np.zeros(0, dtype=np.int64)
        if self._choice is None:
            return none
        samples = self._arrangement.order(partitions, self.epoch)
        again = self._choice.refresh(samples)
        return none if again is None else samples[again]

    def num_rows(self, rank: int, world_size: int) -> int:
        """Return the largest number of samples that a rank forwards in this epoch, including padding."""
        own = int(self._counts[self.partitions(rank, world_size)].sum())
        return own + (2 * self.num_steps if self.batch_size < 4 * world_size else 2)

    def _cuts(self, partitions: Sequence[int], start: int, stop: int) -> NDArray[np.int64]:
        """Return, per partition, how many samples come before the steps start … stop, int64 [partitions, steps]."""
        if self._table is None:
            places = np.minimum(np.arange(start, stop + 1) * self.batch_size, self.num_samples)
            numbers = np.asarray(partitions, dtype=np.int64)[:, None]
            return (places + numbers) // self._arrangement.num_partitions
        return self._table[list(partitions), start : stop + 1].astype(np.int64)


def check_shared_out(num_partitions: int, num_workers: int) -> None:
    """Raise a ConfigError where there are fewer partitions than workers."""
    if num_workers > num_partitions:
        raise ConfigError(
            f"config.scaling.partitions: {num_partitions} cannot be divided among {num_workers} workers; use no more "
            "workers than partitions"
        )


def step_table(counts: NDArray[np.int64], batch_size: int) -> NDArray[np.int32]:
    """Return, per partition, how many samples come before each step, int32 [P, steps + 1].

    The j-th of a partition's c samples stands at (2j + 1) / (2c); a step takes the next `batch_size` of all, ties by
    falling number of the partition.
    """
    total = int(counts.sum())
    num_partitions, num_steps = len(counts), -(-total // batch_size)
    table = np.zeros((num_partitions, num_steps + 1), dtype=np.int32)
    # Exact: two places differ by 1 / (2cd) or not at all, which float64 tells apart for counts below 2^26.
    assert counts.max(initial=0) < 1 << 26, "a partition has 2^26 samples or more; raise scaling.partitions"
    numbers = np.arange(num_partitions)
    held_places, held_owners = np.zeros(0), np.zeros(0, dtype=np.int64)
    done, step = np.zeros(num_partitions, dtype=np.int64), 0
    num_windows = max(1, -(-total // BLOCK))
    for window in range(num_windows):
        # The samples placed below (window + 1) / num_windows; samples at the same place are in the same window.
        until = (2 * counts * (window + 1) + num_windows - 1) // (2 * num_windows)
        last = window == num_windows - 1
        fresh = until - done
        owners = np.repeat(numbers, fresh)
        rows = np.arange(len(owners)) - np.repeat(np.cumsum(fresh) - fresh - done, fresh)
        places = np.concatenate([held_places, (2 * rows + 1) / (2 * counts[owners])])
        owners = np.concatenate([held_owners, owners])
        order = np.lexsort((-owners, places))
        places, owners, done = places[order], owners[order], until
        # What is left over begins the next window's first step.
        whole = len(owners) // batch_size if not last else -(-len(owners) // batch_size)
        taken = owners[: whole * batch_size]
        per_step = np.bincount(
            taken * whole + np.arange(len(taken)) // batch_size, minlength=num_partitions * whole
        ).reshape(num_partitions, whole)
        table[:, step + 1 : step + 1 + whole] = table[:, step : step + 1] + np.cumsum(per_step, axis=1)
        step += whole
        held_places, held_owners = places[len(taken) :], owners[len(taken) :]
    return table


def _counts(arrangement: Arrangement, choice: Choice | None) -> NDArray[np.int64]:
    """Return the number of samples of each partition that are chosen, int64 [P]."""
    if choice is None:
        return arrangement.sizes()
    counts = np.zeros(arrangement.num_partitions, dtype=np.int64)
    for positions, owners in arrangement.blocks():
        counts += np.bincount(owners[choice.weights(positions) > 0], minlength=len(counts))
    return counts


def _filled(
    samples: NDArray[np.int64], weights: NDArray[np.float32], lengths: NDArray[np.int64], spare: NDArray[np.int64]
) -> Steps:
    """Return steps of these lengths, each filled up to two samples."""
    missing = np.maximum(0, 2 - lengths)
    if missing.any():
        places = np.repeat(np.cumsum(lengths), missing)
        fill = np.concatenate([spare[2 - number :] for number in missing if number])
        samples = np.insert(samples, places, fill)
        weights = np.insert(weights, places, 0.0)
    return Steps(samples, weights, np.cumsum(lengths + missing))
