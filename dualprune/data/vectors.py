"""Samples that are arrays of numbers: lists of a table's column as one array, and the facts about all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dualprune.data.facts import DataFacts
from dualprune.errors import DataError

if TYPE_CHECKING:
    from dualprune.data.source import Source

PIECE = 1 << 14
LARGEST = float(np.finfo(np.float32).max)
Vectors = NDArray[np.floating[Any]]


def length_of(column: pa.ChunkedArray) -> int | None:
    """Return how many numbers each row has: what the type says, or else the first row that is not missing."""
    array = _storage(column)
    if pa.types.is_fixed_size_list(array.type):
        return int(array.type.list_size)
    lengths = array.value_lengths().drop_null()
    return int(lengths[0].as_py()) if len(lengths) else None


def vectors(column: pa.ChunkedArray, length: int) -> tuple[Vectors, dict[int, str]]:
    """Return lists of numbers as one array float [n, length], and why a row cannot be used, by row.

    float16, float32 and float64 keep their type, integers of up to 16 bits become float32, others float64. Rows that
    cannot be used are zeros.
    """
    array = _storage(column)
    lengths = _lengths(array)
    alike = lengths == length
    values = _numbers(array)
    if not alike.all():
        values = values[np.repeat(alike, lengths)]
    found = np.zeros((len(array), length), values.dtype)
    found[alike] = values.reshape(-1, length)
    missing = np.asarray(array.is_null())
    reasons = {
        int(row): "it is missing" if missing[row] else f"it has {lengths[row]} values, others have {length}"
        for row in np.flatnonzero(~alike | missing)
    }
    for start in range(0, len(found), PIECE):
        piece = found[start : start + PIECE]
        fits = np.isfinite(piece)
        if piece.dtype == np.float64:
            fits &= np.abs(piece) <= LARGEST
        for row in np.flatnonzero(~fits.all(axis=1)):
            place = int(np.flatnonzero(~fits[row])[0])
            reasons.setdefault(int(start + row), f"its value {place} is {found[start + row, place]}, no finite float32")
    found[list(reasons)] = 0
    return found, reasons


def array_counts(values: NDArray[Any]) -> dict[str, Any]:
    """Return count, mean [d] and sum of squared deviations [d] of the rows of an array, for `array_facts`."""
    total: dict[str, Any] = {"count": 0, "mean": np.zeros(values.shape[1]), "squares": np.zeros(values.shape[1])}
    for start in range(0, len(values), PIECE):
        piece = values[start : start + PIECE].astype(np.float64)
        mean = piece.mean(axis=0)
        total = _together(total, {"count": len(piece), "mean": mean, "squares": ((piece - mean) ** 2).sum(axis=0)})
    return total


def array_facts(source: Source, parts: Sequence[Mapping[str, Any]]) -> DataFacts:
    """Return the facts about a source of arrays from the counts of its shards, in their order.

    Numbers that are the same in all samples have the deviation 1.
    """
    shapes = {part["shape"] for part in parts}
    if len(shapes) > 1:
        raise DataError(
            f"training and test set differ in the length of their arrays: {sorted(shape[0] for shape in shapes)}"
        )
    [shape] = shapes
    train = [part for part in parts if part["split"] == "train"]
    total: dict[str, Any] = {"count": 0, "mean": np.zeros(shape), "squares": np.zeros(shape)}
    for part in train:
        total = _together(total, part["counts"])
    if not total["count"]:
        raise DataError(
            "the data set has no array that can be used; set data.on_error to raise for the reason of the first"
        )
    mean, std = total["mean"], np.sqrt(total["squares"] / total["count"])
    # Rounding errors of a mean are no deviation.
    std[std <= 1e-13 * np.abs(mean)] = 1.0
    if not source.normalize:
        mean, std = np.zeros(shape), np.ones(shape)
    return DataFacts(
        shape=shape,
        num_train=source.num_samples,
        num_classes=len(source.classes),
        mean=tuple(mean.tolist()),
        std=tuple(std.tolist()),
        skipped_ids=tuple(sample_id for part in train for sample_id in part["failed"]),
    )


def _together(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """Return the counts of two sets of rows as those of one: sums of squares alone would lose digits."""
    count = one["count"] + other["count"]
    if not count:
        return dict(one)
    moved = other["mean"] - one["mean"]
    share = other["count"] / count
    squares = one["squares"] + other["squares"] + moved**2 * (one["count"] * share)
    return {"count": count, "mean": one["mean"] + moved * share, "squares": squares}


def _storage(column: pa.ChunkedArray) -> pa.Array:
    chunks = [chunk.storage if isinstance(chunk, pa.ExtensionArray) else chunk for chunk in column.chunks]
    kind = column.type.storage_type if isinstance(column.type, pa.BaseExtensionType) else column.type
    return pa.concat_arrays(chunks) if chunks else pa.array([], kind)


def _lengths(array: pa.Array) -> NDArray[np.int64]:
    """Return how many values each row has, those of missing rows included."""
    if pa.types.is_fixed_size_list(array.type):
        return np.full(len(array), array.type.list_size, dtype=np.int64)
    found: NDArray[np.int64] = np.diff(np.asarray(array.offsets)).astype(np.int64)
    return found


def _numbers(array: pa.Array) -> Vectors:
    """Return the values of all rows, concatenated; missing values are NaN."""
    if pa.types.is_fixed_size_list(array.type):
        size = array.type.list_size
        values = array.values.slice(array.offset * size, len(array) * size)
    else:
        offsets = array.offsets
        values = array.values.slice(offsets[0].as_py(), offsets[-1].as_py() - offsets[0].as_py())
    if pa.types.is_integer(values.type):
        values = values.cast(pa.float32() if values.type.bit_width <= 16 else pa.float64(), safe=False)
    found: Vectors = values.to_numpy(zero_copy_only=False)
    return found
