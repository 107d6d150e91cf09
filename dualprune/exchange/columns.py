"""Converts columns of other programs: ids and labels become int64 or string, statistics float32."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dualprune.core.arrays import as_array
from dualprune.errors import DataError

EXPECTED = "expected whole numbers or strings"


def column_of(name: str, key: str, values: Any) -> pa.Array:
    """Return ids or labels [N] of a list, array, tensor, series or Arrow array as int64 or string."""
    if isinstance(values, (set, frozenset, Mapping)):
        raise DataError(f"{name}: {key} is a {type(values).__name__}, which has no order of samples; pass a list")
    if hasattr(values, "detach"):
        values = as_array(values, f"{name}: {key}")
    elif isinstance(values, (list, tuple)) and len(values) and hasattr(values[0], "detach"):
        values = [value.item() for value in values]
    if isinstance(values, np.ndarray):
        if values.ndim != 1:
            raise DataError(f"{name}: {key} has shape {values.shape}; expected [N], one per sample")
        values = values.astype(values.dtype.newbyteorder("="), copy=False)
    try:
        column = values if isinstance(values, (pa.Array, pa.ChunkedArray)) else pa.array(values)
    except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
        raise DataError(
            f"{name}: {key} cannot be read as a column ({_line(error)}); {EXPECTED}, one per sample"
        ) from None
    return plain_column(name, key, column)


def plain_column(name: str, key: str, column: Any) -> pa.Array:
    """Return ids or labels as int64 or string, nulls kept; a DataError where they are neither.

    Whole numbers may come as integers of any width, whole floats, decimals, and, for labels, booleans. Text may come
    as any string type, as UTF-8 bytes, or as UUIDs. Dictionaries (categories) are decoded.
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
        if _is_text(kind):
            return array.cast(pa.string())
    except pa.ArrowException as error:
        raise DataError(f"{name}: {key} of the type {kind} cannot be read ({_line(error)}); {EXPECTED}") from None
    if isinstance(kind, pa.UuidType):
        return pa.array([None if value is None else str(value) for value in array.to_pylist()], pa.string())
    raise DataError(f"{name}: {key} has the type {kind}; {EXPECTED}")


def column_kind(key: str, kind: pa.DataType) -> str:
    """Return what a column holds: `numbers`, `text`, `lists of numbers`, or the name of the type.

    Files of one set may differ in their types, but not in this.
    """
    if pa.types.is_dictionary(kind):
        return column_kind(key, kind.value_type)
    if is_number(kind):
        return "numbers"
    if is_list(kind) and is_number(kind.value_type):
        return "lists of numbers"
    return "text" if _is_text(kind) or isinstance(kind, pa.UuidType) else str(kind)


def is_list(kind: pa.DataType) -> bool:
    """Return whether a column holds a list per row."""
    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def is_number(kind: pa.DataType) -> bool:
    """Return whether a column can hold a statistic."""
    return bool(
        pa.types.is_floating(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_decimal(kind)
        or (pa.types.is_dictionary(kind) and is_number(kind.value_type))
    )


def check_number(name: str, column: str, kind: pa.DataType) -> None:
    """Raise a DataError where a column of this type cannot hold a statistic."""
    if not is_number(kind):
        raise DataError(f"{name}: {column} holds {kind}; expected numbers")


def float_values(column: Any) -> NDArray[np.float32]:
    """Return a column that `is_number` accepts as float32 [n], with NaN for nulls."""
    array = _decoded(pa.concat_arrays(column.chunks) if isinstance(column, pa.ChunkedArray) else column)
    # Not a safe cast, which would refuse integers that float32 must round.
    values: NDArray[np.float32] = array.cast(pa.float32(), safe=False).to_numpy(zero_copy_only=False)
    return values


def _joined(name: str, key: str, column: Any) -> pa.Array:
    if isinstance(column, pa.ChunkedArray):
        chunks = [_decoded(chunk) for chunk in column.chunks]
        try:
            return pa.concat_arrays(chunks) if chunks else pa.array([], column.type)
        except pa.ArrowException as error:
            raise DataError(f"{name}: {key} cannot be read in one piece ({_line(error)}); pass it as Parquet") from None
    return _decoded(column)


def _decoded(array: pa.Array) -> pa.Array:
    if pa.types.is_dictionary(array.type):
        return array.dictionary_decode()
    return pc.run_end_decode(array) if pa.types.is_run_end_encoded(array.type) else array


def _is_text(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_string(kind)
        or pa.types.is_large_string(kind)
        or pa.types.is_string_view(kind)
        or pa.types.is_binary(kind)
        or pa.types.is_large_binary(kind)
        or pa.types.is_binary_view(kind)
        or pa.types.is_fixed_size_binary(kind)
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
