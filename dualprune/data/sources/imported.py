"""Stands for the training data of a run whose dynamics were recorded elsewhere: the data are not here."""

from __future__ import annotations

from collections.abc import Iterator

import pyarrow as pa

from dualprune.data.source import SOURCES, ImageBatch, Shard, Source, Split
from dualprune.errors import RunError


@SOURCES.register("imported")
class Imported(Source):
    """No data: such a run can be scored, selected from and exported as ids and mask; anything else is a RunError."""

    @property
    def classes(self) -> list[str]:
        raise _no_data()

    @property
    def num_samples(self) -> int:
        raise _no_data()

    def fingerprint(self) -> str:
        raise _no_data()

    def sample_batches(self) -> Iterator[pa.RecordBatch]:
        raise _no_data()

    def shards(self, split: Split) -> list[Shard]:
        # A shard without rows; reading it is an error that says that there are no images.
        return [Shard(split, 0, 0)]

    def read(self, shard: Shard) -> ImageBatch:
        raise _no_data()


def _no_data() -> RunError:
    return RunError(
        "data.source: 'imported' has no images: the dynamics of this run were recorded elsewhere. It can be scored, "
        "selected from and exported (ids and mask); to record, evaluate or deduplicate, use a run with a source of its "
        "own (`dualprune methods` lists them)"
    )
