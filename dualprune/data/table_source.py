"""What sources share whose samples are the rows of a table: ids, labels, shards, splits and subsets."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from functools import cached_property
from typing import ClassVar, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dualprune.core.plain_columns import plain_column
from dualprune.core.section import Section
from dualprune.core.sections import DataConfig
from dualprune.core.storage import fingerprint
from dualprune.data.classes import Classes
from dualprune.data.source import Shard, Source, Split, chosen_subset, split_off_test
from dualprune.data.table_files import TableFiles
from dualprune.errors import ConfigError


class Columns(NamedTuple):
    """The columns of a sample's image or array, its label and its id; without ids, row numbers take their place."""

    value: str
    label: str
    id: str | None

    @property
    def named(self) -> list[str]:
        """The columns that there are."""
        return [name for name in self if name is not None]


class TableSource(Source):
    """A source whose samples are rows of files; a shard is a group of rows that the format reads in one piece."""

    # What data.path must name.
    wanted: ClassVar[str]

    def __init__(self, options: Section, config: DataConfig) -> None:
        super().__init__(options, config)
        if config.path is None:
            raise ConfigError(f"data.path: null; set it to {self.wanted}")
        train, test = self.open_tables()
        self._tables: dict[Split, TableFiles] = {"train": train, "test": test}
        self.columns = self.find_columns(train, test)
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

    @abstractmethod
    def open_tables(self) -> tuple[TableFiles, TableFiles]:
        """Return the files of the training and of the test set; none where there is no test set."""

    @abstractmethod
    def find_columns(self, train: TableFiles, test: TableFiles) -> Columns:
        """Return the columns to read, after checking that all files have them in types that can be used."""

    @property
    def classes(self) -> list[str]:
        return list(self._classes.names)

    @cached_property
    def _classes(self) -> Classes:
        column = self.columns.label
        labels = (plain_column("train set", "label", t[column]) for t in self._tables["train"].batches([column]))
        return Classes.of(labels, column)

    @property
    def num_samples(self) -> int:
        rows = self._rows["train"]
        return self._tables["train"].num_rows if rows is None else len(rows)

    def fingerprint(self) -> str:
        rows = self._rows["train"]
        chosen = None if rows is None else fingerprint(rows.tolist())
        return fingerprint([self._tables["train"].facts(), list(self.columns), chosen])

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
        for number in range(len(table.files)):
            for group, count in enumerate(table.group_rows(number)):
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

    def schema(self) -> pa.Schema:
        return self._tables["train"].schema

    def read_table(self, shard: Shard, columns: list[str] | None = None) -> pa.Table:
        return self.read_group(shard, columns)

    def check(self) -> None:
        self._tables["train"].check_values()
        for table in self._tables["test"].batches([self.columns.label]):
            self.places(table, "test")

    def places(self, table: pa.Table, split: Split) -> NDArray[np.int64]:
        """Return the place of each row's label in the list of classes, int64 [n]."""
        return self._classes.places(table[self.columns.label], split, self.columns.label)

    def ids(self, table: pa.Table, rows: NDArray[np.int64]) -> pa.Array:
        """Return the ids of these rows of the files as the index has them."""
        column = self.columns.id
        if column is None:
            return pa.array(rows)
        return plain_column(f"data.options.id_column: {column!r}", "sample_id", table[column], bytes_are_text=False)

    def ids_of(self, table: pa.Table, shard: Shard) -> list[int] | list[str]:
        """Return the ids of a shard's rows."""
        _, _, first, taken = shard.place
        rows = first + (np.arange(shard.num_rows) if taken is None else taken)
        found: list[int] | list[str] = self.ids(table, rows).to_pylist()
        return found

    def read_group(self, shard: Shard, columns: list[str] | None) -> pa.Table:
        """Return a shard's rows as the files have them."""
        number, group, _, taken = shard.place
        table = self._tables[shard.split].read_group(number, group, columns)
        return table if taken is None else table.take(pa.array(taken))

    def place_of_row(self, shard: Shard, row: int) -> str:
        """Return what messages call the place of a row of a shard."""
        number, group, _, taken = shard.place
        tables = self._tables[shard.split]
        row = row if taken is None else taken[row]
        return f"row {row} of {tables.group_name} {group} of {tables.files[number].place}"

    def _all_samples(self) -> Iterator[pa.RecordBatch]:
        columns = self.columns
        offset = 0
        for table in self._tables["train"].batches([columns.label, *([columns.id] if columns.id else [])]):
            found = self.ids(table, np.arange(offset, offset + table.num_rows))
            yield pa.record_batch({"sample_id": found, "label": self.places(table, "train")})
            offset += table.num_rows
