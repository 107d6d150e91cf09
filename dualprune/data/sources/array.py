"""Arrays of numbers as samples: embeddings, rows of a table, features of sounds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import pyarrow as pa
from pydantic import Field

from dualprune.core.section import Section
from dualprune.core.sections import DataConfig, Paths
from dualprune.data.files import DataFile, find_files
from dualprune.data.source import SOURCES, ImageBatch, Shard
from dualprune.data.sources._npy_files import NpyFiles
from dualprune.data.sources._parquet_columns import check_columns
from dualprune.data.sources._parquet_files import ParquetFiles
from dualprune.data.sources.parquet import SUFFIXES
from dualprune.data.table_files import TableFiles
from dualprune.data.table_source import Columns, TableSource
from dualprune.data.vectors import length_of, vectors
from dualprune.errors import ConfigError, DataError

NPY = ".npy"


@SOURCES.register("array")
class ArraySource(TableSource):
    """Arrays of one length: a column of lists of numbers in Parquet files, or NumPy files [N, d] with labels [N].

    Models receive them as float32 [b, d], of mean 0 and deviation 1; crops and flips do not apply.
    """

    class Options(Section):
        """Columns of Parquet files, or NumPy files beside those of the arrays."""

        baseline: ClassVar[Mapping[str, Any]] = {
            "column": "embedding",
            "label_column": "label",
            "id_column": None,
            "labels": None,
            "test_labels": None,
            "ids": None,
            "normalize": "measured",
        }
        neutral = frozenset({"labels", "test_labels", "ids"})

        column: str = Field("embedding", description="Column of arrays: lists of numbers, or tensors of one shape.")
        label_column: str = Field(
            "label", description="Column with class labels: integers, booleans, strings or categories."
        )
        id_column: str | None = Field(
            None, description="Column with unique ids: integers, strings or bytes; null: the row number is the id."
        )
        labels: Paths | None = Field(None, description="NumPy files: those of the labels of data.path.")
        test_labels: Paths | None = Field(None, description="NumPy files: those of the labels of data.test_path.")
        ids: Paths | None = Field(None, description="NumPy files: those of the ids of data.path; null: row numbers.")
        normalize: Literal["measured", "none"] = Field(
            "measured",
            description="measured: each number has mean 0 and deviation 1 over the training set; none: as it is.",
        )

    wanted = "Parquet files with a column of arrays, or NumPy files (.npy)"

    def __init__(self, options: Section, config: DataConfig) -> None:
        for key in ("image_size", "channels"):
            if getattr(config, key) is not None:
                raise ConfigError(f"data.{key}: the source 'array' has no images; set it to null")
        super().__init__(options, config)
        # How many numbers each array has: found once, before tasks read.
        self.length = self._find_length()

    @property
    def normalize(self) -> bool:
        return bool(self.options.normalize == "measured")

    def open_tables(self) -> tuple[TableFiles, TableFiles]:
        options = self.options
        train, test = find_files(self.config, (*SUFFIXES, NPY))
        is_npy = {file.place.name.lower().endswith(NPY) for file in [*train, *test]}
        if len(is_npy) > 1:
            raise DataError("data.path: there are Parquet and NumPy files; name the files of one kind")
        if is_npy == {True}:
            if options.labels is None:
                raise ConfigError("data.options.labels: null; set it to the NumPy file of the labels of data.path")
            if test and options.test_labels is None:
                raise ConfigError("data.options.test_labels: null; set it to the NumPy file of the test set's labels")
            columns = Columns(options.column, options.label_column, None if options.ids is None else "sample_id")
            return (
                NpyFiles(train, self._beside("labels"), None if options.ids is None else self._beside("ids"), columns),
                NpyFiles(test, self._beside("test_labels"), None, columns),
            )
        for key in ("labels", "test_labels", "ids"):
            if getattr(options, key) is not None:
                raise ConfigError(f"data.options.{key}: Parquet files have columns of their own; set it to null")
        return ParquetFiles(train, options.label_column), ParquetFiles(test, options.label_column)

    def find_columns(self, train: TableFiles, test: TableFiles) -> Columns:
        options = self.options
        columns = Columns(options.column, options.label_column, options.id_column)
        if isinstance(train, NpyFiles):
            if options.id_column is not None:
                raise ConfigError(
                    "data.options.id_column: NumPy files have no columns; name the file in data.options.ids"
                )
            columns = columns._replace(id=None if options.ids is None else "sample_id")
        for table in (train, test):
            for place, schema in table.schemas.items():
                # Ids of a test set are not used.
                known = columns if table is train else columns._replace(id=None)
                check_columns(place, schema, known, value="column")
        return columns

    def _find_length(self) -> int:
        kind = self.schema().field(self.columns.value).type
        if pa.types.is_fixed_size_list(kind):
            return int(kind.list_size)
        for shard in self.shards("train"):
            found = length_of(self.read_group(shard, [self.columns.value])[self.columns.value])
            if found is not None:
                return found
        raise DataError(f"the column {self.columns.value!r} of {self.config.path} has no array")

    def read(self, shard: Shard) -> ImageBatch:
        with_ids = [name for name in self.columns.named if name != self.columns.id or shard.split == "train"]
        table = self.read_group(shard, with_ids)
        found, reasons = vectors(table[self.columns.value], self.length)
        failed: dict[int, Any] = {}
        if reasons:
            ids = self.ids_of(table, shard) if self.columns.id in (*table.column_names, None) else range(shard.num_rows)
            failed = {row: ids[row] for row in sorted(reasons)}
        if failed and self.config.on_error == "raise":
            row = next(iter(failed))
            raise DataError(
                f"array of sample {failed[row]!r} cannot be used: {reasons[row]} ({self.place_of_row(shard, row)}); "
                "set data.on_error to skip to leave such samples out"
            )
        return ImageBatch(found, self.places(table, shard.split), failed)

    def _beside(self, key: str) -> list[DataFile]:
        """Return the NumPy files that an option names."""
        paths = getattr(self.options, key)
        if paths is None:
            return []
        alone = self.config.model_copy(update={"path": paths, "test_path": None, "layout": "flat"})
        return find_files(alone, (NPY,))[0]
