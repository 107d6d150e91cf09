"""Sorts ids of 128 bits in bounded memory: sorted runs on the local disk, merged range by range."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dualprune.errors import DataError, StorageError

# Ids that are sorted at once when runs are merged.
MERGED = 1 << 20
PATTERN = "^([0-9a-fA-F]{32}|[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12})$"
HALVES = np.dtype([("f0", "<u8"), ("f1", "<u8")])
NIBBLE = np.zeros(256, dtype=np.uint8)
NIBBLE[np.frombuffer(b"0123456789abcdef", np.uint8)] = range(16)
NIBBLE[np.frombuffer(b"ABCDEF", np.uint8)] = range(10, 16)


def parse_uids(ids: pa.ChunkedArray) -> NDArray[np.bytes_]:
    """Return ids as 16 bytes each, the first digits first; a DataError names the first that is not such an id."""
    if not pa.types.is_string(ids.type) and not pa.types.is_large_string(ids.type):
        if not len(ids):
            return np.empty(0, "S16")
        raise _no_uid(f"the id {ids[0].as_py()!r} is a number of the type {ids.type}")
    fits = pc.match_substring_regex(ids, PATTERN)
    if not pc.all(fits, min_count=0).as_py():
        raise _no_uid(f"the id {ids.filter(pc.invert(fits))[0].as_py()!r} is neither")
    digits = pc.replace_substring(ids, "-", "").cast(pa.binary(32)).combine_chunks()
    if not len(digits):
        return np.empty(0, "S16")
    values = np.frombuffer(digits.buffers()[1], np.uint8)[digits.offset * 32 : (digits.offset + len(digits)) * 32]
    nibbles = NIBBLE[values].reshape(-1, 2)
    return np.ascontiguousarray(nibbles[:, 0] << 4 | nibbles[:, 1]).view("S16")


class SortedUids:
    """Takes ids in parts, and yields all of them sorted."""

    def __init__(self) -> None:
        with _local_disk():
            # A file without a name goes away with the process.
            self._file = tempfile.TemporaryFile()  # noqa: SIM115
        self._lengths: list[int] = []

    def add(self, ids: pa.ChunkedArray) -> None:
        """Take a part of the ids, which must be 32 hexadecimal digits or UUIDs."""
        uids = parse_uids(ids)
        if len(uids):
            with _local_disk():
                self._file.write(np.sort(uids).tobytes())
            self._lengths.append(len(uids))

    def merged(self) -> Iterator[NDArray[Any]]:
        """Yield all ids as pairs of uint64, sorted; may be called once."""
        # Closing writes what is left.
        with _local_disk(), self._file:
            self._file.flush()
            runs = self._runs()
            lows = np.zeros(len(runs), dtype=np.int64)
            for pivot in [*self._pivots(runs), None]:
                ends = [len(run) if pivot is None else np.searchsorted(run, pivot) for run in runs]
                highs = np.asarray(ends, dtype=np.int64)
                parts = [run[low:high] for run, low, high in zip(runs, lows, highs, strict=True)]
                lows = highs
                if sum(map(len, parts)):
                    yield np.sort(np.concatenate(parts)).view([("f0", ">u8"), ("f1", ">u8")]).astype(HALVES)

    def _runs(self) -> list[NDArray[np.bytes_]]:
        if not self._lengths:
            return []
        everything = np.memmap(self._file, dtype="S16", mode="r")
        return np.split(everything, np.cumsum(self._lengths)[:-1])

    def _pivots(self, runs: list[NDArray[np.bytes_]]) -> NDArray[np.bytes_]:
        """Return ids between which lie about MERGED ids each, at most twice that many."""
        if sum(self._lengths) <= MERGED:
            return np.empty(0, "S16")
        # Between two neighbours of a run's sample lie `step` ids, and every len(runs)-th of all samples is a pivot.
        step = max(1, MERGED // len(runs))
        return np.sort(np.concatenate([run[::step] for run in runs]))[:: len(runs)]


@contextmanager
def _local_disk() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(f"a temporary file in {tempfile.gettempdir()} cannot be used: {error}") from error


def _no_uid(what: str) -> DataError:
    return DataError(
        f"export.lists: kept_uids.npy holds ids of 32 hexadecimal digits or UUIDs, but {what}; leave uids out of "
        "export.lists"
    )
