"""Checks a run's index and dynamics for damage: every file, its rows, checksum and metadata, every value."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from dualprune.core.parquet import opened
from dualprune.core.records import Digests, problems
from dualprune.core.run import RunDirectory
from dualprune.core.storage import Location
from dualprune.dynamics.index import REMEDY
from dualprune.dynamics.layout import VALID, bucket_name, epoch_name
from dualprune.dynamics.metadata import mismatch
from dualprune.dynamics.statistics.ranges import outside, value_range
from dualprune.dynamics.store import DynamicsStore, first_epoch
from dualprune.dynamics.writer import to_numpy
from dualprune.errors import DataError


class Finding(NamedTuple):
    """Something wrong: where, what, and what to do."""

    place: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.place}: {self.what}; {self.remedy}"


def check_store(run: RunDirectory | Location | str | os.PathLike[str]) -> list[Finding]:
    """Return what is wrong with a run's index and dynamics, by bucket and epoch; a task holds one file in memory."""
    from dualprune.cluster.tasks import over_buckets

    store = DynamicsStore(run)
    findings = list(_check_epochs(store))
    work = partial(check_bucket, str(store.run.root.address))
    for found in over_buckets(work, range(store.num_buckets), title="check"):
        findings += found
    return findings


def recorded_files(store: DynamicsStore) -> list[tuple[Location, Mapping[str, Any], str]]:
    """Return every file of a run's index and dynamics with its record, empty in older versions, and its remedy."""
    buckets = range(store.num_buckets)
    files: list[tuple[Location, Mapping[str, Any], str]]
    files = [(store.index.place(bucket), store.index.record(bucket) or {}, REMEDY) for bucket in buckets]
    for epoch in store.epochs:
        for bucket in buckets:
            files.append((store.file(epoch, bucket), store.record(epoch, bucket) or {}, store.remedy(epoch)))
    return files


def damaged_files(store: DynamicsStore, digests: Digests = "changed") -> list[Finding]:
    """Return the files of the index and of the dynamics that are missing, or differ from their records."""
    files = recorded_files(store)
    remedies = {str(place): remedy for place, _, remedy in files}
    found = problems([(place, record) for place, record, _ in files], digests)
    return [Finding(str(problem.place), f"it {problem.what}", remedies[str(problem.place)]) for problem in found]


def check_recording(run: RunDirectory) -> None:
    """Raise a DataError where a file of a finished recording is missing or damaged: it cannot be made again cheaply."""
    found = damaged_files(DynamicsStore(run))
    if found:
        more = f"; {len(found) - 1} more files are missing or damaged" if len(found) > 1 else ""
        raise DataError(f"{found[0]}{more}")


def _check_epochs(store: DynamicsStore) -> Iterator[Finding]:
    if not store.epochs:
        yield Finding(str(store.location), "no epoch is committed", store.remedy(0))
    for epoch in store.missing_epochs:
        later = any(other > epoch for other in store.epochs)
        why = "later epochs have" if later else "recording finished it"
        yield Finding(epoch_name(epoch), f"it has no commit, but {why}", store.remedy(epoch))
    for epoch in store.mismatched_epochs:
        yield Finding(epoch_name(epoch), "it was recorded under another configuration", store.remedy(epoch))
    for epoch, commit in store.commits.items():
        files = {file["name"] for file in commit["files"]}
        for bucket in range(store.num_buckets):
            if bucket_name(bucket) not in files:
                yield Finding(epoch_name(epoch), f"its commit lacks {bucket_name(bucket)}", store.remedy(epoch))


def check_bucket(run: str, bucket: int) -> list[Finding]:
    """Return what is wrong with one bucket's file of the index and of every epoch."""
    store = DynamicsStore(run)
    findings = []
    ids, problem = _read_index(store, bucket)
    if problem is not None:
        findings.append(Finding(f"index/{bucket_name(bucket)}", problem, REMEDY))
    for epoch, commit in store.commits.items():
        record = store.record(epoch, bucket)
        if record is not None:
            place = f"{epoch_name(epoch)}/{bucket_name(bucket)}"
            for problem in _file_problems(store, epoch, bucket, record, commit["columns"], ids):
                findings.append(Finding(place, problem, store.remedy(epoch)))
    return findings


def _read_index(store: DynamicsStore, bucket: int) -> tuple[Any, str | None]:
    """Return the ids of a bucket; where its index is damaged, the positions, and what is wrong."""
    start, stop = store.index.bucket_range(bucket)
    positions = pa.array(np.arange(start, stop))
    try:
        table = store.index.read_bucket(bucket)
    except DataError as error:
        return positions, "it" + str(error).removeprefix(str(store.index.place(bucket))).removesuffix(f"; {REMEDY}")
    record = store.index.record(bucket)
    if record is not None and store.index.place(bucket).digest("sha256") != record["sha256"]:
        return positions, "its checksum is not the recorded one"
    return table["sample_id"], None


def _file_problems(
    store: DynamicsStore, epoch: int, bucket: int, record: dict[str, Any], columns: list[str], ids: Any
) -> Iterator[str]:
    """Yield what is wrong with one file; values are checked only where the file is whole."""
    start, stop = store.index.bucket_range(bucket)
    try:
        content = store.file(epoch, bucket).read_bytes()
    except OSError:
        yield "it is missing"
        return
    if len(content) != record["bytes"]:
        yield f"it has {len(content):,} bytes instead of {record['bytes']:,}"
        return
    if hashlib.sha256(content).hexdigest() != record["sha256"]:
        yield "its checksum is not the one that was committed"
        return
    file = opened(pa.BufferReader(content))
    wrong_facts = mismatch(file.metadata, **{**store.facts(epoch, bucket), "rows": file.metadata.num_rows})
    if wrong_facts is not None:
        yield wrong_facts
        return
    table = file.read(use_threads=False)
    if not table.num_rows == record["rows"] == stop - start:
        yield f"it has {table.num_rows} rows, its commit says {record['rows']}, the index {stop - start}"
        return
    valid = np.ones(table.num_rows, dtype=bool)
    if VALID in table.column_names:
        valid = table[VALID].to_numpy()
    for name in columns:
        if name not in table.column_names:
            yield f"it has no column {name!r}"
            continue
        values = to_numpy(table[name].combine_chunks())
        by_row = values.reshape(len(values), -1)
        low, high = value_range(name)
        # An imported row may lack one statistic and have others. A value that compares two epochs is missing where the
        # sample was not seen in the first of them.
        may_lack = store.is_imported or first_epoch(name) > 0
        for wrong, what in (
            (np.isnan(by_row) & (valid & (not may_lack))[:, None], "NaN"),
            (outside(name, by_row) & valid[:, None], f"not in [{low:g}, {high:g}]"),
        ):
            if wrong.any():
                row, place = (int(found[0]) for found in np.nonzero(wrong))
                first = f"{by_row[row, place]:g} of sample {ids[row].as_py()!r}"
                yield f"{int(wrong.sum())} values of {name} are {what}, first {first}"
