"""Ids, labels and groups in the types that programs write them in, as the two that the store has: int64 and string."""

from __future__ import annotations

import re
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from dualprune.errors import DataError

EXPECTED = "expected whole numbers or strings"


def plain_column(name: str, key: str, column: Any, *, bytes_are_text: bool = True) -> pa.Array:
    """Return ids or labels as int64 or string, nulls kept; a DataError where they are neither.

    Whole numbers may come as integers of any width, whole floats, decimals, and, for labels, booleans. Text may come
    as any string type, and as UTF-8 bytes where `bytes_are_text`; other bytes, as those of one fixed size are, become
    hexadecimal, and UUIDs their usual form. Dictionaries (categories) are decoded.
    """
    array = _joined(name, key, column)
    kind = array.type
    try:
        if pa.types.is_integer(kind) or (key == "label" and pa.types.is_boolean(kind)):
            return array.cast(pa.int64())
        if pa.types.is_floating(kind):
            return _whole(name, key, array)
        if pa.types.is_decimal(kind):
            return array.cast(pa.int64())
        if is_string(kind) or (is_bytes(kind) and bytes_are_text and not pa.types.is_fixed_size_binary(kind)):
            return array.cast(pa.string())
    except pa.ArrowException as error:
        advice = "; store larger ones as strings" if pa.types.is_integer(kind) else ""
        raise DataError(
            f"{name}: {key} of the type {kind} cannot be read ({_line(error)}); {EXPECTED}{advice}"
        ) from None
    if is_bytes(kind):
        return _hexadecimal(array)
    if isinstance(kind, pa.UuidType):
        return _uuids(array)
    raise DataError(f"{name}: {key} has the type {kind}; {EXPECTED}")


def as_text(name: str, column: Any) -> pa.Array:
    """Return single values of any type as strings, nulls kept; a DataError where each value is a list or the like."""
    array = _joined(name, "the column", column)
    if is_bytes(array.type):
        return _hexadecimal(array)
    if isinstance(array.type, pa.UuidType):
        return _uuids(array)
    try:
        return array.cast(pa.string())
    except pa.ArrowException:
        raise DataError(f"{name} holds {array.type}; expected one text, number or date per row") from None


def is_string(kind: pa.DataType) -> bool:
    """Return whether a type is a string type."""
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def is_bytes(kind: pa.DataType) -> bool:
    """Return whether a type is one of bytes."""
    return bool(
        pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_binary_view(kind)
        or pa.types.is_fixed_size_binary(kind)
    )


def is_whole(text: str) -> bool:
    """Return whether a text is a whole number as it is printed, below 10^18."""
    return re.fullmatch("0|-?[1-9][0-9]{0,17}", text) is not None


def decoded(array: pa.Array) -> pa.Array:
    """Return the values of a dictionary (categories) or of runs; another array as it is."""
    if pa.types.is_dictionary(array.type):
        return array.dictionary_decode()
    return pc.run_end_decode(array) if pa.types.is_run_end_encoded(array.type) else array


def _joined(name: str, key: str, column: Any) -> pa.Array:
    if isinstance(column, pa.ChunkedArray):
        chunks = [decoded(chunk) for chunk in column.chunks]
        try:
            return pa.concat_arrays(chunks) if chunks else decoded(pa.array([], column.type))
        except pa.ArrowException as error:
            raise DataError(f"{name}: {key} cannot be read in one piece ({_line(error)}); pass it as Parquet") from None
    return decoded(column)


def _hexadecimal(array: pa.Array) -> pa.Array:
    return pa.array([None if value is None else value.hex() for value in array.to_pylist()], pa.string())


def _uuids(array: pa.Array) -> pa.Array:
    texts = [None if value is None else value.hex() for value in array.storage.to_pylist()]
    return pa.array(
        [t if t is None else f"{t[:8]}-{t[8:12]}-{t[12:16]}-{t[16:20]}-{t[20:]}" for t in texts], pa.string()
    )


def _whole(name: str, key: str, array: pa.Array) -> pa.Array:
    """Return floats that are all whole as int64; pandas turns integers into floats where values are missing."""
    # From this limit on, a float stands for several whole numbers.
    limit = {16: 2**11, 32: 2**24}.get(array.type.bit_width, 2**53)
    values = array.cast(pa.float64())
    is_whole = pc.and_(pc.equal(pc.floor(values), values), pc.less(pc.abs(values), limit))
    if not pc.all(is_whole, min_count=0).as_py():
        odd = values.filter(pc.invert(is_whole))[0].as_py()
        raise DataError(
            f"{name}: {key} has the type {array.type}; {EXPECTED}, but {odd} is not a whole number below {limit}"
        )
    return values.cast(pa.int64())


def _line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
