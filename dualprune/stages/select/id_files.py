"""Files of sample ids that are always or never kept: text with one id per line, or Parquet with a column sample_id."""

from __future__ import annotations

import codecs
import re
from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dualprune.core.plain_columns import plain_column
from dualprune.core.storage import Location
from dualprune.dynamics.index import SampleIndex
from dualprune.errors import ConfigError, DataError
from dualprune.stages.select.bucketed import Bucket, Scores


def read_ids(path: str, key: str, index: SampleIndex) -> pa.Array:
    """Return the ids of a file, in the type of the run's ids; an error names the file and the problem."""
    kind = pa.int64() if index.id_type == "int64" else pa.string()
    ids = listed_ids(path, key)
    try:
        return pc.unique(ids.cast(kind))
    except pa.ArrowInvalid as error:
        raise DataError(f"{key}: {path} holds ids that are not {kind}, as the run's are: {error}") from None


def listed_ids(path: str, key: str) -> pa.Array:
    """Return the ids of a file as int64 or string, as they are written; an error names the file and the problem."""
    place = Location.of(path)
    if not place.exists():
        raise ConfigError(f"{key}: there is no file {place}")
    if not place.name.endswith((".parquet", ".pq")):
        if not place.is_file():
            raise ConfigError(f"{key}: {place} is a folder; expected a text file or Parquet")
        return pa.array(_lines(place.read_bytes(), f"{key}: {place}"), type=pa.string())
    table = place.read_table()
    if "sample_id" not in table.column_names:
        raise DataError(f"{key}: {place} has no column 'sample_id'; it has: {', '.join(table.column_names)}")
    ids = plain_column(f"{key}: {place}", "sample_id", table["sample_id"], bytes_are_text=False)
    if ids.null_count:
        raise DataError(f"{key}: {ids.null_count} of the {len(ids)} ids in {place} are missing; remove those rows")
    return ids


def _lines(content: bytes, name: str) -> list[str]:
    """Return the lines of a text file that are not blank, without surrounding space."""
    wide = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        text = content.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{name} is no UTF-8 text ({error}); write one id per line, or Parquet") from None
    return [line.strip() for line in re.split(r"\r\n|\r|\n", text) if line.strip()]


def positions_of(scores: Scores, ids: pa.Array, path: str, key: str) -> np.ndarray:
    """Return the positions of ids, int64 ascending; a DataError with the first few that the scores do not have."""
    found = list(scores.each_bucket(partial(_found, ids)))
    known = np.zeros(len(ids), dtype=bool)
    for rows, _ in found:
        known[rows] = True
    if not known.all():
        unknown = ids.filter(pa.array(~known))
        first = ", ".join(repr(value) for value in unknown[:5].to_pylist())
        raise DataError(
            f"{key}: {len(unknown)} of the {len(ids)} ids in {path} are not among the scored samples, such as {first}; "
            "remove them from the file"
        )
    return np.concatenate([positions for _, positions in found])


def _found(ids: pa.Array, bucket: Bucket) -> tuple[np.ndarray, np.ndarray]:
    here = bucket.column("sample_id")
    rows = pc.index_in(pa.array(here) if isinstance(here, np.ndarray) else here, value_set=ids)
    inside = np.asarray(rows.is_valid())
    return np.asarray(rows.drop_null()), np.asarray(bucket.column("position"))[inside]


def check_apart(always: np.ndarray, never: np.ndarray) -> None:
    """Raise a ConfigError where samples are both always and never kept."""
    both = np.intersect1d(always, never)
    if len(both):
        raise ConfigError(
            f"select.always_keep, select.never_keep: {len(both)} ids are in both files, first at position {both[0]}; "
            "remove them from one of the files"
        )
