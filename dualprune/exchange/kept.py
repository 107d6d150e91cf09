"""Reads kept sets: all of a selection's buckets, of this run, with as many rows as were drawn; else it is an error.

selections/<name>/kept.parquet/bucket=00003.parquet   see `dualprune.stages.select`
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

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
    num_kept = require_selection(run, name)["summary"]["num_kept"]
    return read_draw(run, kept_place(run, name), columns, num_kept)


def read_draw(run: RunDirectory, kept: Location, columns: Sequence[str], num_kept: int) -> pa.Table:
    """Return columns of all samples of a draw in the folder `kept`, in position order; errors as for `read_kept`."""
    if kept.is_file():
        # An older version wrote a single file.
        table = kept.read_table(columns, AGAIN)
    else:
        index = SampleIndex.load(run.index)
        buckets = range(index.num_buckets)
        table = pa.concat_tables(read_kept_bucket(index, kept, bucket, columns) for bucket in buckets)
    if table.num_rows != num_kept:
        raise DataError(f"{kept} holds {table.num_rows} samples, but {num_kept} were kept; {AGAIN}")
    return table
