"""Reads a bucket of the dynamics store in blocks of rows: all epochs in step, their files side by side.

Memory is that of two blocks (one in use, one on its way), however many rows a bucket has.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from dualprune.core.storage import Location
from dualprune.dynamics.layout import ROW_GROUP_ROWS, VALID, bucket_name
from dualprune.dynamics.store import DynamicsStore
from dualprune.errors import DataError

# Enough requests under way to hide an object store's latency; on a local disk the processor is the limit.
NUM_THREADS = 8


class Block(NamedTuple):
    """Consecutive samples of a bucket.

    `index` has sample_id and label; `statistics` holds float32 [n, T] a statistic, NaN where a value is missing, each
    a view of [T, n] memory that is used again for the block after the next.
    """

    first_position: int
    index: pa.Table
    statistics: dict[str, np.ndarray]


def read_blocks(
    store: DynamicsStore,
    bucket: int,
    columns: Sequence[str],
    epochs: Sequence[int],
    block_rows: int = ROW_GROUP_ROWS,
) -> Iterator[Block]:
    """Give a bucket's blocks in position order.

    Raises:
        DataError: a file is missing, cut off or of another length; it names the file and the epoch to record again.
    """
    start, stop = store.index.bucket_range(bucket)
    size = min(block_rows, stop - start)
    buffers = [{name: np.empty((len(epochs), size), np.float32) for name in columns} for _ in range(2)]
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(min(NUM_THREADS, len(epochs) + 1), "dynamics-reader"))
        opened = [pool.submit(_EpochFile, store, epoch, bucket, tuple(columns)) for epoch in epochs]
        index_file = _Rows(store.index.location / bucket_name(bucket), ["sample_id", "label"])
        stack.callback(index_file.close)
        files = [job.result() for job in opened]
        for file in files:
            stack.callback(file.close)

        def begin(number: int) -> tuple[Future[pa.Table], list[Future[None]]]:
            count = min(size, stop - start - number * size)
            views = {name: buffer[:, :count] for name, buffer in buffers[number % 2].items()}
            rows = [
                pool.submit(file.read_into, {name: view[row] for name, view in views.items()}, count)
                for row, file in enumerate(files)
            ]
            return pool.submit(index_file.next, count), rows

        starts = range(start, stop, size)
        coming = begin(0)
        for number, first in enumerate(starts):
            table, rows = coming[0].result(), coming[1]
            for job in rows:
                job.result()
            if number + 1 < len(starts):
                coming = begin(number + 1)
            count = table.num_rows
            yield Block(first, table, {name: buffer[:, :count].T for name, buffer in buffers[number % 2].items()})


def read_epoch(store: DynamicsStore, bucket: int, columns: Sequence[str], epoch: int) -> dict[str, np.ndarray]:
    """Return one epoch of a bucket, float32 [n] a statistic, NaN where a value is missing; errors as `read_blocks`."""
    start, stop = store.index.bucket_range(bucket)
    values = {name: np.empty(stop - start, np.float32) for name in columns}
    file = _EpochFile(store, epoch, bucket, tuple(columns))
    try:
        file.read_into(values, stop - start)
    finally:
        file.close()
    return values


class _Rows:
    """A Parquet file read from its start, so many rows at a time, row group by row group."""

    def __init__(self, place: Location, columns: Sequence[str]) -> None:
        self._stream = place.open_input()
        try:
            # Pre-buffering fetches a row group's columns in few large requests.
            self._file = pq.ParquetFile(self._stream, pre_buffer=not place.is_local)
        except BaseException:
            self._stream.close()
            raise
        self.num_rows = self._file.metadata.num_rows
        self.names = list(self._file.schema_arrow.names)
        self.columns = list(columns)
        self._group = 0
        self._rest: pa.Table | None = None

    def next(self, count: int) -> pa.Table:
        """Return the next `count` rows."""
        parts: list[pa.Table] = []
        while count:
            table = self._rest
            if table is None:
                table = self._file.read_row_group(self._group, columns=self.columns, use_threads=False)
                self._group += 1
            parts.append(table.slice(0, count))
            self._rest = table.slice(count) if table.num_rows > count else None
            count -= parts[-1].num_rows
        return parts[0] if len(parts) == 1 else pa.concat_tables(parts)

    def close(self) -> None:
        self._file.close()
        self._stream.close()


class _EpochFile:
    """One epoch's file of a bucket."""

    def __init__(self, store: DynamicsStore, epoch: int, bucket: int, columns: Sequence[str]) -> None:
        self._store, self._epoch = store, epoch
        self._place = store.file(epoch, bucket)
        self._start, self._stop = store.index.bucket_range(bucket)
        self._columns = columns
        try:
            self._rows = _Rows(self._place, columns)
        except (OSError, pa.ArrowInvalid) as error:
            raise self._damaged(error) from None
        expected = self._stop - self._start
        if self._rows.num_rows != expected:
            self._rows.close()
            raise self._damaged(f"{self._rows.num_rows} rows in place of {expected}")
        absent = [name for name in columns if name not in self._rows.names]
        if absent:
            self._rows.close()
            raise self._damaged(f"it has no column {absent[0]!r}")
        if VALID in self._rows.names:
            self._rows.columns.append(VALID)

    def read_into(self, out: dict[str, np.ndarray], count: int) -> None:
        """Fill an array [count] a statistic with the next values."""
        try:
            table = self._rows.next(count)
        except (OSError, pa.ArrowInvalid) as error:
            raise self._damaged(error) from None
        for name, values in out.items():
            filled = 0
            for chunk in table[name].chunks:
                values[filled : filled + len(chunk)] = chunk.to_numpy(zero_copy_only=False)
                filled += len(chunk)
            if VALID in self._rows.columns:
                values[~table[VALID].to_numpy()] = np.nan

    def close(self) -> None:
        self._rows.close()

    def _damaged(self, what: Any) -> DataError:
        return DataError(
            f"{self._place} is missing or damaged ({what}); it should hold the {self._stop - self._start} samples from "
            f"position {self._start}; {self._store.remedy(self._epoch)}"
        )
