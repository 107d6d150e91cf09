"""Assigns positions to canonical partitions, and orders each partition for an epoch.

A sample belongs to one partition for the whole run, and neither its partition nor its place there depends on the number
of workers.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dualprune.core.hashing import mix, salted, stream_salt

ROUNDS = 6
# Positions per block.
BLOCK = 1 << 18


class Arrangement(Protocol):
    """Cuts the positions 0 … N-1 into P partitions, and orders each of them anew in every epoch."""

    num_samples: int
    num_partitions: int

    def sizes(self) -> NDArray[np.int64]:
        """Return the number of samples of each partition, int64 [P]."""

    def blocks(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """Yield all positions, a block at a time, with the partition of each."""

    def order(self, partitions: Sequence[int], epoch: int) -> NDArray[np.int64]:
        """Return the positions of these partitions, partition by partition, each in its order of `epoch`."""


class Scatter:
    """Spreads neighbours over the partitions, so that a file sorted by class yields mixed batches.

    Partition p holds the positions with π(position) mod P = P - 1 - p, where π is a seeded bijection of 0 … N-1, so
    its size is floor((N + p) / P). In each epoch a partition permutes all of its samples.
    """

    def __init__(self, num_samples: int, num_partitions: int, seed: int) -> None:
        self.num_samples, self.num_partitions = num_samples, num_partitions
        self._salt = stream_salt(seed, "plan")
        self._bijection = Bijection(num_samples, self._salt)

    def sizes(self) -> NDArray[np.int64]:
        return (self.num_samples + np.arange(self.num_partitions)) // self.num_partitions

    def blocks(self) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        for start in range(0, self.num_samples, BLOCK):
            positions = np.arange(start, min(start + BLOCK, self.num_samples))
            yield positions, self.num_partitions - 1 - self._bijection(positions) % self.num_partitions

    def order(self, partitions: Sequence[int], epoch: int) -> NDArray[np.int64]:
        sizes = self.sizes()[list(partitions)]
        owner = np.repeat(np.arange(len(sizes)), sizes)
        row = np.arange(len(owner)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        residues = self.num_partitions - 1 - np.asarray(partitions, dtype=np.int64)
        places = residues[owner] + row * self.num_partitions
        salt = mix(np.array([self._salt, epoch], dtype=np.uint64))
        noise = salted(places.astype(np.uint64), salt[0] ^ salt[1])
        # One sort for all partitions: the partition in the highest bits, then noise, then the row to make keys unique.
        row_bits = int(sizes.max(initial=1)).bit_length()
        noise_bits = 64 - row_bits - len(sizes).bit_length()
        keys = (
            (owner.astype(np.uint64) << np.uint64(64 - len(sizes).bit_length()))
            | (noise >> np.uint64(64 - noise_bits) << np.uint64(row_bits))
            | row.astype(np.uint64)
        )
        keys.sort()
        shuffled = (keys & np.uint64((1 << row_bits) - 1)).astype(np.int64)
        return self._bijection.inverse(residues[owner] + shuffled * self.num_partitions)


class Bijection:
    """A seeded bijection of 0 … n-1, computed value by value: a Feistel network, repeated until it is in range."""

    def __init__(self, size: int, salt: np.uint64) -> None:
        self.size = size
        bits = max(2, (size - 1).bit_length())
        self._low_bits = np.uint64(bits // 2)
        self._low = np.uint64((1 << (bits // 2)) - 1)
        self._high = np.uint64((1 << (bits - bits // 2)) - 1)
        self._salts = mix(salt + np.arange(1, ROUNDS + 1, dtype=np.uint64))

    def __call__(self, values: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the images int64 [m] of values int64 [m]."""
        return self._walked(values, range(ROUNDS))

    def inverse(self, images: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the values int64 [m] that have these images int64 [m]."""
        return self._walked(images, range(ROUNDS - 1, -1, -1))

    def _walked(self, values: NDArray[np.int64], rounds: range) -> NDArray[np.int64]:
        found = self._pass(values.astype(np.uint64), rounds)
        outside = np.flatnonzero(found >= self.size)
        while len(outside):
            found[outside] = self._pass(found[outside], rounds)
            outside = outside[found[outside] >= self.size]
        return found.astype(np.int64)

    def _pass(self, values: NDArray[np.uint64], rounds: range) -> NDArray[np.uint64]:
        high, low = values >> self._low_bits, values & self._low
        for number in rounds:
            # Each round changes one half by a function of the other, and is its own inverse.
            if number % 2:
                low = low ^ (salted(high, self._salts[number]) & self._low)
            else:
                high = high ^ (salted(low, self._salts[number]) & self._high)
        return (high << self._low_bits) | low
