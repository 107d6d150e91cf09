"""The work of one Ray Train worker while recording: resume, train, record, checkpoint."""

from __future__ import annotations

import itertools
import logging
import time
from dataclasses import dataclass
from typing import Any

import ray.train
import ray.train.torch
import torch

from dualprune.cluster import gauges
from dualprune.core import metrics
from dualprune.core.config import Config
from dualprune.core.run import RunDirectory
from dualprune.data.arrangement import Scatter
from dualprune.data.resident import ResidentLoader, ResidentSplit
from dualprune.dynamics.commit import discard_from
from dualprune.dynamics.index import SampleIndex
from dualprune.dynamics.state import has_state
from dualprune.dynamics.statistics import Forward, make_statistics
from dualprune.dynamics.store import DynamicsStore
from dualprune.dynamics.writer import DynamicsWriter
from dualprune.stages.record.decode import ResidentData
from dualprune.stages.record.stability_watch import StabilityWatch
from dualprune.stages.score.running import RunningScores
from dualprune.training import checkpoint, collectives
from dualprune.training.curricula import Facts
from dualprune.training.loop import EpochResult, Trainer
from dualprune.training.network import build_network
from dualprune.training.plans import Plans, make_curriculum
from dualprune.training.process import prepare_process
from dualprune.training.recorder import EpochRecorder

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RecordJob:
    """Everything that a recording worker needs to know."""

    config: Config
    run: str
    columns: tuple[str, ...]
    fingerprint: str
    data: ResidentData
    progress: Any


def record_worker(arguments: dict[str, Any]) -> dict[str, Any]:
    """Train and record from the last epoch that has both a commit and a checkpoint; return figures for the manifest."""
    gauges.install()
    job: RecordJob = arguments["job"]
    config, run = job.config, RunDirectory(job.run)
    device = ray.train.torch.get_device()
    prepare_process(config.scaling.cpus_per_worker)
    rank, world_size = collectives.rank(), collectives.world_size()
    store = DynamicsStore(run)
    split = job.data.split("train", device)
    loader = ResidentLoader(split, job.data, config.train, device, rank=rank, world_size=world_size)
    arrangement = Scatter(job.data.num_train, config.scaling.partitions, config.train.seed)
    curriculum = make_curriculum(
        config.train.curriculum, _facts(config, split, store.index), config.record.max_state_bytes
    )
    plans = Plans(arrangement, config.train.batch_size, curriculum=curriculum, ranks=(rank, world_size))
    num_steps = plans.whole.num_steps
    trainer = Trainer(
        build_network(config, job.data, device, seed=config.train.seed, wrap=ray.train.torch.prepare_model),
        config.train,
        config.train.epochs * num_steps,
        device,
        warmup_steps=config.train.warmup_epochs * num_steps,
        epoch_steps=num_steps,
    )
    statistics = make_statistics(job.columns)
    stored = tuple(statistic.name for statistic in statistics if statistic.stored)
    writer = DynamicsWriter(run.dynamics, store.index, stored, job.fingerprint)
    capacity = plans.whole.num_rows(rank, world_size)
    scores = RunningScores.from_config(config, store.index, stored, set(job.columns) - set(stored))
    watch = _watch(run, config, store, scores)
    listeners = [*scores, *([watch] if watch is not None else [])]
    recorder = EpochRecorder(writer, statistics, capacity, device, listeners, config.record.max_state_bytes)
    first = _resume(trainer, plans, store, recorder, run, job)
    recorder.resume(store, first)

    def observe(positions: torch.Tensor, forward: Forward) -> None:
        recorder.record(positions, forward)
        plans.observe(positions, forward)

    if collectives.rank() == 0:
        job.progress.set.remote(first)
    started = time.monotonic()
    accuracy = None
    num_epochs, trained = first, 0
    while num_epochs < config.record.epochs and not recorder.stopped:
        epoch, num_epochs = num_epochs, num_epochs + 1
        epoch_started = time.monotonic()
        plan = plans.of_epoch(epoch)
        result = trainer.train_epoch(loader, epoch, plan, observe)
        accuracy = result.accuracy
        trained += plan.num_samples
        trained_s = time.monotonic() - epoch_started
        checkpointed = num_epochs % config.record.checkpoint_every == 0 or num_epochs == config.record.epochs
        # An epoch that may turn out to be the last gets a checkpoint, too.
        recorder.end_epoch(epoch, keep_state=checkpointed or recorder.prompt(epoch))
        last = num_epochs == config.record.epochs or recorder.stopped
        plans.end_epoch(plan, trainer, loader)
        note = f"loss {result.loss:.3f}, accuracy {result.accuracy:.1%}"
        if plans.chosen and (hidden := plans.chosen[-1]["hidden"]):
            note = f"{note}, {hidden:,} samples hidden"
        if watch is not None and watch.prompt(epoch):
            note = ", ".join(filter(None, [note, watch.words()]))
        if collectives.rank() == 0:
            planned = num_epochs if last else config.record.epochs
            _publish(run, epoch, planned, result, plan.num_samples / trained_s, recorder.commit_s)
            job.progress.set.remote(num_epochs, note)
        if last:
            recorder.commit()
        if last or checkpointed:
            _report(trainer, epoch, result.loss, {"plans": plans.state_dict()})
    recorder.close()
    trained_s = time.monotonic() - started
    for some in scores:
        some.write(run, config, num_epochs)
    return {
        "epochs": num_epochs,
        "settled": watch is not None and watch.settled is not None,
        "device": torch.cuda.get_device_name() if device.type == "cuda" else "cpu",
        # None where a restart found all epochs recorded.
        "samples_per_s": round(trained / trained_s, 1) if trained else None,
        "train_accuracy": accuracy,
        "chosen": plans.chosen,
    }


def _watch(
    run: RunDirectory, config: Config, store: DynamicsStore, scores: list[RunningScores]
) -> StabilityWatch | None:
    if config.record.stop == "stable":
        followed = next(some for some in scores if config.select_score in some.methods)
        return StabilityWatch(run, config, store.index, followed)
    if collectives.rank() == 0:
        # The curve of an earlier recording with `stop: stable` is not continued.
        run.stability.delete()
    return None


def _facts(config: Config, split: ResidentSplit, index: SampleIndex) -> Facts:
    """Return the facts about the training that a curriculum gets."""
    return Facts(
        num_samples=index.num_samples,
        labels=split.labels.cpu().numpy(),
        num_classes=index.num_classes,
        epochs=config.train.epochs,
        batch_size=config.train.batch_size,
        bucket_rows=index.bucket_rows,
        seed=config.train.seed,
    )


def _resume(
    trainer: Trainer, plans: Plans, store: DynamicsStore, recorder: EpochRecorder, run: RunDirectory, job: RecordJob
) -> int:
    """Bring every rank's model to the same state and return the epoch to continue with."""
    found = None
    if collectives.rank() == 0:
        ours = {e for e, commit in store.commits.items() if commit["fingerprint"] == job.fingerprint}
        # Where an epoch in the middle was lost, all epochs from there on are recorded again.
        epochs = set(itertools.takewhile(lambda e: e in ours, itertools.count()))
        if recorder.needs_state:
            epochs = {epoch for epoch in epochs if has_state(run.dynamics, epoch)}
        folder = run.checkpoints / f"record-{job.fingerprint}"
        found = checkpoint.newest_whole(folder, epochs)
        discard_from(run.dynamics, found[0] + 1 if found else 0)
    found = collectives.from_rank_zero(found)
    if found is None:
        return 0
    epoch, place = found
    extra = checkpoint.restore(trainer, place)
    plans.load_state_dict(extra.get("plans", {}))
    logger.info("recording continues after epoch %d", epoch)
    return int(epoch) + 1


def _publish(
    run: RunDirectory, epoch: int, planned: int, result: EpochResult, samples_per_s: float, commit_s: float
) -> None:
    values = {
        "dualprune_epoch": epoch,
        "dualprune_epochs_planned": planned,
        "dualprune_samples_per_second": samples_per_s,
        "dualprune_loss": result.loss,
        "dualprune_train_accuracy": result.accuracy,
        "dualprune_commit_seconds": commit_s,
    }
    for name, value in values.items():
        metrics.gauge(name, value, run=str(run))


def _report(trainer: Trainer, epoch: int, loss: float, extra: dict[str, Any]) -> None:
    # Every rank must report, or the others wait forever; rank 0's checkpoint and folder name count.
    metrics = {"epoch": epoch, "loss": loss}
    if collectives.rank() > 0:
        ray.train.report(metrics)
        return
    with checkpoint.written(trainer, epoch, extra) as folder:
        ray.train.report(
            metrics,
            checkpoint=ray.train.Checkpoint.from_directory(str(folder)),
            checkpoint_dir_name=checkpoint.checkpoint_name(epoch),
        )
