"""Writes a kept set as the lists that other programs read, bucket by bucket, so that memory does not grow with N.

kept_ids.txt       the ids, one per line, in position order
kept_indices.npy   int64 [k], the positions, ascending
kept_mask.npy      bool [N], by position
kept_uids.npy      u8,u8 [k], sorted, as DataComp has them: the halves of ids of 32 hexadecimal digits
kept.json          which selection of which run this is
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dualprune.core.parquet import DigestStream, WrittenFile
from dualprune.core.run import RunDirectory
from dualprune.core.storage import Location
from dualprune.dynamics.index import SampleIndex
from dualprune.errors import DataError
from dualprune.exchange.kept import kept_buckets
from dualprune.exchange.uids import SortedUids

FACTS = "kept.json"


class KeptList(Protocol):
    """A file that lists the kept samples; `add` is called with each bucket's in turn, then `finish`."""

    def add(self, start: int, stop: int, kept: pa.Table) -> None:
        """Take the sample_id and position of the kept samples of the bucket with the positions start … stop - 1."""

    def finish(self) -> None:
        """Write what is left."""


class Ids:
    """One id per line, as text."""

    def __init__(self, stream: DigestStream, facts: Mapping[str, Any]) -> None:
        self._stream = stream

    def add(self, start: int, stop: int, kept: pa.Table) -> None:
        ids = kept["sample_id"].cast(pa.large_string()).combine_chunks()
        if not len(ids):
            return
        _check_lines(ids)
        lines = pc.binary_join_element_wise(ids, pa.scalar("", pa.large_string()), pa.scalar("\n", pa.large_string()))
        first, last = (int(offset) for offset in np.frombuffer(lines.buffers()[1], np.int64)[[0, len(lines)]])
        self._stream.write(lines.buffers()[2][first:last])

    def finish(self) -> None:
        return


class Indices:
    """The positions as a numpy array."""

    def __init__(self, stream: DigestStream, facts: Mapping[str, Any]) -> None:
        self._stream = stream
        write_header(stream, np.dtype("<i8"), facts["num_kept"])

    def add(self, start: int, stop: int, kept: pa.Table) -> None:
        self._stream.write(np.asarray(kept["position"]).astype("<i8").tobytes())

    def finish(self) -> None:
        return


class Mask:
    """Whether each sample is kept, as a numpy array."""

    def __init__(self, stream: DigestStream, facts: Mapping[str, Any]) -> None:
        self._stream = stream
        write_header(stream, np.dtype("?"), facts["num_samples"])

    def add(self, start: int, stop: int, kept: pa.Table) -> None:
        mask = np.zeros(stop - start, dtype=bool)
        mask[np.asarray(kept["position"]) - start] = True
        self._stream.write(mask.tobytes())

    def finish(self) -> None:
        return


class Uids:
    """The ids as numbers of 128 bits, sorted."""

    def __init__(self, stream: DigestStream, facts: Mapping[str, Any]) -> None:
        self._stream, self._sorted = stream, SortedUids()
        write_header(stream, np.dtype([("f0", "<u8"), ("f1", "<u8")]), facts["num_kept"])

    def add(self, start: int, stop: int, kept: pa.Table) -> None:
        self._sorted.add(kept["sample_id"])

    def finish(self) -> None:
        for halves in self._sorted.merged():
            self._stream.write(halves.tobytes())


# In the order in which a configuration keeps them.
LISTS: dict[str, tuple[str, Callable[[DigestStream, Mapping[str, Any]], KeptList]]] = {
    "ids": ("kept_ids.txt", Ids),
    "indices": ("kept_indices.npy", Indices),
    "mask": ("kept_mask.npy", Mask),
    "uids": ("kept_uids.npy", Uids),
}


def write_lists(
    run: RunDirectory, name: str, lists: Sequence[str], place: Location
) -> Iterator[tuple[str, WrittenFile]]:
    """Write lists of a selection into a folder; yield their names with size and digest.

    Raises:
        DataError: an id cannot stand in a list that is wanted; or the selection's files are damaged.
    """
    facts = kept_facts(run, name)
    index = SampleIndex.load(run.index)
    with ExitStack() as stack:
        streams = {LISTS[one][0]: stack.enter_context((place / LISTS[one][0]).open_output()) for one in lists}
        files = [LISTS[one][1](streams[LISTS[one][0]], facts) for one in lists]
        for bucket, kept in enumerate(kept_buckets(run, name, ["sample_id", "position"])):
            for file in files:
                file.add(*index.bucket_range(bucket), kept)
        for file in files:
            file.finish()
    (place / FACTS).write_json(facts)
    for file_name, stream in streams.items():
        yield file_name, stream.written


def kept_facts(run: RunDirectory, name: str) -> dict[str, Any]:
    """Return what `kept.json` says: the selection's facts, and the fingerprint of the run's samples."""
    facts = (run.selection(name) / "selection.json").read_record()
    kept = {key: facts[key] for key in ("name", "method", "score_method", "ratio", "seed", "num_kept")}
    index = SampleIndex.load(run.index)
    # The selection counts the samples with a score; lists are about all samples of the run.
    return {**kept, "num_samples": index.num_samples, "run": index.fingerprint}


def write_header(stream: DigestStream, dtype: np.dtype[Any], length: int) -> None:
    """Begin a file of numpy's format with an array of one dimension."""
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": (length,)}
    np.lib.format.write_array_header_1_0(stream, header)


def _check_lines(ids: pa.LargeStringArray) -> None:
    """Raise a DataError where an id would be read from a line of its own as another one, or as two."""
    changed = pc.or_(pc.not_equal(pc.utf8_trim_whitespace(ids), ids), pc.match_substring_regex(ids, "[\r\n]|^\ufeff"))
    wrong = ids.filter(pc.or_(changed, pc.equal(ids, "")))
    if len(wrong):
        raise DataError(
            f"export.lists: ids cannot stand in kept_ids.txt, as the id {wrong[0].as_py()!r} is empty, holds a line "
            "break, or has space around it; leave ids out of export.lists, and read kept_indices.npy or the "
            "selection's kept.parquet"
        )
