"""Parquet in wide form: one row per sample, its values in one list column per statistic or in one column per epoch."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dualprune.core.arrays import Axes, size_text
from dualprune.core.plain_columns import plain_column
from dualprune.core.storage import fingerprint
from dualprune.errors import DataError
from dualprune.exchange.columns import check_number, float_values, is_list
from dualprune.exchange.parquet_set import ParquetSet
from dualprune.exchange.recorded import LABEL, MOST_EPOCHS, SAMPLE_ID, TARGET_PROB, Recorded, check_statistics


class RecordedWide(Recorded):
    """A Parquet set in wide form. `axes` may be "NT" alone: it confirms that there are more epochs than samples."""

    is_shared = True

    def __init__(
        self, files: ParquetSet, *, axes: Axes | None = None, first_epoch: int = 0, name: str | None = None
    ) -> None:
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
        self._check_axes(axes)

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
                        target[epoch] = float_values(table[part])
                else:
                    target[:] = self._lists(table[name], name, first).T
        return out

    def _check_axes(self, axes: Axes | None) -> None:
        """Raise a DataError where epochs stand where samples should; ids and labels show what a row is."""
        if axes == "TN":
            raise DataError(
                f'{self.name}: axes="TN" is for arrays; in wide Parquet a row is a sample, in long Parquet a sample in '
                "an epoch"
            )
        named = SAMPLE_ID in self._files.schema.names or LABEL in self._files.schema.names
        if axes is None and not named and self.num_epochs > self.num_samples:
            raise DataError(
                f"{self.name}: one row per sample, it holds {size_text(self.num_epochs, self.num_samples)}: more "
                'epochs than samples. Transpose it, or pass axes="NT" if this is right'
            )

    def _lists(self, column: pa.ChunkedArray, name: str, first: int) -> NDArray[Any]:
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
        return float_values(array.flatten()).reshape(len(array), self.num_epochs)

    def _list_length(self) -> int:
        kind = self._files.schema.field(TARGET_PROB).type
        if pa.types.is_fixed_size_list(kind):
            return int(kind.list_size)
        group = next(group for group in self._files.groups if group.num_rows)
        return int(pc.list_value_length(self._files.read_group(group, [TARGET_PROB])[TARGET_PROB])[0].as_py() or 0)


def _find_columns(files: ParquetSet, name: str) -> dict[str, list[str]]:
    """Return the columns of each statistic's epochs, in order; no column where it is one list column."""
    found: dict[str, list[str]] = {}
    numbered: dict[str, dict[int, str]] = {}
    for field in files.schema:
        if field.name in (SAMPLE_ID, LABEL):
            continue
        parts = re.fullmatch(r"(.+)_(\d+)", field.name)
        if is_list(field.type):
            check_number(name, field.name, field.type.value_type)
            found[field.name] = []
        elif parts:
            check_number(name, field.name, field.type)
            epochs, epoch = numbered.setdefault(parts[1], {}), int(parts[2])
            if epoch in epochs:
                raise DataError(f"{name}: {epochs[epoch]} and {field.name} are both epoch {epoch}; remove one")
            epochs[epoch] = field.name
        else:
            raise DataError(
                f"{name}: column {field.name!r} is not a list; expected sample_id, label and one list column per "
                "statistic, columns such as target_prob_0, target_prob_1, …, or one row per sample and epoch with "
                f"sample_id, epoch, target_prob. It has: {', '.join(files.schema.names)}"
            )
    for statistic, epochs in numbered.items():
        lost = sorted(set(range(len(epochs))) - set(epochs))
        if lost:
            raise DataError(
                f"{name}: column {statistic}_{lost[0]} is missing; its {len(epochs)} columns must count from 0"
            )
        if statistic in found:
            raise DataError(f"{name}: {statistic} is a list column and the columns {statistic}_0 …; keep one of them")
        found[statistic] = [epochs[epoch] for epoch in range(len(epochs))]
    check_statistics(name, found, files.schema.names)
    return found
