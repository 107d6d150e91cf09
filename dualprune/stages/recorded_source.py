"""Opens the training data of a recorded run, which must be what was recorded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from dualprune.core.config import Config
from dualprune.core.plain_columns import plain_column
from dualprune.core.run import RunDirectory
from dualprune.data.source import Source, open_source
from dualprune.dynamics.index import SampleIndex
from dualprune.errors import DataError

SAMPLE_ID, LABEL = "sample_id", "label"
CONSEQUENCE = (
    "so positions no longer name the same samples; restore the recorded data, or record the new data into another run "
    "directory"
)


def recorded_source(run: RunDirectory, config: Config) -> Source:
    """Return the source of a run; a DataError where its training data have changed since they were indexed.

    Positions identify the kept rows: with changed or reordered rows, they would name other samples.
    """
    if config.data.source == "imported":
        # This source has no data that could have changed.
        return open_source(config.data)
    settings = run.require("index", "record")["settings"]
    source = open_source(config.data, decoding_rule(settings))
    recorded = settings["source"]
    found = source.fingerprint()
    if found != recorded:
        raise DataError(
            f"the training data have changed since {run} recorded them (fingerprint {recorded} there, {found} now): "
            f"rows, their order, files or columns differ, {CONSEQUENCE}"
        )
    check_rows(source, SampleIndex.load(run.index))
    return source


def check_rows(source: Source, index: SampleIndex) -> None:
    """Raise a DataError unless a source has the ids and labels of an index, in this order.

    A fingerprint of files may not tell rows in another order from the recorded ones. Ids and labels are read in
    pieces, so that memory does not grow with N.
    """
    buckets = (index.read_bucket(bucket) for bucket in range(index.num_buckets))
    held = next(buckets)
    position = 0
    for batch in source.sample_batches():
        while held.num_rows < batch.num_rows and (more := next(buckets, None)) is not None:
            held = pa.concat_tables([held, more])
        known, held = held.slice(0, batch.num_rows).combine_chunks(), held.slice(batch.num_rows)
        ids = plain_column("the source", SAMPLE_ID, batch.column(SAMPLE_ID), bytes_are_text=False)
        found = pa.table({SAMPLE_ID: ids, LABEL: batch.column(LABEL).cast(pa.int64())}).slice(0, known.num_rows)
        if not all(found[name].equals(known[name]) for name in found.column_names):
            raise DataError(_first_difference(found, known, position))
        position += batch.num_rows
    if held.num_rows or position != index.num_samples:
        raise DataError(f"the training data have {position} rows, but {index.num_samples} were recorded: {CONSEQUENCE}")


def _first_difference(found: pa.Table, known: pa.Table, position: int) -> str:
    rows = zip(found.to_pylist(), known.to_pylist(), strict=True)
    row, now, before = next((row, *both) for row, both in enumerate(rows) if both[0] != both[1])
    what = SAMPLE_ID if now[SAMPLE_ID] != before[SAMPLE_ID] else LABEL
    return (
        f"the training data have changed since they were recorded: the {what} at position {position + row} was "
        f"{before[what]!r}, and is {now[what]!r} now, {CONSEQUENCE}"
    )


def decoding_rule(settings: Mapping[str, Any]) -> int:
    """Return the rule of decoding that a run began with, given the settings of its index."""
    # Versions that knew one rule only did not store it.
    return int(settings.get("decoding", 1))
