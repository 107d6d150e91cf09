"""Files in Arrow's stream format, as `save_to_disk` of Hugging Face's datasets writes them, read by record batches.

The format has no list of its batches: it is made by reading the header of each. A header is a flatbuffer table,
https://github.com/apache/arrow/blob/main/format/Message.fbs.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from dualprune.core.storage import Location
from dualprune.core.tables import conform, unified
from dualprune.data.files import DataFile
from dualprune.data.table_files import TableFiles, content_digest, damage, mapped
from dualprune.errors import DataError

SCHEMA, DICTIONARY, RECORDS = 1, 2, 3


@dataclass(frozen=True)
class Layout:
    """The schema of a file, where each of its batches begins, their rows, and a digest of the content."""

    schema: pa.Schema
    places: tuple[int, ...]
    rows: tuple[int, ...]
    digest: str


class ArrowFiles(TableFiles):
    """Files in Arrow's stream format; a group of rows is a record batch."""

    def __init__(self, files: Sequence[DataFile], label_column: str) -> None:
        self.files = list(files)
        with ThreadPoolExecutor(16) as pool:
            self._layouts = list(pool.map(_layout, [file.place for file in self.files]))
        self.schemas = {file.place: found.schema for file, found in zip(self.files, self._layouts, strict=True)}
        self.schema = unified([(str(place), schema) for place, schema in self.schemas.items()], by_name=label_column)

    @property
    def group_name(self) -> str:
        return "record batch"

    def group_rows(self, number: int) -> list[int]:
        return list(self._layouts[number].rows)

    def facts(self) -> list[Any]:
        return [[file.name, found.digest] for file, found in zip(self.files, self._layouts, strict=True)]

    def read_group(self, number: int, group: int, columns: Sequence[str] | None = None) -> pa.Table:
        place, layout = self.files[number].place, self._layouts[number]
        with damage(place), mapped(place) as stream:
            stream.seek(layout.places[group])
            batch = pa.ipc.read_record_batch(pa.ipc.read_message(stream), layout.schema)
            if columns is not None:
                batch = batch.select([name for name in columns if name in batch.schema.names])
            # Damaged offsets would lead out of the file.
            batch.validate(full=True)
            wanted = self.schema if columns is None else pa.schema([self.schema.field(name) for name in columns])
            return conform(pa.Table.from_batches([batch]), wanted, str(place))


def _layout(place: Location) -> Layout:
    """Read the headers of a file; a DataError where it is not, or not wholly, in the stream format."""
    schema: pa.Schema | None = None
    places, rows = [], []
    try:
        with mapped(place) as stream:
            size, at = stream.size(), 0
            while True:
                stream.seek(at)
                start = stream.read(8)
                if start[:6] == b"ARROW1":
                    raise DataError(f"{place} is in Arrow's file format; expected its stream format (save_to_disk)")
                mark, length = struct.unpack("<II", start.ljust(8, b"\1"))
                if mark != 0xFFFFFFFF or at + 8 + length > size:
                    raise ValueError("it ends early" if at else "it does not begin as one")
                if length == 0:
                    break
                header = stream.read(length)
                kind, body, count = _message(header)
                if at + 8 + length + body > size:
                    raise ValueError("it ends early")
                if kind == DICTIONARY:
                    raise DataError(f"{place} has dictionaries (categories); write labels as integers or strings")
                if kind == SCHEMA:
                    schema = pa.ipc.read_schema(pa.py_buffer(start + header))
                else:
                    places.append(at)
                    rows.append(count)
                at += 8 + length + body
            if schema is None:
                raise ValueError("it has no schema")
            digest = content_digest(stream)
    except (struct.error, ValueError, OSError, pa.ArrowException) as error:
        raise DataError(f"{place} is not a whole file in Arrow's stream format: {error}") from None
    twice = next((name for name in schema.names if schema.names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{place} has several columns called {twice!r}; name them differently")
    return Layout(schema, tuple(places), tuple(rows), digest)


def _message(header: bytes) -> tuple[int, int, int]:
    """Return a message's kind, the bytes of its body, and the rows of a record batch."""
    root = struct.unpack_from("<I", header)[0]
    kind = _field(header, root, 1, "<B")
    rows = 0
    if kind == RECORDS:
        place = _place(header, root, 2)
        rows = _field(header, place + struct.unpack_from("<I", header, place)[0], 0, "<q")
    elif kind not in (SCHEMA, DICTIONARY):
        raise ValueError(f"it has a message of the unknown kind {kind}")
    body = _field(header, root, 3, "<q")
    if rows < 0 or body < 0:
        raise ValueError("it has a negative length")
    return kind, body, rows


def _place(content: bytes, table: int, number: int) -> int:
    """Return where a field of a flatbuffer table is; 0 where it has its default."""
    fields = table - struct.unpack_from("<i", content, table)[0]
    if fields < 0 or table < 0:
        raise ValueError("a header is damaged")
    if 4 + 2 * number >= struct.unpack_from("<H", content, fields)[0]:
        return 0
    offset = struct.unpack_from("<H", content, fields + 4 + 2 * number)[0]
    return table + offset if offset else 0


def _field(content: bytes, table: int, number: int, form: str) -> int:
    place = _place(content, table, number)
    value: int = struct.unpack_from(form, content, place)[0] if place else 0
    return value
