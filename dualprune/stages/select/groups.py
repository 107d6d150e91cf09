"""The groups of quotas: the label, or a column of the Parquet source, which is stored by position once.

groups/column=<name>/bucket=00003.parquet   value, as text, in position order
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dualprune.cluster.tasks import over_buckets
from dualprune.core import parquet
from dualprune.core.config import Config
from dualprune.core.outputs import Output
from dualprune.core.own_folder import discard
from dualprune.core.plain_columns import as_text
from dualprune.core.registry import nearest
from dualprune.core.run import RunDirectory
from dualprune.core.storage import Location
from dualprune.data.source import Source
from dualprune.dynamics.index import SampleIndex
from dualprune.dynamics.layout import OWN_FILES, bucket_name
from dualprune.dynamics.metadata import read_checked, with_facts
from dualprune.errors import ConfigError
from dualprune.stages.recorded_source import recorded_source

MOST_GROUPS = 100_000
MISSING = "(missing)"


@dataclass(frozen=True)
class Groups:
    """Names of the groups, and where each sample's group is written; without a place, its label is the group."""

    names: tuple[str, ...]
    place: Location | None = None
    index: SampleIndex | None = None

    def read(self, bucket: int) -> np.ndarray:
        """Return the group at each position of a bucket, int64 [bucket_rows], the last bucket's shorter."""
        assert self.place is not None
        assert self.index is not None
        place = self.place / bucket_name(bucket)
        remedy = f"delete the folder {self.place} and select again"
        values = read_checked(place, ["value"], remedy, **self.index.facts(bucket))["value"]
        codes = pc.index_in(values, value_set=pa.array(self.names, type=pa.string()))
        return np.asarray(codes).astype(np.int64)


def find_groups(run: RunDirectory, config: Config, index: SampleIndex, *, are_needed: bool = False) -> Groups | None:
    """Return the groups of `select.balance`; None where it sets nothing and they are not needed."""
    balance = config.select.balance
    if not (balance.active or are_needed):
        return None
    if balance.by == "label":
        return Groups(tuple(index.classes))
    place = run.root / "groups" / f"column={quote(balance.by, safe='')}"
    with run.stage(f"groups.{quote(balance.by, safe='')}", {"column": balance.by}, [index.fingerprint]) as stage:
        if not stage.done:
            source = recorded_source(run, config)
            check_column(source, balance.by)
            discard(place, OWN_FILES)
            work = partial(_lay_out, run.root, source, balance.by, index, place)
            names: set[str] = set()
            for found, output in over_buckets(work, range(index.num_buckets), config.scaling):
                names.update(found)
                stage.outputs.append(output)
                if len(names) > MOST_GROUPS:
                    raise ConfigError(
                        f"select.balance.by: {balance.by!r} has more than {MOST_GROUPS} values; choose another column"
                    )
            stage.summary = {"groups": sorted(names)}
    return Groups(tuple(stage.summary["groups"]), place, index)


def check_column(source: Source, column: str) -> None:
    """Raise a ConfigError or DataError where a source has no such column, or one whose values are no groups."""
    schema = source.schema()
    if schema is None:
        raise ConfigError(
            f"select.balance.by: {column!r}: the source {source.config.source!r} is no table with further columns; "
            "use label, or a Parquet source"
        )
    if column not in schema.names:
        raise ConfigError(
            f"select.balance.by: the source has no column {column!r}; it has: {', '.join(schema.names)}"
            f"{nearest(column, schema.names)}"
        )
    # By its type alone: no row is read.
    as_text(f"select.balance.by: {column!r}", pa.chunked_array([], schema.field(column).type))


def _lay_out(
    root: Location, source: Source, column: str, index: SampleIndex, place: Location, bucket: int
) -> tuple[list[str], Output]:
    start, stop = index.bucket_range(bucket)
    pieces: list[pa.Array] = []
    for shard in source.shards("train"):
        first, last = max(start, shard.start), min(stop, shard.start + shard.num_rows)
        if first < last:
            table = source.read_table(shard, [column])
            assert table is not None, "a table source stays one"
            rows = table[column].slice(first - shard.start, last - first)
            pieces.append(as_text(f"select.balance.by: {column!r}", rows))
    values = pc.fill_null(pa.chunked_array(pieces, type=pa.string()), MISSING)
    file = place / bucket_name(bucket)
    with file.open_output() as stream:
        parquet.write(with_facts(pa.table({"value": values}), **index.facts(bucket)), stream, compression="zstd")
    return [str(value) for value in pc.unique(values).to_pylist()], Output.of(root, file, stream.written)
