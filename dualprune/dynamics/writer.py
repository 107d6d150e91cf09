"""Writes the dynamics store: (position, values) of one epoch in, dense bucket files and a commit record out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from dualprune.core.storage import FileRecord, Location
from dualprune.dynamics.index import SampleIndex
from dualprune.dynamics.layout import COMMIT, VALID, bucket_name, epoch_name, epoch_number, statistics_options
from dualprune.errors import DataError


@dataclass(frozen=True)
class DynamicsWriter:
    """Writes the statistics of an epoch; safe to use from several processes, one a bucket.

    `columns` are the statistics' names; `fingerprint` stands for the configuration that trains.
    """

    location: Location
    index: SampleIndex
    columns: tuple[str, ...]
    fingerprint: str

    def write_bucket(self, epoch: int, bucket: int, positions: np.ndarray, values: np.ndarray) -> FileRecord:
        """Lay values [columns, m] of positions [m] out densely and write the bucket's file; see `lay_out`."""
        return self.write_dense(epoch, bucket, *self.lay_out(bucket, positions, values))

    def lay_out(
        self, bucket: int, positions: np.ndarray, values: np.ndarray
    ) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """Return float32 [n] a statistic, in position order, and bool [n]: which samples came.

        A position that comes twice keeps its last value. One that does not come has NaN.
        """
        start, stop = self.index.bucket_range(bucket)
        rows = positions - start
        if len(rows) and (rows.min() < 0 or rows.max() >= stop - start):
            raise DataError(f"bucket {bucket} holds positions {start} … {stop - 1}, but was sent others")
        seen = np.zeros(stop - start, dtype=bool)
        seen[rows] = True
        arrays: dict[str, np.ndarray] = {}
        for name, column in zip(self.columns, values, strict=True):
            dense = np.full(stop - start, np.nan, dtype=np.float32)
            dense[rows] = column
            arrays[name] = dense
        return arrays, seen

    def write_dense(self, epoch: int, bucket: int, arrays: dict[str, np.ndarray], seen: np.ndarray) -> FileRecord:
        """Write the bucket's file from what `lay_out` gave; what did not come is marked as missing."""
        columns = arrays if seen.all() else {**arrays, VALID: seen}
        place = self.location / epoch_name(epoch) / bucket_name(bucket)
        return place.write_table(pa.table(columns), **statistics_options())

    def commit(self, epoch: int, files: Sequence[FileRecord]) -> None:
        """Declare an epoch complete; every bucket must be among `files`."""
        names = sorted(file.name for file in files)
        expected = [bucket_name(bucket) for bucket in range(self.index.num_buckets)]
        assert names == expected, f"epoch {epoch} commits {names}, not {expected}"
        (self.location / epoch_name(epoch) / COMMIT).write_json(
            {
                "epoch": epoch,
                "rows": sum(file.rows for file in files),
                "columns": list(self.columns),
                "fingerprint": self.fingerprint,
                "written_at": time.time(),
                "files": [file.to_json() for file in sorted(files, key=lambda file: file.name)],
            }
        )

    def discard_from(self, epoch: int) -> None:
        """Remove every epoch from `epoch` on, and those before it that have no commit record."""
        for folder in self.location.children():
            if folder.name.startswith("epoch=") and (
                epoch_number(folder.name) >= epoch or not (folder / COMMIT).exists()
            ):
                # The commit goes first: a reader must not find a committed epoch without its files.
                (folder / COMMIT).delete()
                folder.delete()
