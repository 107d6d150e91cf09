"""What an import reads: dynamics that were recorded elsewhere, a row a sample, read by ranges of rows.

Forms: arrays in memory or in .npy and .npz files here; Parquet in wide form in `wide.py`, in long form in `long.py`.
"""

from __future__ import annotations

import io
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dualprune.core.storage import Location
from dualprune.errors import DataError

TARGET_PROB = "target_prob"
SAMPLE_ID = "sample_id"
LABEL = "label"
# The store's folders count epochs by four digits; more is a transposed array, not a long training.
MOST_EPOCHS = 9_999
BATCH_ROWS = 1 << 20


class Recorded(ABC):
    """Statistics of N samples over T epochs. `name` says in messages where they come from.

    `first_epoch` is what the source calls the store's epoch 0. `is_shared`: workers can read it, by their copy.
    """

    name: str
    num_samples: int
    num_epochs: int
    columns: tuple[str, ...]
    first_epoch: int = 0
    is_shared: bool = False

    @abstractmethod
    def fingerprint(self) -> str:
        """Return what changes when ids or labels do."""

    @abstractmethod
    def labels(self) -> Iterator[pa.Array]:
        """Give the labels, in order, whole numbers or strings; nothing where there are none."""

    @abstractmethod
    def samples(self) -> Iterator[tuple[pa.Array, pa.Array | None]]:
        """Give ids and labels, in order."""

    @abstractmethod
    def read(self, start: int, stop: int) -> dict[str, NDArray[np.float32]]:
        """Return float32 [T, stop - start] a statistic."""


@dataclass
class RecordedArrays(Recorded):
    """Arrays [T, N] a statistic, with ids and labels where there are some."""

    name: str
    statistics: Mapping[str, NDArray[Any]]
    sample_ids: pa.Array
    sample_labels: pa.Array | None
    is_shared = False

    def __post_init__(self) -> None:
        self.columns = tuple(self.statistics)
        self.num_epochs, self.num_samples = self.statistics[TARGET_PROB].shape

    def fingerprint(self) -> str:
        import hashlib

        digest = hashlib.sha256()
        for array in (self.sample_ids, self.sample_labels):
            digest.update(b"" if array is None else pa.table({"a": array}).to_batches()[0].serialize())
        return digest.hexdigest()[:16]

    def labels(self) -> Iterator[pa.Array]:
        if self.sample_labels is not None:
            yield self.sample_labels

    def samples(self) -> Iterator[tuple[pa.Array, pa.Array | None]]:
        for start in range(0, self.num_samples, BATCH_ROWS):
            labels = None if self.sample_labels is None else self.sample_labels.slice(start, BATCH_ROWS)
            yield self.sample_ids.slice(start, BATCH_ROWS), labels

    def read(self, start: int, stop: int) -> dict[str, NDArray[np.float32]]:
        return {name: np.asarray(array[:, start:stop], dtype=np.float32) for name, array in self.statistics.items()}


def from_arrays(
    name: str, statistics: Mapping[str, Any], sample_ids: Any | None = None, labels: Any | None = None
) -> RecordedArrays:
    """Check arrays and return them; a DataError names what does not fit."""
    arrays = {key: _numbers(name, key, array) for key, array in statistics.items()}
    if TARGET_PROB not in arrays:
        raise DataError(f"{name} has no {TARGET_PROB!r}; it has: {', '.join(arrays) or 'nothing'}")
    num_epochs, num_samples = arrays[TARGET_PROB].shape
    if num_epochs > MOST_EPOCHS:
        raise DataError(
            f"{name}: {TARGET_PROB} has shape {(num_epochs, num_samples)}, which are {num_epochs} epochs; "
            "expected [T, N], epochs by samples: transpose it"
        )
    if not num_epochs or not num_samples:
        raise DataError(f"{name}: {TARGET_PROB} has shape {(num_epochs, num_samples)}: there is nothing in it")
    for key, array in arrays.items():
        if array.shape != (num_epochs, num_samples):
            raise DataError(f"{name}: {key} has shape {array.shape}, {TARGET_PROB} {(num_epochs, num_samples)}")
    columns = {}
    for key, values in ((SAMPLE_ID, sample_ids), (LABEL, labels)):
        if values is None:
            continue
        column = _column(name, key, values)
        if len(column) != num_samples:
            hint = "; it is transposed" if len(column) == num_epochs else ""
            raise DataError(
                f"{name}: {len(column)} values of {key}, but {TARGET_PROB} has shape {(num_epochs, num_samples)}; "
                f"expected [T, N], epochs by samples{hint}"
            )
        columns[key] = column
    ids = columns.get(SAMPLE_ID, pa.array(np.arange(num_samples)))
    return RecordedArrays(name, arrays, ids, columns.get(LABEL))


def open_arrays(place: Location) -> RecordedArrays:
    """Return the arrays of a .npy or .npz file; a local .npy is mapped, everything else is read into memory."""
    try:
        if place.is_local and place.name.endswith(".npy"):
            found = np.load(Path(place.address), mmap_mode="r", allow_pickle=False)
        else:
            found = np.load(io.BytesIO(place.read_bytes()), allow_pickle=False)
        if isinstance(found, np.ndarray):
            return from_arrays(place.name, {TARGET_PROB: found})
        arrays = {key: found[key] for key in found.files}
    except (ValueError, EOFError, OSError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"{place} cannot be read as arrays of numbers ({error}); save it by np.save or np.savez, without objects"
        ) from None
    ids, labels = arrays.pop(SAMPLE_ID, None), arrays.pop(LABEL, None)
    return from_arrays(place.name, arrays, ids, labels)


def _numbers(name: str, key: str, array: Any) -> NDArray[Any]:
    detached = array.detach().cpu() if hasattr(array, "detach") else array
    values = detached if isinstance(detached, np.ndarray) else np.asarray(detached)
    if values.ndim != 2:
        raise DataError(f"{name}: {key} has shape {values.shape}; expected [T, N], epochs by samples")
    if values.dtype.kind not in "fiub":
        raise DataError(f"{name}: {key} has the type {values.dtype}; expected numbers")
    return values


def _column(name: str, key: str, values: Any) -> pa.Array:
    detached = values.detach().cpu().numpy() if hasattr(values, "detach") else values
    try:
        column = pa.array(detached)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
        raise DataError(f"{name}: {key} is neither whole numbers nor strings, one a sample") from None
    return plain_column(name, key, column)


def plain_column(name: str, key: str, column: Any) -> pa.Array:
    """Return ids or labels as int64 or string; a DataError where they are neither."""
    if isinstance(column, pa.ChunkedArray):
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_integer(column.type):
        try:
            return column.cast(pa.int64())
        except pa.ArrowInvalid:
            raise DataError(f"{name}: {key} has values of {column.type} beyond int64") from None
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return column.cast(pa.string())
    raise DataError(f"{name}: {key} has the type {column.type}; expected whole numbers or strings")
