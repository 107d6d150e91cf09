"""The measure stage: runs the measurements that the configured scores read, a task per bucket, and writes columns."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from dualprune.cluster.tasks import over_buckets
from dualprune.core.config import Config
from dualprune.core.outputs import Output
from dualprune.core.plugins import make_measurement
from dualprune.core.records import delete_files
from dualprune.core.run import RunDirectory
from dualprune.core.sections import ScalingConfig, TrainConfig
from dualprune.core.storage import Location
from dualprune.dynamics.columns import ColumnStore
from dualprune.dynamics.commit import COMMIT
from dualprune.dynamics.store import DynamicsStore
from dualprune.errors import ConfigError, DataError
from dualprune.stages.inputs import measure_inputs
from dualprune.stages.methods import measurements_read
from dualprune.stages.recorded_source import recorded_source

if TYPE_CHECKING:
    from dualprune.data.facts import DataFacts
    from dualprune.data.loader import Batch
    from dualprune.data.source import Source
    from dualprune.training.measurements import Measurement, Recorded

logger = logging.getLogger(__name__)
STARTED = "_started.json"
BATCH_SIZE = 256


@dataclass(frozen=True)
class MeasureJob:
    """All that a measuring task needs to know; `state` is what the measurement prepared."""

    run: str
    measurement: Measurement
    source: Source
    facts: DataFacts
    recorded: Recorded
    recipe: TrainConfig
    state: Any = None


def run_measure(run: RunDirectory, config: Config, *, force: bool = False) -> None:
    """Measure every training sample by each measurement that a configured score reads.

    A crash costs only the unfinished buckets. A column that was imported takes the place of a measurement of its name,
    unless `force` is set. A sample that cannot be decoded has NaN.
    """
    names = measurements_read(config)
    recorded = run.require("record", "record")
    source: Source | None = None
    facts: DataFacts | None = None
    columns = ColumnStore(run)
    for name in names:
        measurement: Measurement = make_measurement(config, name)
        inputs = measure_inputs(run, measurement)
        with run.stage(f"measure.{name}", {"measurement": measurement.identity()}, inputs, force=force) as stage:
            if stage.done:
                continue
            if _is_imported(columns, name) and not force:
                _check_whole(columns, name, stage.damaged)
                logger.info("measure.%s: the column was imported, and is not measured", name)
                stage.outputs = _outputs(columns, name, [COMMIT])
                stage.summary = {"samples": columns.index.num_samples, "width": columns.record(name)["width"]}
                continue
            if measurement.reads_model:
                _check_model(config, recorded)
            delete_files(stage.damaged)
            _prepare_folder(columns, name, stage.fingerprint, force)
            source = source or recorded_source(run, config)
            facts = facts or _look_at_pixels(source, config.scaling)
            job = _job(run, config, measurement, source, facts, recorded["fingerprint"])
            buckets = columns.missing(name, range(columns.index.num_buckets))
            for _ in over_buckets(partial(measure_bucket, job), buckets, config.scaling, title=f"measure {name}"):
                pass
            width = columns.finish(name, stage.fingerprint)
            stage.outputs = _outputs(columns, name, [STARTED, COMMIT])
            stage.summary = {"samples": columns.index.num_samples, "width": width}


def measure_bucket(job: MeasureJob, bucket: int) -> None:
    """Measure the samples of one bucket, shard by shard, and write its file."""
    import torch

    columns = ColumnStore(job.run)
    start, stop = columns.index.bucket_range(bucket)
    total: np.ndarray | None = None
    num_models = 0
    for model in job.measurement.models(job.recorded):
        num_models += 1
        for batch in _batches(job, start, stop):
            with torch.no_grad():
                found = job.measurement.measure(model, job.state, batch).float().cpu().numpy()
            if total is None:
                total = np.full((stop - start, *found.shape[1:]), np.nan)
            rows = batch.positions.cpu().numpy() - start
            total[rows] = found if num_models == 1 else total[rows] + found
        if total is None:
            raise DataError(
                f"{job.measurement.name}: no sample of positions {start} … {stop - 1} can be decoded; repair the "
                "images, or record with fewer buckets (record.num_buckets)"
            )
    assert total is not None, f"measurement {job.measurement.name} has no model"
    total /= num_models
    columns.write(job.measurement.name, bucket, total)


def _is_imported(columns: ColumnStore, name: str) -> bool:
    """Whether a column counts that this stage did not make."""
    place = columns.location / name
    return (place / COMMIT).exists() and not (place / STARTED).exists()


def _check_whole(columns: ColumnStore, name: str, damaged: Sequence[Location]) -> None:
    """Raise a DataError where a file of an imported column is damaged or missing; no measurement replaces it."""
    missing = [columns.file(name, bucket) for bucket in columns.missing(name, range(columns.index.num_buckets))]
    for file in [*damaged, *missing]:
        raise DataError(
            f"{file} of an imported column is damaged or missing; import the column again, or delete the folder "
            f"columns/{name} to have it measured"
        )


def _outputs(columns: ColumnStore, name: str, records: Sequence[str]) -> list[Output]:
    files = [columns.file(name, bucket) for bucket in range(columns.index.num_buckets)]
    files += [columns.location / name / record for record in records]
    return [Output.of(columns.run.root, file) for file in files]


def _check_model(config: Config, recorded: Mapping[str, Any]) -> None:
    stored, own = recorded["settings"].get("model"), config.identity("model")
    if stored is not None and stored != own:
        raise ConfigError(
            f"config.model: {config.model.name} with these options is not the model that the run recorded; leave "
            "`model` as in the run's config.yaml"
        )


def _job(
    run: RunDirectory, config: Config, measurement: Measurement, source: Source, facts: DataFacts, recording: str
) -> MeasureJob:
    from dualprune.training.checkpoint import newest_whole
    from dualprune.training.measurements import Recorded

    place = None
    if measurement.reads_model:
        found = newest_whole(run.checkpoints / f"record-{recording}", {*DynamicsStore(run).epochs})
        place = None if found is None else found[1]
    known = Recorded(config.model, facts.num_classes, facts.shape, place)
    job = MeasureJob(str(run.root.address), measurement, source, facts, known, config.train)
    if measurement.prepares():
        first = next(iter(measurement.models(known)))
        job = replace(job, state=measurement.prepare(first, _batches(job, 0, facts.num_train)))
    return job


def _batches(job: MeasureJob, start: int, stop: int) -> Iterator[Batch]:
    """Yield the samples of positions start … stop-1 that can be decoded, unaugmented, on the CPU."""
    import torch

    from dualprune.data.pixels import decode_shard
    from dualprune.data.resident import ResidentLoader, ResidentSplit

    device = torch.device("cpu")
    for shard in job.source.shards("train"):
        first, last = max(start, shard.start), min(stop, shard.start + shard.num_rows)
        if first >= last:
            continue
        part, _ = decode_shard(job.source, shard)
        inside = slice(first - shard.start, last - shard.start)
        rows = (part[0][inside], part[1][inside], part[2][inside])
        split = ResidentSplit.of_shards([rows], job.facts.shape[0], device)
        loader = ResidentLoader(split, job.facts, job.recipe, device)
        for batch in loader.as_is(split.positions, BATCH_SIZE):
            yield replace(batch, positions=batch.positions + first)


def _look_at_pixels(source: Source, scaling: ScalingConfig) -> DataFacts:
    """Decode the training set once, for the mean and deviation that inputs are normalised by."""
    from dualprune.data.pixels import data_facts

    work = partial(_count_pixels, source)
    numbers = range(len(source.shards("train")))
    return data_facts(source, list(over_buckets(work, numbers, scaling, title="look at pixels")))


def _count_pixels(source: Source, number: int) -> dict[str, Any]:
    from dualprune.data.pixels import decode_shard

    return decode_shard(source, source.shards("train")[number])[1]


def _prepare_folder(columns: ColumnStore, name: str, fingerprint: str, force: bool) -> None:
    started = columns.location / name / STARTED
    # Buckets that an interrupted run with the same settings finished are kept.
    if force or not started.exists() or started.read_json() != fingerprint:
        columns.discard(name)
        started.write_json(fingerprint)
