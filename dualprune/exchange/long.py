"""Brings Parquet in long form, one row per sample and epoch in any order, into wide form, in two passes of tasks.

The first pass cuts the rows by ranges of ids: one file per task, one row group per range. The second reads one range
from every file and arranges it by sample. The ranges ascend, so that the samples are in the order of their ids.

scratch/cut/task=00003.parquet     rows of a part of the input, one row group per range of ids
scratch/wide/range=00007.parquet   sample_id, label, target_prob_0 … of the samples of a range, by id
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dualprune.core.parquet import opened
from dualprune.core.plain_columns import plain_column
from dualprune.core.storage import Location
from dualprune.dynamics.layout import ROW_GROUP_ROWS
from dualprune.errors import DataError
from dualprune.exchange.columns import check_number, float_values
from dualprune.exchange.parquet_set import ParquetSet, RowGroup
from dualprune.exchange.recorded import EPOCH, LABEL, MOST_EPOCHS, SAMPLE_ID, check_statistics
from dualprune.exchange.repeats import Cells, Repeated, take_one_each
from dualprune.exchange.wide import RecordedWide

# Rows per task: 16 bytes per row, and as much again to sort them.
TASK_ROWS = 4_000_000
SAMPLED_IDS = 256

Each = Callable[[Callable[[int], Any], Sequence[int]], Iterator[Any]]


def is_long(files: ParquetSet) -> bool:
    """Return whether the files are in long form."""
    return SAMPLE_ID in files.schema.names and EPOCH in files.schema.names


@dataclass(frozen=True)
class LongTable:
    """The input, cut into parts, one per task."""

    files: ParquetSet
    statistics: tuple[str, ...]
    parts: tuple[tuple[RowGroup, ...], ...]
    scratch: Location
    num_ranges: int
    # Whether missing values stay missing instead of being an error.
    keep_missing: bool
    repeated: Repeated

    @property
    def name(self) -> str:
        """The name of the input in messages."""
        return self.files.place.name

    @property
    def columns(self) -> list[str]:
        """All columns that are read."""
        return [SAMPLE_ID, EPOCH, *([LABEL] if LABEL in self.files.schema.names else []), *self.statistics]

    def read(self, group: RowGroup, columns: list[str]) -> pa.Table:
        """Return a row group, with ids, labels and epochs in the types of the store."""
        table = self.files.read_group(group, columns)
        arrays = {}
        for column in columns:
            if column not in (SAMPLE_ID, LABEL, EPOCH):
                arrays[column] = pa.array(float_values(table[column]))
                continue
            arrays[column] = plain_column(self.name, column, table[column])
            if arrays[column].null_count:
                raise DataError(f"{self.name}: {arrays[column].null_count} rows of {group.file.name} have no {column}")
            if column == EPOCH and not pa.types.is_integer(arrays[column].type):
                raise DataError(f"{self.name}: epoch holds {table[column].type}; expected whole numbers")
        return pa.table(arrays)


def to_wide(
    files: ParquetSet, scratch: Location, each: Each, keep_missing: bool, repeated: Repeated = "error"
) -> RecordedWide:
    """Return the same dynamics in wide form, in files under `scratch`; a DataError names what is wrong.

    `each(function, numbers)` yields function(number) for each number, in order.
    """
    statistics = tuple(name for name in files.schema.names if name not in (SAMPLE_ID, EPOCH, LABEL))
    check_statistics(files.place.name, statistics, files.schema.names)
    for name in statistics:
        check_number(files.place.name, name, files.schema.field(name).type)
    num_ranges = -(-files.num_rows // TASK_ROWS)
    table = LongTable(files, statistics, _grouped(files), scratch, num_ranges, keep_missing, repeated)
    tasks = range(len(table.parts))
    splitters = pa.array([]) if num_ranges == 1 else _splitters(list(each(partial(_sample, table), tasks)), num_ranges)
    epochs: set[int] = set()
    for found in each(partial(_cut, table, splitters), tasks):
        epochs.update(found)
        _check_count(table, epochs)
    first, num_epochs = _consecutive(table, epochs)
    for _ in each(partial(_lay_out, table, first, num_epochs), range(num_ranges)):
        pass
    (scratch / "cut").delete()
    return RecordedWide(ParquetSet.open(scratch / "wide"), first_epoch=first, name=table.name)


def _grouped(files: ParquetSet) -> tuple[tuple[RowGroup, ...], ...]:
    parts: list[list[RowGroup]] = [[]]
    for group in files.groups:
        if parts[-1] and sum(g.num_rows for g in parts[-1]) + group.num_rows > TASK_ROWS:
            parts.append([])
        parts[-1].append(group)
    return tuple(tuple(part) for part in parts)


def _sample(table: LongTable, task: int) -> pa.Array:
    """Return some ids of a part, from its first row group: the groups of a part are ordered in the same way."""
    ids = table.read(table.parts[task][0], [SAMPLE_ID])[SAMPLE_ID].combine_chunks()
    rows = np.random.default_rng(task).integers(max(1, len(ids)), size=min(SAMPLED_IDS, len(ids)))
    return ids.take(pa.array(rows))


def _splitters(samples: list[pa.Array], num_ranges: int) -> pa.Array:
    """Return the ids at which ranges begin, except for the first range."""
    ids = pa.concat_arrays([_array(sample) for sample in samples])
    ids = ids.take(pc.sort_indices(ids))
    return ids.take(pa.array(np.arange(1, num_ranges) * len(ids) // num_ranges))


def _cut(table: LongTable, splitters: pa.Array, task: int) -> list[int]:
    """Write a part's rows by range, and return the epochs among them."""
    rows = pa.concat_tables(table.read(group, table.columns) for group in table.parts[task]).combine_chunks()
    ranges = _range_of(rows[SAMPLE_ID], splitters)
    order = pa.array(np.argsort(ranges, kind="stable"))
    ends = np.cumsum(np.bincount(ranges, minlength=table.num_ranges))
    with (table.scratch / "cut" / f"task={task:05d}.parquet").table_writer(compression="none") as writer:
        for start, end in zip([0, *ends[:-1]], ends, strict=True):
            writer.write(rows.take(order[start:end]))
    return [int(epoch) for epoch in pc.unique(rows[EPOCH]).to_pylist()]


def _range_of(ids: pa.ChunkedArray, splitters: pa.Array) -> NDArray[np.uint16]:
    """Return the range of each id: the number of splitters that are not above it."""
    if not len(splitters):
        return np.zeros(len(ids), np.uint16)
    known = _array(ids).dictionary_encode()
    order = pc.sort_indices(known.dictionary)
    ascending = known.dictionary.take(order)
    begins = [
        bisect.bisect_left(range(len(ascending)), value, key=lambda i: ascending[i].as_py())
        for value in splitters.to_pylist()
    ]
    range_of_code = np.empty(len(ascending), np.uint16)
    range_of_code[np.asarray(order)] = np.searchsorted(begins, np.arange(len(ascending)), side="right")
    found: NDArray[np.uint16] = range_of_code[np.asarray(known.indices)]
    return found


def _check_count(table: LongTable, epochs: set[int]) -> None:
    if len(epochs) > MOST_EPOCHS:
        raise DataError(f"{table.name} has more than {MOST_EPOCHS} different values of epoch; are they steps?")


def _consecutive(table: LongTable, epochs: set[int]) -> tuple[int, int]:
    first, last = min(epochs), max(epochs)
    lost = sorted(set(range(first, last + 1)) - epochs)[:5] if last - first < 10 * MOST_EPOCHS else []
    if len(epochs) != last - first + 1:
        raise DataError(
            f"{table.name} has epochs {first} … {last}, but none of the rows are of epoch "
            f"{', '.join(map(str, lost)) or 'numbers between'}; epochs must follow one another"
        )
    return first, len(epochs)


def _lay_out(table: LongTable, first: int, num_epochs: int, number: int) -> None:
    """Write the samples of one range, ascending by id."""
    rows = pa.concat_tables(_read_ranges(table, number))
    known = _array(rows[SAMPLE_ID]).dictionary_encode()
    order = pc.sort_indices(known.dictionary)
    ids = known.dictionary.take(order)
    rank = np.empty(len(ids), np.int64)
    rank[np.asarray(order)] = np.arange(len(ids))
    samples, epochs = rank[np.asarray(known.indices)], np.asarray(rows[EPOCH]) - first
    del known
    numbers, values = take_one_each(
        Cells(table.name, ids, first, num_epochs),
        samples * num_epochs + epochs,
        {name: rows[name].to_numpy() for name in table.statistics},
        repeated=table.repeated,
        keep_missing=table.keep_missing,
    )
    columns: dict[str, Any] = {SAMPLE_ID: ids}
    if LABEL in table.columns:
        columns[LABEL] = _labels(table, ids, samples, rows[LABEL])
    for name in table.statistics:
        dense = np.full((num_epochs, len(ids)), np.nan, np.float32)
        dense[numbers % num_epochs, numbers // num_epochs] = values[name]
        columns.update({f"{name}_{epoch}": dense[epoch] for epoch in range(num_epochs)})
    place = table.scratch / "wide" / f"range={number:05d}.parquet"
    options = {"compression": "none", "use_dictionary": False, "write_statistics": False}
    with place.table_writer(**options) as writer:
        # Written at least once, as a range may be empty.
        for start in range(0, max(1, len(ids)), ROW_GROUP_ROWS):
            writer.write(pa.table(columns).slice(start, ROW_GROUP_ROWS))


def _read_ranges(table: LongTable, number: int) -> Iterator[pa.Table]:
    for task in range(len(table.parts)):
        with (table.scratch / "cut" / f"task={task:05d}.parquet").open_input() as stream:
            yield opened(stream).read_row_group(number, use_threads=False)


def _labels(table: LongTable, ids: pa.Array, samples: NDArray[np.int64], labels: pa.ChunkedArray) -> pa.Array:
    """Return the label of each sample; a DataError where its rows differ."""
    codes = _array(labels).dictionary_encode()
    code = np.empty(len(ids), np.int64)
    indices = np.asarray(codes.indices)
    code[samples] = indices
    other = np.flatnonzero(code[samples] != indices)
    if len(other):
        row = int(other[0])
        both = sorted(map(str, {labels[row].as_py(), codes.dictionary[int(code[samples[row]])].as_py()}))
        raise DataError(
            f"{table.name}: sample {ids[int(samples[row])].as_py()!r} has several labels: {' and '.join(both)}; "
            "give it one"
        )
    return codes.dictionary.take(pa.array(code))


def _array(column: Any) -> pa.Array:
    if isinstance(column, pa.ChunkedArray):
        return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)
    return column
