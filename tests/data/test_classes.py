"""One class list for both splits: by name, whatever the types of the labels."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualprune.core.plain_columns import plain_column
from dualprune.data.classes import Classes
from dualprune.errors import DataError

INTEGERS = [pa.int8(), pa.int16(), pa.int32(), pa.int64(), pa.uint8(), pa.uint16(), pa.uint32(), pa.uint64()]
TEXTS = [pa.string(), pa.large_string(), pa.string_view()]
KINDS = st.sampled_from([*INTEGERS, *TEXTS])


def column(values: list[Any], kind: pa.DataType, categories: bool = False) -> pa.ChunkedArray:
    array = pa.array([str(value) for value in values]).cast(kind) if kind in TEXTS else pa.array(values, kind)
    encoded = array.cast(pa.string()) if kind == pa.string_view() and categories else array
    return pa.chunked_array([encoded.dictionary_encode() if categories else array])


def classes(labels: pa.ChunkedArray) -> Classes:
    return Classes.of([plain_column("train", "label", labels)], "label")


@given(
    st.lists(st.integers(0, 100), min_size=2, max_size=60).filter(lambda labels: len(set(labels)) > 1),
    st.tuples(KINDS, st.booleans()),
    st.tuples(KINDS, st.booleans()),
    st.data(),
)
@settings(max_examples=50, deadline=None)
def test_a_label_is_the_same_class_in_any_type(
    train: list[int], kind: tuple[pa.DataType, bool], other: tuple[pa.DataType, bool], data: st.DataObject
) -> None:
    known = classes(column(train, *kind))
    assert [known.names[i] for i in known.places(column(train, *kind), "train", "label")] == [str(x) for x in train]
    test = data.draw(st.lists(st.sampled_from(train), min_size=1))
    assert [known.names[i] for i in known.places(column(test, *other), "test", "label")] == [str(x) for x in test]
    # The order is what it has always been: numbers by value with their gaps, texts as texts.
    numbers = [str(label) for label in range(max(train) + 1)]
    assert list(known.names) == (sorted({str(x) for x in train}) if kind[0] in TEXTS else numbers)


def test_texts_of_numbers_keep_their_order() -> None:
    known = classes(pa.chunked_array([[str(i % 12) for i in range(24)]]))
    assert known.names == ("0", "1", "10", "11", "2", "3", "4", "5", "6", "7", "8", "9")
    assert known.places(pa.chunked_array([[10, 2]]), "test", "label").tolist() == [2, 4]


def test_booleans_are_numbers() -> None:
    known = classes(pa.chunked_array([[True, False, True]]))
    assert known.names == ("0", "1")
    assert known.places(pa.chunked_array([[1, 0]]), "test", "label").tolist() == [1, 0]


@pytest.mark.parametrize(
    ("train", "test", "message"),
    [
        ([0, 1, 3], [2], "label '2' of the test set in 'y' is out of range: no training sample has it"),
        ([0, 1], [-1], "label '-1' of the test set"),
        (["cat", "dog"], ["fish"], "label 'fish' of the test set"),
        (["cat", "dog"], [0], "label '0' of the test set"),
        ([0, 1], ["01"], "label '01' of the test set"),
        ([0, 1], [None, 1], r"1 labels are missing in 'y' \(test set\)"),
    ],
)
def test_labels_that_training_lacks_are_refused_by_name(train: list[Any], test: list[Any], message: str) -> None:
    known = classes(pa.chunked_array([train]))
    with pytest.raises(DataError, match=message):
        known.places(pa.chunked_array([test]), "test", "y")
