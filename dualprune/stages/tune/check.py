"""Trainings outside the search: the full set's accuracy, and the check of the best points on the test set.

tune/baseline/*.json, tune/test/*.json   a row per training, as `evaluate` has it
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dualprune.core.budgets import budget_identity
from dualprune.core.config import Config
from dualprune.core.storage import Location, fingerprint
from dualprune.selection.sampler import SAMPLERS
from dualprune.stages.evaluate.jobs import AllSamples, Job, RandomSamples
from dualprune.stages.evaluate.plan import FULL, RANDOM
from dualprune.stages.tune.context import SELECTED, SweepContext


def baseline_jobs(config: Config) -> list[Job]:
    """Return the trainings on all samples that may be selected."""
    return [_full(config, seed) for seed in range(config.tune.seeds)]


def test_jobs(sweep: SweepContext, chosen: Sequence[Config]) -> list[Job]:
    """Return the trainings of the final check: the full set, random subsets of the chosen points' ratios, the points.

    The points are listed as best-0, best-1, … in their order.
    """
    evaluate = sweep.config.evaluate
    seeds = range(evaluate.seeds)
    jobs = [_full(chosen[0], seed) for seed in seeds] if evaluate.full else []
    if evaluate.random:
        with_ratio = [one for one in reversed(chosen) if SAMPLERS[one.select.method].has_ratio]
        by_ratio = {one.select.ratios[0]: one for one in with_ratio}
        jobs += [_random(one, ratio, seed) for ratio, one in by_ratio.items() for seed in seeds]
    return jobs + [sweep.selected(one, seed, f"best-{rank}") for rank, one in enumerate(chosen) for seed in seeds]


def file_of(job: Job, folder: Location) -> Location:
    """Return the file of a job's row; its name follows from everything that the training depends on."""
    config = job.config
    parts: list[Any] = [
        config.identity("model"),
        {**config.identity("train"), **config.batches_identity()},
        {
            **config.evaluate.model_dump(mode="json", include={"epochs", "batch_size", "steps"}),
            "budget": budget_identity(config.evaluate.budget),
        },
    ]
    kind = job.subset if job.subset in (FULL, RANDOM) else SELECTED
    if kind == RANDOM:
        own = [config.select.seed] if config.select.stream == 1 else [{"stream": config.select.stream}]
        parts += [*own, config.select.ratios]
    elif kind == SELECTED:
        parts += [config.select_score, config.identity("score"), config.identity("select")]
    return folder / f"{kind}-{job.seed}-{fingerprint(parts)}.json"


def _full(config: Config, seed: int) -> Job:
    return Job(FULL, AllSamples(), config, 0.0, seed, config.evaluate.budget[0])


def _random(config: Config, ratio: float, seed: int) -> Job:
    samples = RandomSamples.of(config, ratio, seed, plain_seed=config.select.seed + seed)
    return Job(RANDOM, samples, config, ratio, seed, config.evaluate.budget[0], draw=seed)
