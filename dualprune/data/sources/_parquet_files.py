"""The Parquet files of one split as one table: one schema, read by row groups or by columns, in a fixed order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dualprune.core.parquet import opened
from dualprune.core.plain_columns import is_whole
from dualprune.core.storage import Location
from dualprune.core.tables import conform, unified
from dualprune.data.files import DataFile
from dualprune.data.table_files import TableFiles, damage
from dualprune.errors import DataError

BATCH_ROWS = 1 << 17


class ParquetFiles(TableFiles):
    """Parquet files, their footers and the schema that holds the rows of all.

    Columns are matched by name, and folders such as `year=2024` are columns. `label_column` may hold numbers in one
    file and texts in another.
    """

    def __init__(self, files: Sequence[DataFile], label_column: str) -> None:
        self.files = list(files)
        with ThreadPoolExecutor(16) as pool:
            footers = list(pool.map(_footer, [file.place for file in self.files]))
        self.metadata = {file.place: metadata for file, (_, metadata) in zip(self.files, footers, strict=True)}
        kinds = _partition_types(self.files)
        # What each file holds, with the columns of its folders.
        self.schemas = {
            file.place: _with_partition(schema, file, kinds)
            for file, (schema, _) in zip(self.files, footers, strict=True)
        }
        self.schema = unified([(str(place), schema) for place, schema in self.schemas.items()], by_name=label_column)

    @property
    def num_rows(self) -> int:
        return sum(metadata.num_rows for metadata in self.metadata.values())

    def group_rows(self, number: int) -> list[int]:
        metadata = self.metadata[self.files[number].place]
        return [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]

    def facts(self) -> list[Any]:
        found = [(file.name, self.metadata[file.place]) for file in self.files]
        return [[name, data.num_rows, data.serialized_size, str(data.to_dict()["row_groups"])] for name, data in found]

    def read_group(self, number: int, group: int, columns: Sequence[str] | None = None) -> pa.Table:
        file = self.files[number]
        with damage(file.place), file.place.open_input() as stream:
            parquet = opened(stream)
            table = parquet.read_row_group(group, columns=self._stored(parquet, columns))
            return self._conform(table, parquet.metadata.row_group(group).num_rows, file, columns)

    def batches(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        for file in self.files:
            with damage(file.place), file.place.open_input() as stream:
                parquet = opened(stream)
                stored = self._stored(parquet, columns)
                if not stored:
                    yield self._conform(pa.table({}), parquet.metadata.num_rows, file, columns)
                    continue
                for batch in parquet.iter_batches(batch_size=BATCH_ROWS, columns=stored):
                    yield self._conform(pa.Table.from_batches([batch]), batch.num_rows, file, columns)

    def _stored(self, parquet: pq.ParquetFile, columns: Sequence[str] | None) -> list[str]:
        names = parquet.schema_arrow.names
        return [name for name in (self.schema.names if columns is None else columns) if name in names]

    def _conform(self, table: pa.Table, num_rows: int, file: DataFile, columns: Sequence[str] | None) -> pa.Table:
        wanted = self.schema if columns is None else pa.schema([self.schema.field(name) for name in columns])
        folders = {name: value for name, value in file.partition.items() if name not in table.column_names}
        added = {
            name: pa.repeat(pa.scalar(value, pa.string()), num_rows).cast(self.schemas[file.place].field(name).type)
            for name, value in folders.items()
            if name in wanted.names
        }
        if added or not table.num_columns:
            held = {name: table[name] for name in table.column_names} | added
            # A table without columns would not know its rows.
            table = pa.table(held or {field.name: pa.nulls(num_rows, field.type) for field in wanted})
        return conform(table, wanted, str(file.place))


def _footer(file: Location) -> tuple[pa.Schema, pq.FileMetaData]:
    try:
        with file.open_input() as stream:
            parquet = opened(stream)
            schema, metadata = parquet.schema_arrow, parquet.metadata
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{file} is not a readable Parquet file: {error}") from None
    twice = next((name for name in schema.names if schema.names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{file} has several columns called {twice!r}; name them differently")
    return schema, metadata


def _partition_types(files: Sequence[DataFile]) -> dict[str, pa.DataType]:
    """Return the types of the columns that folders hold: int64 where all are whole numbers as they are printed."""
    values: dict[str, list[str]] = {}
    for file in files:
        for name, value in file.partition.items():
            values.setdefault(name, []).extend([] if value is None else [value])
    return {name: pa.int64() if found and all(map(is_whole, found)) else pa.string() for name, found in values.items()}


def _with_partition(schema: pa.Schema, file: DataFile, kinds: dict[str, pa.DataType]) -> pa.Schema:
    for name in file.partition:
        if name not in schema.names:
            schema = schema.append(pa.field(name, kinds[name]))
    return schema
