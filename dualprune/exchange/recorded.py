"""The dynamics that an import reads, which were recorded elsewhere, by ranges of samples.

Arrays in memory and in .npy and .npz files are here; Parquet in wide form is in `wide.py`, in long form in `long.py`.
"""

from __future__ import annotations

import hashlib
import io
from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dualprune.core.arrays import IN_WORDS, Axes, as_array, as_axes
from dualprune.core.storage import Location
from dualprune.dynamics.layout import VALID
from dualprune.errors import DataError, UserError
from dualprune.exchange.columns import column_of

TARGET_PROB = "target_prob"
SAMPLE_ID = "sample_id"
LABEL = "label"
EPOCH = "epoch"
# The store's folders number epochs with four digits; more epochs mean a transposed array, not long training.
MOST_EPOCHS = 9_999
BATCH_ROWS = 1 << 20


class Recorded(ABC):
    """Statistics of N samples over T epochs. Messages call it `name`.

    `first_epoch` is what the source calls the store's epoch 0. `is_shared`: worker processes can read it as well.
    """

    name: str
    num_samples: int
    num_epochs: int
    columns: tuple[str, ...]
    first_epoch: int = 0
    is_shared: bool = False

    @abstractmethod
    def fingerprint(self) -> str:
        """Return a fingerprint that changes when ids or labels do."""

    @abstractmethod
    def labels(self) -> Iterator[pa.Array]:
        """Yield the labels, in order, int64 or string; nothing where there are none."""

    @abstractmethod
    def samples(self) -> Iterator[tuple[pa.Array, pa.Array | None]]:
        """Yield ids and labels, in order."""

    @abstractmethod
    def read(self, start: int, stop: int) -> dict[str, NDArray[np.float32]]:
        """Return float32 [T, stop - start] per statistic."""


@dataclass
class RecordedArrays(Recorded):
    """Arrays [T, N], one per statistic, with ids and, where there are some, labels."""

    name: str
    statistics: Mapping[str, NDArray[Any]]
    sample_ids: pa.Array
    sample_labels: pa.Array | None
    is_shared = False

    def __post_init__(self) -> None:
        self.columns = tuple(self.statistics)
        self.num_epochs, self.num_samples = self.statistics[TARGET_PROB].shape

    def fingerprint(self) -> str:
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
        # A float64 beyond float32 becomes infinite, and is refused as such.
        with np.errstate(over="ignore"):
            return {name: np.asarray(array[:, start:stop], np.float32) for name, array in self.statistics.items()}


def from_arrays(
    name: str,
    statistics: Mapping[str, Any],
    sample_ids: Any | None = None,
    labels: Any | None = None,
    axes: Axes | None = None,
) -> RecordedArrays:
    """Check arrays and return them as [T, N] per statistic; a DataError names what does not fit.

    `axes` is the order of the axes of all of them. Without it they are read as [T, N], and more epochs than samples are
    refused unless the number of ids or labels confirms them.
    """
    check_statistics(name, statistics)
    arrays = {key: as_array(array, f"{name}: {key}") for key, array in statistics.items()}
    shape = arrays[TARGET_PROB].shape
    for key, array in arrays.items():
        if array.ndim != 2:
            raise DataError(f"{name}: {key} has shape {array.shape}; expected {IN_WORDS[axes or 'TN']}")
        if array.shape != shape:
            raise DataError(f"{name}: {key} has shape {array.shape}, {TARGET_PROB} {shape}")
    if not all(shape):
        raise DataError(f"{name}: {TARGET_PROB} has shape {shape}: there is nothing in it")
    columns = {
        key: column_of(name, key, values)
        for key, values in ((SAMPLE_ID, sample_ids), (LABEL, labels))
        if values is not None
    }
    for key, column in columns.items():
        _check_length(name, key, len(column), shape, axes)
    confirmed: Axes | None = "TN" if columns else None
    arrays = {key: as_axes(array, axes or confirmed, "TN", f"{name}: {key}") for key, array in arrays.items()}
    num_epochs, num_samples = arrays[TARGET_PROB].shape
    if num_epochs > MOST_EPOCHS:
        raise DataError(
            f"{name}: {TARGET_PROB} has shape {shape}, which are {num_epochs} epochs; expected at most {MOST_EPOCHS}: "
            "transpose it"
        )
    ids = columns.get(SAMPLE_ID, pa.array(np.arange(num_samples)))
    return RecordedArrays(name, arrays, ids, columns.get(LABEL))


def open_arrays(place: Location, axes: Axes | None = None) -> RecordedArrays:
    """Return the arrays of a .npy or .npz file; a local .npy is mapped, everything else is read into memory."""
    try:
        if place.is_local and place.name.lower().endswith(".npy"):
            found = np.load(Path(place.address), mmap_mode="r", allow_pickle=False)
        else:
            found = np.load(io.BytesIO(place.read_bytes()), allow_pickle=False)
        arrays = {TARGET_PROB: found} if isinstance(found, np.ndarray) else {key: found[key] for key in found.files}
    except UserError:
        raise
    # For a damaged .npz, zipfile and zlib raise error types of their own.
    except Exception as error:
        raise DataError(
            f"{place} cannot be read as arrays of numbers ({error}); save it with np.save or np.savez, without objects"
        ) from None
    ids, labels = arrays.pop(SAMPLE_ID, None), arrays.pop(LABEL, None)
    return from_arrays(place.name, arrays, ids, labels, axes)


def check_statistics(name: str, statistics: Collection[Any], found: Collection[str] | None = None) -> None:
    """Raise a DataError unless these can be the names of statistics, with `target_prob` among them.

    `found` are all names in the input, if there are others.
    """
    for key in statistics:
        if not isinstance(key, str) or key in ("", SAMPLE_ID, LABEL, EPOCH, VALID):
            raise DataError(f"{name}: a statistic cannot be called {key!r}; give it another name")
    if TARGET_PROB not in statistics:
        there = ", ".join(statistics if found is None else found) or "nothing"
        raise DataError(f"{name} has no statistic {TARGET_PROB!r}; it has: {there}")


def _check_length(name: str, key: str, length: int, shape: tuple[int, ...], axes: Axes | None) -> None:
    """Raise a DataError unless there is one id or label per sample."""
    given: Axes = axes or "TN"
    sample_axis = given.index("N")
    if length == shape[sample_axis]:
        return
    hint = f'; pass axes="{given[::-1]}" if it is transposed' if length == shape[1 - sample_axis] else ""
    raise DataError(
        f"{name}: {length} values of {key}, but {TARGET_PROB} has shape {shape}; expected {IN_WORDS[given]}{hint}"
    )
