"""Checks by type that the columns of a file can hold images, arrays, labels and ids."""

from __future__ import annotations

import pyarrow as pa

from dualprune.core.plain_columns import is_bytes, is_string
from dualprune.core.registry import nearest
from dualprune.core.storage import Location
from dualprune.data.table_source import Columns
from dualprune.errors import DataError


def check_columns(file: Location, schema: pa.Schema, columns: Columns, *, value: str) -> None:
    """Raise a DataError where a file lacks one of these columns, or holds it in a type that is not taken.

    `value` is the option that names the column of values: `image_column` of images, `column` of arrays.
    """
    named = {value: columns.value, "label_column": columns.label, "id_column": columns.id}
    expected = {
        "image_column": ("encoded images as bytes, a struct with the field 'bytes', or arrays of pixels", _is_image),
        "column": ("a list of numbers per row", is_vector),
        "label_column": ("integers or strings", _is_label),
        "id_column": ("integers, strings, bytes or UUIDs", _is_id),
    }
    for key, column in named.items():
        if column is None:
            continue
        if column not in schema.names:
            advice = " (null: row numbers are the ids)" if key == "id_column" else ""
            raise DataError(
                f"data.options.{key}: {file} has no column {column!r}; it has: {', '.join(schema.names)}"
                f"{nearest(column, schema.names)}{advice}"
            )
        kind = schema.field(column).type
        text, is_right = expected[key]
        if not is_right(kind):
            held = f"a struct of {', '.join(field.name for field in kind)}" if pa.types.is_struct(kind) else str(kind)
            raise DataError(f"data.options.{key}: {column!r} holds {held}; expected {text} ({file})")


def _is_image(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and is_bytes(kind.field("bytes").type)
    if isinstance(kind, pa.BaseExtensionType):
        return _is_image(kind.storage_type)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return (
            pa.types.is_integer(kind.value_type) or pa.types.is_floating(kind.value_type) or _is_image(kind.value_type)
        )
    return is_bytes(kind)


def is_vector(kind: pa.DataType) -> bool:
    """Return whether a type is a list of numbers: of one length or of any, or a tensor of one shape."""
    if isinstance(kind, pa.BaseExtensionType):
        return is_vector(kind.storage_type)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return bool(pa.types.is_integer(kind.value_type) or pa.types.is_floating(kind.value_type))
    return False


def _is_label(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_label(kind.value_type)
    return bool(pa.types.is_integer(kind) or pa.types.is_boolean(kind) or is_string(kind))


def _is_id(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_id(kind.value_type)
    return bool(pa.types.is_integer(kind) or is_string(kind) or is_bytes(kind) or isinstance(kind, pa.UuidType))
