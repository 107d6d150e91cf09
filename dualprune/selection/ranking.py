"""Ranks as 64-bit whole numbers, so that "the k highest" is exact, whatever the parts in which samples come.

A rank's upper half of values is for samples with a positive weight, ordered by their sampling key; the lower half is
for the others, ordered by score: they are kept when the former are too few. Equal ranks are ordered by the id's hash.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from dualprune.hashing import hash_ids, uniform

TOP_BIT = np.uint64(1 << 63)


class Samples(NamedTuple):
    """Some of the samples: ids (int64 or string), score float64 [n], mean_prob float64 [n] or None."""

    sample_id: Any
    score: NDArray[np.float64]
    mean_prob: NDArray[np.float64] | None


class Ranked(NamedTuple):
    """rank and hash uint64 [n], higher is kept first, and the sampling weight float64 [n]."""

    rank: NDArray[np.uint64]
    hash: NDArray[np.uint64]
    weight: NDArray[np.float64]


class Draw(Protocol):
    """A sampler whose parameters are all known: it ranks any part of the samples by itself."""

    def ranked(self, samples: Samples) -> Ranked:
        """Return rank, hash and weight of n samples."""
        ...


def ordered_bits(values: NDArray[np.float64]) -> NDArray[np.uint64]:
    """Return uint64 [n] in the same order as the float64 values [n]."""
    # Adding zero makes -0.0 equal to 0.0.
    bits = (values + 0.0).view(np.uint64)
    return np.where(bits & TOP_BIT, ~bits, bits | TOP_BIT)


def by_score(samples: Samples, seed: int) -> Ranked:
    """Rank by score alone."""
    return Ranked(ordered_bits(samples.score), hash_ids(samples.sample_id, seed), np.ones(len(samples.score)))


def by_weight(samples: Samples, log_weight: NDArray[np.float64], seed: int) -> Ranked:
    """Rank such that the k highest are a draw without replacement, with probability proportional to the weight.

    key_i = log(weight_i) + Gumbel(u_i) with u_i from the hash of the id; log weights of -inf come last, by score.
    """
    hashes = hash_ids(samples.sample_id, seed)
    positive = log_weight > -np.inf
    key = np.where(positive, log_weight, 0.0) - np.log(-np.log(uniform(hashes)))
    rank = (ordered_bits(key) >> np.uint64(1)) | TOP_BIT
    rank[~positive] = ordered_bits(samples.score[~positive]) >> np.uint64(1)
    return Ranked(rank, hashes, np.exp(log_weight))
