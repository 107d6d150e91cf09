"""Tar shards in the form of WebDataset: members that share a key are one sample, such as 000017.jpg and 000017.cls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import groupby, pairwise
from tarfile import BLOCKSIZE
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from dualprune.core.parquet import WrittenFile
from dualprune.core.section import Section
from dualprune.core.sections import Images
from dualprune.core.storage import Location
from dualprune.data.decoding import UndecodableError
from dualprune.data.files import find_files
from dualprune.data.kept_rows import FILES_PER_PART, KeptPart, grouped
from dualprune.data.listed_source import ListedSource, whole_or_text
from dualprune.data.source import SOURCES, Shard, Split
from dualprune.data.sources._tar_index import SCHEMA, Members, ranges_of, samples_of
from dualprune.errors import DataError, StorageError

COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".tar.zst")
SUFFIXES = (".tar", *COMPRESSED)
# Images of a shard that lie near each other are read at once: gaps up to GAP bytes, READ bytes in all.
GAP, READ = 1 << 17, 1 << 23


@SOURCES.register("webdataset")
class WebDataset(ListedSource):
    """Tar shards with an image and a label per key; an image's id is its key.

    Members are read by their offsets, which are found by one pass over the headers of all shards.
    """

    class Options(Section):
        """Members of the shards."""

        baseline: ClassVar[Mapping[str, Any]] = {"image": None, "label": None, "label_field": "label"}

        image: str | None = Field(
            None, description="Extension of the images, such as jpg; null: that of the one image that a key has."
        )
        label: str | None = Field(
            None, description="Extension of the labels; null: the first of cls, json, txt that the first key has."
        )
        label_field: str = Field("label", description="Field of a JSON label that holds the class.")

    wanted = "the tar shards of the training set, such as s3://bucket/train-{000000..000099}.tar"
    id_name = "key"
    label_name = "label"
    remedy = "keys must be unique over all shards"
    facts = ("sample_id", "label", "size")

    def list_samples(self) -> tuple[pa.Table, pa.Table]:
        files = find_files(self.config, SUFFIXES)
        for file in [*files[0], *files[1]]:
            if file.name.lower().endswith(COMPRESSED):
                raise DataError(
                    f"{file.place} is compressed as a whole, so single members cannot be read from it; unpack it to "
                    "a plain .tar (images hardly become smaller by compression)"
                )
        # Rows name files by number.
        self._files = [file.place for part in files for file in part]
        options = self.options
        members = Members(_extension(options.image), _extension(options.label), options.label_field)
        first = 0
        while members.label is None and first < len(files[0]):
            # All shards have labels of one kind.
            members = replace(members, label=samples_of(self._files[first], members)[1])
            first += 1
        with ThreadPoolExecutor(16) as pool:
            tables = [table for table, _ in pool.map(partial(samples_of, members=members), self._files)]
        count = len(files[0])
        return _joined(tables[:count], 0), _joined(tables[count:], count)

    def contents(self, rows: pa.Table) -> Iterator[bytes | UndecodableError]:
        numbers = np.asarray(rows["file"])
        borders = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(numbers)]
        for begin, end in pairwise(borders):
            if begin < end:
                yield from self._of_file(self._files[numbers[begin]], rows.slice(begin, end - begin))

    def _of_file(self, place: Location, rows: pa.Table) -> Iterator[bytes]:
        offsets, sizes = np.asarray(rows["offset"]), np.asarray(rows["size"])
        with place.open_input() as stream:
            for first, last in _together(offsets, sizes):
                start, end = int(offsets[first]), int(offsets[last - 1] + sizes[last - 1])
                block = _read_at(place, stream, start, end)
                for offset, size in zip(offsets[first:last] - start, sizes[first:last], strict=True):
                    yield block[offset : offset + size]

    def export_groups(self, kept: NDArray[np.int64], max_rows: int) -> list[list[Shard]]:
        by_file = groupby(self.shards("train"), self._file_of)
        return grouped((list(shards) for _, shards in by_file), kept, min(max_rows, FILES_PER_PART))

    def export(self, part: KeptPart, place: Location, images: Images) -> list[tuple[str, WrittenFile]]:
        """Write a shard for each of the source's shards that keeps samples, with all members of their keys."""
        keys: dict[int, set[str]] = {}
        for shard, kept in zip(part.shards, part.rows, strict=True):
            if len(kept):
                ids = self.rows(shard)["sample_id"].take(pa.array(kept)).to_pylist()
                keys.setdefault(self._file_of(shard), set()).update(ids)
        written = []
        for file, wanted in keys.items():
            target = place / f"part-{file:05d}.tar"
            written.append((target.name, _copied(self._files[file], ranges_of(self._files[file], wanted), target)))
        return written

    def _file_of(self, shard: Shard) -> int:
        return int(self.rows(shard)["file"][0].as_py())

    def place_of(self, row: dict[str, Any]) -> str:
        return str(self._files[row["file"]])

    def starts(self, split: Split) -> Sequence[int]:
        rows: list[int] = (np.flatnonzero(np.diff(np.asarray(self._samples[split]["file"]))) + 1).tolist()
        return rows


def _copied(place: Location, ranges: list[tuple[int, int]], target: Location) -> WrittenFile:
    """Write a tar file of ranges of another one that hold whole members."""
    with place.open_input() as file, target.open_output() as stream:
        for start, end in ranges:
            for first in range(start, end, READ):
                stream.write(_read_at(place, file, first, min(first + READ, end)))
        # Two empty blocks are the end.
        stream.write(bytes(2 * BLOCKSIZE))
    return stream.written


def _read_at(place: Location, file: pa.NativeFile, start: int, end: int) -> bytes:
    try:
        block: bytes = file.read_at(end - start, start)
    except (OSError, pa.ArrowException) as error:
        raise StorageError(f"{place} cannot be read: {error}") from error
    if len(block) < end - start:
        raise DataError(f"{place} is shorter than it was when its samples were listed; restore the file")
    return block


def _joined(tables: list[pa.Table], first: int) -> pa.Table:
    """Return the samples of several files, the first of which has the number `first`, with the file of each."""
    files = np.repeat(np.arange(first, first + len(tables), dtype=np.int32), [table.num_rows for table in tables])
    table = pa.concat_tables([SCHEMA.empty_table(), *tables]).append_column("file", pa.array(files))
    return table.set_column(1, "label", whole_or_text(table["label"].to_pylist()))


def _extension(option: str | None) -> str | None:
    return None if option is None else option.lower().removeprefix(".")


def _together(offsets: NDArray[np.int64], sizes: NDArray[np.int64]) -> Iterator[tuple[int, int]]:
    """Yield ranges of rows whose images follow each other so closely that one read brings all of them."""
    first = 0
    for row in range(1, len(offsets)):
        gap = offsets[row] - offsets[row - 1] - sizes[row - 1]
        if not 0 <= gap <= GAP or offsets[row] + sizes[row] - offsets[first] > READ:
            yield first, row
            first = row
    if len(offsets):
        yield first, len(offsets)
