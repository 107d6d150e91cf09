"""Tables (CSV, TSV or Parquet) with the path or address of an image file and its label in each row."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from dualprune.core.plain_columns import is_string, plain_column
from dualprune.core.registry import nearest
from dualprune.core.section import Section
from dualprune.core.storage import Location
from dualprune.core.tables import conform, unified
from dualprune.data.decoding import UndecodableError
from dualprune.data.files import DataFile, find_files
from dualprune.data.listed_source import ListedSource, read_images, whole_or_text
from dualprune.data.source import SOURCES, Shard
from dualprune.errors import DataError

SUFFIXES = (".csv", ".tsv", ".parquet", ".pq")


@SOURCES.register("manifest")
class Manifest(ListedSource):
    """CSV, TSV or Parquet files whose rows name image files, by path or address, and their labels.

    The manifest is the table whose rows are exported. Its fingerprint does not cover the content of the image files.
    """

    class Options(Section):
        """Columns of the manifest, and where its paths begin."""

        baseline: ClassVar[Mapping[str, Any]] = {
            "path_column": "path",
            "label_column": "label",
            "id_column": None,
            "root": None,
            "delimiter": None,
        }
        neutral = frozenset({"root", "delimiter"})

        path_column: str = Field("path", description="Column with the path or address of an image file.")
        label_column: str = Field(
            "label", description="Column with class labels: integers, booleans, strings or categories."
        )
        id_column: str | None = Field(
            None, description="Column with unique ids: integers, strings, bytes or UUIDs; null: the path is the id."
        )
        root: str | None = Field(
            None, description="Folder or address where relative paths begin; null: the folder of the manifest."
        )
        delimiter: str | None = Field(
            None, max_length=1, description="Character between columns; null: a tab in .tsv files, a comma in others."
        )

    facts = ("sample_id", "label", "path")
    wanted = "the CSV, TSV or Parquet file that lists the training images"
    id_name = "id"

    remedy = "name a column of unique ids in data.options.id_column"

    def list_samples(self) -> tuple[pa.Table, pa.Table]:
        self.label_name = self.options.label_column
        train, test = find_files(self.config, SUFFIXES)
        # Rows name manifests, and rows of a split's manifests, by number.
        self._files = [file.place for file in [*train, *test]]
        self._tables: list[pa.Table] = []
        return self._listed(train, 0), self._listed(test, len(train))

    def contents(self, rows: pa.Table) -> Iterator[bytes | UndecodableError]:
        return read_images((self._place(row), row["sample_id"]) for row in rows.to_pylist())

    def place_of(self, row: dict[str, Any]) -> str:
        return f"{self._place(row)}, row {row['number']} of {self._files[row['file']]}"

    def read_table(self, shard: Shard, columns: list[str] | None = None) -> pa.Table:
        rows = self.rows(shard)
        # A test set that is split off lies in the manifests of the training set.
        table = self._tables[rows["table"][0].as_py()].take(rows["row"])
        return table if columns is None else table.select(columns)

    def _place(self, row: dict[str, Any]) -> Location:
        path = row["path"]
        if "://" in path or path.startswith(("/", "~")):
            return Location.of(path)
        base = self._files[row["file"]].parent if self.options.root is None else Location.of(self.options.root)
        place: Location = base / path
        if place.is_local:
            return place
        # An object store takes `..` as a name.
        scheme, mark, rest = place.address.partition("://")
        rest, question, options = rest.partition("?")
        return Location(scheme + mark + posixpath.normpath(rest) + question + options)

    def _listed(self, files: list[DataFile], first: int) -> pa.Table:
        """Return the samples in the manifests of a split, the first of which has the number `first`."""
        path, label, own = self.options.path_column, self.options.label_column, self.options.id_column
        parts = [self._read(file.place) for file in files]
        table = self._joined([(str(file.place), part) for file, part in zip(files, parts, strict=True)])
        self._tables.append(table)
        counts = [part.num_rows for part in parts]
        files_of = np.repeat(np.arange(first, first + len(files)), counts)
        numbers = np.concatenate([np.arange(0), *map(np.arange, counts)])
        if not files:
            return pa.table({"sample_id": pa.array([], pa.string()), "label": pa.array([], pa.string())})
        paths = table[path].cast(pa.string())
        for column, values in {path: paths, **({own: table[own]} if own else {})}.items():
            if values.null_count:
                row = int(np.flatnonzero(np.asarray(values.is_null()))[0])
                raise DataError(
                    f"{values.null_count} values of {column!r} are missing, first in row {numbers[row]} of "
                    f"{self._files[files_of[row]]}"
                )
        remote = np.flatnonzero(np.asarray(pc.match_substring_regex(paths, "^https?://")))
        if len(remote):
            raise DataError(
                f"{paths[int(remote[0])]} in row {numbers[remote[0]]} of {self._files[files_of[remote[0]]]} is a web "
                "address; download the images first, to a disk or a bucket"
            )
        columns = {
            "sample_id": paths
            if own is None
            else plain_column(f"data.options.id_column: {own!r}", "sample_id", table[own], bytes_are_text=False),
            "label": plain_column(f"data.options.label_column: {label!r}", "label", table[label]),
            "path": paths,
            "row": np.arange(table.num_rows),
            "number": numbers,
            "file": files_of,
            "table": np.full(table.num_rows, len(self._tables) - 1),
        }
        return pa.table(columns)

    def _joined(self, tables: list[tuple[str, pa.Table]]) -> pa.Table:
        """Return tables as one; what is text in .csv files becomes numbers where all values of a column are."""
        if not tables:
            return pa.table({})
        options = self.options
        schema = unified([(name, table.schema) for name, table in tables], by_name=options.label_column)
        joined = pa.concat_tables(conform(table, schema, name) for name, table in tables)
        for name in {options.label_column, options.id_column} - {None, options.path_column}:
            if is_string(schema.field(name).type) and any(map(_is_text, (name for name, _ in tables))):
                column = whole_or_text(joined[name].to_pylist())
                joined = joined.set_column(schema.get_field_index(name), name, column)
        return joined.combine_chunks()

    def _read(self, place: Location) -> pa.Table:
        options = self.options
        named = {"path_column": options.path_column, "label_column": options.label_column}
        if options.id_column is not None:
            named["id_column"] = options.id_column
        if not place.name.lower().endswith(SUFFIXES):
            raise DataError(f"{place} is no manifest; expected a file {', '.join(f'*{suffix}' for suffix in SUFFIXES)}")
        if _is_text(place.name):
            delimiter = options.delimiter or ("\t" if place.name.lower().endswith(".tsv") else ",")
            table = _read_text(place, delimiter, list(named.values()))
        else:
            table = place.read_table()
        twice = next((name for name in table.column_names if table.column_names.count(name) > 1), None)
        if twice is not None:
            raise DataError(f"{place} has several columns called {twice!r}; name them differently")
        for key, column in named.items():
            if column not in table.column_names:
                raise DataError(
                    f"data.options.{key}: {place} has no column {column!r}; it has: {', '.join(table.column_names)}"
                    f"{nearest(column, table.column_names)}"
                )
        kind = table.schema.field(options.path_column).type
        if not is_string(kind.value_type if pa.types.is_dictionary(kind) else kind):
            raise DataError(f"data.options.path_column: {options.path_column!r} holds {kind}; expected paths ({place})")
        return table


def _read_text(place: Location, delimiter: str, as_text: list[str]) -> pa.Table:
    from pyarrow import csv

    try:
        with place.open_input() as stream:
            return csv.read_csv(
                stream,
                parse_options=csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
                # As they are written: 007 is no number.
                convert_options=csv.ConvertOptions(
                    column_types=dict.fromkeys(as_text, pa.string()), null_values=[""], strings_can_be_null=True
                ),
            )
    except pa.ArrowException as error:
        raise DataError(f"{place} is not a readable table of text: {str(error).splitlines()[0]}") from None


def _is_text(name: str) -> bool:
    return name.lower().endswith((".csv", ".tsv"))
