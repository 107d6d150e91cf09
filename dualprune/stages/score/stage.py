"""The score stage: runs score methods over the dynamics store, a bucket a task, one read for all methods."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

import numpy as np

from dualprune.cluster.tasks import over_buckets
from dualprune.core.config import Config
from dualprune.core.run import RunDirectory
from dualprune.dynamics.blocks import read_blocks
from dualprune.dynamics.store import DynamicsStore
from dualprune.errors import ConfigError, RunError
from dualprune.scores.score import ScoreMethod
from dualprune.selection.engine.survey import Survey
from dualprune.stages.score.files import (
    Gaps,
    ScoredBlock,
    add_surveys,
    begin_stages,
    columns_of,
    commit_stages,
    look_at_bucket,
    missing_buckets,
    score_methods,
    write_bucket,
)


@dataclass(frozen=True)
class ScoreJob:
    """All that a scoring task needs to know."""

    run: str
    methods: Mapping[str, ScoreMethod]
    epochs: Sequence[int]
    on_nan: str


def run_score(run: RunDirectory, config: Config, *, force: bool = False) -> None:
    """Score every sample by each of `score.methods`; a crash costs the buckets that were under way."""
    run.require("record", "record")
    store = DynamicsStore(run)
    epochs = chosen_epochs(store, config.score.epochs)
    with ExitStack() as stack:
        methods = score_methods(config)
        stages = begin_stages(stack, run, config, store, epochs, methods, force=force)
        if stages:
            todo = {name: methods[name] for name in stages}
            surveys = _score(run, config, store, epochs, todo)
            commit_stages(run, store, epochs, todo, stages, surveys)


def chosen_epochs(store: DynamicsStore, limit: int | None) -> list[int]:
    """Return the epochs to score by: the first `limit` committed ones; a RunError where one in the middle is gone."""
    missing = store.missing_epochs
    if missing:
        raise RunError(
            f"{store.run}: epoch {missing[0]} has no commit, but later ones have; {store.remedy(missing[0])}"
        )
    odd = store.odd_epochs
    if odd:
        usual = [epoch for epoch in store.epochs if epoch not in odd]
        raise RunError(
            f"{store.run}: epochs {_listed(odd)} were recorded under another configuration than epochs "
            f"{_listed(usual)}, so their values do not belong together; {store.remedy(odd[0])}"
        )
    if limit is not None and limit > len(store.epochs):
        raise ConfigError(f"score.epochs: {limit} is more than the {len(store.epochs)} epochs recorded in {store.run}")
    return store.epochs[:limit]


def _listed(epochs: Sequence[int]) -> str:
    return ", ".join(map(str, epochs[:10])) + (f" and {len(epochs) - 10} more" if len(epochs) > 10 else "")


def _score(
    run: RunDirectory, config: Config, store: DynamicsStore, epochs: list[int], methods: Mapping[str, ScoreMethod]
) -> dict[str, Survey]:
    buckets = range(store.num_buckets)
    missing = frozenset(missing_buckets(run, methods, buckets))
    job = ScoreJob(str(run.root.address), methods, epochs, config.score.on_nan)
    surveys: dict[str, Survey] = {}
    for found in over_buckets(partial(_score_missing, job, missing), buckets, config.scaling, title="score"):
        add_surveys(surveys, found)
    return surveys


def _score_missing(job: ScoreJob, missing: frozenset[int], bucket: int) -> dict[str, Survey]:
    # What an interrupted run has written is looked at alone.
    return (
        score_bucket(job, bucket) if bucket in missing else look_at_bucket(RunDirectory(job.run), bucket, job.methods)
    )


def score_bucket(job: ScoreJob, bucket: int) -> dict[str, Survey]:
    """Score one bucket by every method, block by block, and write its files; returns a survey of each method's."""
    store = DynamicsStore(job.run)
    blocks = scored_blocks(store, bucket, job.methods, job.epochs)
    return write_bucket(store.run, bucket, blocks, job.epochs, job.on_nan)


def scored_blocks(
    store: DynamicsStore, bucket: int, methods: Mapping[str, ScoreMethod], epochs: Sequence[int]
) -> Iterator[ScoredBlock]:
    """Give a bucket's blocks of samples, read and scored by every method, in position order."""
    for block in read_blocks(store, bucket, columns_of(methods), epochs):
        scored = {name: method.score(block.statistics) for name, method in methods.items()}
        means = (result.mean_prob for result in scored.values() if result.mean_prob is not None)
        mean = next(means, None)
        if mean is None:
            mean = _mean(block.statistics["target_prob"])
        yield ScoredBlock(block.first_position, block.index, scored, mean, partial(_gaps, block.statistics))


def _mean(target_prob: np.ndarray) -> np.ndarray:
    """Return the mean of [n, T] over the epochs, added in their order as running scores add it."""
    total = np.zeros(len(target_prob))
    for epoch in target_prob.T:
        total += epoch
    mean: np.ndarray = total / target_prob.shape[1]
    return mean


def _gaps(statistics: Mapping[str, np.ndarray]) -> Gaps:
    missing = np.isnan(np.stack(list(statistics.values()))).any(axis=0)
    return Gaps(missing.sum(axis=1), missing.argmax(axis=1))
