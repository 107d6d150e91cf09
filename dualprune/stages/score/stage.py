"""The score stage: runs score methods over the dynamics store, a task per bucket, one read for all methods."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from dualprune.cluster.tasks import over_buckets
from dualprune.core.config import Config
from dualprune.core.run import RunDirectory
from dualprune.dynamics.blocks import Block, read_blocks
from dualprune.dynamics.store import DynamicsStore
from dualprune.errors import ConfigError
from dualprune.scores.mean_prob import TARGET_PROB, mean_over_epochs
from dualprune.scores.score import EpochScore, Result
from dualprune.stages.methods import column_scores, epoch_scores, score_methods, statistics_read
from dualprune.stages.score.column_scores import run_column_score
from dualprune.stages.score.columns import check_columns
from dualprune.stages.score.files import (
    ScoredBlock,
    Written,
    gaps_of,
    missing_buckets,
    write_bucket,
)
from dualprune.stages.score.kept import check_kept, is_kept, kept_blocks
from dualprune.stages.score.manifests import begin_stages, commit_stages


@dataclass(frozen=True)
class ScoreJob:
    """Everything that a scoring task needs to know; `mean_epochs` as in the configuration, None for all `epochs`."""

    run: str
    methods: Mapping[str, EpochScore]
    epochs: Sequence[int]
    on_nan: str
    mean_epochs: int | None = None


def run_score(run: RunDirectory, config: Config, *, force: bool = False) -> None:
    """Score every sample by each of `score.methods`; a crash costs only the unfinished buckets."""
    run.require("record", "record")
    store = DynamicsStore(run)
    epochs = chosen_epochs(store, config.score.epochs)
    wanted = score_methods(config)
    columns = column_scores(wanted)
    check_columns(run, columns)
    with ExitStack() as stack:
        methods = epoch_scores(wanted)
        stages = begin_stages(stack, run, config, store, epochs, methods, force=force)
        todo = {name: methods[name] for name in stages}
        kept = {name: method for name, method in todo.items() if is_kept(method)}
        for some in ({name: method for name, method in todo.items() if name not in kept}, kept):
            if some:
                job = ScoreJob(str(run.root.address), some, epochs, config.score.on_nan, config.mean_epochs)
                written = _score(run, config, store, job)
                commit_stages(run, store, epochs, some, {name: stages[name] for name in some}, written)
    # After the methods whose scores they may read.
    for name, method in columns.items():
        run_column_score(run, config, store, epochs, name, method, force=force)


def chosen_epochs(store: DynamicsStore, limit: int | None) -> list[int]:
    """Return the epochs to score by: the first `limit` committed ones; a RunError where one is missing."""
    store.check_whole()
    if limit is not None and limit > len(store.epochs):
        raise ConfigError(f"score.epochs: {limit} is more than the {len(store.epochs)} epochs recorded in {store.run}")
    return store.epochs[:limit]


def _score(run: RunDirectory, config: Config, store: DynamicsStore, job: ScoreJob) -> list[Written]:
    if any(map(is_kept, job.methods.values())):
        check_kept(store, job)
    missing = missing_buckets(run, job.methods, range(store.num_buckets))
    return list(over_buckets(partial(score_bucket, job), missing, config.scaling, title="score"))


def score_bucket(job: ScoreJob, bucket: int) -> Written:
    """Score one bucket by every method, block by block, write its files, and return their records by method."""
    store = DynamicsStore(job.run)
    blocks = kept_blocks if any(map(is_kept, job.methods.values())) else scored_blocks
    return write_bucket(store.run, bucket, blocks(store, bucket, job), job.methods, job.epochs, job.on_nan)


def scored_blocks(store: DynamicsStore, bucket: int, job: ScoreJob) -> Iterator[ScoredBlock]:
    """Yield a bucket's blocks of samples, read and scored by every method, in position order."""
    for block in read_blocks(store, bucket, statistics_read(job.methods), job.epochs):
        scored = {name: _scored(method, block) for name, method in job.methods.items()}
        mean = mean_over_epochs(block.statistics[TARGET_PROB], job.mean_epochs)
        yield ScoredBlock(block.first_position, block.index, scored, mean, partial(gaps_of, block.statistics))


def _scored(method: EpochScore, block: Block) -> Result:
    arrays = {name: block.statistics[name] for name in method.reads}
    # A method gets the epochs in which everything that it reads has values.
    num_epochs = min(array.shape[1] for array in arrays.values())
    return method.score({name: array[:, array.shape[1] - num_epochs :] for name, array in arrays.items()})
