"""Trainings outside of the search: the full set's accuracy, and the check of the best points on the test set.

tune/baseline/*.json, tune/test/*.json   a row a training, as `evaluate` has it
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ray
from ray.util import ActorPool

from dualprune.cluster.train import Workers
from dualprune.core.config import Config
from dualprune.core.storage import Location, fingerprint
from dualprune.selection.sampler import SAMPLERS
from dualprune.stages.tune.worker import FULL, RANDOM, SELECTED, Job, Worker, Workshop


def run_jobs(
    shop: Workshop, jobs: Sequence[Job], place: Location, workers: Workers, num_actors: int
) -> list[dict[str, Any]]:
    """Train jobs, a few at a time, and return their rows in order; what lies in `place` is not trained again."""
    files = [place / f"{_key(job)}.json" for job in jobs]
    todo = [(job, file) for job, file in zip(jobs, files, strict=True) if not file.exists()]
    if todo:
        actor = ray.remote(num_cpus=workers.cpus_each, num_gpus=1 if workers.use_gpu else 0)(Worker)
        actors = [actor.remote(shop) for _ in range(min(num_actors, len(todo)))]
        try:
            pool = ActorPool(actors)
            rows = pool.map(lambda worker, item: worker.run.remote(item[0]), todo)
            for (_, file), row in zip(todo, rows, strict=True):
                file.write_json(row)
        finally:
            for handle in actors:
                ray.kill(handle)
    return [file.read_json() for file in files]


def baseline_jobs(config: Config) -> list[Job]:
    """Return the trainings on all samples that may be selected."""
    return [Job(FULL, config, seed) for seed in range(config.tune.seeds)]


def test_jobs(config: Config, chosen: Sequence[Config]) -> list[Job]:
    """Return the trainings of the final check: the chosen points, random subsets of their ratios, the full set."""
    seeds = range(config.evaluate.seeds)
    jobs = [Job(FULL, chosen[0], seed) for seed in seeds] if config.evaluate.full else []
    if config.evaluate.random:
        with_ratio = [one for one in reversed(chosen) if SAMPLERS[one.select.method].has_ratio]
        by_ratio = {one.select.ratios[0]: one for one in with_ratio}
        jobs += [Job(RANDOM, one, seed) for one in by_ratio.values() for seed in seeds]
    return jobs + [Job(SELECTED, one, seed) for one in chosen for seed in seeds]


def _key(job: Job) -> str:
    """Return a name that stands for all that the training depends on."""
    config = job.config
    parts: list[Any] = [
        config.identity("model"),
        config.identity("train"),
        config.evaluate.model_dump(mode="json", include={"epochs", "batch_size", "budget"}),
    ]
    if job.subset == RANDOM:
        parts += [config.select.seed, config.select.ratios]
    elif job.subset == SELECTED:
        parts += [config.select_score, config.identity("score"), config.identity("select")]
    return f"{job.subset}-{job.seed}-{fingerprint(parts)}"
