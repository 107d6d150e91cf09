"""Converts columns of other programs: ids and labels as lists, arrays and tensors, and statistics as float32."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dualprune.core.arrays import as_array
from dualprune.core.plain_columns import EXPECTED, decoded, is_bytes, is_string, plain_column
from dualprune.errors import DataError


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
    is_text = is_string(kind) or isinstance(kind, pa.UuidType)
    return "text" if is_text or (is_bytes(kind) and not pa.types.is_fixed_size_binary(kind)) else str(kind)


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
    array = decoded(pa.concat_arrays(column.chunks) if isinstance(column, pa.ChunkedArray) else column)
    # Not a safe cast, which would refuse integers that float32 must round.
    values: NDArray[np.float32] = array.cast(pa.float32(), safe=False).to_numpy(zero_copy_only=False)
    return values


def _line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
