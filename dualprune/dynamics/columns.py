"""Columns: numbers or vectors that are measured once per sample, by name and position.

columns/NAME/bucket=00003.parquet   one column `value`: float32, or a fixed-size list of it; rows in position order; NaN
                                    where a sample could not be measured
columns/NAME/_commit.json           the column counts when this is there: fingerprint, width, files
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from dualprune.core import parquet
from dualprune.core.own_folder import discard
from dualprune.core.records import named
from dualprune.core.run import RunDirectory
from dualprune.core.storage import FileRecord, Location
from dualprune.dynamics.commit import COMMIT
from dualprune.dynamics.index import SampleIndex
from dualprune.dynamics.layout import OWN_FILES, bucket_name, statistics_options
from dualprune.dynamics.metadata import check_facts, with_facts
from dualprune.dynamics.writer import to_arrow
from dualprune.errors import DataError, RunError

VALUE = "value"


class ColumnStore:
    """The columns of a run."""

    def __init__(self, run: RunDirectory | Location | str | os.PathLike[str]) -> None:
        self.run = RunDirectory(run)
        self.location = self.run.root / "columns"
        self.index = SampleIndex.load(self.run.index)

    def names(self) -> list[str]:
        """Return the names of the columns that count, sorted."""
        return [folder.name for folder in self.location.children() if (folder / COMMIT).exists()]

    def record(self, name: str) -> dict[str, Any]:
        """Return a column's commit record: `fingerprint`, `width` (1: a number), `files`; a RunError without one."""
        place = self.location / name / COMMIT
        if not place.exists():
            raise RunError(
                f"{self.run} has no column {name!r}; it has: {', '.join(self.names()) or 'none'}. "
                f"Run `dualprune measure {self.run}`, or remove the score methods that read it"
            )
        record: dict[str, Any] = place.read_record()
        return record

    def file(self, name: str, bucket: int) -> Location:
        """Return the place of a bucket's file of a column."""
        return self.location / name / bucket_name(bucket)

    def missing(self, name: str, buckets: Iterable[int]) -> list[int]:
        """Return those of `buckets` for which the column has no file yet."""
        there = {file.name for file in (self.location / name).children()}
        return [bucket for bucket in buckets if bucket_name(bucket) not in there]

    def write(self, name: str, bucket: int, values: np.ndarray) -> FileRecord:
        """Write a bucket's values, float32 [n] or [n, d], in position order."""
        start, stop = self.index.bucket_range(bucket)
        assert len(values) == stop - start, f"{name} has {len(values)} values for {stop - start} samples"
        table = parquet.without_nulls(pa.table({VALUE: to_arrow(np.asarray(values, dtype=np.float32))}))
        facts = self.index.facts(bucket)
        return self.file(name, bucket).write_table(with_facts(table, **facts), **statistics_options())

    def file_record(self, name: str, bucket: int) -> dict[str, Any] | None:
        """Return what a column's commit record says about a bucket's file; None where it does not name it."""
        return named(self.record(name)["files"], bucket_name(bucket))

    def remedy(self, name: str) -> str:
        """Return what to do about a damaged file of a column."""
        return f"run `dualprune measure {self.run}` to measure it again, or, if it was imported, import it again"

    def commit(self, name: str, fingerprint: str, width: int, files: Sequence[FileRecord]) -> None:
        """Declare a column complete; `fingerprint` identifies the data and the measurement that it was made with."""
        (self.location / name / COMMIT).write_json(
            {
                "version": 1,
                "column": name,
                "fingerprint": fingerprint,
                "width": width,
                "files": [file.to_json() for file in sorted(files, key=lambda file: file.name)],
            }
        )

    def finish(self, name: str, fingerprint: str) -> int:
        """Declare a column complete from its existing files, and return its width; see `commit`."""
        files, widths = [], set()
        for bucket in range(self.index.num_buckets):
            place, facts = self.file(name, bucket), self.index.facts(bucket)
            content = place.read_bytes()
            remedy = f"delete the folder columns/{name} and measure again"
            with parquet.reading(place, remedy):
                found = parquet.opened(pa.BufferReader(content))
                check_facts(place, found.metadata, remedy, **facts)
                # Every page is verified: an earlier, interrupted measurement may have left the file.
                kind = found.read(columns=[VALUE]).schema.field(VALUE).type
            widths.add(kind.list_size if pa.types.is_fixed_size_list(kind) else 1)
            files.append(place.record(facts["rows"], content))
        if len(widths) > 1:
            raise DataError(f"column {name} has {sorted(widths)} values per sample in different buckets; expected one")
        self.commit(name, fingerprint, widths.copy().pop(), files)
        return widths.pop()

    def discard(self, name: str) -> None:
        """Delete a column; its record goes first."""
        (self.location / name / COMMIT).delete()
        discard(self.location / name, OWN_FILES)
