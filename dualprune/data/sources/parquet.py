"""Parquet files with an image column (encoded bytes or pixel arrays), a label column and an id column."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from dualprune.core.plain_columns import is_bytes
from dualprune.core.section import Section
from dualprune.data.decoding import UndecodableError, Wanted, decode, from_array
from dualprune.data.files import find_files
from dualprune.data.image_source import ImageSource
from dualprune.data.source import SOURCES, ImageBatch, Shard
from dualprune.data.sources._parquet_columns import check_columns
from dualprune.data.sources._parquet_files import ParquetFiles
from dualprune.data.table_files import TableFiles
from dualprune.data.table_source import Columns, TableSource

SUFFIXES = (".parquet", ".pq")


@SOURCES.register("parquet")
class ParquetSource(TableSource, ImageSource):
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

    wanted = "the Parquet file, folder or address of the training set"

    def open_tables(self) -> tuple[TableFiles, TableFiles]:
        train, test = (ParquetFiles(files, self.options.label_column) for files in find_files(self.config, SUFFIXES))
        return train, test

    def find_columns(self, train: TableFiles, test: TableFiles) -> Columns:
        columns = Columns(self.options.image_column, self.options.label_column, self.options.id_column)
        for table in (train, test):
            for place, schema in table.schemas.items():
                check_columns(place, schema, columns, value="image_column")
        return columns

    def read(self, shard: Shard) -> ImageBatch:
        table = self.read_group(shard, self.columns.named)
        images, failed = self.stack(
            self.images_of(table, shard), self.ids_of(table, shard), partial(self.place_of_row, shard)
        )
        return ImageBatch(images, self.places(table, shard.split), failed)

    def images_of(self, table: pa.Table, shard: Shard) -> Iterable[Any]:
        """Return what `pixels` takes for each of a shard's rows."""
        del shard
        column: Iterable[Any] = table[self.columns.value]
        return column

    def image_bytes(self, shard: Shard) -> list[bytes | None]:
        # The bytes as they are stored: nothing is decoded.
        found: list[bytes | None] = []
        for value in self.read_group(shard, [self.columns.value])[self.columns.value]:
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
        return f"the column {self.columns.value!r} of {self.config.path}"

    def training_images(self) -> Iterator[Any]:
        for shard in self.shards("train"):
            yield from self.images_of(self.read_group(shard, [self.columns.value]), shard)

    def pixels(self, image: Any, wanted: Wanted) -> NDArray[np.uint8]:
        value = image["bytes"] if pa.types.is_struct(image.type) else image
        if is_bytes(value.type):
            return decode(value.as_py(), wanted)
        if not value.is_valid:
            raise UndecodableError("there are no pixels")
        return from_array(value.to_numpy() if hasattr(value, "to_numpy") else value.as_py(), wanted)
