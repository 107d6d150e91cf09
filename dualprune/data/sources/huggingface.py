"""Data sets of Hugging Face's datasets, read from their Arrow or Parquet files without that package."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import Field

from dualprune.core.plain_columns import plain_column
from dualprune.core.section import Section
from dualprune.core.storage import Location
from dualprune.data.decoding import UndecodableError, Wanted, decode
from dualprune.data.files import DataFile, base_places, find_files
from dualprune.data.source import SOURCES, Shard, Split
from dualprune.data.sources._arrow_files import ArrowFiles
from dualprune.data.sources._features import class_names, features_of, image_column, label_column
from dualprune.data.sources._parquet_columns import check_columns
from dualprune.data.sources._parquet_files import ParquetFiles
from dualprune.data.sources.parquet import SUFFIXES, ParquetSource
from dualprune.data.table_files import TableFiles
from dualprune.data.table_source import Columns
from dualprune.errors import AddressError, DataError, StorageError

ARROW = ".arrow"


@SOURCES.register("huggingface")
class HuggingFace(ParquetSource):
    """A folder that `save_to_disk` wrote, with or without splits, or Parquet files that datasets wrote.

    Images, labels and class names are found by the features that stand in the files.
    """

    class Options(Section):
        """Columns of the data set."""

        baseline: ClassVar[Mapping[str, Any]] = {"image_column": None, "label_column": None, "id_column": None}

        image_column: str | None = Field(
            None, description="Column of images; null: the one that is an Image (or else an Array3D or Array2D)."
        )
        label_column: str | None = Field(
            None, description="Column of labels; null: the one that is a ClassLabel, or else `label`."
        )
        id_column: str | None = Field(
            None, description="Column with unique ids: integers, strings or bytes; null: the row number is the id."
        )

    wanted = "the folder that save_to_disk wrote, or Parquet files that datasets wrote"

    def open_tables(self) -> tuple[TableFiles, TableFiles]:
        for base in base_places(self.config.path):
            _check_splits(base)
        train, test = (self._opened(_saved(files)) for files in find_files(self.config, (ARROW, *SUFFIXES)))
        return train, test

    def find_columns(self, train: TableFiles, test: TableFiles) -> Columns:
        options = self.options
        schemas = {**train.schemas, **test.schemas}
        features = {place: features_of(place, schema) for place, schema in schemas.items()}
        first = next(iter(train.schemas))
        columns = Columns(
            options.image_column or image_column(features[first], first),
            options.label_column or label_column(features[first], first),
            options.id_column,
        )
        for place, schema in schemas.items():
            check_columns(place, schema, columns, value="image_column")
        self._names = {
            split: _names([(place, features[place].get(columns.label)) for place in table.schemas])
            for split, table in (("train", train), ("test", test))
        }
        known, of_test = self._names["train"], self._names["test"]
        if known is not None and of_test is not None and not set(of_test) <= set(known):
            new = next(name for name in of_test if name not in known)
            raise DataError(f"the class {new!r} of the test set in {columns.label!r} is none of the training set's")
        if test.files and (known is None) != (of_test is None):
            raise DataError(f"{columns.label!r} is a ClassLabel in one of training and test set only; cast the other")
        return columns

    @property
    def classes(self) -> list[str]:
        names = self._names["train"]
        return super().classes if names is None else list(names)

    def places(self, table: pa.Table, split: Split) -> NDArray[np.int64]:
        # A test set that is split off lies in the files of the training set.
        names = self._names["train" if self._tables[split] is self._tables["train"] else split]
        known = self._names["train"]
        if names is None or known is None:
            return super().places(table, split)
        column = self.columns.label
        labels = plain_column(f"{split} set", "label", table[column])
        if labels.null_count:
            raise DataError(f"{labels.null_count} labels are missing in {column!r} ({split} set)")
        values = np.asarray(labels)
        odd = values[(values < 0) | (values >= len(names))]
        if len(odd):
            missing = "; datasets writes -1 where a label is missing: leave such rows out" if odd[0] == -1 else ""
            raise DataError(
                f"label {odd[0]} of the {split} set in {column!r} is out of range: its feature names {len(names)} "
                f"classes{missing}"
            )
        places: NDArray[np.int64] = np.array([known.index(name) for name in names], dtype=np.int64)[values]
        return places

    def images_of(self, table: pa.Table, shard: Shard) -> Iterable[Any]:
        column = table[self.columns.value]
        return _contents(column, self._file_of(shard).parent) if _has_paths(column.type) else column

    def pixels(self, image: Any, wanted: Wanted) -> NDArray[np.uint8]:
        if isinstance(image, UndecodableError):
            raise image
        return decode(image, wanted) if isinstance(image, bytes) else super().pixels(image, wanted)

    def image_bytes(self, shard: Shard) -> list[bytes | None]:
        column = self.read_group(shard, [self.columns.value])[self.columns.value]
        if not _has_paths(column.type):
            return super().image_bytes(shard)
        found = _contents(column, self._file_of(shard).parent)
        return [content if isinstance(content, bytes) else None for content in found]

    def read_table(self, shard: Shard, columns: list[str] | None = None) -> pa.Table:
        """Return rows whose images are inside: where they are exported, their relative paths would lead nowhere."""
        table = super().read_table(shard, columns)
        name = self.columns.value
        if name not in table.column_names or not _has_paths(table.schema.field(name).type):
            return table
        field, column = table.schema.field(name), table[name]
        if not any(chunk.field("bytes").null_count for chunk in column.chunks):
            return table
        found = _contents(column, self._file_of(shard).parent)
        embedded = [
            image if image is None or not isinstance(content, bytes) else {**image, "bytes": content}
            for image, content in zip(column.to_pylist(), found, strict=True)
        ]
        return table.set_column(table.schema.get_field_index(name), field, pa.array(embedded, field.type))

    def _file_of(self, shard: Shard) -> Location:
        place: Location = self._tables[shard.split].files[shard.place[0]].place
        return place

    def _opened(self, files: list[DataFile]) -> TableFiles:
        arrow = [file for file in files if file.name.lower().endswith(ARROW)]
        if arrow and len(arrow) < len(files):
            other = next(file for file in files if file not in arrow)
            raise DataError(f"{arrow[0].place} is an Arrow file, {other.place} is not; name the files of one kind")
        label = self.options.label_column or "label"
        return ArrowFiles(files, label) if arrow else ParquetFiles(files, label)


def _check_splits(folder: Location) -> None:
    """Raise a DataError where a saved data set lacks the folder of one of its splits."""
    listing = folder / "dataset_dict.json"
    if not listing.exists():
        return
    for split in listing.read_json().get("splits", []):
        if not (folder / split / "state.json").exists():
            raise DataError(f"{listing} names the split {split!r}, but {folder / split} holds no saved data set")


def _saved(files: list[DataFile]) -> list[DataFile]:
    """Return, of files found in the folders of saved data sets, those that make them up, in the order of their rows.

    datasets puts files of its own beside them, which `map` and `filter` made.
    """
    by_folder: dict[Location, list[DataFile]] = {}
    for file in files:
        by_folder.setdefault(file.place.parent, []).append(file)
    chosen: list[DataFile] = []
    for folder, members in by_folder.items():
        state = folder / "state.json"
        if not members[0].in_folder or not state.exists():
            chosen += members
            continue
        facts = state.read_json()
        if facts.get("_indices_data_files"):
            raise DataError(f"{state}: its rows are chosen by a list of indices; save the data set again to write them")
        known = {file.place.name: file for file in members}
        for entry in facts.get("_data_files", []):
            if entry["filename"] not in known:
                raise DataError(f"{state} names {entry['filename']}, which is missing")
            chosen.append(known[entry["filename"]])
    return chosen


def _names(files: list[tuple[Location, Any]]) -> tuple[str, ...] | None:
    """Return the class names that all files of a split have; None where labels are no ClassLabel."""
    found: dict[Any, Location] = {}
    for place, feature in files:
        found.setdefault(class_names(feature), place)
    if len(found) > 1:
        one, other = list(found.values())[:2]
        raise DataError(f"{one} and {other} name their classes differently; write them with the same features")
    return next(iter(found), None)


def _has_paths(kind: pa.DataType) -> bool:
    return bool(pa.types.is_struct(kind) and kind.get_field_index("path") >= 0)


def _contents(column: pa.ChunkedArray, folder: Location) -> Iterator[bytes | UndecodableError]:
    """Yield each image's bytes, read from its path where the row has none; relative paths begin in `folder`."""
    for image in column.to_pylist():
        content, path = (None, None) if image is None else (image["bytes"], image["path"])
        if content is None and path:
            yield _read(path, folder)
        else:
            yield content if content is not None else UndecodableError("it has neither bytes nor a path")


def _read(path: str, folder: Location) -> bytes | UndecodableError:
    if "::" in path or path.startswith(("http://", "https://", "hf://")):
        return UndecodableError(f"{path} lies in an archive or on the web; save the data set with its images inside")
    place = Location.of(path) if "://" in path or path.startswith("/") else folder / path
    try:
        return place.read_bytes()
    except (StorageError, AddressError) as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return UndecodableError(f"there is no file {place}")
        raise
