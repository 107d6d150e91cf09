"""What sources share that list their samples beforehand and decode each image from bytes found by that list."""

from __future__ import annotations

import hashlib
import json
import platform
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from itertools import islice, pairwise
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dualprune.core.plain_columns import is_whole
from dualprune.core.section import Section
from dualprune.core.sections import DataConfig
from dualprune.core.storage import Location
from dualprune.data.classes import Classes
from dualprune.data.decoding import UndecodableError, Wanted, decode
from dualprune.data.image_source import ImageSource
from dualprune.data.source import ImageBatch, Shard, Split, chosen_subset, even_shards, split_off_test
from dualprune.errors import AddressError, ConfigError, DataError, StorageError

SHARD_ROWS = 1024
HASHED_ROWS = 1 << 16
IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"),
    *(".avif", ".jp2", ".pbm", ".pgm", ".ppm", ".pnm"),
)


class ListedSource(ImageSource):
    """A source that knows the id, label and place of each sample before it reads an image.

    The list is held in memory, some 100 bytes per sample. Each split is a table with the columns sample_id, label (as
    found) and class (its place in the list of classes), and those by which the source finds an image.
    """

    # What data.path must name.
    wanted: ClassVar[str]
    # What messages call an id, and what to do where two images have the same.
    id_name: ClassVar[str]
    remedy: ClassVar[str]
    # What messages name as the origin of labels.
    label_name: str
    # Columns that are in the fingerprint.
    facts: ClassVar[tuple[str, ...]]

    def __init__(self, options: Section, config: DataConfig) -> None:
        super().__init__(options, config)
        if config.path is None:
            raise ConfigError(f"data.path: null; set it to {self.wanted}")
        train, test = self.list_samples()
        self._check_unique(train)
        self._classes = Classes.of(train["label"].chunks, self.label_name)
        train, test = self._with_class(train, "train"), self._with_class(test, "test")
        if config.test_fraction is not None and not test.num_rows and train.num_rows:
            kept, taken = split_off_test(
                train["sample_id"], np.asarray(train["class"]), config.test_fraction, config.seed
            )
            train, test = train.take(pa.array(kept)), train.take(pa.array(taken))
        if config.max_samples is not None:
            train = train.take(pa.array(chosen_subset(train["sample_id"], np.asarray(train["class"]), config)))
        self._samples: dict[Split, pa.Table] = {"train": train.combine_chunks(), "test": test.combine_chunks()}

    @abstractmethod
    def list_samples(self) -> tuple[pa.Table, pa.Table]:
        """Return the training and the test samples: sample_id and label, int64 or string, and columns of its own."""

    @abstractmethod
    def contents(self, rows: pa.Table) -> Iterator[bytes | UndecodableError]:
        """Yield the encoded image of each of these rows, or why there is none."""

    @abstractmethod
    def place_of(self, row: dict[str, Any]) -> str:
        """Return what messages call the place of a row's image."""

    def starts(self, split: Split) -> Sequence[int]:
        """Return the rows, above 0, at which a shard must begin."""
        del split
        return ()

    @property
    def classes(self) -> list[str]:
        return list(self._classes.names)

    @property
    def num_samples(self) -> int:
        return int(self._samples["train"].num_rows)

    def fingerprint(self) -> str:
        return self._fingerprint

    @cached_property
    def _fingerprint(self) -> str:
        digest = hashlib.sha256(json.dumps([self.config.source, *self.facts]).encode())
        for batch in self._samples["train"].select(self.facts).to_batches(max_chunksize=HASHED_ROWS):
            digest.update(json.dumps([column.to_pylist() for column in batch.columns]).encode())
        return digest.hexdigest()[:16]

    def sample_batches(self) -> Iterator[pa.RecordBatch]:
        for batch in self._samples["train"].select(["sample_id", "class"]).to_batches(max_chunksize=HASHED_ROWS):
            yield batch.rename_columns(["sample_id", "label"])

    def shards(self, split: Split) -> list[Shard]:
        borders = [0, *self.starts(split), self._samples[split].num_rows]
        return [
            Shard(split, first + shard.start, shard.num_rows)
            for first, last in pairwise(borders)
            for shard in even_shards(split, last - first, SHARD_ROWS)
        ]

    def read(self, shard: Shard) -> ImageBatch:
        rows = self.rows(shard)
        ids = rows["sample_id"].to_pylist()
        images, failed = self.stack(
            self.contents(rows), ids, lambda row: self.place_of(rows.slice(row, 1).to_pylist()[0])
        )
        return ImageBatch(images, np.asarray(rows["class"]), failed)

    def rows(self, shard: Shard) -> pa.Table:
        """Return what the list says about the samples of a shard."""
        return self._samples[shard.split].slice(shard.start, shard.num_rows)

    def image_bytes(self, shard: Shard) -> list[bytes | None]:
        # The bytes as they are stored: nothing is decoded.
        found = self.contents(self.rows(shard))
        return [None if isinstance(content, UndecodableError) else content for content in found]

    def training_images(self) -> Iterator[bytes | UndecodableError]:
        for row in range(self.num_samples):
            yield from self.contents(self._samples["train"].slice(row, 1))

    def pixels(self, image: bytes | UndecodableError, wanted: Wanted) -> NDArray[np.uint8]:
        if isinstance(image, UndecodableError):
            raise image
        return decode(image, wanted)

    @property
    def origin(self) -> str:
        return f"data.path ({self.config.path})"

    def _with_class(self, samples: pa.Table, split: Split) -> pa.Table:
        return samples.append_column("class", pa.array(self._classes.places(samples["label"], split, self.label_name)))

    def _check_unique(self, samples: pa.Table) -> None:
        ids = samples["sample_id"]
        if pc.count_distinct(ids).as_py() == len(ids):
            return
        counts = pc.value_counts(ids)
        repeated = counts.filter(pc.greater(counts.field("counts"), 1))
        first = repeated[0].as_py()["values"]
        places = [self.place_of(row) for row in samples.filter(pc.equal(ids, pa.scalar(first, ids.type))).to_pylist()]
        raise DataError(
            f"{len(repeated)} ids are not unique: the {self.id_name} {first!r} stands for {places[0]} and for "
            f"{places[1]}; {self.remedy}"
        )


def whole_or_text(texts: Sequence[str | None]) -> pa.Array:
    """Return texts as int64 where all are whole numbers as they are printed, else as strings; None is null."""
    known = [text for text in texts if text is not None]
    if known and all(map(is_whole, known)):
        return pa.array([None if text is None else int(text) for text in texts], pa.int64())
    return pa.array(texts, pa.string())


def read_images(places: Iterable[tuple[Location, Any]]) -> Iterator[bytes | UndecodableError]:
    """Yield the content of image files, given with the ids of their samples, several of which are read at a time."""
    rest = iter(places)
    while part := list(islice(rest, 32)):
        # Nothing is yielded while threads are running: a generator that is given up would wait for them wherever the
        # garbage collector meets it, which may be inside a lock.
        with ThreadPoolExecutor(16) as pool:
            found = list(pool.map(_read_image, part))
        yield from found


def _read_image(place_and_id: tuple[Location, Any]) -> bytes | UndecodableError:
    place, sample_id = place_and_id
    try:
        return place.read_bytes()
    except (StorageError, AddressError) as error:
        if isinstance(error.__cause__, FileNotFoundError):
            if place.is_local and not place.parent.exists():
                # Skipped, all images of a node that does not see the data would be left out without a word.
                raise StorageError(
                    f"image of sample {sample_id!r}: there is no folder {place.parent} on {platform.node()}; keep the "
                    "images where every node sees them, such as a shared disk or a bucket"
                ) from None
            return UndecodableError("there is no such file")
        raise type(error)(f"image of sample {sample_id!r}: {error}") from error
