"""Parquet files with an image column (encoded bytes or pixel arrays), a label column and an id column."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property, partial
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from dualprune.core.plain_columns import is_bytes, plain_column
from dualprune.core.section import Section
from dualprune.core.sections import DataConfig
from dualprune.core.storage import fingerprint
from dualprune.data.classes import Classes
from dualprune.data.decoding import UndecodableError, Wanted, decode, from_array
from dualprune.data.files import find_files
from dualprune.data.image_source import ImageSource
from dualprune.data.source import SOURCES, ImageBatch, Shard, Split, chosen_subset, split_off_test
from dualprune.data.sources._parquet_columns import check_columns
from dualprune.data.sources._parquet_files import ParquetFiles
from dualprune.errors import ConfigError

SUFFIXES = (".parquet", ".pq")


@SOURCES.register("parquet")
class ParquetSource(ImageSource):
    """Files, folders or addresses of Parquet files; one row per sample.

    Files are read as one table by the names of their columns, whatever their order and the width of their types.
    """

    class Options(Section):
        """Columns of the Parquet files."""

        baseline: ClassVar[Mapping[str, Any]] = {
            "image_column": "image",
            "label_column": "label",
            "id_column": "sample_id",
        }

        image_column: str = Field("image", description="Column with encoded image bytes, or pixel arrays.")
        label_column: str = Field(
            "label", description="Column with class labels: integers, booleans, strings or categories."
        )
        id_column: str | None = Field(
            "sample_id",
            description="Column with unique ids: integers, strings, bytes or UUIDs; null: the row number is the id.",
        )

    def __init__(self, options: Section, config: DataConfig) -> None:
        super().__init__(options, config)
        if config.path is None:
            raise ConfigError("data.path: null; set it to the Parquet file, folder or address of the training set")
        train, test = (ParquetFiles(files, self.options.label_column) for files in find_files(config, SUFFIXES))
        for table in (train, test):
            for place, schema in table.schemas.items():
                check_columns(place, schema, self.options)
        self._tables: dict[Split, ParquetFiles] = {"train": train, "test": test}
        # Rows of the files that make up a split; None: all of them.
        self._rows: dict[Split, NDArray[np.int64] | None] = {"train": None, "test": None}
        splits_off = config.test_fraction is not None and not test.files and train.num_rows > 0
        count = train.num_rows if config.max_samples is None else min(config.max_samples, train.num_rows)
        if not splits_off and (count == train.num_rows or config.subset == "first"):
            # Known without reading labels and ids.
            self._rows["train"] = None if config.max_samples is None else np.arange(count)
            return
        samples = pa.Table.from_batches(self._all_samples())
        labels = np.asarray(samples["label"])
        rows = np.arange(len(labels))
        if splits_off:
            rows, self._rows["test"] = split_off_test(
                samples["sample_id"], labels, config.test_fraction or 0.0, config.seed
            )
            self._tables["test"] = train
        self._rows["train"] = rows[chosen_subset(samples["sample_id"].take(pa.array(rows)), labels[rows], config)]

    @property
    def classes(self) -> list[str]:
        return list(self._classes.names)

    @cached_property
    def _classes(self) -> Classes:
        column = self.options.label_column
        labels = (plain_column("train set", "label", t[column]) for t in self._tables["train"].batches([column]))
        return Classes.of(labels, column)

    @property
    def num_samples(self) -> int:
        rows = self._rows["train"]
        return self._tables["train"].num_rows if rows is None else len(rows)

    def fingerprint(self) -> str:
        table = self._tables["train"]
        found = [(file.name, table.metadata[file.place]) for file in table.files]
        facts = [[name, data.num_rows, data.serialized_size, str(data.to_dict()["row_groups"])] for name, data in found]
        columns = [self.options.image_column, self.options.label_column, self.options.id_column]
        rows = self._rows["train"]
        return fingerprint([facts, columns, None if rows is None else fingerprint(rows.tolist())])

    def sample_batches(self) -> Iterator[pa.RecordBatch]:
        rows = self._rows["train"]
        offset = 0
        for batch in self._all_samples():
            if rows is None:
                yield batch
            else:
                first, last = np.searchsorted(rows, [offset, offset + batch.num_rows])
                if last > first:
                    yield batch.take(pa.array(rows[first:last] - offset))
            offset += batch.num_rows

    def shards(self, split: Split) -> list[Shard]:
        shards, offset, position = [], 0, 0
        rows = self._rows[split]
        table = self._tables[split]
        for number, file in enumerate(table.files):
            metadata = table.metadata[file.place]
            for group in range(metadata.num_row_groups):
                count = metadata.row_group(group).num_rows
                first_row, taken = offset, None
                if rows is not None:
                    first, last = np.searchsorted(rows, [offset, offset + count])
                    taken = rows[first:last] - offset
                offset += count
                count = count if taken is None else len(taken)
                if count:
                    shards.append(Shard(split, position, count, (number, group, first_row, taken)))
                    position += count
        return shards

    def read(self, shard: Shard) -> ImageBatch:
        options = self.options
        columns = [options.image_column, options.label_column, *([options.id_column] if options.id_column else [])]
        table = self._read_group(shard, columns)
        ids = self._ids(table, self._rows_of(shard)).to_pylist()
        images, failed = self.stack(table[options.image_column], ids, partial(self._place_of_row, shard))
        labels = self._classes.places(table[options.label_column], shard.split, options.label_column)
        return ImageBatch(images, labels, failed)

    def schema(self) -> pa.Schema:
        return self._tables["train"].schema

    def read_table(self, shard: Shard, columns: list[str] | None = None) -> pa.Table:
        return self._read_group(shard, columns)

    def check(self) -> None:
        self._tables["train"].check_values()
        label = self.options.label_column
        for table in self._tables["test"].batches([label]):
            self._classes.places(table[label], "test", label)

    def image_bytes(self, shard: Shard) -> list[bytes | None]:
        # The bytes as they are stored: nothing is decoded.
        found: list[bytes | None] = []
        for value in self._read_group(shard, [self.options.image_column])[self.options.image_column]:
            content = value["bytes"] if pa.types.is_struct(value.type) else value
            if not content.is_valid:
                found.append(None)
            elif is_bytes(content.type):
                found.append(content.as_py())
            else:
                pixels = content.to_numpy() if hasattr(content, "to_numpy") else np.asarray(content.as_py())
                found.append(np.ascontiguousarray(pixels).tobytes())
        return found

    @property
    def origin(self) -> str:
        return f"the column {self.options.image_column!r} of {self.config.path}"

    def training_images(self) -> Iterator[pa.Scalar]:
        for shard in self.shards("train"):
            yield from self._read_group(shard, [self.options.image_column])[self.options.image_column]

    def pixels(self, image: pa.Scalar, wanted: Wanted) -> NDArray[np.uint8]:
        value = image["bytes"] if pa.types.is_struct(image.type) else image
        if is_bytes(value.type):
            return decode(value.as_py(), wanted)
        if not value.is_valid:
            raise UndecodableError("there are no pixels")
        return from_array(value.to_numpy() if hasattr(value, "to_numpy") else value.as_py(), wanted)

    def _all_samples(self) -> Iterator[pa.RecordBatch]:
        label, ids = self.options.label_column, self.options.id_column
        offset = 0
        for table in self._tables["train"].batches([label, ids] if ids else [label]):
            found = self._ids(table, np.arange(offset, offset + table.num_rows))
            yield pa.record_batch({"sample_id": found, "label": self._classes.places(table[label], "train", label)})
            offset += table.num_rows

    def _ids(self, table: pa.Table, rows: NDArray[np.int64]) -> pa.Array:
        """Return the ids of these rows of the files as the index has them."""
        column = self.options.id_column
        if column is None:
            return pa.array(rows)
        return plain_column(f"data.options.id_column: {column!r}", "sample_id", table[column], bytes_are_text=False)

    def _rows_of(self, shard: Shard) -> NDArray[np.int64]:
        _, _, first, taken = shard.place
        rows: NDArray[np.int64] = first + (np.arange(shard.num_rows) if taken is None else taken)
        return rows

    def _read_group(self, shard: Shard, columns: list[str] | None) -> pa.Table:
        number, group, _, taken = shard.place
        table = self._tables[shard.split].read_group(number, group, columns)
        return table if taken is None else table.take(pa.array(taken))

    def _place_of_row(self, shard: Shard, row: int) -> str:
        number, group, _, taken = shard.place
        file = self._tables[shard.split].files[number].place
        return f"row {row if taken is None else taken[row]} of row group {group} of {file}"
