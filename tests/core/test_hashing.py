from __future__ import annotations

import numpy as np
import pyarrow as pa

from dualprune.core.hashing import fnv1a, hash_ids, mix, uniform


def test_fnv1a_gives_the_published_values() -> None:
    found = fnv1a(np.array(["", "a", "foobar"], dtype=object))
    assert [hex(value) for value in found] == ["0xcbf29ce484222325", "0xaf63dc4c8601ec8c", "0x85944171f73967e8"]


def test_mix_is_splitmix64() -> None:
    # The first two outputs of the reference generator for the state 1234567.
    golden = 0x9E3779B97F4A7C15
    states = np.array([1234567, 1234567 + golden], dtype=np.uint64)
    assert mix(states).tolist() == [6457827717110365317, 3203168211198807973]


def test_an_id_keeps_its_hash_among_others() -> None:
    texts = ["b", "a", "", "a long one", "ü"]
    whole = hash_ids(pa.array(texts), 3)
    assert hash_ids(pa.chunked_array([texts[:2], texts[2:]]), 3).tolist() == whole.tolist()
    assert [hash_ids([text], 3)[0] for text in texts] == whole.tolist()
    assert len({*whole.tolist(), *hash_ids(texts, 4).tolist()}) == 10


def test_uniform_stays_inside() -> None:
    ends = uniform(np.array([0, 2**64 - 1], dtype=np.uint64))
    assert 0.0 < ends[0] < ends[1] < 1.0
    assert abs(uniform(hash_ids(np.arange(100_000), 0)).mean() - 0.5) < 0.005
