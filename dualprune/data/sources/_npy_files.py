"""NumPy files of arrays [N, …], labels [N] and ids [N] as one table, read by ranges of rows."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.lib import format as npy
from numpy.typing import NDArray

from dualprune.core.storage import Location
from dualprune.data.files import DataFile
from dualprune.data.table_files import TableFiles, content_digest, damage, mapped
from dualprune.data.table_source import Columns
from dualprune.errors import DataError

GROUP_ROWS = 1 << 16
HEADER_BYTES = 1 << 14


@dataclass(frozen=True)
class Array:
    """An array in a file: where it begins, its shape and type, and a digest of the content."""

    place: Location
    start: int
    shape: tuple[int, ...]
    kind: str
    digest: str

    @classmethod
    def of(cls, place: Location) -> Array:
        """Read a file's header; a DataError where it is no array whose rows can be read one by one."""
        try:
            with mapped(place) as stream:
                head = io.BytesIO(stream.read(HEADER_BYTES))
                version = npy.read_magic(head)
                read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
                shape, by_columns, kind = read(head)
                start, size, digest = head.tell(), stream.size(), content_digest(stream)
        except (ValueError, OSError, pa.ArrowException) as error:
            raise DataError(f"{place} is no NumPy file (.npy): {str(error).splitlines()[0]}") from None
        if kind.hasobject:
            raise DataError(f"{place} holds Python objects; save numbers or texts of one type")
        if by_columns and len(shape) > 1:
            raise DataError(f"{place} is stored by columns (Fortran order); save np.ascontiguousarray of it")
        wanted = start + int(np.prod(shape, dtype=np.int64)) * kind.itemsize
        if size < wanted:
            raise DataError(f"{place} ends early: it has {size} bytes, an array {list(shape)} of {kind} needs {wanted}")
        return cls(place, start, tuple(shape), kind.str, digest)

    def read(self, first: int, count: int) -> NDArray[Any]:
        """Return some rows, as the machine has its numbers; of a local file, without a copy."""
        kind = np.dtype(self.kind)
        each = int(np.prod(self.shape[1:], dtype=np.int64))
        with damage(self.place), mapped(self.place) as stream:
            stream.seek(self.start + first * each * kind.itemsize)
            content = stream.read_buffer(count * each * kind.itemsize)
        rows: NDArray[Any] = np.frombuffer(content, kind).reshape(count, *self.shape[1:])
        return rows.astype(kind.newbyteorder("="), copy=False)


class NpyFiles(TableFiles):
    """Files of arrays, each with a file of labels and, where there are ids, one of ids."""

    def __init__(
        self, files: Sequence[DataFile], labels: Sequence[DataFile], ids: Sequence[DataFile] | None, columns: Columns
    ) -> None:
        self.files = list(files)
        beside = {columns.label: labels, **({} if ids is None or columns.id is None else {columns.id: ids})}
        for name, others in beside.items():
            if len(others) != len(files):
                raise DataError(
                    f"there are {len(files)} files of arrays, but {len(others)} of the column {name!r}; name as many"
                )
        self._value = columns.value
        self._arrays = [
            {columns.value: Array.of(file.place)} | {name: Array.of(others[k].place) for name, others in beside.items()}
            for k, file in enumerate(files)
        ]
        for arrays in self._arrays:
            _check(arrays, columns)
        self.schemas = {file.place: self._table(k, 0, 0).schema for k, file in enumerate(self.files)}
        kinds = {schema: place for place, schema in reversed(self.schemas.items())}
        if len(kinds) > 1:
            (one, here), (other, there) = list(kinds.items())[:2]
            raise DataError(f"{here} and its labels hold {_types(one)}, but {there} {_types(other)}; save all alike")
        self.schema = next(iter(kinds), pa.schema([]))

    @property
    def group_name(self) -> str:
        return "block"

    def group_rows(self, number: int) -> list[int]:
        rows = self._arrays[number][self._value].shape[0]
        return [min(GROUP_ROWS, rows - start) for start in range(0, rows, GROUP_ROWS)]

    def facts(self) -> list[Any]:
        return [[name, list(a.shape), a.kind, a.digest] for arrays in self._arrays for name, a in arrays.items()]

    def read_group(self, number: int, group: int, columns: Sequence[str] | None = None) -> pa.Table:
        return self._table(number, group * GROUP_ROWS, self.group_rows(number)[group], columns)

    def _table(self, number: int, first: int, count: int, columns: Sequence[str] | None = None) -> pa.Table:
        arrays = self._arrays[number]
        found: dict[str, pa.Array] = {}
        for name in arrays if columns is None else columns:
            rows = arrays[name].read(first, count)
            if name == self._value:
                size = int(np.prod(rows.shape[1:], dtype=np.int64))
                found[name] = pa.FixedSizeListArray.from_arrays(pa.array(rows.reshape(-1)), size)
            else:
                found[name] = pa.array(rows)
        return pa.table(found)


def _check(arrays: dict[str, Array], columns: Columns) -> None:
    """Raise a DataError where arrays of one file do not fit together."""
    values = arrays[columns.value]
    if len(values.shape) < 2 or not all(values.shape[1:]) or np.dtype(values.kind).kind not in "fiu":
        raise DataError(
            f"{values.place} holds an array {list(values.shape)} of {np.dtype(values.kind)}; expected numbers [N, d]"
        )
    for name, one in arrays.items():
        if name == columns.value:
            continue
        if len(one.shape) != 1 or np.dtype(one.kind).kind not in "biuUf":
            raise DataError(
                f"{one.place} holds an array {list(one.shape)} of {np.dtype(one.kind)}; expected numbers or texts [N]"
            )
        if one.shape[0] != values.shape[0]:
            raise DataError(f"{one.place} has {one.shape[0]} rows, {values.place} has {values.shape[0]}")


def _types(schema: pa.Schema) -> str:
    return ", ".join(f"{field.name}: {field.type}" for field in schema)
