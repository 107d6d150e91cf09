"""Ids, labels and statistics in the types that numpy, pandas, Spark and Arrow write."""

from __future__ import annotations

import tempfile
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualprune.core.storage import Location
from dualprune.errors import DataError
from dualprune.exchange.columns import column_of
from dualprune.exchange.parquet_set import ParquetSet
from dualprune.exchange.wide import RecordedWide

torch = pytest.importorskip("torch")

NUMBERS = [3, 1, 120]
TEXTS = ["s3", "s1", "ä"]
UUIDS = [uuid.UUID(int=number) for number in NUMBERS]

# Every way to hold NUMBERS.
WHOLE: dict[str, Any] = {
    "list": NUMBERS,
    "tuple": tuple(NUMBERS),
    "numpy scalars": [np.int16(number) for number in NUMBERS],
    "tensor": torch.tensor(NUMBERS),
    "tensor scalars": list(torch.tensor(NUMBERS)),
    "bfloat16": torch.tensor(NUMBERS).bfloat16(),
    "big-endian": np.array(NUMBERS, ">i4"),
    "range of floats": np.array(NUMBERS, np.float16),
    "floats": pa.array(NUMBERS, pa.float64()),
    "decimals": pa.array([Decimal(number) for number in NUMBERS], pa.decimal128(20, 0)),
    "dictionary": pa.array(NUMBERS).dictionary_encode(),
    "dictionary of int8": pa.array(NUMBERS, pa.int8()).dictionary_encode(),
    "chunks": pa.chunked_array([pa.array(NUMBERS[:1]), pa.array(NUMBERS[1:])]),
    "chunks of dictionaries": pa.chunked_array(
        [pa.array(NUMBERS[:1]).dictionary_encode(), pa.array(NUMBERS[1:]).dictionary_encode()]
    ),
    **{str(kind): pa.array(NUMBERS, kind) for kind in (pa.int8(), pa.uint8(), pa.int16(), pa.uint32(), pa.uint64())},
}
TEXT: dict[str, Any] = {
    "list": TEXTS,
    "numpy": np.array(TEXTS),
    "objects": np.array(TEXTS, object),
    "bytes": [text.encode() for text in TEXTS],
    "numpy bytes": np.array([text.encode() for text in TEXTS]),
    "dictionary": pa.array(TEXTS).dictionary_encode(),
    **{str(kind): pa.array(TEXTS, kind) for kind in (pa.large_string(), pa.string_view(), pa.binary_view())},
    "large binary": pa.array([text.encode() for text in TEXTS], pa.large_binary()),
}


@pytest.mark.parametrize("key", ["sample_id", "label"])
@pytest.mark.parametrize("form", sorted(WHOLE))
def test_whole_numbers_become_int64(form: str, key: str) -> None:
    column = column_of("x", key, WHOLE[form])
    assert (column.type, column.to_pylist()) == (pa.int64(), NUMBERS)


@pytest.mark.parametrize("form", sorted(TEXT))
def test_texts_become_strings(form: str) -> None:
    column = column_of("x", "sample_id", TEXT[form])
    assert (column.type, column.to_pylist()) == (pa.string(), TEXTS)


def test_series_and_categories_of_pandas() -> None:
    pandas = pytest.importorskip("pandas")
    assert column_of("x", "label", pandas.Categorical(TEXTS)).to_pylist() == TEXTS
    assert column_of("x", "label", pandas.Series(TEXTS, dtype="string")).to_pylist() == TEXTS
    assert column_of("x", "label", pandas.Series([1.0, 0.0])).to_pylist() == [1, 0]
    assert column_of("x", "label", pandas.Series([1.0, None])).to_pylist() == [1, None]


def test_uuids_become_their_text() -> None:
    expected = [str(value) for value in UUIDS]
    assert column_of("x", "sample_id", UUIDS).to_pylist() == expected
    stored = pa.array([value.bytes for value in UUIDS], pa.binary(16)).cast(pa.uuid())
    assert column_of("x", "sample_id", stored).to_pylist() == expected


def test_booleans_are_labels_and_no_ids() -> None:
    assert column_of("x", "label", [True, False]).to_pylist() == [1, 0]
    assert column_of("x", "label", np.array([True, False])).to_pylist() == [1, 0]
    with pytest.raises(DataError, match="x: sample_id has the type bool; expected whole numbers or strings"):
        column_of("x", "sample_id", [True, False])


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([0.5, 1.0], r"sample_id has the type double; .*, but 0.5 is not a whole number"),
        ([1.0, float("nan")], "but nan is not a whole number"),
        (np.array([2.0**53]), "is not a whole number below 9007199254740992"),
        (np.array([2.0**24], np.float32), "is not a whole number below 16777216"),
        ([Decimal("1.5")], "of the type decimal.* cannot be read"),
        ([2**63], "sample_id cannot be read as a column|of the type uint64 cannot be read"),
        ([2**70], "sample_id cannot be read as a column"),
        ([b"\xff\xfe"], "of the type binary cannot be read .*; expected whole numbers or strings"),
        ([1, "a"], "sample_id cannot be read as a column"),
        ({3, 1}, "sample_id is a set, which has no order of samples; pass a list"),
        ({3: 1}, "sample_id is a dict, which has no order"),
        (np.zeros((3, 1), int), r"sample_id has shape \(3, 1\); expected \[N\], one per sample"),
        (np.array(["2020-01-01"], "M8[D]"), "sample_id has the type date32"),
        ([[1], [2]], "sample_id has the type list"),
        ([None, None], "sample_id has the type null"),
        (5, "sample_id cannot be read as a column"),
        ([object()], "sample_id cannot be read as a column"),
    ],
)
def test_what_is_neither(values: Any, message: str) -> None:
    with pytest.raises(DataError, match=f"^x: .*{message}|^x: {message}"):
        column_of("x", "sample_id", values)


def cast(values: list[Any], kind: pa.DataType) -> pa.Array:
    """Return values in a type, which may be a dictionary."""
    array = pa.array(values, kind.value_type if pa.types.is_dictionary(kind) else None)
    return array.dictionary_encode() if pa.types.is_dictionary(kind) else array.cast(kind)


NUMBER_TYPES = st.sampled_from([pa.int8(), pa.uint16(), pa.int64(), pa.dictionary(pa.int8(), pa.int32()), pa.float32()])
TEXT_TYPES = st.sampled_from(
    [pa.string(), pa.large_string(), pa.binary(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())]
)
# All hold 0 and 1, as which every second value is drawn.
VALUE_TYPES = st.sampled_from(
    [pa.float16(), pa.float32(), pa.float64(), pa.decimal128(25, 3), pa.bool_(), pa.int8(), pa.uint64()]
)


@given(
    st.one_of(st.tuples(NUMBER_TYPES, NUMBER_TYPES), st.tuples(TEXT_TYPES, TEXT_TYPES)),
    st.tuples(VALUE_TYPES, VALUE_TYPES),
    st.permutations(["sample_id", "target_prob_0", "target_prob_1"]),
    st.booleans(),
)
@settings(max_examples=80, deadline=None)
def test_files_of_one_set_may_differ_in_width_and_order(
    id_kinds: tuple[pa.DataType, pa.DataType],
    value_kinds: tuple[pa.DataType, pa.DataType],
    order: list[str],
    lists: bool,
) -> None:
    prob = np.array([[0, 1, 0, 1, 1], [0, 0, 1, 0, 1]])
    is_text = "str" in str(id_kinds) or "binary" in str(id_kinds)
    expected = [f"s{row}" if is_text else row for row in range(5)]
    with tempfile.TemporaryDirectory() as folder:
        for name, ids, values, rows in zip("ab", id_kinds, value_kinds, (slice(0, 3), slice(3, 5)), strict=True):
            columns: dict[str, Any] = {"sample_id": cast(expected[rows], ids)}
            if lists:
                flat = cast(prob[:, rows].T.reshape(-1).tolist(), values)
                columns["target_prob"] = pa.FixedSizeListArray.from_arrays(flat, 2)
            else:
                columns |= {f"target_prob_{epoch}": cast(prob[epoch, rows].tolist(), values) for epoch in range(2)}
            names = order if name == "b" and not lists else sorted(columns, reverse=name == "b")
            pq.write_table(pa.table({key: columns[key] for key in names}), f"{folder}/{name}.parquet")
        recorded = RecordedWide(ParquetSet.open(Location.of(folder)))
        assert pa.concat_arrays([ids for ids, _ in recorded.samples()]).to_pylist() == expected
        assert recorded.read(0, 5)["target_prob"].tolist() == prob.tolist()


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (
            {"sample_id": ["a"], "target_prob": [[0.5]]},
            r"b.parquet holds text in sample_id, but a.parquet numbers; write",
        ),
        (
            {"sample_id": [1], "target_prob": [0.5]},
            r"b.parquet holds numbers in target_prob, but a.parquet lists of num",
        ),
        ({"sample_id": [1]}, r"b.parquet has other columns than a.parquet: only a.parquet has 'target_prob'"),
        (
            {"sample_id": [1], "target_prob": [[0.5]], "loss": [[1.0]]},
            r"only b.parquet has 'loss'; all files must be al",
        ),
    ],
)
def test_files_that_cannot_be_one_set(tmp_path: Path, second: dict[str, Any], message: str) -> None:
    pq.write_table(pa.table({"sample_id": [0], "target_prob": [[0.5]]}), tmp_path / "a.parquet")
    pq.write_table(pa.table(second), tmp_path / "b.parquet")
    with pytest.raises(DataError, match=message):
        ParquetSet.open(Location.of(tmp_path))


def test_a_folder_beside_files_is_named(tmp_path: Path) -> None:
    table = pa.table({"sample_id": [0], "target_prob": [[0.5]]})
    pq.write_table(table, tmp_path / "a.parquet")
    (tmp_path / "_SUCCESS").write_text("")
    (tmp_path / "notes.txt").write_text("")
    assert ParquetSet.open(Location.of(tmp_path)).num_rows == 1
    (tmp_path / "more").mkdir()
    with pytest.raises(
        DataError, match="holds the folder more, which would not be read; put all Parquet files into one"
    ):
        ParquetSet.open(Location.of(tmp_path))


def test_what_pandas_adds_is_no_statistic(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"sample_id": [0, 1, 2], "target_prob_0": [0.5, 0.25, 1.0]})
    frame[frame.sample_id != 1].to_parquet(tmp_path / "a.parquet")
    recorded = RecordedWide(ParquetSet.open(Location.of(tmp_path / "a.parquet")))
    assert recorded.columns == ("target_prob",)


def test_columns_that_say_a_thing_twice(tmp_path: Path) -> None:
    for columns, message in (
        ({"target_prob_1": [0.5], "target_prob_01": [0.5]}, "target_prob_1 and target_prob_01 are both epoch 1"),
        (
            {"target_prob": [[0.5]], "target_prob_0": [0.5]},
            "target_prob is a list column and the columns target_prob_0",
        ),
        ({"target_prob": [[0.5]], "valid": [[0.5]]}, "a statistic cannot be called 'valid'; give it another name"),
    ):
        pq.write_table(pa.table(columns), tmp_path / "a.parquet")
        with pytest.raises(DataError, match=message):
            RecordedWide(ParquetSet.open(Location.of(tmp_path / "a.parquet")))


def test_the_rows_of_wide_parquet_are_samples(tmp_path: Path) -> None:
    place = Location.of(tmp_path / "a.parquet")
    place.write_table(pa.table({"target_prob": [[0.5, 0.5, 0.5]] * 2}))
    with pytest.raises(
        DataError, match=r"holds 3 epochs of 2 samples: more epochs than samples. Transpose it, or pass "
    ):
        RecordedWide(ParquetSet.open(place))
    assert RecordedWide(ParquetSet.open(place), axes="NT").num_epochs == 3
    with pytest.raises(DataError, match='axes="TN" is for arrays; in wide Parquet a row is a sample'):
        RecordedWide(ParquetSet.open(place), axes="TN")
    place.write_table(pa.table({"sample_id": [0, 1], "target_prob": [[0.5, 0.5, 0.5]] * 2}))
    assert RecordedWide(ParquetSet.open(place)).num_epochs == 3
