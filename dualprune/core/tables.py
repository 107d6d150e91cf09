"""Tables of several files as one: by the names of their columns, in types that hold the values of all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from dualprune.core.plain_columns import decoded, is_bytes, is_string
from dualprune.errors import DataError


def unified(schemas: Sequence[tuple[str, pa.Schema]], *, by_name: str | None = None) -> pa.Schema:
    """Return one schema for files of these names and schemas: the first one's order, then further columns.

    A column that a file lacks is missing (null) there. In the column `by_name`, numbers and texts are unified as texts.
    A DataError names two files, the column and both types where no type holds the values of both.
    """
    fields: dict[str, pa.Field] = {}
    found_in: dict[str, tuple[str, pa.DataType]] = {}
    for number, (file, schema) in enumerate(schemas):
        for field in schema:
            known = fields.get(field.name)
            if known is None:
                fields[field.name] = field.with_nullable(True) if number else field
            elif not known.type.equals(field.type):
                kind = common_type(known.type, field.type, numbers_are_names=field.name == by_name)
                if kind is None:
                    other, before = found_in[field.name]
                    raise DataError(
                        f"the column {field.name!r} holds {before} in {other}, but {field.type} in {file}; "
                        "write all files with the same types"
                    )
                fields[field.name] = pa.field(field.name, kind, known.nullable or field.nullable, known.metadata)
            elif field.nullable and not known.nullable:
                fields[field.name] = known.with_nullable(True)
            if known is None or not known.type.equals(fields[field.name].type):
                found_in[field.name] = file, field.type
        for name in fields.keys() - set(schema.names):
            fields[name] = fields[name].with_nullable(True)
    return pa.schema(list(fields.values()), schemas[0][1].metadata if schemas else None)


def common_type(one: pa.DataType, other: pa.DataType, *, numbers_are_names: bool = False) -> pa.DataType | None:
    """Return a type that holds the values of both types, or None."""
    if one.equals(other):
        return one
    one, other = _without_encoding(one), _without_encoding(other)
    if one.equals(other):
        return one
    for kind, second in ((one, other), (other, one)):
        if pa.types.is_boolean(kind) and pa.types.is_integer(second):
            return second
        if is_string(kind) and is_bytes(second):
            return None
        if numbers_are_names and is_string(kind) and (pa.types.is_integer(second) or pa.types.is_boolean(second)):
            return kind
    try:
        both = [pa.schema([pa.field("column", kind)]) for kind in (one, other)]
        found: pa.DataType = pa.unify_schemas(both, promote_options="permissive").field(0).type
        for kind in (one, other):
            pa.array([], kind).cast(found)
    except pa.ArrowException:
        return None
    return found


def is_lossless(kind: pa.DataType, wider: pa.DataType) -> bool:
    """Return whether every value of a type has its place in one that `common_type` returned for it."""
    kind = _without_encoding(kind)
    if kind.equals(wider) or pa.types.is_null(kind) or pa.types.is_boolean(kind) or is_string(kind) or is_bytes(kind):
        return True
    if pa.types.is_integer(kind):
        if pa.types.is_floating(wider):
            return bool(kind.bit_width < {16: 11, 32: 24, 64: 53}[wider.bit_width])
        return not (pa.types.is_uint64(kind) and pa.types.is_int64(wider))
    if pa.types.is_struct(kind) and pa.types.is_struct(wider):
        return all(is_lossless(field.type, wider.field(field.name).type) for field in kind)
    if hasattr(kind, "value_type") and hasattr(wider, "value_type"):
        return is_lossless(kind.value_type, wider.value_type)
    return bool(pa.types.is_floating(kind))


def conform(table: pa.Table, schema: pa.Schema, name: str) -> pa.Table:
    """Return a table with the columns of a schema, by name, in its types; a DataError where a value does not fit.

    Columns that the table lacks are null. `name` is what messages call the table.
    """
    if table.schema.equals(schema):
        return table
    columns = []
    for field in schema:
        if field.name not in table.column_names:
            columns.append(pa.nulls(table.num_rows, field.type))
            continue
        try:
            columns.append(as_type(table[field.name], field.type))
        except pa.ArrowException as error:
            raise DataError(
                f"the column {field.name!r} of {name} holds a value that does not fit into {field.type}, the type that "
                f"all files have in common ({str(error).splitlines()[0]}); write all files with the same types"
            ) from None
    return pa.table(columns, schema=schema)


def as_type(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    """Return a column in a type that `common_type` returned for it; an ArrowException where a value does not fit."""
    if column.type.equals(kind):
        return column
    if pa.types.is_boolean(column.type) and is_string(kind):
        # As a number, which is what a boolean label is elsewhere.
        column = column.cast(pa.int8())
    if pa.types.is_dictionary(column.type) or pa.types.is_run_end_encoded(column.type):
        column = pa.chunked_array([decoded(chunk) for chunk in column.chunks], _without_encoding(column.type))
    return column.cast(kind)


def _without_encoding(kind: Any) -> Any:
    """Return the type of the values of a dictionary or of runs, and a plain type for a view."""
    if pa.types.is_dictionary(kind) or pa.types.is_run_end_encoded(kind):
        return _without_encoding(kind.value_type)
    if pa.types.is_string_view(kind):
        return pa.string()
    return pa.binary() if pa.types.is_binary_view(kind) else kind
