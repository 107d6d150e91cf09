"""Writes a run from dynamics that were recorded elsewhere: index, dynamics and manifests, as recording would."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dualprune.cluster.tasks import over_buckets
from dualprune.core.arrays import range_remedy
from dualprune.core.config import Config
from dualprune.core.config_file import make_config
from dualprune.core.run import RunDirectory
from dualprune.core.storage import FileRecord, Location
from dualprune.dynamics.index import SampleIndex, default_num_buckets
from dualprune.dynamics.statistics.ranges import outside, value_range
from dualprune.dynamics.store import first_epoch
from dualprune.dynamics.writer import DynamicsWriter, lay_out
from dualprune.errors import ConfigError, DataError
from dualprune.exchange.recorded import LABEL, SAMPLE_ID, Recorded
from dualprune.exchange.room import SOURCE

Missing = Literal["raise", "keep"]
# Samples without labels are all in one class of this name.
NO_LABEL = "none"
MOST_CLASSES = 1_000_000


def config_of(recorded: Recorded, values: Mapping[str, Any]) -> Config:
    """Return the configuration of the run: the values that were passed, with the facts about the data."""
    facts: dict[str, dict[str, Any]] = {
        "data": {"source": SOURCE},
        "record": {"epochs": recorded.num_epochs, "statistics": list(recorded.columns)},
        "train": {"epochs": recorded.num_epochs},
    }
    if not isinstance(values, Mapping):
        raise ConfigError(f"config: {values!r} is a {type(values).__name__}; expected nested values by section")
    for section in facts:
        if not isinstance(values.get(section, {}), Mapping):
            raise ConfigError(f"config.{section}: {values[section]!r} should be a mapping of keys and values")
    return make_config({**values, **{section: {**values.get(section, {}), **own} for section, own in facts.items()}})


def write_run(run: RunDirectory, config: Config, recorded: Recorded, origin: str, missing: Missing) -> None:
    """Write index, dynamics and configuration; a DataError names what is wrong with ids, labels or values."""
    data = {"data": config.identity("data"), "source": recorded.fingerprint()}
    with run.stage("index", data, force=True) as stage:
        index = _build_index(run.index, config, recorded, origin, stage.fingerprint)
        stage.summary = {"samples": index.num_samples, "classes": index.num_classes, "buckets": index.num_buckets}
    settings = {"imported": origin, "statistics": list(recorded.columns)}
    with run.stage("record", settings, [stage.fingerprint], force=True) as stage:
        writer = DynamicsWriter(run.dynamics, index, recorded.columns, stage.fingerprint)
        work = partial(_write_bucket, recorded, writer, missing)
        by_bucket = list(_each(recorded)(work, range(index.num_buckets)))
        for epoch, files in enumerate(zip(*by_bucket, strict=True)):
            writer.commit(epoch, files, _columns_of(writer, epoch))
        stage.summary = {"epochs": recorded.num_epochs, "statistics": list(recorded.columns), "imported": origin}
    run.save_config(config)


def check_recorded(config: Config, recorded: Recorded, origin: str, missing: Missing, scratch: Location) -> None:
    """Raise a DataError where `write_run` would; an index is built in `scratch`."""
    index = _build_index(scratch / "index", config, recorded, origin, "")
    for _ in _each(recorded)(partial(_check_bucket, recorded, index, missing), range(index.num_buckets)):
        pass


def _build_index(place: Location, config: Config, recorded: Recorded, origin: str, fingerprint: str) -> SampleIndex:
    classes, names = _classes(recorded)
    return SampleIndex.build(
        place,
        _index_batches(recorded, names),
        num_samples=recorded.num_samples,
        num_buckets=config.record.num_buckets or default_num_buckets(recorded.num_samples, num_workers=1),
        classes=classes,
        fingerprint=fingerprint,
        details={"imported": origin},
    )


def _classes(recorded: Recorded) -> tuple[list[str], pa.Array | None]:
    """Return the names of the classes, and, where labels are names, an array to look them up in."""
    highest = -1
    names: pa.Array | None = None
    for labels in recorded.labels():
        if labels.null_count:
            raise DataError(f"{recorded.name}: {labels.null_count} samples have no label; label all of them, or none")
        if pa.types.is_string(labels.type):
            names = pc.unique(labels if names is None else pa.concat_arrays([names, labels]))
        elif len(labels):
            highest = max(highest, pc.max(labels).as_py())
        if max(highest, len(names or ())) >= MOST_CLASSES:
            raise DataError(
                f"{recorded.name}: more than {MOST_CLASSES:,} classes (label {highest}); labels count classes from 0"
            )
    if names is not None:
        names = names.take(pc.sort_indices(names))
        return names.to_pylist(), names
    return [str(label) for label in range(highest + 1)] or [NO_LABEL], None


def _index_batches(recorded: Recorded, names: pa.Array | None) -> Iterator[pa.RecordBatch]:
    for ids, labels in recorded.samples():
        if labels is None:
            labels = pa.array(np.zeros(len(ids), np.int64))
        elif names is not None:
            labels = pc.index_in(labels, value_set=names).cast(pa.int64())
        yield pa.record_batch({SAMPLE_ID: ids, LABEL: labels})


def _write_bucket(recorded: Recorded, writer: DynamicsWriter, missing: Missing, bucket: int) -> list[FileRecord]:
    """Write a bucket's file for every epoch, and return their records in order."""
    statistics = _read_checked(recorded, writer.index, missing, bucket)
    start, _ = writer.index.bucket_range(bucket)
    records = []
    for epoch in range(recorded.num_epochs):
        values = {name: statistics[name][epoch] for name in _columns_of(writer, epoch)}
        rows = np.flatnonzero(~np.all([np.isnan(column) for column in values.values()], axis=0))
        known = {name: column[rows] for name, column in values.items()}
        records.append(writer.write_dense(epoch, bucket, *lay_out(writer.index, bucket, start + rows, known)))
    return records


def _columns_of(writer: DynamicsWriter, epoch: int) -> list[str]:
    """Return the statistics that have values in an epoch: some compare it with the one before."""
    return [name for name in writer.columns if epoch >= first_epoch(name)]


def _check_bucket(recorded: Recorded, index: SampleIndex, missing: Missing, bucket: int) -> None:
    """Raise a DataError where values of a bucket are wrong."""
    _read_checked(recorded, index, missing, bucket)


def _read_checked(
    recorded: Recorded, index: SampleIndex, missing: Missing, bucket: int
) -> dict[str, NDArray[np.float32]]:
    """Return float32 [T, n] per statistic of a bucket; a DataError where values are out of range or missing."""
    statistics = recorded.read(*index.bucket_range(bucket))
    for name, values in statistics.items():
        # Earlier values are not stored.
        first = first_epoch(name)
        low, high = value_range(name)
        wrong = outside(name, values)
        wrong[:first] = False
        if wrong.any():
            remedy = range_remedy(values[first:][~np.isnan(values[first:])], low, high)
            raise DataError(
                _odd_values(recorded, index, bucket, name, values, wrong, f"not in [{low:g}, {high:g}]", remedy)
            )
        wrong = np.isnan(values)
        wrong[:first] = False
        if missing == "raise" and wrong.any():
            remedy = 'correct them, or pass missing="keep" to leave them missing'
            raise DataError(_odd_values(recorded, index, bucket, name, values, wrong, "NaN", remedy))
    return statistics


def _odd_values(
    recorded: Recorded,
    index: SampleIndex,
    bucket: int,
    name: str,
    values: NDArray[np.float32],
    wrong: NDArray[np.bool_],
    what: str,
    remedy: str,
) -> str:
    epoch, row = np.argwhere(wrong)[0]
    sample_id = index.read_bucket(bucket)[SAMPLE_ID][int(row)].as_py()
    return (
        f"{recorded.name}: {int(wrong.sum())} values of {name} are {what}, such as {values[epoch, row]:g} of "
        f"sample {sample_id!r} in epoch {epoch + recorded.first_epoch}; {remedy}"
    )


def _each(recorded: Recorded) -> Callable[[Callable[[int], Any], Sequence[int]], Iterator[Any]]:
    """Return a function that runs function(number) for each number, in order, on threads or as Ray tasks."""
    return on_cluster if recorded.is_shared else _here


def _here(function: Callable[[int], Any], numbers: Sequence[int]) -> Iterator[Any]:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from pool.map(function, numbers)


def on_cluster(function: Callable[[int], Any], numbers: Sequence[int]) -> Iterator[Any]:
    """Yield function(number) for each number, in order, with a progress bar."""
    yield from over_buckets(function, numbers, title="import")
