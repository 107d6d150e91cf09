"""Ids of any type become what hashing, id files and people agree on."""

from __future__ import annotations

import uuid
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualprune.core.hashing import hash_ids
from dualprune.core.plain_columns import as_text, plain_column
from dualprune.errors import DataError


def ids(array: pa.Array) -> pa.Array:
    return plain_column("set", "sample_id", array, bytes_are_text=False)


@given(st.lists(st.uuids(), max_size=20))
@settings(max_examples=50, deadline=None)
def test_uuids_and_bytes_are_their_canonical_text(values: list[uuid.UUID]) -> None:
    raw = pa.array([value.bytes for value in values], pa.binary(16))
    texts = [str(value) for value in values]
    assert ids(raw.cast(pa.uuid())).to_pylist() == texts
    assert hash_ids(ids(raw.cast(pa.uuid())), 3).tolist() == hash_ids(np.array(texts, dtype=str), 3).tolist()
    for kind in (pa.binary(16), pa.binary(), pa.large_binary(), pa.binary_view()):
        assert ids(raw.cast(kind)).to_pylist() == [value.hex for value in values]


@given(st.lists(st.integers(0, 2**63 - 1)), st.booleans())
@settings(max_examples=50, deadline=None)
def test_whole_numbers_of_any_width(values: list[int], categories: bool) -> None:
    array = pa.array(values, pa.uint64())
    assert ids(array.dictionary_encode() if categories else array).to_pylist() == values


@pytest.mark.parametrize(
    ("values", "kind", "message"),
    [
        ([2**63], pa.uint64(), "of the type uint64 cannot be read .*; store larger ones as strings"),
        ([datetime(2024, 1, 1)], pa.timestamp("us"), "has the type timestamp"),
        ([True], pa.bool_(), "has the type bool"),
        ([Decimal("1.5")], pa.decimal128(5, 2), "of the type decimal128.* cannot be read"),
        ([[1]], pa.list_(pa.int64()), "has the type list"),
    ],
)
def test_other_types_are_refused_by_name(values: list[Any], kind: pa.DataType, message: str) -> None:
    with pytest.raises(DataError, match=f"^set: sample_id {message}"):
        ids(pa.array(values, kind))


def test_single_values_of_any_type_are_groups() -> None:
    groups = {
        "day": (pa.array([date(2024, 1, 2), None]), ["2024-01-02", None]),
        "bool": (pa.array([True, False]), ["true", "false"]),
        "bytes": (pa.array([b"\xff\x00"]), ["ff00"]),
        "category": (pa.chunked_array([pa.array(["a", "b", "a"]).dictionary_encode()]), ["a", "b", "a"]),
        "empty": (pa.chunked_array([], pa.dictionary(pa.int32(), pa.string())), []),
    }
    for name, (column, texts) in groups.items():
        assert as_text(name, column).to_pylist() == texts
    with pytest.raises(DataError, match="by: 'x' holds list<item: int64>; expected one text, number or date per row"):
        as_text("by: 'x'", pa.chunked_array([], pa.list_(pa.int64())))
