"""Scores from columns: what was measured once per sample, and other scores.

A method that takes any rows gets a block at a time, in a task per bucket. A method that must see a class or the whole
set at once gets it in this process, up to `score.max_bytes`; or, if it has `summarise` and `merge`, a block at a time
together with the summary of all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from dualprune.cluster.tasks import over_buckets
from dualprune.core.config import Config
from dualprune.core.run import RunDirectory
from dualprune.dynamics.columns import ColumnStore
from dualprune.dynamics.store import DynamicsStore
from dualprune.errors import ConfigError
from dualprune.scores.mean_prob import TARGET_PROB, mean_over_epochs
from dualprune.scores.score import SAMPLE_ID, ColumnScore, Values, split
from dualprune.stages.inputs import column_score_inputs
from dualprune.stages.methods import columns_read, run_and_score, scores_read
from dualprune.stages.score.columns import ColumnBlock, ColumnJob, column_blocks
from dualprune.stages.score.files import Gaps, ScoredBlock, Written, gaps_of, write_bucket
from dualprune.stages.score.manifests import begin_stages, commit_stages


def run_column_score(
    run: RunDirectory,
    config: Config,
    store: DynamicsStore,
    epochs: Sequence[int],
    name: str,
    method: ColumnScore,
    *,
    force: bool = False,
) -> None:
    """Score every sample by one method that reads columns; a RunError where a column is missing."""
    inputs = column_score_inputs(run, name, method)
    methods = {name: method}
    with ExitStack() as stack:
        stages = begin_stages(stack, run, config, store, epochs, methods, inputs={name: inputs}, force=force)
        if not stages:
            return
        for score in scores_read(method):
            other, known = run_and_score(run, score)
            other.require_whole(f"score.{known}", "score")
        job = ColumnJob(str(run.root.address), name, method, epochs, config.score.on_nan, config.mean_epochs)
        buckets = range(store.num_buckets)
        if method.scope == "sample" or method.summarises:
            if method.scope != "sample":
                job = replace(job, summaries=_summaries(job, config, buckets))
            written = list(over_buckets(partial(_score_bucket, job), buckets, config.scaling, title=f"score {name}"))
        else:
            whole = _score_whole(store, job, config.score.max_bytes)
            written = [write_bucket(run, bucket, whole(bucket), methods, epochs, job.on_nan) for bucket in buckets]
        commit_stages(run, store, epochs, methods, stages, written)


def _score_bucket(job: ColumnJob, bucket: int) -> Written:
    store = DynamicsStore(job.run)
    blocks = (_scored(job, found, _by_class(job, found)) for found in column_blocks(store, bucket, job))
    return write_bucket(store.run, bucket, blocks, {job.name: job.method}, job.epochs, job.on_nan)


def _by_class(job: ColumnJob, found: ColumnBlock) -> tuple[np.ndarray, Values]:
    """Return scores [n] and extras of a block, NaN where a sample is not usable."""
    groups = _groups(job.method, found.labels, found.usable)
    return _called(job, found.columns, found.labels, groups)


def _groups(method: ColumnScore, labels: np.ndarray, usable: np.ndarray) -> dict[int | None, np.ndarray]:
    """Return the rows of each call by class, or those of the only call under None."""
    rows = np.flatnonzero(usable)
    if method.scope != "class":
        return {None: rows}
    order = rows[np.argsort(labels[rows], kind="stable")]
    classes, starts = np.unique(labels[order], return_index=True)
    return dict(zip(classes.tolist(), np.split(order, starts[1:]), strict=True))


def _called(
    job: ColumnJob, columns: Values, labels: np.ndarray, groups: dict[int | None, np.ndarray]
) -> tuple[np.ndarray, Values]:
    score = np.full(len(labels), np.nan)
    extras: dict[str, np.ndarray] = {}
    for key, rows in groups.items():
        own = {name: values[rows] for name, values in columns.items()}
        summary = None if job.summaries is None else job.summaries[key]
        found, more = split(job.method.score(own, labels[rows], summary))
        score[rows] = found
        for name, values in more.items():
            extras.setdefault(name, np.zeros((len(labels), *values.shape[1:]), values.dtype))[rows] = values
    return score, extras


def _scored(job: ColumnJob, found: ColumnBlock, result: tuple[np.ndarray, Values]) -> ScoredBlock:
    block = found.block
    mean = mean_over_epochs(block.statistics[TARGET_PROB], job.mean_epochs)

    def gaps() -> Gaps:
        seen = gaps_of(block.statistics)
        # A sample that is left out for any other reason has no row either.
        left_out = ~found.usable & (seen.num_epochs == 0)
        return seen._replace(num_epochs=np.where(left_out, len(job.epochs), seen.num_epochs))

    return ScoredBlock(block.first_position, block.index, {job.name: result}, mean, gaps)


def _summaries(job: ColumnJob, config: Config, buckets: Sequence[int]) -> dict[int | None, Any]:
    merged: dict[int | None, Any] = {}
    title = f"summarise {job.name}"
    for found in over_buckets(partial(_summarise, job), buckets, config.scaling, title=title):
        _merge(job.method, merged, found)
    return merged


def _summarise(job: ColumnJob, bucket: int) -> dict[int | None, Any]:
    merged: dict[int | None, Any] = {}
    for found in column_blocks(DynamicsStore(job.run), bucket, job):
        for key, rows in _groups(job.method, found.labels, found.usable).items():
            if len(rows):
                own = {name: values[rows] for name, values in found.columns.items()}
                _merge(job.method, merged, {key: job.method.summarise(own, found.labels[rows])})
    return merged


def _merge(method: ColumnScore, merged: dict[int | None, Any], more: dict[int | None, Any]) -> None:
    for key, summary in more.items():
        merged[key] = method.merge(merged[key], summary) if key in merged else summary


def _score_whole(store: DynamicsStore, job: ColumnJob, max_bytes: int) -> Callable[[int], Iterator[ScoredBlock]]:
    """Score all samples in as few passes as `max_bytes` allows, and return a function from bucket to scored blocks."""
    buckets = range(store.num_buckets)
    per_sample = _bytes_per_sample(store, job)
    batches = _batches(store, job, per_sample, max_bytes)
    score, extras = np.full(store.num_samples, np.nan), dict[str, np.ndarray]()
    for classes in batches:
        positions, labels, parts = [], [], []
        for bucket in buckets:
            for found in column_blocks(store, bucket, job):
                wanted = found.usable if classes is None else found.usable & np.isin(found.labels, classes)
                positions.append(found.block.first_position + np.flatnonzero(wanted))
                labels.append(found.labels[wanted])
                parts.append({name: values[wanted] for name, values in found.columns.items()})
        columns = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        del parts
        all_labels = np.concatenate(labels)
        groups = _groups(job.method, all_labels, np.ones(len(all_labels), dtype=bool))
        own, more = _called(job, columns, all_labels, groups)
        rows = np.concatenate(positions)
        score[rows] = own
        for name, values in more.items():
            extras.setdefault(name, np.zeros((len(score), *values.shape[1:]), values.dtype))[rows] = values

    def scored(bucket: int) -> Iterator[ScoredBlock]:
        for found in column_blocks(store, bucket, job):
            inside = slice(found.block.first_position, found.block.first_position + len(found.usable))
            own = {name: values[inside] for name, values in extras.items()}
            yield _scored(job, found, (score[inside], own))

    return scored


def _bytes_per_sample(store: DynamicsStore, job: ColumnJob) -> int:
    columns = ColumnStore(store.run)
    widths = [int(columns.record(name)["width"]) for name in columns_read({job.name: job.method})]
    return 4 * sum(widths) + 8 * (len(scores_read(job.method)) + (SAMPLE_ID in job.method.reads))


def _batches(store: DynamicsStore, job: ColumnJob, per_sample: int, max_bytes: int) -> list[Sequence[int] | None]:
    """Return the classes of each pass, or one pass for all (None); a ConfigError where one needs too many bytes."""
    whole = store.num_samples * per_sample
    if whole <= max_bytes:
        return [None]
    if job.method.scope == "all":
        raise _too_many(job.name, "all samples", whole, max_bytes)
    batches: list[Sequence[int] | None] = []
    batch: list[int] = []
    held = 0
    for label, count in enumerate(np.bincount(store.index.labels, minlength=store.index.num_classes).tolist()):
        if count * per_sample > max_bytes:
            raise _too_many(job.name, f"class {store.index.classes[label]!r}", count * per_sample, max_bytes)
        if batch and held + count * per_sample > max_bytes:
            batches.append(batch)
            batch, held = [], 0
        batch.append(label)
        held += count * per_sample
    return [*batches, batch]


def _too_many(name: str, what: str, needed: int, allowed: int) -> ConfigError:
    return ConfigError(
        f"score.max_bytes: {name} must see {what} at once, {needed:,} bytes of columns; the limit is {allowed:,}; "
        "raise the limit where there is memory, or use another method"
    )
