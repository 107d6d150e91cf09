"""Parquet files with an image column (encoded bytes or pixel arrays), a label column and an id column."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property, partial
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray
from pydantic import Field

from dualprune.core.registry import nearest
from dualprune.core.section import Section
from dualprune.core.sections import DataConfig
from dualprune.core.storage import Location, fingerprint
from dualprune.data.decoding import UndecodableError, Wanted, decode, decode_rows, from_array
from dualprune.data.source import SOURCES, ImageBatch, Shard, Source, Split, alike, split_off_test
from dualprune.errors import ConfigError, DataError


@SOURCES.register("parquet")
class ParquetSource(Source):
    """A file, folder or address of Parquet files; one row per sample."""

    class Options(Section):
        """Columns of the Parquet files."""

        baseline: ClassVar[Mapping[str, Any]] = {
            "image_column": "image",
            "label_column": "label",
            "id_column": "sample_id",
        }

        image_column: str = Field("image", description="Column with encoded image bytes, or pixel arrays.")
        label_column: str = Field("label", description="Column with integer or string class labels.")
        id_column: str | None = Field(
            "sample_id", description="Column with unique ids, int64 or string; null: the row number is the id."
        )

    def __init__(self, options: Section, config: DataConfig) -> None:
        super().__init__(options, config)
        if config.path is None:
            raise ConfigError("data.path: null; set it to the Parquet file, folder or address of the training set")
        self._files: dict[Split, list[Location]] = {"train": _files(config.path, "data.path"), "test": []}
        if config.test_path is not None:
            self._files["test"] = _files(config.test_path, "data.test_path")
        self._metadata = {str(file): _metadata(file) for file in [*self._files["train"], *self._files["test"]]}
        for file in self._files["train"] + self._files["test"]:
            self._check_columns(file)
        # Rows of the files that make up a split; None: all of them.
        self._rows: dict[Split, NDArray[np.int64] | None] = {"train": None, "test": None}
        if config.test_path is None and config.test_fraction is not None and self._total("train"):
            table = pa.Table.from_batches(self._all_samples())
            labels = np.asarray(table["label"])
            train, test = split_off_test(table["sample_id"], labels, config.test_fraction, config.seed)
            self._rows = {"train": train, "test": test}
            self._files["test"] = self._files["train"]
        if config.max_samples is not None:
            rows = self._rows["train"]
            known = np.arange(min(self._total("train"), config.max_samples)) if rows is None else rows
            self._rows["train"] = known[: config.max_samples]

    @cached_property
    def classes(self) -> list[str]:
        column = self.options.label_column
        kind = self._schema.field(column).type
        labels = pa.chunked_array([batch.column(0) for batch in self._read_columns("train", [column])], type=kind)
        if _is_text(kind):
            return [str(name) for name in sorted(pc.unique(labels).drop_null().to_pylist())]
        highest = pc.max(labels).as_py()
        if highest is None:
            return []
        if highest >= max(len(labels), 1000):
            raise DataError(
                f"labels are out of range: {self.options.label_column} goes up to {highest} in {len(labels)} rows; "
                "labels must be 0 … number of classes - 1, or names"
            )
        if len(pc.unique(labels)) == 1:
            return [str(highest)]
        return [str(label) for label in range(highest + 1)]

    @property
    def num_samples(self) -> int:
        rows = self._rows["train"]
        return self._total("train") if rows is None else len(rows)

    def fingerprint(self) -> str:
        files = [self._metadata[str(file)] for file in self._files["train"]]
        facts = [[file.name, data.num_rows, data.serialized_size, str(data.to_dict()["row_groups"])]
                 for file, data in zip(self._files["train"], files, strict=True)]  # fmt: skip
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
        for file in self._files[split]:
            metadata = self._metadata[str(file)]
            for group in range(metadata.num_row_groups):
                count = metadata.row_group(group).num_rows
                taken: Any = None
                if rows is not None:
                    first, last = np.searchsorted(rows, [offset, offset + count])
                    taken = rows[first:last] - offset
                offset += count
                count = count if taken is None else len(taken)
                if count:
                    shards.append(Shard(split, position, count, (str(file.address), group, taken)))
                    position += count
        return shards

    def read(self, shard: Shard) -> ImageBatch:
        options = self.options
        columns = [options.image_column, options.label_column, *([options.id_column] if options.id_column else [])]
        table = self._read_group(shard, columns)
        ids = (
            table[options.id_column].to_pylist()
            if options.id_column
            else list(range(shard.start, shard.start + shard.num_rows))
        )
        wanted = self._wanted
        images, failed = decode_rows(
            table[options.image_column],
            lambda value: _pixels(value, wanted),
            ids,
            self.config.on_error,
            partial(_place_of_row, shard),
        )
        labels = self._labels(table[options.label_column].combine_chunks(), shard.split)
        return ImageBatch(alike(images, ids, self._size), np.asarray(labels), failed)

    def read_table(self, shard: Shard, columns: list[str] | None = None) -> pa.Table:
        return self._read_group(shard, columns)

    def image_bytes(self, shard: Shard) -> list[bytes | None]:
        # The bytes as they are stored: nothing is decoded.
        found: list[bytes | None] = []
        for value in self._read_group(shard, [self.options.image_column])[self.options.image_column]:
            content = value["bytes"] if pa.types.is_struct(value.type) else value
            if not content.is_valid:
                found.append(None)
            elif pa.types.is_binary(content.type) or pa.types.is_large_binary(content.type):
                found.append(content.as_py())
            else:
                pixels = content.to_numpy() if hasattr(content, "to_numpy") else np.asarray(content.as_py())
                found.append(np.ascontiguousarray(pixels).tobytes())
        return found

    @cached_property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of the first readable training image; all images have this H and W."""
        wanted = Wanted.of(self.config, rule=self.decoding)
        reason = "it has no rows"
        for shard in self.shards("train"):
            for value in self._read_group(shard, [self.options.image_column])[self.options.image_column]:
                try:
                    found = _pixels(value, wanted)
                except UndecodableError as error:
                    reason = str(error)
                    continue
                return (found.shape[0], found.shape[1], found.shape[2])
        raise DataError(
            f"{self.config.path} has no image that can be read in the column {self.options.image_column!r}: {reason}"
        )

    @property
    def _size(self) -> tuple[int, int]:
        """(H, W) of every image."""
        return self.shape[1:] if self.config.image_size is None else (self.config.image_size, self.config.image_size)

    @property
    def _wanted(self) -> Wanted:
        # By the first rule, all images got the channels of the first one.
        return Wanted.of(self.config, self.shape[0] if self.decoding == 1 else None, self.decoding)

    def _labels(self, column: pa.Array, split: str) -> pa.Array:
        if column.null_count:
            raise DataError(f"{column.null_count} labels are missing in {self.options.label_column!r} ({split} set)")
        if not _is_text(column.type):
            return column.cast(pa.int64())
        codes = pc.index_in(column, value_set=pa.array(self.classes, type=column.type))
        if codes.null_count:
            unknown = column.filter(codes.is_null())[0].as_py()
            raise DataError(f"label {unknown!r} of the {split} set is out of range: no training sample has it")
        return codes.cast(pa.int64())

    @property
    def _schema(self) -> pa.Schema:
        return self._metadata[str(self._files["train"][0])].schema.to_arrow_schema()

    def _total(self, split: Split) -> int:
        return sum(self._metadata[str(file)].num_rows for file in self._files[split])

    def _all_samples(self) -> Iterator[pa.RecordBatch]:
        options = self.options
        columns = [options.label_column, *([options.id_column] if options.id_column else [])]
        offset = 0
        for batch in self._read_columns("train", columns):
            rows = pa.array(np.arange(offset, offset + batch.num_rows))
            ids = batch.column(options.id_column) if options.id_column else rows
            ids = ids.cast(pa.string() if _is_text(ids.type) else pa.int64())
            labels = self._labels(batch.column(options.label_column), "train")
            yield pa.record_batch({"sample_id": ids, "label": labels})
            offset += batch.num_rows

    def _read_columns(self, split: Split, columns: list[str]) -> Iterator[pa.RecordBatch]:
        for file in self._files[split]:
            with file.open_input() as stream:
                yield from pq.ParquetFile(stream).iter_batches(batch_size=1 << 17, columns=columns)

    def _read_group(self, shard: Shard, columns: list[str] | None) -> pa.Table:
        address, group, taken = shard.place
        with Location(address).open_input() as stream:
            table = pq.ParquetFile(stream).read_row_group(group, columns=columns)
        return table if taken is None else table.take(pa.array(taken))

    def _check_columns(self, file: Location) -> None:
        options = self.options
        schema = self._metadata[str(file)].schema.to_arrow_schema()
        named = {"image_column": options.image_column, "label_column": options.label_column}
        if options.id_column is not None:
            named["id_column"] = options.id_column
        for key, column in named.items():
            if column not in schema.names:
                advice = " (null: row numbers are the ids)" if key == "id_column" else ""
                raise DataError(
                    f"data.options.{key}: {file} has no column {column!r}; it has: {', '.join(schema.names)}"
                    f"{nearest(column, schema.names)}{advice}"
                )
        label, ids = schema.field(options.label_column).type, options.id_column and schema.field(options.id_column).type
        if not (pa.types.is_integer(label) or _is_text(label)):
            raise DataError(
                f"data.options.label_column: {options.label_column!r} holds {label}; expected integers or strings"
            )
        if ids and not (pa.types.is_integer(ids) or _is_text(ids)):
            raise DataError(f"data.options.id_column: {options.id_column!r} holds {ids}; expected int64 or strings")


def _pixels(value: pa.Scalar, wanted: Wanted) -> NDArray[np.uint8]:
    if pa.types.is_struct(value.type):
        value = value["bytes"]
    if pa.types.is_binary(value.type) or pa.types.is_large_binary(value.type):
        return decode(value.as_py(), wanted)
    if not value.is_valid:
        raise UndecodableError("there are no pixels")
    return from_array(value.to_numpy() if hasattr(value, "to_numpy") else value.as_py(), wanted)


def _place_of_row(shard: Shard, row: int) -> str:
    address, group, taken = shard.place
    return f"row {row if taken is None else taken[row]} of row group {group} of {Location.of(address)}"


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _files(path: str, key: str) -> list[Location]:
    place = Location.of(path)
    if not place.exists():
        raise DataError(f"{key}: there is no file or folder {place}")
    if place.is_file():
        return [place]
    files = [file for file in place.children() if file.name.endswith((".parquet", ".pq"))]
    if not files:
        raise DataError(f"{key}: the folder {place} holds no .parquet file")
    return files


def _metadata(file: Location) -> pq.FileMetaData:
    try:
        with file.open_input() as stream:
            return pq.ParquetFile(stream).metadata
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{file} is not a readable Parquet file: {error}") from None
