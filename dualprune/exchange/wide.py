"""Parquet files in wide form: a row a sample; its values in a list column a statistic, or a column an epoch."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from dualprune.core.storage import Location, fingerprint
from dualprune.errors import DataError
from dualprune.exchange.recorded import LABEL, MOST_EPOCHS, SAMPLE_ID, TARGET_PROB, Recorded, plain_column


@dataclass(frozen=True)
class RowGroup:
    """Rows first … first + num_rows - 1 of a set of files."""

    file: Location
    number: int
    first: int
    num_rows: int


@dataclass(frozen=True)
class ParquetSet:
    """One Parquet file, or a folder of them in the order of their names, all with one schema."""

    place: Location
    schema: pa.Schema
    groups: tuple[RowGroup, ...]
    sizes: tuple[tuple[str, int], ...]

    @classmethod
    def open(cls, place: Location) -> ParquetSet:
        """Read the files' footers; a DataError where they are no Parquet, or not alike."""
        files = [place] if place.is_file() else [c for c in place.children() if c.name.endswith(".parquet")]
        if not files:
            raise DataError(f"{place} has no .parquet files")
        schema: pa.Schema | None = None
        groups: list[RowGroup] = []
        first = 0
        for file in files:
            try:
                with file.open_input() as stream:
                    parquet = pq.ParquetFile(stream)
                    found, metadata = parquet.schema_arrow, parquet.metadata
            except (OSError, pa.ArrowInvalid) as error:
                raise DataError(f"{file} is no Parquet file ({error})") from None
            schema = found if schema is None else schema
            if found.names != schema.names or found.types != schema.types:
                raise DataError(f"{file} has other columns than {files[0].name}; all files must be alike")
            for number in range(metadata.num_row_groups):
                num_rows = metadata.row_group(number).num_rows
                groups.append(RowGroup(file, number, first, num_rows))
                first += num_rows
        assert schema is not None
        if first == 0:
            raise DataError(f"{place} has no rows")
        return cls(place, schema, tuple(groups), tuple((file.name, file.size()) for file in files))

    @property
    def num_rows(self) -> int:
        """Rows of all files together."""
        return self.groups[-1].first + self.groups[-1].num_rows

    def read_group(self, group: RowGroup, columns: list[str]) -> pa.Table:
        """Return a row group."""
        with group.file.open_input() as stream:
            try:
                return pq.ParquetFile(stream).read_row_group(group.number, columns=columns, use_threads=False)
            except (OSError, pa.ArrowInvalid) as error:
                raise DataError(f"{group.file} is damaged in its row group {group.number} ({error})") from None


class RecordedWide(Recorded):
    """A Parquet set in wide form."""

    is_shared = True

    def __init__(self, files: ParquetSet, *, first_epoch: int = 0, name: str | None = None) -> None:
        self.name = name or files.place.name
        self.first_epoch = first_epoch
        self._files = files
        self.num_samples = files.num_rows
        self._layout = _find_columns(files, self.name)
        self.columns = tuple(self._layout)
        self.num_epochs = len(self._layout[TARGET_PROB]) or self._list_length()
        for column, parts in self._layout.items():
            if parts and len(parts) != self.num_epochs:
                raise DataError(f"{self.name}: {column} has {len(parts)} epochs, {TARGET_PROB} {self.num_epochs}")
        if not 0 < self.num_epochs <= MOST_EPOCHS:
            raise DataError(f"{self.name}: {TARGET_PROB} has {self.num_epochs} epochs; expected 1 … {MOST_EPOCHS}")

    def fingerprint(self) -> str:
        return fingerprint([str(self._files.place), *self._files.sizes])

    def labels(self) -> Iterator[pa.Array]:
        if LABEL in self._files.schema.names:
            for group in self._files.groups:
                yield plain_column(self.name, LABEL, self._files.read_group(group, [LABEL])[LABEL])

    def samples(self) -> Iterator[tuple[pa.Array, pa.Array | None]]:
        names = [name for name in (SAMPLE_ID, LABEL) if name in self._files.schema.names]
        for group in self._files.groups:
            table = self._files.read_group(group, names)
            columns = {name: plain_column(self.name, name, table[name]) for name in names}
            rows = np.arange(group.first, group.first + group.num_rows)
            yield columns.get(SAMPLE_ID, pa.array(rows)), columns.get(LABEL)

    def read(self, start: int, stop: int) -> dict[str, NDArray[np.float32]]:
        out = {name: np.empty((self.num_epochs, stop - start), np.float32) for name in self.columns}
        for group in self._files.groups:
            first, last = max(start, group.first), min(stop, group.first + group.num_rows)
            if first >= last:
                continue
            names = [part for name, parts in self._layout.items() for part in (parts or [name])]
            table = self._files.read_group(group, names).slice(first - group.first, last - first)
            for name, parts in self._layout.items():
                target = out[name][:, first - start : last - start]
                if parts:
                    for epoch, part in enumerate(parts):
                        target[epoch] = table[part].to_numpy()
                else:
                    target[:] = self._lists(table[name], name, first).T
        return out

    def _lists(self, column: Any, name: str, first: int) -> NDArray[Any]:
        array = pa.concat_arrays(column.chunks)
        lengths = np.asarray(pc.fill_null(pc.list_value_length(array), -1))
        odd = np.flatnonzero(lengths != self.num_epochs)
        if len(odd):
            row = int(odd[0])
            has = f"{lengths[row]} values" if lengths[row] >= 0 else "no values"
            raise DataError(
                f"{self.name}: {name} has {has} in row {first + row}, but {self.num_epochs} in the first; "
                "every sample needs a value of every epoch"
            )
        values: NDArray[Any] = array.flatten().to_numpy(zero_copy_only=False)
        return values.reshape(len(array), self.num_epochs)

    def _list_length(self) -> int:
        kind = self._files.schema.field(TARGET_PROB).type
        if pa.types.is_fixed_size_list(kind):
            return int(kind.list_size)
        group = next(group for group in self._files.groups if group.num_rows)
        return int(pc.list_value_length(self._files.read_group(group, [TARGET_PROB])[TARGET_PROB])[0].as_py() or 0)


def _find_columns(files: ParquetSet, name: str) -> dict[str, list[str]]:
    """Return by statistic the columns of its epochs, in order; none where it is one list column."""
    found: dict[str, list[str]] = {}
    numbered: dict[str, dict[int, str]] = {}
    for field in files.schema:
        if field.name in (SAMPLE_ID, LABEL):
            continue
        parts = re.fullmatch(r"(.+)_(\d+)", field.name)
        if (
            pa.types.is_list(field.type)
            or pa.types.is_large_list(field.type)
            or pa.types.is_fixed_size_list(field.type)
        ):
            _check_numbers(name, field.name, field.type.value_type)
            found[field.name] = []
        elif parts:
            _check_numbers(name, field.name, field.type)
            numbered.setdefault(parts[1], {})[int(parts[2])] = field.name
        else:
            raise DataError(
                f"{name}: column {field.name!r} is no list; expected sample_id, label and a list column a statistic, "
                "columns such as target_prob_0, target_prob_1, …, or a row a sample and epoch with sample_id, epoch, "
                f"target_prob. It has: {', '.join(files.schema.names)}"
            )
    for statistic, epochs in numbered.items():
        lost = sorted(set(range(len(epochs))) - set(epochs))
        if lost:
            raise DataError(
                f"{name}: column {statistic}_{lost[0]} is missing; its {len(epochs)} columns must count from 0"
            )
        found[statistic] = [epochs[epoch] for epoch in range(len(epochs))]
    if TARGET_PROB not in found:
        raise DataError(f"{name} has no statistic {TARGET_PROB!r}; it has: {', '.join(files.schema.names)}")
    return found


def _check_numbers(name: str, column: str, kind: pa.DataType) -> None:
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind)):
        raise DataError(f"{name}: {column} holds {kind}; expected numbers")
