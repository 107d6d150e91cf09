"""Tables of several files as one: columns by name, in types that hold the values of all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dualprune.core.tables import common_type, conform, is_lossless, unified
from dualprune.errors import DataError

# Types within a family hold the same values.
FAMILIES: dict[str, tuple[Sequence[pa.DataType], st.SearchStrategy[Any]]] = {
    "whole": (
        [pa.int8(), pa.int64(), pa.uint16(), pa.uint32(), pa.uint64(), pa.dictionary(pa.int8(), pa.int32())],
        st.integers(0, 127),
    ),
    "number": ([pa.float32(), pa.float64(), pa.int16(), pa.int64()], st.integers(-100, 100)),
    "text": ([pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int32(), pa.string())], st.text()),
    "bytes": ([pa.binary(), pa.large_binary(), pa.binary(4), pa.binary_view()], st.binary(min_size=4, max_size=4)),
    "list": (
        [pa.list_(pa.int8()), pa.large_list(pa.int64()), pa.list_(pa.uint8(), 2)],
        st.lists(st.integers(0, 9), min_size=2, max_size=2),
    ),
    "struct": (
        [pa.struct([("bytes", pa.binary()), ("path", kind)]) for kind in (pa.string(), pa.large_string())]
        + [pa.struct([("path", pa.string()), ("bytes", pa.large_binary())])],
        st.fixed_dictionaries({"bytes": st.binary(), "path": st.text()}),
    ),
    "records": (
        [
            pa.list_(pa.struct([("x", pa.int8()), ("y", pa.float32())])),
            pa.large_list(pa.struct([("y", pa.float64()), ("x", pa.int64())])),
        ],
        st.lists(st.fixed_dictionaries({"x": st.integers(0, 9), "y": st.integers(0, 9)}), max_size=2),
    ),
    "time": (
        [pa.timestamp("s"), pa.timestamp("ms"), pa.timestamp("us")],
        st.datetimes().map(lambda time: time.replace(microsecond=0)),
    ),
}


def column(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    if pa.types.is_dictionary(kind):
        return pa.array(values, kind.value_type).dictionary_encode().cast(kind)
    return pa.array(values, kind)


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_every_value_of_every_file_is_found_again(data: st.DataObject) -> None:
    names = data.draw(st.lists(st.sampled_from(sorted(FAMILIES)), min_size=1, unique=True))
    tables, rows = [], []
    for _ in range(data.draw(st.integers(1, 4))):
        # Each file has some of the columns, in an order and in types of its own.
        held = data.draw(st.permutations(names))[: data.draw(st.integers(1, len(names)))]
        count = data.draw(st.integers(0, 3))
        values = {
            name: data.draw(st.lists(st.none() | FAMILIES[name][1], min_size=count, max_size=count)) for name in held
        }
        tables.append(
            pa.table({name: column(values[name], data.draw(st.sampled_from(FAMILIES[name][0]))) for name in held})
        )
        rows += [{name: values[name][row] if name in values else None for name in names} for row in range(count)]
    schema = unified([(f"file {number}", table.schema) for number, table in enumerate(tables)])
    found = pa.concat_tables(conform(table, schema, "file") for table in tables)
    assert sorted(found.column_names) == sorted({name for table in tables for name in table.column_names})
    for row, expected in zip(found.to_pylist(), rows, strict=True):
        assert {name: row.get(name) for name in names} == expected


def test_the_first_file_gives_the_order_and_an_equal_table_is_left_alone() -> None:
    first = pa.schema([("a", pa.int8()), ("b", pa.string())], {"pandas": "{}"})
    schema = unified([("x", first), ("y", pa.schema([("c", pa.bool_()), ("b", pa.string()), ("a", pa.int32())]))])
    assert (schema.names, schema.types) == (["a", "b", "c"], [pa.int32(), pa.string(), pa.bool_()])
    assert unified([("x", first), ("y", first)]).equals(first, check_metadata=True)
    table = pa.table({"a": pa.array([1], pa.int8()), "b": ["x"]})
    assert conform(table, table.schema, "x") is table


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pa.string(), pa.int64()),
        (pa.string(), pa.binary()),
        (pa.uuid(), pa.string()),
        (pa.uuid(), pa.binary(16)),
        (pa.timestamp("us"), pa.timestamp("us", tz="UTC")),
        (pa.date32(), pa.int32()),
        (pa.struct([("bytes", pa.binary())]), pa.binary()),
        (pa.list_(pa.int8()), pa.int8()),
    ],
)
def test_what_no_type_holds_is_refused_with_both_files(one: pa.DataType, other: pa.DataType) -> None:
    schemas = [("a.parquet", one), ("b.parquet", one), ("c.parquet", other)]
    with pytest.raises(DataError) as error:
        unified([(name, pa.schema([("x", kind)])) for name, kind in schemas])
    assert f"the column 'x' holds {one} in a.parquet, but {other} in c.parquet" in str(error.value)


def test_labels_are_unified_by_name() -> None:
    kinds = [pa.int32(), pa.string(), pa.bool_()]
    schemas = [(str(kind), pa.schema([("label", kind)])) for kind in kinds]
    schema = unified(schemas, by_name="label")
    assert schema.field("label").type == pa.string()
    columns = [pa.array(values, kind) for values, kind in zip([[7], ["7"], [True]], kinds, strict=True)]
    found = [conform(pa.table({"label": labels}), schema, "x")["label"][0].as_py() for labels in columns]
    assert found == ["7", "7", "1"]
    with pytest.raises(DataError, match="the column 'label' holds int32 in int32, but string in string"):
        unified(schemas[:2])


@pytest.mark.parametrize(
    ("kind", "other", "fits", "does_not"),
    [
        (pa.int64(), pa.float64(), 2**53, 2**53 + 1),
        (pa.uint64(), pa.int64(), 2**63 - 1, 2**63),
        (pa.timestamp("s"), pa.timestamp("ns"), 0, 2**40),
    ],
)
def test_a_value_that_does_not_fit_names_its_file(
    kind: pa.DataType, other: pa.DataType, fits: int, does_not: int
) -> None:
    common = common_type(kind, other)
    assert common is not None
    assert not is_lossless(kind, common)
    assert is_lossless(other, common)
    schema = pa.schema([("x", common)])
    conform(pa.table({"x": pa.array([fits], kind)}), schema, "a.parquet")
    with pytest.raises(DataError, match=r"the column 'x' of a\.parquet holds a value that does not fit into"):
        conform(pa.table({"x": pa.array([does_not], kind)}), schema, "a.parquet")
