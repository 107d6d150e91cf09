"""The scores of a run, read bucket by bucket on the cluster; columns are read when a draw needs them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from dualprune.cluster.tasks import over_buckets
from dualprune.core import parquet
from dualprune.core.run import RunDirectory
from dualprune.core.sections import ScalingConfig
from dualprune.core.storage import Location
from dualprune.dynamics.index import SampleIndex
from dualprune.dynamics.layout import bucket_name
from dualprune.dynamics.metadata import check_facts
from dualprune.errors import DataError
from dualprune.selection.rows import BLOCK_ROWS, Rows
from dualprune.stages.score.files import AGAIN, read_scores
from dualprune.stages.select.groups import Groups


@dataclass(frozen=True)
class Scores:
    """One score method's samples of a run, in buckets, with the groups of quotas.

    `others` are further score methods whose scores are columns by their names; `bucket_rows` as in the index.
    """

    run: str
    method: str
    num_buckets: int
    scaling: ScalingConfig | None = None
    groups: Groups | None = field(default=None)
    others: tuple[str, ...] = ()
    bucket_rows: int = 0

    def each(self, function: Callable[[Iterable[Rows]], Any]) -> Iterator[Any]:
        """Yield function(blocks) of each bucket, in their order."""
        return self.each_bucket(partial(_of_blocks, function))

    def each_bucket(self, function: Callable[[Bucket], Any]) -> Iterator[Any]:
        """Yield function(bucket) of each bucket, in their order."""
        return over_buckets(partial(_of_bucket, self, function), range(self.num_buckets), self.scaling, light=True)


class Bucket:
    """One bucket of `Scores`; open while its columns are read."""

    def __init__(self, scores: Scores, number: int, file: pq.ParquetFile, place: Location) -> None:
        self.number = number
        self._scores, self._file, self._place = scores, file, place
        self._dense: dict[str, NDArray[np.float64]] = {}

    def column(self, name: str) -> Any:
        """Return a whole column: numpy, or Arrow where it holds strings."""
        # Other tasks use the other cores.
        with parquet.reading(self._place, AGAIN):
            whole = self._file.read(columns=[name], use_threads=False)[name]
        return self._checked(name, whole)

    def blocks(self) -> Iterator[Rows]:
        """Yield the bucket's samples block by block: at least one block, so that results have all columns."""
        if not self._file.metadata.num_rows:
            yield Rows(self.column, 0, 0)
        wanted: list[str] = []
        for number in range(self._file.num_row_groups):
            rows = int(self._file.metadata.row_group(number).num_rows)
            group = _RowGroup(partial(self._read, number), wanted)
            for start in range(0, rows, BLOCK_ROWS):
                yield Rows(partial(self._column_of, group), start, min(start + BLOCK_ROWS, rows))

    def _read(self, number: int, names: list[str]) -> dict[str, Any]:
        with parquet.reading(self._place, AGAIN):
            table = self._file.read_row_group(number, columns=names, use_threads=False)
            assert {*names} <= {*table.column_names}, f"it lacks a column of {', '.join(names)}"
        return {name: self._checked(name, table[name]) for name in names}

    def _column_of(self, group: _RowGroup, name: str) -> Any:
        groups = self._scores.groups
        if name in self._scores.others:
            return self._other(name, group.column("position"))
        if name != "group":
            return group.column(name)
        assert groups is not None, "draws with groups come with groups"
        if groups.place is None:
            return group.column("label")
        assert groups.index is not None
        return self._groups[group.column("position") - self.number * groups.index.bucket_rows]

    def _other(self, name: str, positions: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the scores of another method at some positions; a DataError where a sample has none."""
        start = self.number * self._scores.bucket_rows
        if name not in self._dense:
            found = read_scores(RunDirectory(self._scores.run), name, self.number, ["position", "score"])
            self._dense[name] = np.full(self._scores.bucket_rows, np.nan)
            self._dense[name][found["position"].to_numpy() - start] = found["score"].to_numpy()
        values: NDArray[np.float64] = self._dense[name][positions - start]
        if np.isnan(values).any():
            raise DataError(
                f"{int(np.isnan(values).sum())} samples of bucket {self.number} have a score of {self._scores.method}, "
                f"but none of {name}, which the sampler reads; score both again with force=True"
            )
        return values

    @cached_property
    def _groups(self) -> NDArray[np.int64]:
        groups = self._scores.groups
        assert groups is not None, "draws with groups come with groups"
        return groups.read(self.number)

    def _checked(self, name: str, column: pa.ChunkedArray) -> Any:
        # Combining copies even where there is nothing to combine.
        values = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
        if pa.types.is_string(values.type) or pa.types.is_large_string(values.type):
            return values
        array = values.to_numpy(zero_copy_only=False)
        # A sum is faster, and finite unless a value is not or the values are huge.
        if name == "score" and not np.isfinite(array.sum()) and not (array < np.inf).all():
            raise DataError(f"scores of {self._scores.method} in bucket {self.number} are not all numbers; {AGAIN}")
        return array


class _RowGroup:
    """Columns of a row group: those that an earlier group needed are read together, others when they are needed."""

    def __init__(self, read: Callable[[list[str]], dict[str, Any]], wanted: list[str]) -> None:
        self._read, self._wanted = read, wanted
        self._columns = read(wanted) if wanted else {}

    def column(self, name: str) -> Any:
        """Return a column."""
        if name not in self._columns:
            self._wanted.append(name)
            self._columns |= self._read([name])
        return self._columns[name]


def _of_blocks(function: Callable[[Iterable[Rows]], Any], bucket: Bucket) -> Any:
    return function(bucket.blocks())


def _of_bucket(scores: Scores, function: Callable[[Bucket], Any], number: int) -> Any:
    run = RunDirectory(scores.run)
    place = run.scores(scores.method) / bucket_name(number)
    with ExitStack() as stack:
        with parquet.reading(place, AGAIN):
            file = parquet.opened(stack.enter_context(place.open_input()))
            facts = {"run": SampleIndex.load(run.index).fingerprint, "bucket": number}
            check_facts(place, file.metadata, AGAIN, **facts)
        return function(Bucket(scores, number, file, place))
