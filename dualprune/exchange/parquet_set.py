"""A Parquet file, or a folder of Parquet files, read by row groups in the order of the files' names."""

from __future__ import annotations

import re
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from dualprune.core.parquet import opened
from dualprune.core.storage import Location
from dualprune.errors import DataError, UserError
from dualprune.exchange.columns import column_kind

# The column in which pandas stores an index without a name; it says nothing about the samples.
PANDAS_INDEX = re.compile(r"__index_level_\d+__")


@dataclass(frozen=True)
class RowGroup:
    """Rows first … first + num_rows - 1 of a set of files."""

    file: Location
    number: int
    first: int
    num_rows: int


@dataclass(frozen=True)
class ParquetSet:
    """Parquet files with the same columns. Their order and the width of their types may differ.

    `schema` is that of the first file, without the columns that pandas adds.
    """

    place: Location
    schema: pa.Schema
    groups: tuple[RowGroup, ...]
    sizes: tuple[tuple[str, int], ...]

    @classmethod
    def open(cls, place: Location) -> ParquetSet:
        """Read the footers of a file or of a folder's files; a DataError where they are not Parquet, or not alike."""
        files = [place] if place.is_file() else _files(place)
        schema: pa.Schema | None = None
        groups: list[RowGroup] = []
        first = 0
        for file in files:
            found, metadata = _footer(file)
            if schema is None:
                schema = found
            else:
                _check_alike(schema, found, files[0], file)
            for number in range(metadata.num_row_groups):
                num_rows = metadata.row_group(number).num_rows
                groups.append(RowGroup(file, number, first, num_rows))
                first += num_rows
        assert schema is not None
        if first == 0:
            raise DataError(f"{place} has no rows")
        return cls(place, schema, tuple(groups), tuple((file.name, file.size()) for file in files))

    @property
    def num_rows(self) -> int:
        """Rows of all files together."""
        return self.groups[-1].first + self.groups[-1].num_rows

    def read_group(self, group: RowGroup, columns: list[str]) -> pa.Table:
        """Return these columns of a row group."""
        try:
            with group.file.open_input() as stream:
                table = opened(stream).read_row_group(group.number, columns=columns, use_threads=False)
                return table.select(columns)
        except UserError:
            raise
        except (OSError, pa.ArrowException) as error:
            raise DataError(f"{group.file} is damaged in its row group {group.number} ({error})") from None


def _files(place: Location) -> list[Location]:
    """Return a folder's Parquet files; other programs' extra files there begin with `_` or a dot."""
    children = [child for child in place.children() if not child.name.startswith(("_", "."))]
    for child in children:
        if not child.is_file():
            raise DataError(
                f"{place} holds the folder {child.name}, which would not be read; put all Parquet files into one folder"
            )
    files = [child for child in children if child.name.lower().endswith(".parquet")]
    if not files:
        raise DataError(f"{place} has no .parquet files")
    return files


def _footer(file: Location) -> tuple[pa.Schema, pq.FileMetaData]:
    try:
        with file.open_input() as stream:
            parquet = opened(stream)
            schema, metadata = parquet.schema_arrow, parquet.metadata
    except UserError:
        raise
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{file} is no Parquet file ({error})") from None
    fields = [field for field in schema if not PANDAS_INDEX.fullmatch(field.name)]
    names = [field.name for field in fields]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{file} has several columns called {twice!r}; name them differently")
    return pa.schema(fields), metadata


def _check_alike(schema: pa.Schema, found: pa.Schema, first: Location, file: Location) -> None:
    """Raise a DataError where a file cannot be read together with the first."""
    other = sorted({*schema.names} ^ {*found.names})
    if other:
        owner = first if other[0] in schema.names else file
        raise DataError(
            f"{file} has other columns than {first.name}: only {owner.name} has {other[0]!r}; all files must be alike"
        )
    for name in schema.names:
        kinds = [column_kind(name, one.field(name).type) for one in (schema, found)]
        if kinds[0] != kinds[1]:
            raise DataError(
                f"{file} holds {kinds[1]} in {name}, but {first.name} {kinds[0]}; write all files with the same types"
            )
