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

from dualprune.core.config import Config
from dualprune.core.config_file import make_config
from dualprune.core.run import RunDirectory
from dualprune.core.storage import FileRecord, Location
from dualprune.dynamics.index import SampleIndex, default_num_buckets
from dualprune.dynamics.statistics.ranges import outside, value_range
from dualprune.dynamics.writer import DynamicsWriter
from dualprune.errors import DataError, RunError
from dualprune.exchange.long import is_long, to_wide
from dualprune.exchange.recorded import LABEL, SAMPLE_ID, TARGET_PROB, Recorded, from_arrays, open_arrays
from dualprune.exchange.wide import ParquetSet, RecordedWide

logger = logging.getLogger(__name__)

Missing = Literal["raise", "keep"]
Place = RunDirectory | Location | str | os.PathLike[str]
SOURCE = "imported"
# The index of samples without labels has one class of this name.
NO_LABEL = "none"
MOST_CLASSES = 1_000_000


def import_dynamics(
    target_prob: Any,
    run: Place,
    *,
    sample_ids: Any | None = None,
    labels: Any | None = None,
    statistics: Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
    missing: Missing = "raise",
    force: bool = False,
) -> RunDirectory:
    """Make a run of dynamics that a loop of your own recorded, to be scored and selected from.

    Args:
        target_prob: [T, N] probabilities of the target class, epochs by samples; numpy, torch, or nested lists.
        run: the run directory to make.
        sample_ids: [N] unique whole numbers or strings; None: 0 … N-1.
        labels: [N] whole numbers from 0, or strings; None: no labels.
        statistics: further ones by name, such as loss, each [T, N].
        config: configuration values, such as {"score": {"window": 5}}.
        missing: a NaN is an error (raise), or stands for a value that is not there (keep).
        force: replace what was recorded in that directory.

    Raises:
        DataError: shapes that do not fit, ids that repeat, values that are out of range or missing.
        RunError: the directory holds a run already.
    """
    recorded = from_arrays("target_prob's arrays", {TARGET_PROB: target_prob, **(statistics or {})}, sample_ids, labels)
    return _import(recorded, "arrays", run, config or {}, missing, force)


def import_file(
    file: Location | str | os.PathLike[str],
    run: Place,
    *,
    config: Mapping[str, Any] | None = None,
    missing: Missing = "raise",
    force: bool = False,
) -> RunDirectory:
    """Make a run of the dynamics in a file; arguments and errors else as for `import_dynamics`.

    `file` is .npy [T, N]; .npz with target_prob [T, N] and, if wanted, sample_id [N], label [N] and further statistics
    [T, N]; or Parquet, a file or a folder. Wide Parquet has a row a sample: sample_id, label, and a list column a
    statistic or columns target_prob_0 …; without sample_id, row numbers are the ids. Long Parquet has a row a sample
    and epoch, in any order: sample_id, epoch, target_prob, and label and further statistics.
    """
    place = Location.of(file)
    if not place.exists():
        raise DataError(f"{place}: there is no such file")
    suffix = place.name.rpartition(".")[2]
    recorded: Recorded | ParquetSet
    if suffix in ("npy", "npz") and place.is_file():
        recorded = open_arrays(place)
    elif place.is_file() and suffix != "parquet":
        raise DataError(f"{place}: unknown type of file; expected .npy, .npz, .parquet, or a folder of .parquet files")
    else:
        files = ParquetSet.open(place)
        recorded = files if is_long(files) else RecordedWide(files)
    return _import(recorded, str(place), run, config or {}, missing, force)


def _import(
    found: Recorded | ParquetSet, origin: str, place: Place, values: Mapping[str, Any], missing: Missing, force: bool
) -> RunDirectory:
    run = RunDirectory(place)
    if not force and _is_taken(run):
        raise RunError(f"{run} is a run directory already; import into another one, or --force to replace its dynamics")
    scratch = run.root / "import"
    with run.exclusive():
        scratch.delete()
        try:
            recorded = found if isinstance(found, Recorded) else to_wide(found, scratch, _on_cluster, missing == "keep")
            config = _config(recorded, values)
            run.forget_recording()
            _write(run, config, recorded, origin, missing)
            run.save_config(config)
        finally:
            scratch.delete()
    logger.info("%s: imported %d samples over %d epochs", run, recorded.num_samples, recorded.num_epochs)
    return run


def _is_taken(run: RunDirectory) -> bool:
    """Return whether the directory holds more than an import that did not end."""
    manifests = run.manifests()
    if not manifests:
        return run.index.exists() or run.dynamics.exists()
    source = manifests.get("index", {}).get("settings", {}).get("data", {}).get("source")
    return source != SOURCE or manifests.get("record", {}).get("status") == "done"


def _config(recorded: Recorded, values: Mapping[str, Any]) -> Config:
    """Return the configuration of the run: what was asked for, with the data's own facts."""
    facts: dict[str, dict[str, Any]] = {
        "data": {"source": SOURCE},
        "record": {"epochs": recorded.num_epochs, "statistics": list(recorded.columns)},
        "train": {"epochs": recorded.num_epochs},
    }
    return make_config({**values, **{section: {**values.get(section, {}), **own} for section, own in facts.items()}})


def _write(run: RunDirectory, config: Config, recorded: Recorded, origin: str, missing: Missing) -> None:
    classes, encode = _classes(recorded)
    data = {"data": config.identity("data"), "source": recorded.fingerprint()}
    with run.stage("index", data, force=True) as stage:
        index = SampleIndex.build(
            run.index,
            _index_batches(recorded, encode),
            num_samples=recorded.num_samples,
            num_buckets=config.record.num_buckets or default_num_buckets(recorded.num_samples, num_workers=1),
            classes=classes,
            fingerprint=stage.fingerprint,
            details={"imported": origin},
        )
        stage.summary = {"samples": index.num_samples, "classes": index.num_classes, "buckets": index.num_buckets}
    settings = {"imported": origin, "statistics": list(recorded.columns)}
    with run.stage("record", settings, [stage.fingerprint], force=True) as stage:
        writer = DynamicsWriter(run.dynamics, index, recorded.columns, stage.fingerprint)
        each = _on_cluster if recorded.is_shared else _here
        work = partial(_write_bucket, recorded, writer, missing)
        by_bucket = list(each(work, range(index.num_buckets)))
        for epoch, files in enumerate(zip(*by_bucket, strict=True)):
            writer.commit(epoch, files)
        stage.summary = {"epochs": recorded.num_epochs, "statistics": list(recorded.columns), "imported": origin}


def _classes(recorded: Recorded) -> tuple[list[str], pa.Array | None]:
    """Return the names of the classes, and what labels are looked up in where they are names."""
    highest = -1
    names: pa.Array | None = None
    for labels in recorded.labels():
        if labels.null_count:
            raise DataError(f"{recorded.name}: {labels.null_count} samples have no label; give all one, or none")
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
    """Write a bucket's file of every epoch, and return their records in order."""
    start, stop = writer.index.bucket_range(bucket)
    statistics = recorded.read(start, stop)
    for name, values in statistics.items():
        _check_values(recorded, writer.index, bucket, name, values, missing)
    records = []
    for epoch in range(recorded.num_epochs):
        values = np.stack([statistics[name][epoch] for name in writer.columns])
        rows = np.flatnonzero(~np.isnan(values).all(axis=0))
        records.append(writer.write_bucket(epoch, bucket, start + rows, values[:, rows]))
    return records


def _check_values(
    recorded: Recorded, index: SampleIndex, bucket: int, name: str, values: np.ndarray, missing: Missing
) -> None:
    low, high = value_range(name)
    checks = [(outside(name, values), f"are not in [{low:g}, {high:g}]", "correct them")]
    if missing == "raise":
        checks.append((np.isnan(values), "are NaN", "correct them, or set --missing keep to leave them missing"))
    for wrong, what, remedy in checks:
        if wrong.any():
            epoch, row = np.argwhere(wrong)[0]
            sample_id = index.read_bucket(bucket)["sample_id"][int(row)].as_py()
            raise DataError(
                f"{recorded.name}: {int(wrong.sum())} values of {name} {what}, such as {values[epoch, row]:g} of "
                f"sample {sample_id!r} in epoch {epoch + recorded.first_epoch}; {remedy}"
            )


def _here(function: Callable[[int], Any], numbers: Sequence[int]) -> Iterator[Any]:
    """Give function(number) of each number, in order, on threads: the data are in this process."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield from pool.map(function, numbers)


def _on_cluster(function: Callable[[int], Any], numbers: Sequence[int]) -> Iterator[Any]:
    """Give function(number) of each number, in order, from Ray tasks."""
    # Ray takes seconds to import, and arrays need none of it.
    from dualprune.cluster.tasks import over_buckets

    yield from over_buckets(function, numbers, title="import")
