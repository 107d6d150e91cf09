"""The contract of data sources, and their registry: a source is one class in one file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dualprune.core.hashing import hash_ids, id_bits, salted, stream_salt
from dualprune.core.parquet import WrittenFile
from dualprune.core.plugins import options_of
from dualprune.core.registry import Plugin, Registry
from dualprune.core.section import Section
from dualprune.core.sections import DataConfig, Images
from dualprune.core.storage import Location
from dualprune.data.decoding import RULE
from dualprune.data.kept_rows import KeptPart, grouped, write_rows

Split = Literal["train", "test"]


class ImageBatch(NamedTuple):
    """Decoded samples, their labels int64 [n], and the rows that could not be decoded.

    Samples are images uint8 [n, C, H, W], or arrays of numbers: float16, float32 or float64 [n, d].
    """

    images: NDArray[np.uint8] | NDArray[np.floating[Any]]
    labels: NDArray[np.int64]
    failed: dict[int, Any]  # row in this batch → sample id


@dataclass(frozen=True)
class Shard:
    """Samples start … start + num_rows - 1 of a split, which are read together; only the source interprets `place`."""

    split: Split
    start: int
    num_rows: int
    place: Any = field(default=None)


class Source(Plugin, ABC):
    """A training set and, where there is one, a test set, of images or arrays in classes.

    Built on the driver, then sent to the tasks that read: keep it small and picklable. A sample's position in the
    training split is its place in the order of `sample_batches`; shards follow the same order.

    `config` has the keys that all sources share, `options` those of this source alone. `decoding` is the rule by which
    files become pixels: of a run, the one that it began with.
    """

    decoding: int = RULE

    @property
    def normalize(self) -> bool:
        """Whether models receive arrays with the mean 0 and the deviation 1; images always are."""
        return True

    def __init__(self, options: Section, config: DataConfig) -> None:
        super().__init__(options)
        self.config = config

    @property
    @abstractmethod
    def classes(self) -> list[str]:
        """Names of the classes, by label."""

    @property
    @abstractmethod
    def num_samples(self) -> int:
        """The number of training samples, N."""

    @abstractmethod
    def fingerprint(self) -> str:
        """Return a fingerprint that changes when the data do."""

    @abstractmethod
    def sample_batches(self) -> Iterator[pa.RecordBatch]:
        """Yield (sample_id int64 or string, label int64) of the training samples, in position order."""

    @abstractmethod
    def shards(self, split: Split) -> list[Shard]:
        """Return the shards of a split, in order; none where the source has no such split."""

    @abstractmethod
    def read(self, shard: Shard) -> ImageBatch:
        """Return a shard's decoded samples; a DataError names a sample that cannot be used."""

    def read_table(self, shard: Shard, columns: list[str] | None = None) -> pa.Table | None:
        """Return a shard's rows with these or all of their columns, or None where the source is not a table."""
        del shard, columns
        return None

    def schema(self) -> pa.Schema | None:
        """Return the columns that `read_table` returns, or None where the source is not a table."""
        shards = self.shards("train")
        table = self.read_table(shards[0]) if shards else None
        return None if table is None else table.schema

    def export_groups(self, kept: NDArray[np.int64], max_rows: int) -> list[list[Shard]]:
        """Return the shards of the training split in groups that are exported one by one, a task each.

        `kept` are the positions of the kept samples, ascending; `max_rows` is the number of rows per exported file.
        """
        return grouped(([shard] for shard in self.shards("train")), kept, max_rows)

    def export(self, part: KeptPart, place: Location, images: Images) -> list[tuple[str, WrittenFile]]:
        """Write the kept samples of a group in the source's own form into a folder, which other parts share.

        Return the paths in the folder of the files that were written, with their sizes and digests. By default these
        are the rows of a table, as Parquet, and nothing where the source is no table. `images` says whether images that
        are files of their own are linked or copied.
        """
        del images
        return write_rows(self, part, place)

    def check(self) -> None:
        """Raise a DataError where what is not read before training would make a later stage fail.

        Called before the first epoch, so it may read columns, but decodes no image.
        """
        return

    def image_bytes(self, shard: Shard) -> list[bytes | None]:
        """Return bytes that identify each sample of a shard, by default its values; None where it cannot be decoded."""
        batch = self.read(shard)
        return [None if row in batch.failed else image.tobytes() for row, image in enumerate(batch.images)]


SOURCES: Registry[type[Source]] = Registry("source", "dualprune.data.sources", "dualprune.sources")


def open_source(config: DataConfig, decoding: int = RULE) -> Source:
    """Return the source that the configuration names; an error where the data do not match the configuration."""
    source = SOURCES[config.source](options_of("source", config.source, config.options, "data.options"), config)
    source.decoding = decoding
    return source


def split_off_test(
    ids: Any, labels: NDArray[np.int64], fraction: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows of the training and of the test set, ascending: `fraction` of each class goes to the test set.

    The split of a sample follows from its id and the seed, not from its row. The only sample of a class stays in
    training.
    """
    hashes = hash_ids(ids, seed)
    is_test = np.zeros(len(labels), dtype=bool)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        count = min(len(rows) - 1, max(1, round(fraction * len(rows))))
        is_test[rows[np.argsort(hashes[rows], kind="stable")[:count]]] = True
    return np.flatnonzero(~is_test), np.flatnonzero(is_test)


def chosen_subset(ids: Any, labels: NDArray[np.int64], config: DataConfig) -> NDArray[np.int64]:
    """Return the rows of the training samples that `data.max_samples` leaves, int64 ascending; all without it.

    `stratified`: each class keeps its share, and at least one sample where that many are wanted. Which ones follows
    from the ids and the seed, not from the order of rows, in which a class may come after the other.
    """
    count = len(labels) if config.max_samples is None else min(config.max_samples, len(labels))
    if count == len(labels) or config.subset == "first":
        return np.arange(count)
    # A stream of its own: neither the test split nor a selection with the same seed shares its noise.
    hashes = salted(id_bits(ids), stream_salt(config.seed, "subset"))
    _, codes, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    rows = np.lexsort((hashes, codes))
    rank = np.arange(len(rows)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.sort(rows[rank < np.repeat(_shares(sizes, count), sizes)])


def _shares(sizes: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Divide `count` among classes in proportion to their sizes, at least one each where `count` allows it."""
    least = np.minimum(sizes, count >= len(sizes)).astype(np.int64)
    exact, rest = (sizes - least) * (count - least.sum()), (sizes - least).sum()
    shares: NDArray[np.int64] = least + exact // rest
    shares[np.argsort(-(exact % rest), kind="stable")[: count - shares.sum()]] += 1
    return shares


def even_shards(split: Split, num_rows: int, rows_each: int) -> list[Shard]:
    """Return shards of `rows_each` rows; the last has the rest."""
    return [Shard(split, start, min(rows_each, num_rows - start)) for start in range(0, num_rows, rows_each)]
