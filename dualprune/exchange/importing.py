"""Imports dynamics that were recorded elsewhere: afterwards score, select and export run as if recorded here."""

from __future__ import annotations

import logging
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
from dualprune.core.arguments import check_choice
from dualprune.core.arrays import Axes, counted, range_remedy
from dualprune.core.config import Config
from dualprune.core.config_file import make_config
from dualprune.core.run import RunDirectory
from dualprune.core.storage import FileRecord, Location
from dualprune.dynamics.index import SampleIndex, default_num_buckets
from dualprune.dynamics.statistics.ranges import outside, value_range
from dualprune.dynamics.writer import DynamicsWriter
from dualprune.errors import ConfigError, DataError
from dualprune.exchange.long import is_long, to_wide
from dualprune.exchange.parquet_set import ParquetSet
from dualprune.exchange.recorded import LABEL, SAMPLE_ID, TARGET_PROB, Recorded, from_arrays, open_arrays
from dualprune.exchange.repeats import Repeated
from dualprune.exchange.room import SOURCE, check_apart, check_room, scratch_of
from dualprune.exchange.wide import RecordedWide

logger = logging.getLogger(__name__)

Missing = Literal["raise", "keep"]
Place = RunDirectory | Location | str | os.PathLike[str]
# Samples without labels are all in one class of this name.
NO_LABEL = "none"
MOST_CLASSES = 1_000_000


def import_dynamics(
    target_prob: Any,
    run: Place,
    *,
    sample_ids: Any | None = None,
    labels: Any | None = None,
    statistics: Mapping[str, Any] | None = None,
    axes: Axes | None = None,
    config: Mapping[str, Any] | None = None,
    missing: Missing = "raise",
    force: bool = False,
) -> RunDirectory:
    """Make a run from dynamics that a loop of your own recorded, to score and select from.

    Args:
        target_prob: [T, N] probabilities of the target class, epochs by samples: a numpy array, a tensor of any type on
            any device, or nested lists.
        run: the run directory to make.
        sample_ids: [N] unique whole numbers or strings; None: 0 … N-1.
        labels: [N] whole numbers from 0, or strings; None: no labels.
        statistics: further statistics by name, such as loss, each [T, N].
        axes: "TN", epochs by samples, or "NT", samples by epochs, of all arrays; None: [T, N], where more epochs than
            samples are an error unless the number of ids or labels confirms them.
        config: configuration values, such as {"score": {"window": 5}}.
        missing: "raise": a NaN is an error; "keep": it stands for a value that is not there.
        force: replace the dynamics that the run directory holds.

    Raises:
        DataError: shapes that do not fit, ids that are not unique, values that are out of range or missing.
        RunError: the directory holds a run already, or something else.
        ConfigError: a value of `config` or an argument is wrong.
    """
    _check_choices(axes, missing)
    given = {TARGET_PROB: target_prob}
    if statistics and TARGET_PROB in statistics:
        raise DataError(f"{TARGET_PROB} is an argument of its own; take it out of `statistics`")
    recorded = from_arrays("arrays", {**given, **(statistics or {})}, sample_ids, labels, axes)
    return _import(recorded, "arrays", run, config or {}, missing, force)


def import_file(
    file: Location | str | os.PathLike[str],
    run: Place,
    *,
    axes: Axes | None = None,
    config: Mapping[str, Any] | None = None,
    missing: Missing = "raise",
    repeated: Repeated = "error",
    force: bool = False,
) -> RunDirectory:
    """Make a run from the dynamics in a file; further arguments and errors as for `import_dynamics`.

    `file` is .npy [T, N]; .npz with target_prob [T, N] and, if wanted, sample_id [N], label [N] and further statistics
    [T, N]; or Parquet, a file or a folder. Wide Parquet has one row per sample: sample_id, label, and per statistic one
    list column or the columns target_prob_0 …; without sample_id, row numbers are the ids. Long Parquet has one row per
    sample and epoch, in any order: sample_id, epoch, target_prob, and label and further statistics.

    `repeated` says what to take where a long table has several rows of one sample and epoch with different values:
    "first" or "mean"; "error" refuses them. Rows with equal values count as one.
    """
    _check_choices(axes, missing)
    check_choice("repeated", repeated, Repeated)
    place = Location.of(file)
    if not place.exists():
        raise DataError(f"{place}: there is no such file")
    check_apart(place, RunDirectory(run))
    suffix = place.name.lower().rpartition(".")[2]
    if suffix in ("npy", "npz") and place.is_file():
        return _import(open_arrays(place, axes), str(place), run, config or {}, missing, force)
    if place.is_file() and suffix != "parquet":
        raise DataError(f"{place}: unknown type of file; expected .npy, .npz, .parquet, or a folder of .parquet files")
    files = ParquetSet.open(place)
    if not is_long(files):
        return _import(RecordedWide(files, axes=axes), str(place), run, config or {}, missing, force)
    if axes is not None:
        raise DataError(f"{place}: axes={axes!r} is for arrays; a long table names sample and epoch in each row")
    return _import(partial(_laid_out, files, missing, repeated), str(place), run, config or {}, missing, force)


def _check_choices(axes: Axes | None, missing: Missing) -> None:
    if axes is not None:
        check_choice("axes", axes, Axes)
    check_choice("missing", missing, Missing)


def _laid_out(files: ParquetSet, missing: Missing, repeated: Repeated, scratch: Location) -> Recorded:
    return to_wide(files, scratch, _on_cluster, missing == "keep", repeated)


def _import(
    found: Recorded | Callable[[Location], Recorded],
    origin: str,
    place: Place,
    values: Mapping[str, Any],
    missing: Missing,
    force: bool,
) -> RunDirectory:
    """Write what was found, or what a function of the scratch folder returns, into the run directory."""
    run = RunDirectory(place)
    replaces = check_room(run, force)
    scratch = scratch_of(run)
    with run.exclusive():
        scratch.delete()
        try:
            recorded = found if isinstance(found, Recorded) else found(scratch)
            config = _config(recorded, values)
            if replaces:
                # Before anything is deleted: what replaces a recording must be sound.
                index = _build_index(scratch / "index", config, recorded, origin, "")
                for _ in _each(recorded)(partial(_check_bucket, recorded, index, missing), range(index.num_buckets)):
                    pass
            run.forget_recording()
            _write(run, config, recorded, origin, missing)
            run.save_config(config)
        finally:
            scratch.delete()
    logger.info("%s: imported %s", run, counted(recorded.num_epochs, recorded.num_samples))
    return run


def _config(recorded: Recorded, values: Mapping[str, Any]) -> Config:
    """Return the configuration of the run: what was asked for, with the data's own facts."""
    facts: dict[str, dict[str, Any]] = {
        "data": {"source": SOURCE},
        "record": {"epochs": recorded.num_epochs, "statistics": list(recorded.columns)},
        "train": {"epochs": recorded.num_epochs},
    }
    if not isinstance(values, Mapping):
        raise ConfigError(f'config: {values!r} is a {type(values).__name__}; expected {{"score": {{"window": 5}}}}')
    for section in facts:
        if not isinstance(values.get(section, {}), Mapping):
            raise ConfigError(f"config.{section}: {values[section]!r} should be a mapping of keys and values")
    return make_config({**values, **{section: {**values.get(section, {}), **own} for section, own in facts.items()}})


def _write(run: RunDirectory, config: Config, recorded: Recorded, origin: str, missing: Missing) -> None:
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
            writer.commit(epoch, files)
        stage.summary = {"epochs": recorded.num_epochs, "statistics": list(recorded.columns), "imported": origin}


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
    """Return the names of the classes, and, where labels are names, what to look them up in."""
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
        values = np.stack([statistics[name][epoch] for name in writer.columns])
        rows = np.flatnonzero(~np.isnan(values).all(axis=0))
        records.append(writer.write_bucket(epoch, bucket, start + rows, values[:, rows]))
    return records


def _check_bucket(recorded: Recorded, index: SampleIndex, missing: Missing, bucket: int) -> None:
    """Raise a DataError where values of a bucket are wrong."""
    _read_checked(recorded, index, missing, bucket)


def _read_checked(
    recorded: Recorded, index: SampleIndex, missing: Missing, bucket: int
) -> dict[str, NDArray[np.float32]]:
    """Return float32 [T, n] per statistic of a bucket; a DataError where values are out of range or missing."""
    statistics = recorded.read(*index.bucket_range(bucket))
    for name, values in statistics.items():
        low, high = value_range(name)
        wrong = outside(name, values)
        if wrong.any():
            remedy = range_remedy(values[~np.isnan(values)], low, high)
            raise DataError(
                _odd_values(recorded, index, bucket, name, values, wrong, f"not in [{low:g}, {high:g}]", remedy)
            )
        wrong = np.isnan(values)
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
    """Return what yields function(number) for each number, in order: where the data are, on threads or as Ray tasks."""
    return _on_cluster if recorded.is_shared else _here


def _here(function: Callable[[int], Any], numbers: Sequence[int]) -> Iterator[Any]:
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from pool.map(function, numbers)


def _on_cluster(function: Callable[[int], Any], numbers: Sequence[int]) -> Iterator[Any]:
    yield from over_buckets(function, numbers, title="import")
