"""The kept samples of a source in parts that are exported one by one, and the rows of a table as Parquet."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dualprune.core import parquet
from dualprune.core.parquet import WrittenFile
from dualprune.core.storage import Location

if TYPE_CHECKING:
    from dualprune.data.source import Shard, Source

INCLUSION = "inclusion"
# Kept samples of a part where each sample is a file of its own: enough that starting a task does not count.
FILES_PER_PART = 1 << 14


class KeptPart(NamedTuple):
    """Consecutive shards, with the rows in each that are kept, ascending, and the probabilities of these.

    Every part has a `number` of its own.
    """

    number: int
    shards: list[Shard]
    rows: list[NDArray[np.int64]]
    inclusion: list[NDArray[np.float64]]

    @classmethod
    def of(cls, number: int, shards: list[Shard], kept: NDArray[np.int64], inclusion: NDArray[np.float64]) -> KeptPart:
        """Return the part of these shards, given the positions of all kept samples, ascending."""
        mine = [kept_of(shard, kept) for shard in shards]
        rows = [kept[part] - shard.start for shard, part in zip(shards, mine, strict=True)]
        return cls(number, shards, rows, [inclusion[part] for part in mine])


def kept_of(shard: Shard, kept: NDArray[np.int64]) -> slice:
    """Return where the kept positions of a shard lie among all kept positions, which ascend."""
    return slice(*np.searchsorted(kept, [shard.start, shard.start + shard.num_rows]).tolist())


def grouped(units: Iterable[list[Shard]], kept: NDArray[np.int64], max_rows: int) -> list[list[Shard]]:
    """Return groups of consecutive units that keep at most `max_rows` rows, or one unit that keeps more.

    The shards of a unit stay together.
    """
    groups: list[list[Shard]] = [[]]
    rows = 0
    for unit in units:
        count = sum(len(kept[kept_of(shard, kept)]) for shard in unit)
        if groups[-1] and rows + count > max_rows:
            groups.append([])
            rows = 0
        groups[-1] += unit
        rows += count
    return groups


def write_rows(source: Source, part: KeptPart, place: Location) -> list[tuple[str, WrittenFile]]:
    """Write the rows of a part as a Parquet file in a folder; return its name, size and digest.

    A column `inclusion` is added, unless the source has one of that name. Nothing is written where the source is no
    table.
    """
    if not part.shards or source.read_table(part.shards[0], []) is None:
        return []
    file = place / f"part-{part.number:05d}.parquet"
    with file.open_output() as stream:
        writer = None
        for shard, kept, inclusion in zip(part.shards, part.rows, part.inclusion, strict=True):
            table = source.read_table(shard)
            assert table is not None, "a table source stays one"
            rows = table.take(pa.array(kept))
            if INCLUSION not in rows.column_names:
                rows = rows.append_column(INCLUSION, pa.array(inclusion))
            writer = writer or parquet.writer(stream, rows.schema, compression="zstd")
            writer.write_table(rows)
        if writer is not None:
            writer.close()
    return [(file.name, stream.written)]
