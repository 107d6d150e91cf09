"""Reads a bucket of the dynamics store in blocks of rows, from the files of all epochs in parallel.

It holds two blocks in memory (one in use, one being read), however many rows a bucket has.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from dualprune.core import parquet
from dualprune.core.records import check
from dualprune.core.storage import Location
from dualprune.dynamics.index import REMEDY
from dualprune.dynamics.layout import ROW_GROUP_ROWS, VALID
from dualprune.dynamics.metadata import check_facts
from dualprune.dynamics.store import DynamicsStore, first_epoch
from dualprune.dynamics.writer import to_numpy
from dualprune.errors import DataError

# Enough concurrent requests to hide an object store's latency; on a local disk the processor is the limit.
NUM_THREADS = 8


class Block(NamedTuple):
    """Consecutive samples of a bucket.

    `index` has sample_id and label; `statistics` holds float32 [n, T], or [n, T, width], per statistic, NaN where a
    value is missing. T counts the epochs from the statistic's first one on. Each array is a view of [T, n] memory,
    which the block after the next overwrites.
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
    """Yield a bucket's blocks in position order.

    Raises:
        DataError: a file is missing, cut off, of another length or another bucket's; it names the file and the epoch to
            record again.
    """
    start, stop = store.index.bucket_range(bucket)
    size = min(block_rows, stop - start)
    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(min(NUM_THREADS, len(epochs) + 1), "dynamics-reader"))
        opened = [pool.submit(_EpochFile, store, epoch, bucket, columns) for epoch in epochs]
        index_file = RowReader(store.index.place(bucket), ["sample_id", "label"], REMEDY)
        stack.callback(index_file.close)
        index_file.check(REMEDY, **store.index.facts(bucket))
        check(store.index.place(bucket), store.index.record(bucket), REMEDY)
        files = [job.result() for job in opened]
        for file in files:
            stack.callback(file.close)
        # Row t of a statistic's buffer is its t-th epoch.
        places = {name: [epoch for epoch, file in enumerate(files) if name in file.widths] for name in columns}
        shapes = {name: (len(places[name]), size, *files[places[name][0]].widths[name]) for name in columns}
        buffers = [{name: np.empty(shape, np.float32) for name, shape in shapes.items()} for _ in range(2)]

        def begin(number: int) -> tuple[Future[pa.Table], list[Future[None]]]:
            count = min(size, stop - start - number * size)
            views = {name: buffer[:, :count] for name, buffer in buffers[number % 2].items()}
            rows = []
            for epoch, file in enumerate(files):
                out = {name: views[name][places[name].index(epoch)] for name in file.widths}
                rows.append(pool.submit(file.read_into, out, count))
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
            arrays = {name: np.moveaxis(buffer[:, :count], 0, 1) for name, buffer in buffers[number % 2].items()}
            yield Block(first, table, arrays)


def read_epoch(store: DynamicsStore, bucket: int, columns: Sequence[str], epoch: int) -> dict[str, np.ndarray]:
    """Return one epoch of a bucket: float32 [n], or [n, width], per statistic that has values by then.

    NaN where a value is missing; errors as for `read_blocks`.
    """
    start, stop = store.index.bucket_range(bucket)
    file = _EpochFile(store, epoch, bucket, columns)
    try:
        values = {name: np.empty((stop - start, *width), np.float32) for name, width in file.widths.items()}
        file.read_into(values, stop - start)
    finally:
        file.close()
    return values


class RowReader:
    """A Parquet file that is read from its start, some rows at a time, row group by row group.

    A file that is missing or damaged is a DataError that ends with `remedy`.
    """

    def __init__(self, place: Location, columns: Sequence[str], remedy: str) -> None:
        self._place, self._remedy = place, remedy
        with ExitStack() as stack:
            stack.enter_context(parquet.reading(place, remedy))
            self._stream = place.open_input()
            stack.callback(self._stream.close)
            # Pre-buffering fetches a row group's columns in few large requests.
            self._file = parquet.opened(self._stream, pre_buffer=not place.is_local)
            self.metadata = self._file.metadata
            self.schema = self._file.schema_arrow
            stack.pop_all()
        self.columns = list(columns)
        self._group = 0
        self._rest: pa.Table | None = None

    def check(self, remedy: str, **expected: Any) -> None:
        """Raise a DataError where the file's facts are not the expected ones."""
        check_facts(self._place, self.metadata, remedy, **expected)

    def next(self, count: int) -> pa.Table:
        """Return the next `count` rows."""
        parts: list[pa.Table] = []
        while count:
            table = self._rest
            if table is None:
                with parquet.reading(self._place, self._remedy):
                    table = self._file.read_row_group(self._group, columns=self.columns, use_threads=False)
                self._group += 1
            parts.append(table.slice(0, count))
            self._rest = table.slice(count) if table.num_rows > count else None
            count -= parts[-1].num_rows
        return parts[0] if len(parts) == 1 else pa.concat_tables(parts)

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        self._stream.close()

    def __enter__(self) -> RowReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _EpochFile:
    """One epoch's file of a bucket.

    `widths` holds the shape of a sample's value, () or (width,), per statistic that has values in this epoch.
    """

    def __init__(self, store: DynamicsStore, epoch: int, bucket: int, columns: Sequence[str]) -> None:
        self._store, self._epoch = store, epoch
        self._place = store.file(epoch, bucket)
        self._start, self._stop = store.index.bucket_range(bucket)
        there = [name for name in columns if epoch >= first_epoch(name)]
        self._rows = RowReader(self._place, there, self._remedy)
        try:
            self._rows.check(store.remedy(epoch), **store.facts(epoch, bucket))
            self.widths = self._shapes(there)
            check(self._place, store.record(epoch, bucket), store.remedy(epoch))
        except BaseException:
            self._rows.close()
            raise
        self._has_valid = VALID in self._rows.schema.names
        if self._has_valid:
            self._rows.columns.append(VALID)

    def _shapes(self, columns: Sequence[str]) -> dict[str, tuple[int, ...]]:
        expected = self._stop - self._start
        if self._rows.metadata.num_rows != expected:
            raise self._damaged(f"{self._rows.metadata.num_rows} rows instead of {expected}")
        absent = [name for name in columns if name not in self._rows.schema.names]
        if absent:
            raise self._damaged(f"it has no column {absent[0]!r}")
        types = {name: self._rows.schema.field(name).type for name in columns}
        return {name: (kind.list_size,) if pa.types.is_fixed_size_list(kind) else () for name, kind in types.items()}

    def read_into(self, out: dict[str, np.ndarray], count: int) -> None:
        """Fill an array [count], or [count, width], per statistic with the next values."""
        table = self._rows.next(count)
        for name, values in out.items():
            filled = 0
            for chunk in table[name].chunks:
                values[filled : filled + len(chunk)] = to_numpy(chunk)
                filled += len(chunk)
            if self._has_valid:
                values[~table[VALID].to_numpy()] = np.nan

    def close(self) -> None:
        self._rows.close()

    @property
    def _remedy(self) -> str:
        return (
            f"it should hold the {self._stop - self._start} samples from position {self._start}; "
            f"{self._store.remedy(self._epoch)}"
        )

    def _damaged(self, what: str) -> DataError:
        return DataError(f"{self._place} is missing or damaged ({what}); {self._remedy}")
