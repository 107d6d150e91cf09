"""Writes the dynamics store: (position, values) of one epoch in, dense bucket files and a commit record out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from dualprune.core.parquet import without_nulls
from dualprune.core.storage import FileRecord, Location
from dualprune.dynamics import commit
from dualprune.dynamics.index import SampleIndex
from dualprune.dynamics.layout import VALID, bucket_name, epoch_name, statistics_options
from dualprune.dynamics.metadata import with_facts
from dualprune.errors import DataError


@dataclass(frozen=True)
class DynamicsWriter:
    """Writes the statistics of an epoch; safe to use from several processes, one per bucket.

    `columns` are the names of the stored statistics; `fingerprint` identifies the configuration that trains.
    """

    location: Location
    index: SampleIndex
    columns: tuple[str, ...]
    fingerprint: str

    def write_bucket(self, epoch: int, bucket: int, positions: np.ndarray, values: np.ndarray) -> FileRecord:
        """Arrange values [columns, m] of positions [m] densely and write the bucket's file; see `lay_out`."""
        named = dict(zip(self.columns, values, strict=True))
        return self.write_dense(epoch, bucket, *lay_out(self.index, bucket, positions, named))

    def write_dense(self, epoch: int, bucket: int, arrays: Mapping[str, np.ndarray], seen: np.ndarray) -> FileRecord:
        """Write the bucket's file from what `lay_out` returned; samples that are not `seen` are marked as missing."""
        columns = {name: to_arrow(values) for name, values in arrays.items()}
        if not seen.all():
            columns[VALID] = pa.array(seen)
        facts = {**self.index.facts(bucket), "epoch": epoch}
        place = self.location / epoch_name(epoch) / bucket_name(bucket)
        return place.write_table(with_facts(without_nulls(pa.table(columns)), **facts), **statistics_options())

    def commit(self, epoch: int, files: Sequence[FileRecord], columns: Sequence[str] | None = None) -> None:
        """Declare an epoch complete; every bucket must be among `files`. `columns`: those of this epoch, if fewer."""
        names = sorted(file.name for file in files)
        expected = [bucket_name(bucket) for bucket in range(self.index.num_buckets)]
        assert names == expected, f"epoch {epoch} commits {names}, not {expected}"
        written = self.columns if columns is None else columns
        commit.write_commit(self.location, epoch, files, columns=written, fingerprint=self.fingerprint)


def lay_out(
    index: SampleIndex, bucket: int, positions: np.ndarray, values: Mapping[str, np.ndarray]
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return float32 [n], or [n, width], per statistic, in position order, and bool [n]: which samples occur.

    Takes int64 [m] positions of the bucket and values [m] or [m, width]. A repeated position keeps its last value. A
    position that does not occur has NaN.
    """
    start, stop = index.bucket_range(bucket)
    rows = positions - start
    if len(rows) and (rows.min() < 0 or rows.max() >= stop - start):
        raise DataError(f"bucket {bucket} holds positions {start} … {stop - 1}, but got others")
    seen = np.zeros(stop - start, dtype=bool)
    seen[rows] = True
    arrays: dict[str, np.ndarray] = {}
    for name, column in values.items():
        dense = np.full((stop - start, *column.shape[1:]), np.nan, dtype=np.float32)
        dense[rows] = column
        arrays[name] = dense
    return arrays, seen


def to_arrow(values: np.ndarray) -> pa.Array:
    """Return numbers [n], or vectors [n, d] as a fixed-size list."""
    if values.ndim == 1:
        return pa.array(values)
    return pa.FixedSizeListArray.from_arrays(pa.array(np.ascontiguousarray(values).reshape(-1)), values.shape[1])


def to_numpy(column: pa.Array) -> np.ndarray:
    """Return what `to_arrow` took: [n], or [n, d]."""
    wide = pa.types.is_fixed_size_list(column.type)
    flat: np.ndarray = (column.flatten() if wide else column).to_numpy(zero_copy_only=False)
    return flat.reshape(-1, column.type.list_size) if wide else flat
