"""Seeded hashes of sample ids: the randomness of every draw, the same on any machine and for any partitioning.

An id's hash is SplitMix64's finaliser (Steele, Lea, Flood 2014) over the id and the mixed seed; a string is first
hashed to 64 bits with FNV-1a. Both are published avalanche functions with known test vectors.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dualprune.core.compiled import compiled

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
FNV_OFFSET = np.uint64(0xCBF29CE484222325)
FNV_PRIME = np.uint64(0x100000001B3)


def mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return SplitMix64's finaliser of uint64 [n]: each bit of the input flips half of the output's."""
    mixed: NDArray[np.uint64] = _mix(values, np.uint64(0))
    return mixed


def hash_ids(sample_ids: Any, seed: int) -> NDArray[np.uint64]:
    """Return uint64 [n] for ids int64 [n] or strings [n] (numpy, list or Arrow) and a seed of 0 … 2^64 - 1."""
    return salted(id_bits(sample_ids), seed_salt(seed))


def seed_salt(seed: int) -> np.uint64:
    """Return the salt of a seed's plain stream, which every user of this seed shares."""
    salt: np.uint64 = mix(np.array([seed], dtype=np.uint64))[0]
    return salt


def stream_salt(seed: int, purpose: str) -> np.uint64:
    """Return the salt of a purpose's own stream of noise, such as "plan": purposes that share a seed share no noise."""
    salt: np.uint64 = mix(seed_salt(seed) ^ fnv1a(np.array([purpose])))[0]
    return salt


def salted(values: NDArray[np.uint64], salt: np.uint64) -> NDArray[np.uint64]:
    """Return the hashes uint64 [n] of values uint64 [n] in the stream of a salt."""
    hashed: NDArray[np.uint64] = _mix(values, salt)
    return hashed


def id_bits(sample_ids: Any) -> NDArray[np.uint64]:
    """Return ids int64 [n] or strings [n] (numpy, list or Arrow) brought to 64 bits, uint64 [n]."""
    array = sample_ids
    if hasattr(array, "num_chunks"):
        array = array.combine_chunks()
    if hasattr(array, "buffers") and "string" in str(array.type):
        return _fnv1a_arrow(array)
    array = array.to_numpy(zero_copy_only=False) if hasattr(array, "to_numpy") else np.asarray(array)
    return array.astype(np.int64, copy=False).view(np.uint64) if array.dtype.kind in "iu" else fnv1a(array)


@compiled
def _mix(values: NDArray[np.uint64], salt: np.uint64) -> NDArray[np.uint64]:
    """Return SplitMix64's finaliser of values ^ salt."""
    mixed = np.empty(len(values), dtype=np.uint64)
    for i in range(len(values)):
        value = (values[i] ^ salt) + GOLDEN
        value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed[i] = value ^ (value >> np.uint64(31))
    return mixed


def fnv1a(texts: NDArray[Any]) -> NDArray[np.uint64]:
    """Return the 64-bit FNV-1a hash of the UTF-8 bytes of n strings."""
    encoded = [text.encode() for text in texts.tolist()]
    ends = np.cumsum([0, *(len(text) for text in encoded)])
    hashed: NDArray[np.uint64] = _fnv1a(np.frombuffer(b"".join(encoded), dtype=np.uint8), ends)
    return hashed


def _fnv1a_arrow(texts: Any) -> NDArray[np.uint64]:
    # The texts are contiguous in memory: no string object is made.
    _, ends, content = texts.buffers()
    kind = np.int64 if "large" in str(texts.type) else np.int32
    if not len(texts):
        return np.zeros(0, dtype=np.uint64)
    places = np.frombuffer(ends, dtype=kind)[texts.offset : texts.offset + len(texts) + 1].astype(np.int64)
    hashed: NDArray[np.uint64] = _fnv1a(np.frombuffer(content or b"", dtype=np.uint8), places)
    return hashed


@compiled
def _fnv1a(content: NDArray[np.uint8], ends: NDArray[np.int64]) -> NDArray[np.uint64]:
    hashed = np.empty(len(ends) - 1, dtype=np.uint64)
    for text in range(len(hashed)):
        value = FNV_OFFSET
        for place in range(ends[text], ends[text + 1]):
            value = (value ^ np.uint64(content[place])) * FNV_PRIME
        hashed[text] = value
    return hashed


def uniform(hashes: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Return float64 [n] in the open interval (0, 1), from the upper 52 bits."""
    values: NDArray[np.float64] = _uniform(hashes)
    return values


@compiled
def _uniform(hashes: NDArray[np.uint64]) -> NDArray[np.float64]:
    values = np.empty(len(hashes))
    for i in range(len(hashes)):
        # With 53 bits the highest would be rounded up to 1. Signed whole numbers are converted faster.
        values[i] = (np.float64(np.int64(hashes[i] >> np.uint64(12))) + 0.5) * 2.0**-52
    return values
