"""Trains jobs in turn, each with several data-parallel workers of Ray Train (`evaluate.parallel: data`)."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dualprune.cluster.progress import worker_progress
from dualprune.cluster.session import user_errors
from dualprune.cluster.train import fit
from dualprune.core.storage import Location
from dualprune.stages.evaluate.jobs import Job, Row, TrainingContext


@dataclass(frozen=True)
class SharedJobs:
    """Everything that a rank needs to know."""

    context: TrainingContext
    jobs: tuple[tuple[Job, Location], ...]
    progress: Any


def train_together(
    context: TrainingContext, jobs: Sequence[tuple[Job, Location]], scratch: Location, title: str, max_failures: int
) -> list[Row]:
    """Train the jobs whose file is missing, and return the rows of all of them, in order, as `TrainingPool.train` does.

    `scratch` is a folder for Ray Train; it is deleted at the end.
    """
    todo = tuple((job, file) for job, file in jobs if not file.exists())
    if todo:
        with user_errors(), worker_progress(title, total=len(todo)) as progress:
            # Ray Train has nothing to resume: finished trainings are in the jobs' files.
            name = f"train-{uuid.uuid4().hex[:8]}"
            shared = SharedJobs(context, todo, progress)
            fit(_train, shared, context.workers, scratch, name, max_failures=max_failures)
        scratch.delete()
    return [{**file.read_record(), "subset": job.subset, "draw": job.draw} for job, file in jobs]


def _train(arguments: dict[str, Any]) -> dict[str, Any]:
    import ray.train.torch

    from dualprune.stages.evaluate.worker import Worker
    from dualprune.training import collectives

    shared: SharedJobs = arguments["job"]
    worker = Worker(shared.context, ray.train.torch.get_device(), ray.train.torch.prepare_model)
    # After a failure, a restart finds some jobs done; every rank must see the same list.
    todo = collectives.from_rank_zero([(job, file) for job, file in shared.jobs if not file.exists()])
    num_done = len(shared.jobs) - len(todo)
    if collectives.rank() == 0:
        shared.progress.set.remote(num_done)
    for number, (job, file) in enumerate(todo, start=1 + num_done):
        row = worker.run(job)
        if collectives.rank() == 0:
            file.write_json(row)
            shared.progress.set.remote(number, f"{row['subset']} {row['ratio']:g}: {row['accuracy']:.1%}")
    return {"trainings": len(todo)}
