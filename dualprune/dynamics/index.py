"""The sample index: assigns a dense position to each sample, and stores its id and label.

position = bucket · bucket_rows + row in the bucket's file.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dualprune.core.own_folder import discard
from dualprune.core.parquet import without_nulls
from dualprune.core.plain_columns import plain_column
from dualprune.core.storage import Location
from dualprune.dynamics.layout import BUCKET_ROWS, OWN_FILES, ROW_GROUP_ROWS, bucket_name, fast_encoding
from dualprune.dynamics.metadata import read_checked, with_facts
from dualprune.errors import DataError, RunError

INDEX_FILE = "_index.json"
REMEDY = "restore the file from a copy, or begin a new run: only this file says which sample each value belongs to"


def default_num_buckets(num_samples: int, num_workers: int) -> int:
    """Return the number of buckets: about a million samples each, at least one per worker."""
    return max(1, min(num_samples, max(-(-num_samples // BUCKET_ROWS), num_workers)))


@dataclass(frozen=True)
class SampleIndex:
    """The positions 0 … N-1 of a run's samples, cut into buckets of equal length (the last may be shorter)."""

    location: Location
    num_samples: int
    num_buckets: int
    bucket_rows: int
    id_type: str
    num_classes: int
    classes: list[str]
    fingerprint: str
    details: dict[str, Any] = field(default_factory=dict)
    # The records of the files, one per bucket; indexes of older versions have none.
    files: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def load(cls, location: Location) -> SampleIndex:
        """Read the index of a run; a RunError where there is none."""
        place = location / INDEX_FILE
        if not place.exists():
            raise RunError(f"{location} has no sample index; run `dualprune record` first")
        record = place.read_record()
        record.expect(num_samples=int, num_buckets=int, bucket_rows=int, num_classes=int)
        record.expect(id_type=str, classes=list, fingerprint=str)
        whole = record["bucket_rows"] > 0 and record["num_buckets"] == -(
            -record["num_samples"] // record["bucket_rows"]
        )
        if not whole or record["num_classes"] != len(record["classes"]) or record["num_samples"] <= 0:
            raise record.damaged("its numbers of samples, buckets and classes do not fit together")
        if record.get("files") and len(record.records("files")) != record["num_buckets"]:
            raise record.damaged(f"it lists {len(record['files'])} of {record['num_buckets']} files")
        names = {known.name for known in fields(cls)} - {"location"}
        return cls(location=location, **{name: value for name, value in record.items() if name in names})

    @classmethod
    def build(
        cls,
        location: Location,
        batches: Iterable[pa.RecordBatch],
        *,
        num_samples: int,
        num_buckets: int,
        classes: Sequence[str],
        fingerprint: str,
        details: dict[str, Any] | None = None,
    ) -> SampleIndex:
        """Write the index from batches of (sample_id, label int64), in position order.

        Ids of other types than int64 and string become one of these, see `plain_column`.

        Ids must be unique and labels in 0 … len(classes)-1; a DataError names what is not.
        """
        if num_samples == 0:
            raise DataError("the data set is empty: it has no training samples")
        bucket_rows = -(-num_samples // num_buckets)
        checked = _checked(batches, len(classes))
        id_type = ""
        ascending, last_id = True, None
        written = 0
        files: list[dict[str, Any]] = []
        discard(location, OWN_FILES)
        for bucket, table in enumerate(_regrouped(checked, bucket_rows)):
            id_type = "int64" if pa.types.is_integer(table.schema.field("sample_id").type) else "string"
            ascending, last_id = ascending and _ascends(table["sample_id"], last_id), table["sample_id"][-1]
            known = with_facts(without_nulls(table), run=fingerprint, bucket=bucket, rows=table.num_rows)
            options = {**fast_encoding(table.schema), "row_group_size": ROW_GROUP_ROWS}
            files.append((location / bucket_name(bucket)).write_table(known, **options).to_json())
            written += table.num_rows
        if not ascending:
            names = [bucket_name(number) for number in range(-(-written // bucket_rows))]
            _check_unique(pa.concat_tables((location / name).read_table(["sample_id"]) for name in names)["sample_id"])
        if written != num_samples:
            raise DataError(f"the source says that it has {num_samples} samples, but yielded {written}")
        index = cls(
            location=location,
            num_samples=num_samples,
            # Rounding up twice may leave the last buckets empty.
            num_buckets=-(-num_samples // bucket_rows),
            bucket_rows=bucket_rows,
            id_type=id_type,
            num_classes=len(classes),
            classes=list(classes),
            fingerprint=fingerprint,
            details=details or {},
            files=files,
        )
        body = asdict(index)
        del body["location"]
        (location / INDEX_FILE).write_json(body)
        return index

    def bucket_range(self, bucket: int) -> tuple[int, int]:
        """Return the first position of a bucket and the one after its last."""
        start = bucket * self.bucket_rows
        return start, min(start + self.bucket_rows, self.num_samples)

    def read_bucket(self, bucket: int) -> pa.Table:
        """Return sample_id and label of a bucket's samples, in position order."""
        table = read_checked(self.place(bucket), None, REMEDY, self.record(bucket), **self.facts(bucket))
        return table.replace_schema_metadata(None)

    def place(self, bucket: int) -> Location:
        """Return the place of a bucket's file."""
        return self.location / bucket_name(bucket)

    def facts(self, bucket: int) -> dict[str, Any]:
        """Return what the metadata of each file of a bucket says about it, whatever it holds for every sample."""
        start, stop = self.bucket_range(bucket)
        return {"run": self.fingerprint, "bucket": bucket, "rows": stop - start}

    def record(self, bucket: int) -> dict[str, Any] | None:
        """Return the record of a bucket's file; None where an older version wrote the index."""
        return self.files[bucket] if self.files else None

    def read(self) -> pa.Table:
        """Return sample_id and label of all samples, in position order; O(N) memory."""
        return pa.concat_tables(self.read_bucket(bucket) for bucket in range(self.num_buckets))

    @cached_property
    def labels(self) -> np.ndarray:
        """Labels of all samples, int64 [N]."""
        return np.asarray(self.read()["label"])


def _checked(batches: Iterable[pa.RecordBatch], num_classes: int) -> Iterator[pa.Table]:
    offset, id_type = 0, None
    for batch in batches:
        if batch.column("label").null_count:
            raise DataError(f"{batch.column('label').null_count} labels are missing; each sample needs one")
        labels = np.asarray(batch.column("label")).astype(np.int64)
        wrong = np.flatnonzero((labels < 0) | (labels >= num_classes))
        if len(wrong):
            sample_id = batch.column("sample_id")[int(wrong[0])].as_py()
            raise DataError(
                f"{len(wrong)} labels are out of range, first that of sample {sample_id!r}: {labels[wrong[0]]} is not "
                f"in 0 … {num_classes - 1}; correct the labels, or the class names of the source"
            )
        ids = plain_column("the source", "sample_id", batch.column("sample_id"), bytes_are_text=False)
        if ids.null_count:
            row = int(np.flatnonzero(np.asarray(ids.is_null()))[0])
            raise DataError(
                f"{ids.null_count} sample ids are missing, first in row {offset + row}; each sample needs one"
            )
        if id_type is not None and ids.type != id_type:
            raise DataError(f"sample ids are {id_type} up to row {offset - 1}, then {ids.type}; expected one type")
        id_type = ids.type
        offset += batch.num_rows
        yield pa.table({"sample_id": ids, "label": labels})


def _regrouped(tables: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    held: list[pa.Table] = []
    num_held = 0
    for table in tables:
        held.append(table)
        num_held += table.num_rows
        while num_held >= rows:
            joined = pa.concat_tables(held)
            yield joined.slice(0, rows).combine_chunks()
            held = [joined.slice(rows)]
            num_held -= rows
    if num_held:
        yield pa.concat_tables(held).combine_chunks()


def _ascends(ids: pa.ChunkedArray, before: pa.Scalar | None) -> bool:
    """Return whether ids rise strictly: then they are unique, and the check needs no memory."""
    array = ids.combine_chunks()
    rises = pc.all(pc.less(array[:-1], array[1:]), min_count=0).as_py()
    return bool(rises and (before is None or pc.less(before, array[0]).as_py()))


def _check_unique(ids: pa.ChunkedArray) -> None:
    if pc.count_distinct(ids).as_py() == len(ids):
        return
    counts = pc.value_counts(ids)
    repeated = counts.filter(pc.greater(counts.field("counts"), 1))
    first = ", ".join(f"{item['values']!r} ({item['counts']} times)" for item in repeated[:5].to_pylist())
    raise DataError(
        f"{len(repeated)} sample ids are not unique, such as {first}; "
        "make them unique, or set data.options.id_column to null to use row numbers"
    )
