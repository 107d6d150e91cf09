"""Files of sample ids that are always or never kept: text with one id per line, or Parquet with a column sample_id."""

from __future__ import annotations

from functools import partial

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dualprune.core.storage import Location
from dualprune.dynamics.index import SampleIndex
from dualprune.errors import ConfigError, DataError
from dualprune.stages.select.bucketed import Bucket, Scores


def read_ids(path: str, key: str, index: SampleIndex) -> pa.Array:
    """Return the ids of a file, in the type of the run's ids; an error names the file and the problem."""
    place = Location.of(path)
    if not place.exists():
        raise ConfigError(f"{key}: there is no file {place}")
    kind = pa.int64() if index.id_type == "int64" else pa.string()
    if place.name.endswith((".parquet", ".pq")):
        table = place.read_table()
        if "sample_id" not in table.column_names:
            raise DataError(f"{key}: {place} has no column 'sample_id'; it has: {', '.join(table.column_names)}")
        values = table["sample_id"].combine_chunks()
    else:
        lines = place.read_bytes().decode(errors="replace").splitlines()
        values = pa.array([line.strip() for line in lines if line.strip()], type=pa.string())
    try:
        ids = pa.chunked_array([values]).cast(kind).combine_chunks()
    except pa.ArrowInvalid as error:
        raise DataError(f"{key}: {place} holds ids that are not {kind}, as the run's are: {error}") from None
    return pc.unique(ids)


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
