"""The one place that writes and opens Parquet files: every page has a checksum, which every read verifies.

Files without checksums, as older versions and other programs write them, are read as they are.
"""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from dualprune.errors import DataError, StorageError, UserError


def write(table: pa.Table, where: Any, **options: Any) -> None:
    """Write a table as a Parquet file to a path or a file object."""
    pq.write_table(table, where, write_page_checksum=True, **options)


def writer(where: Any, schema: pa.Schema, **options: Any) -> pq.ParquetWriter:
    """Return a writer that appends tables to a path or a file object."""
    return pq.ParquetWriter(where, schema, write_page_checksum=True, **options)


def opened(source: Any, **options: Any) -> pq.ParquetFile:
    """Open a path or a file object for reading."""
    return pq.ParquetFile(source, page_checksum_verification=True, **options)


def without_nulls(table: pa.Table) -> pa.Table:
    """Return the table without metadata and with every column declared as free of nulls: it is read twice as fast."""
    return table.cast(pa.schema([field.with_nullable(False) for field in table.schema]))


@contextmanager
def reading(place: object, remedy: str) -> Iterator[None]:
    """Turn what reading a missing or damaged file raises into a DataError that names it and what to do.

    The block may only read: damage can make Arrow raise nearly any error.
    """
    try:
        yield
    except UserError as error:
        if isinstance(error, StorageError) and isinstance(error.__cause__, FileNotFoundError):
            raise DataError(f"{place} is missing; {remedy}") from None
        raise
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise DataError(f"{place} is missing or damaged ({lines[0]}); {remedy}") from error


class WrittenFile(NamedTuple):
    """The size of a file as it was written, and its CRC-32 in hexadecimal digits; None: it was not computed."""

    bytes: int
    crc32: str | None


class DigestStream(io.RawIOBase):
    """A file object that counts the bytes written to it, and computes their CRC-32 on the way."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._crc32 = 0
        self._bytes = 0

    def writable(self) -> bool:
        return True

    def write(self, content: Any) -> int:
        self._crc32 = zlib.crc32(content, self._crc32)
        self._stream.write(content)
        size = memoryview(content).nbytes
        self._bytes += size
        return size

    @property
    def written(self) -> WrittenFile:
        """What was written so far."""
        return WrittenFile(self._bytes, f"{self._crc32:08x}")


class TableWriter:
    """Appends tables of one schema to a Parquet file, a row group each.

    `metadata`, set at any time, is written into the file's metadata at its end. `errors` turns what the file system
    reports into errors that name the file.
    """

    def __init__(
        self,
        stream: DigestStream,
        options: Mapping[str, Any],
        errors: Callable[[str], AbstractContextManager[None]],
    ) -> None:
        self.stream, self._options, self._errors = stream, options, errors
        self._writer: pq.ParquetWriter | None = None
        self.metadata: Mapping[str, str] = {}
        self.rows = 0

    def write(self, table: pa.Table) -> None:
        """Append a table of any length as one row group."""
        with self._errors("written"):
            if self._writer is None:
                self._writer = writer(self.stream, table.schema, **self._options)
            self._writer.write_table(table, row_group_size=max(1, table.num_rows))
        self.rows += table.num_rows

    def close(self) -> None:
        """Finish the file."""
        if self._writer is not None:
            with self._errors("written"):
                if self.metadata:
                    self._writer.add_key_value_metadata(dict(self.metadata))
                self._writer.close()
