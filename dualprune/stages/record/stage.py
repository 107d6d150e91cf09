"""The record stage: trains on the whole set for the early epochs with Ray Train and fills the dynamics store."""

from __future__ import annotations

import logging
from typing import Any

from dualprune.cluster.progress import worker_progress
from dualprune.cluster.session import ensure_ray, user_errors
from dualprune.cluster.train import Workers, fit
from dualprune.core.config import Config
from dualprune.core.run import RunDirectory
from dualprune.core.storage import Location
from dualprune.data.decoding import RULE
from dualprune.data.plan import check_shared_out
from dualprune.data.source import Source, open_source
from dualprune.dynamics.check import check_recording
from dualprune.dynamics.commit import has_commits
from dualprune.dynamics.index import SampleIndex, default_num_buckets
from dualprune.dynamics.statistics import STATISTICS
from dualprune.dynamics.store import DynamicsStore
from dualprune.errors import ConfigError, DataError
from dualprune.scores.score import EpochScore
from dualprune.selection.stability import settled_at
from dualprune.stages.methods import score_methods, statistics_read
from dualprune.stages.record.decode import ResidentData, load_resident
from dualprune.stages.record.stability_watch import Spans
from dualprune.stages.record.worker import RecordJob, record_worker
from dualprune.stages.recorded_source import check_rows, decoding_rule
from dualprune.stages.score.kept import unstored
from dualprune.training import checkpoint

logger = logging.getLogger(__name__)


def statistics_of(config: Config) -> tuple[str, ...]:
    """Return the names of the statistics to record: those asked for, or those that the score methods need."""
    asked = config.record.statistics
    names = asked if asked is not None else statistics_read(score_methods(config))
    for name in names:
        STATISTICS[name]
    # Every selection needs the mean probability, whatever the score.
    return tuple(dict.fromkeys(["target_prob", *names]))


def run_record(run: RunDirectory, config: Config, *, force: bool = False) -> None:
    """Record the first `record.epochs` epochs, continuing an interrupted or shorter recording.

    With `record.stop: stable` recording ends as soon as the scores have settled. With `record.online` the workers also
    do the score stage.

    A run directory that recorded other data, or with another model or recipe, is a RunError, unless `force` is given.
    """
    columns = statistics_of(config)
    _check_followed(config, columns)
    # Before an epoch is recorded, a mistake in the data or the recipe can simply be corrected.
    refuse_change = has_commits(run.dynamics)
    too_few = _too_few_to_stop(config)
    if too_few and not refuse_change:
        raise ConfigError(too_few)
    rule = _decoding_rule(run) if refuse_change and not force else RULE
    source = open_source(config.data, rule)
    data_settings: dict[str, Any] = {"data": config.identity("data"), "source": source.fingerprint()}
    if rule > 1:
        data_settings["decoding"] = rule
    with run.stage("index", data_settings, force=force, refuse_change=refuse_change) as index_stage:
        if not index_stage.done:
            if force:
                run.forget_recording()
            index_stage.summary = _build_index(run, config, source, index_stage.fingerprint)
    settings = {
        "model": config.identity("model"),
        "train": config.identity("train"),
        "statistics": list(columns),
        **config.batches_identity(),
    }
    known = run.manifest("record")
    reopen = known is not None and not enough_recorded(run, config, known["summary"]["epochs"])
    with run.stage(
        "record", settings, [index_stage.fingerprint], force=force, refuse_change=refuse_change, reopen=reopen
    ) as stage:
        if stage.done:
            check_recording(run)
            return
        if too_few:
            # An older version, whose rule could stop earlier, began it.
            logger.warning("%s", too_few)
        if force:
            run.forget_recording()
        if index_stage.done:
            check_rows(source, SampleIndex.load(run.index))
        stage.summary = _record(run, config, source, columns, stage.fingerprint)


def _decoding_rule(run: RunDirectory) -> int:
    """Return the rule of decoding that the recording there began with: all of its epochs see the same pixels."""
    began = run.manifests().get("index")
    return RULE if began is None else decoding_rule(began["settings"])


def enough_recorded(run: RunDirectory, config: Config, num_epochs: int) -> bool:
    """Return whether a finished recording of this many epochs is what the configuration asks for.

    A recording that stopped early is reopened only where `record.stable` would not have let it stop, not because the
    configuration keeps other samples.
    """
    if len(DynamicsStore(run).epochs) < num_epochs:
        # Someone removed a damaged epoch.
        return False
    if num_epochs >= config.record.epochs:
        return True
    if config.record.stop == "fixed" or not run.stability.exists():
        return False
    measured, rule = run.stability.read_record(), config.record.stable
    if any(measured["rule"][name] != getattr(rule, name) for name in ("lag", "max_samples")):
        return False
    return settled_at(measured["epochs"], rule, config.score.epochs or 0) is not None


def _check_followed(config: Config, columns: tuple[str, ...]) -> None:
    """Raise a ConfigError where `record.stop: stable` would follow scores of a statistic that is not recorded."""
    if config.record.stop != "stable":
        return
    followed = score_methods(config)[config.select_score]
    if not isinstance(followed, EpochScore):
        raise ConfigError(
            f"record.stop: stable follows a score of epochs, but {followed.name} reads columns; set it to fixed"
        )
    if unstored(followed.reads):
        raise ConfigError(
            f"record.stop: stable measures every epoch again after a restart, but {followed.name} reads "
            f"{unstored(followed.reads)[0]}, which is not stored; set it to fixed"
        )
    missing = [name for name in followed.reads if name not in columns]
    if missing:
        raise ConfigError(
            f"record.statistics: {missing[0]!r} is not among {', '.join(columns)}, but record.stop: stable follows the "
            f"scores of {config.select_score!r}, which need it; record it as well"
        )


def _too_few_to_stop(config: Config) -> str:
    """Return why `record.stop: stable` cannot stop before `record.epochs`; empty where it can, or is not asked to."""
    if config.record.stop != "stable":
        return ""
    spans, patience = Spans.of(config), config.record.stable.patience
    least = spans.earliest_stop(patience)
    if least <= config.record.epochs:
        return ""
    return (
        f"record.stop: stable cannot stop before {least} epochs: the first measurement is after {spans.first} (the "
        f"newest {spans.recent} are compared with those before), and record.stable.patience is {patience}; but "
        f"record.epochs is {config.record.epochs}. Record more epochs, lower one of the others, or set record.stop to "
        "fixed"
    )


def _build_index(run: RunDirectory, config: Config, source: Source, fingerprint: str) -> dict[str, Any]:
    workers = config.scaling.num_workers or 2
    if len(source.classes) < 2 and source.num_samples:
        raise DataError(
            f"the data set has one class only ({source.classes[0]!r}); a model has nothing to learn from it. "
            "Check data.options.label_column"
        )
    index = SampleIndex.build(
        run.index,
        source.sample_batches(),
        num_samples=source.num_samples,
        num_buckets=config.record.num_buckets or default_num_buckets(source.num_samples, workers),
        classes=source.classes,
        fingerprint=fingerprint,
    )
    return {"samples": index.num_samples, "classes": index.num_classes, "buckets": index.num_buckets}


def _record(
    run: RunDirectory, config: Config, source: Source, columns: tuple[str, ...], fingerprint: str
) -> dict[str, Any]:
    ensure_ray(config.scaling)
    workers = Workers.of(config.scaling)
    check_shared_out(config.scaling.partitions, workers.count)
    _tell_of_other_batches(run.checkpoints / f"record-{fingerprint}", config)
    if source.decoding < RULE:
        logger.info(
            "record: images are decoded by rule %d of docs/recording.md, with which this run began; another run "
            "directory, or force=True, decodes them by rule %d",
            source.decoding,
            RULE,
        )
    with user_errors():
        data = load_resident(source)
        with worker_progress("record", total=config.record.epochs) as progress:
            job = RecordJob(config, str(run.root.address), columns, fingerprint, data, progress)
            result = fit(
                record_worker,
                job,
                workers,
                run.checkpoints,
                f"record-{fingerprint}",
                max_failures=config.scaling.max_failures,
            )
    epochs = DynamicsStore(run).epochs
    assert epochs == list(range(result["epochs"])), f"recording ended with epochs {epochs} committed"
    if result["settled"]:
        logger.info("the scores have settled after %d of at most %d epochs", len(epochs), config.record.epochs)
    return {
        "epochs": len(epochs),
        "stopped_by": "stable" if result["settled"] else "record.epochs",
        "statistics": list(columns),
        "workers": workers.count,
        "device": result["device"],
        "samples_per_s": result["samples_per_s"],
        "skipped": _skipped(data),
        "train_accuracy": result["train_accuracy"],
        **({} if config.train.curriculum.name is None else {"curriculum": _chosen(result["chosen"], data.num_train)}),
    }


def _chosen(epochs: list[dict[str, Any]], num_samples: int) -> dict[str, Any]:
    """Return what a curriculum chose, epoch by epoch, and the share of the sample visits that it saved."""
    visits, steps = (sum(row[name] for row in epochs) for name in ("visits", "steps"))
    every = len(epochs) * num_samples
    saved = round(1 - visits / every, 4) if every else None
    if saved is not None:
        logger.info("the curriculum took %d of %d sample visits: %.1f%% saved", visits, every, 100 * saved)
    return {"visits": visits, "of": every, "saved": saved, "steps": steps, "epochs": epochs}


def _tell_of_other_batches(folder: Location, config: Config) -> None:
    newest = checkpoint.newest_version(folder)
    if newest is not None and newest[1] < checkpoint.VERSION:
        logger.info(
            "record: an earlier version trained up to epoch %d; from epoch %d on, batches follow a plan of %d "
            "partitions, which is the same for any number of workers",
            newest[0],
            newest[0] + 1,
            config.scaling.partitions,
        )


def _skipped(data: ResidentData) -> dict[str, Any]:
    ids = list(data.skipped_ids)
    if ids:
        logger.warning("%d images could not be decoded and are left out, such as %s", len(ids), ids[:5])
    return {"count": len(ids), "first": [str(sample_id) for sample_id in ids[:20]]}
