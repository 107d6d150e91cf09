"""The facts in the metadata of a run's Parquet files, so that a moved or mixed-up file is noticed on reading.

Facts that two equal runs share, and nothing else: the index's fingerprint (`run`), epoch, bucket, rows. They are
stored as JSON under one key of the file's metadata. Files of older runs have none, and are read as they are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dualprune.core import parquet
from dualprune.core.records import check
from dualprune.core.storage import Location
from dualprune.errors import DataError

KEY = "dualprune"


def encoded(facts: Mapping[str, Any]) -> dict[str, str]:
    """Return facts as a file's metadata."""
    return {KEY: json.dumps(dict(facts), sort_keys=True)}


def with_facts(table: pa.Table, **facts: Any) -> pa.Table:
    """Return a table whose file will hold these facts."""
    return table.replace_schema_metadata({**(table.schema.metadata or {}), **encoded(facts)})


def mismatch(file: pq.FileMetaData, **expected: Any) -> str | None:
    """Return in words how a file's facts differ from `expected`; None where they agree or are absent."""
    raw = (file.metadata or {}).get(KEY.encode())
    if raw is None:
        return None
    try:
        found = json.loads(raw)
    except ValueError:
        return "what it says about itself is no JSON"
    if not isinstance(found, dict):
        return "what it says about itself is no JSON mapping"
    for name, value in expected.items():
        if name in found and found[name] != value:
            return f"it says that its {name} is {found[name]!r}, expected {value!r}"
    return None


def check_facts(place: Location, file: pq.FileMetaData, remedy: str, **expected: Any) -> None:
    """Raise a DataError where a file's facts differ from the expected ones, or its rows from what it says of them."""
    wrong = mismatch(file, rows=file.num_rows) or mismatch(file, **expected)
    if wrong is not None:
        raise DataError(f"{place} belongs elsewhere: {wrong}; {remedy}")


def read_checked(
    place: Location,
    columns: Sequence[str] | None,
    remedy: str,
    record: Mapping[str, Any] | None = None,
    **expected: Any,
) -> pa.Table:
    """Return a file as a table; a DataError where it is missing, damaged, not as `record` says, or belongs elsewhere.

    `expected` are facts; `rows` among them is checked in files without facts, too.
    """
    with parquet.reading(place, remedy), place.open_input() as stream:
        file = parquet.opened(stream)
        check_facts(place, file.metadata, remedy, **expected)
        check(place, record, remedy)
        rows = expected.get("rows", file.metadata.num_rows)
        if file.metadata.num_rows != rows:
            raise DataError(f"{place} has {file.metadata.num_rows} rows instead of {rows}; {remedy}")
        return file.read(columns=None if columns is None else list(columns), use_threads=False)
