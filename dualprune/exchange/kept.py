"""Reads kept sets: all of a selection's buckets, of this run, with as many rows as were drawn; else it is an error.

selections/<name>/kept.parquet/bucket=00003.parquet   see `dualprune.stages.select`
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from dualprune.core import parquet
from dualprune.core.registry import nearest
from dualprune.core.run import RunDirectory
from dualprune.core.storage import Location
from dualprune.dynamics.index import SampleIndex
from dualprune.dynamics.layout import bucket_name
from dualprune.dynamics.metadata import mismatch, read_checked
from dualprune.errors import DataError, RunError

KEPT = "kept.parquet"
AGAIN = "select again with force=True"


def kept_place(run: RunDirectory, name: str) -> Location:
    """Return the folder of a selection's kept samples."""
    return run.selection(name) / KEPT


def require_selection(run: RunDirectory, name: str) -> dict[str, Any]:
    """Return the manifest of a finished selection.

    A RunError where there is none, or it was drawn from an earlier recording; a DataError where files are damaged.
    """
    known = run.selection_names()
    if name not in known:
        raise RunError(
            f"{run} has no selection {name!r}; there are: {', '.join(known) or 'none'}{nearest(name, known)}"
        )
    manifest = run.require_whole(f"select.{name}", "select")
    first = kept_place(run, name) / bucket_name(0)
    if first.is_file():
        with parquet.reading(first, AGAIN), first.open_input() as stream:
            facts = parquet.opened(stream).metadata
        if mismatch(facts, run=SampleIndex.load(run.index).fingerprint):
            raise RunError(f"{run}: selection {name!r} was drawn from an earlier recording; select again")
    return manifest


def read_kept_bucket(index: SampleIndex, kept: Location, bucket: int, columns: Sequence[str]) -> pa.Table:
    """Return columns of the kept samples of a bucket in the folder `kept`, in position order."""
    place = kept / bucket_name(bucket)
    return read_checked(place, columns, AGAIN, run=index.fingerprint, bucket=bucket)


def read_kept(run: RunDirectory, name: str, columns: Sequence[str]) -> pa.Table:
    """Return columns of all kept samples of a selection, in position order.

    Raises:
        RunError: there is no finished selection of this name.
        DataError: a file is missing, damaged or another run's, or the rows are not as many as were kept.
    """
    return pa.concat_tables(kept_buckets(run, name, columns))


def kept_buckets(run: RunDirectory, name: str, columns: Sequence[str]) -> Iterator[pa.Table]:
    """Yield columns of the kept samples of each bucket, in position order; errors as for `read_kept`."""
    num_kept = require_selection(run, name)["summary"]["num_kept"]
    return _buckets(run, kept_place(run, name), columns, num_kept)


def read_draw(run: RunDirectory, kept: Location, columns: Sequence[str], num_kept: int) -> pa.Table:
    """Return columns of all samples of a draw in the folder `kept`, in position order; errors as for `read_kept`."""
    return pa.concat_tables(_buckets(run, kept, columns, num_kept))


def _buckets(run: RunDirectory, kept: Location, columns: Sequence[str], num_kept: int) -> Iterator[pa.Table]:
    index = SampleIndex.load(run.index)
    found = 0
    for table in _single_file(index, kept, columns) if kept.is_file() else _files(index, kept, columns):
        found += table.num_rows
        yield table
    if found != num_kept:
        raise DataError(f"{kept} holds {found} samples, but {num_kept} were kept; {AGAIN}")


def _files(index: SampleIndex, kept: Location, columns: Sequence[str]) -> Iterator[pa.Table]:
    return (read_kept_bucket(index, kept, bucket, columns) for bucket in range(index.num_buckets))


def _single_file(index: SampleIndex, kept: Location, columns: Sequence[str]) -> Iterator[pa.Table]:
    """Yield the rows of each bucket of the single file that an older version wrote."""
    table = kept.read_table([*columns, *({"position"} - set(columns))], AGAIN)
    positions = np.asarray(table["position"])
    for bucket in range(index.num_buckets):
        first, last = np.searchsorted(positions, index.bucket_range(bucket))
        yield table.select(columns).slice(first, last - first)
