"""The facts in the metadata of a run's Parquet files, so that a moved or mixed-up file is noticed on reading.

Facts that two equal runs share, and nothing else: the index's fingerprint (`run`), epoch, bucket, rows. They are
stored as JSON under one key of the file's metadata. Files of older runs have none, and are read as they are.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

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
    found = json.loads(raw)
    for name, value in expected.items():
        if name in found and found[name] != value:
            return f"it says that its {name} is {found[name]!r}, expected {value!r}"
    return None


def check_facts(place: Location, file: pq.FileMetaData, remedy: str, **expected: Any) -> None:
    """Raise a DataError where a file's facts differ from the expected ones."""
    wrong = mismatch(file, **expected)
    if wrong is not None:
        raise DataError(f"{place} belongs elsewhere: {wrong}; {remedy}")
