"""The contract of files that are read as one table: what a `TableSource` needs of a file format."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from dualprune.core.storage import Location
from dualprune.core.tables import is_lossless
from dualprune.data.files import DataFile
from dualprune.errors import DataError, UserError

BLOCK, NUM_BLOCKS = 1 << 16, 16


class TableFiles(ABC):
    """The files of one split, in order, with one schema for their rows. It is pickled without open files.

    Attributes:
        files: the files, in order.
        schemas: what each file holds.
        schema: the columns of all.
    """

    files: list[DataFile]
    schemas: dict[Location, pa.Schema]
    schema: pa.Schema

    @abstractmethod
    def group_rows(self, number: int) -> list[int]:
        """Return the rows of each group of the file `number`: a group is what is read in one piece."""

    @abstractmethod
    def facts(self) -> list[Any]:
        """Return what changes when the data do, as JSON takes it."""

    @abstractmethod
    def read_group(self, number: int, group: int, columns: Sequence[str] | None = None) -> pa.Table:
        """Return a group of the file `number` with these or all columns, in the common schema."""

    @property
    def group_name(self) -> str:
        """What messages call a group."""
        return "row group"

    @property
    def num_rows(self) -> int:
        """Rows of all files together."""
        return sum(sum(self.group_rows(number)) for number in range(len(self.files)))

    def batches(self, columns: Sequence[str]) -> Iterator[pa.Table]:
        """Yield all rows with these columns, in the common schema."""
        for number in range(len(self.files)):
            for group in range(len(self.group_rows(number))):
                yield self.read_group(number, group, columns)

    def check_values(self) -> None:
        """Read the columns whose values may not fit into the common type; a DataError names what does not."""
        for number, file in enumerate(self.files):
            held = self.schemas[file.place]
            doubtful = [f.name for f in held if not is_lossless(f.type, self.schema.field(f.name).type)]
            if doubtful:
                for group in range(len(self.group_rows(number))):
                    self.read_group(number, group, doubtful)


def mapped(place: Location) -> pa.NativeFile:
    """Open a file for reading at any place; a local one is mapped into memory, so that reading copies nothing."""
    return pa.memory_map(place.path) if place.is_local else place.open_input()


def content_digest(stream: pa.NativeFile) -> str:
    """Return a digest of a file's size and content: of up to 1 MB all of it, of a larger one blocks spread evenly."""
    size = stream.size()
    digest = hashlib.sha256(str(size).encode())
    starts = range(0, size, BLOCK)
    for number in sorted({round(k * (len(starts) - 1) / (NUM_BLOCKS - 1)) for k in range(NUM_BLOCKS)}) if size else ():
        stream.seek(starts[number])
        digest.update(stream.read(BLOCK))
    return digest.hexdigest()[:16]


@contextmanager
def damage(file: Location) -> Iterator[None]:
    """Turn what reading a file's rows reports into a DataError that names the file."""
    try:
        yield
    except UserError:
        raise
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{file} is damaged, or has changed while it was read: {error}") from None
