"""The score stage: runs score methods over the dynamics store, a bucket a task, one read for all methods.

scores/method=dual/bucket=00003.parquet   sample_id, label, position, score, mean_prob; rows in position order
scores/method=dual/_commit.json           what the files are, written last
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dualprune.buckets import over_buckets
from dualprune.config import Config
from dualprune.dynamics.blocks import NUM_THREADS, Block, read_blocks
from dualprune.dynamics.layout import COMMIT, bucket_name
from dualprune.dynamics.store import DynamicsStore
from dualprune.errors import ConfigError, DataError, RunError
from dualprune.progress import counted
from dualprune.ray_session import ensure_ray, user_errors
from dualprune.run import RunDirectory, Stage
from dualprune.scores.registry import SCORES, ScoreMethod
from dualprune.storage import TableWriter, fingerprint

STARTED = "_started.json"


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
    recorded = fingerprint([store.index.fingerprint, *(store.commits[epoch]["files"] for epoch in epochs)])
    todo: dict[str, ScoreMethod] = {}
    with ExitStack() as stages:
        running: dict[str, Stage] = {}
        for name in dict.fromkeys([*config.score.methods, config.select_score]):
            method = SCORES[name].from_config(config.score)
            if len(epochs) < method.min_epochs:
                raise ConfigError(
                    f"{name}: {len(epochs)} recorded epochs are fewer than the {method.min_epochs} that it needs; "
                    "record more epochs (record.epochs) or shorten the window (score.window)"
                )
            settings = {"parameters": method.parameters, "epochs": len(epochs), "on_nan": config.score.on_nan}
            stage = stages.enter_context(run.stage(f"score.{name}", settings, [recorded], force=force))
            if not stage.done:
                todo[name], running[name] = method, stage
                _prepare(run, name, stage.fingerprint, force)
        if todo:
            _score(run, config, store, epochs, todo, running)


def chosen_epochs(store: DynamicsStore, limit: int | None) -> list[int]:
    """Return the epochs to score by: the first `limit` committed ones; a RunError where one in the middle is gone."""
    missing = sorted(set(range(max(store.epochs, default=-1) + 1)) - set(store.epochs))
    if missing:
        raise RunError(
            f"{store.run}: epoch {missing[0]} has no commit, but later ones have; {store.remedy(missing[0])}"
        )
    _check_one_configuration(store)
    if limit is not None and limit > len(store.epochs):
        raise ConfigError(f"score.epochs: {limit} is more than the {len(store.epochs)} epochs recorded in {store.run}")
    return store.epochs[:limit]


def _check_one_configuration(store: DynamicsStore) -> None:
    epochs_of: dict[str, list[int]] = {}
    for epoch, commit in store.commits.items():
        epochs_of.setdefault(commit["fingerprint"], []).append(epoch)
    if len(epochs_of) > 1:
        groups = sorted(epochs_of.values(), key=lambda epochs: (-len(epochs), epochs))
        odd = sorted(epoch for group in groups[1:] for epoch in group)
        raise RunError(
            f"{store.run}: epochs {_listed(odd)} were recorded under another configuration than epochs "
            f"{_listed(groups[0])}, so their values do not belong together; {store.remedy(odd[0])}"
        )


def _listed(epochs: Sequence[int]) -> str:
    return ", ".join(map(str, epochs[:10])) + (f" and {len(epochs) - 10} more" if len(epochs) > 10 else "")


def _prepare(run: RunDirectory, name: str, print_: str, force: bool) -> None:
    folder = run.scores(name)
    started = folder / STARTED
    # Buckets that an interrupted run of the same settings finished are kept.
    if force or not started.exists() or started.read_json() != print_:
        folder.delete()
        started.write_json(print_)


def _score(
    run: RunDirectory,
    config: Config,
    store: DynamicsStore,
    epochs: list[int],
    methods: Mapping[str, ScoreMethod],
    stages: Mapping[str, Stage],
) -> None:
    ensure_ray(config.scaling)
    buckets = range(store.num_buckets)
    # One listing a method: a question a file takes minutes on an object store.
    there = [{file.name for file in run.scores(name).children()} for name in methods]
    missing = [bucket for bucket in buckets if any(bucket_name(bucket) not in names for names in there)]
    with user_errors(), counted("score", total=len(missing)) as one_more:
        job = ScoreJob(str(run.root.address), methods, epochs, config.score.on_nan)
        for _ in over_buckets(partial(score_bucket, job), missing):
            one_more()
    for name, stage in stages.items():
        files = [run.scores(name) / bucket_name(bucket) for bucket in buckets]
        with ThreadPoolExecutor(NUM_THREADS) as pool:
            rows = list(pool.map(num_rows, files))
        (run.scores(name) / COMMIT).write_json(
            {
                "fingerprint": stage.fingerprint,
                "method": name,
                "parameters": methods[name].parameters,
                "epochs": len(epochs),
                "files": [{"name": file.name, "rows": count} for file, count in zip(files, rows, strict=True)],
            }
        )
        stage.summary = {"samples": sum(rows), "left_out": store.num_samples - sum(rows)}


def num_rows(file: Any) -> int:
    """Return the number of rows of a Parquet file."""
    import pyarrow.parquet as pq

    with file.open_input() as stream:
        return int(pq.ParquetFile(stream).metadata.num_rows)


def score_bucket(job: ScoreJob, bucket: int) -> int:
    """Score one bucket by every method, block by block, and write its files; returns the samples with a score."""
    store = DynamicsStore(job.run)
    columns = tuple(dict.fromkeys(["target_prob", *(c for m in job.methods.values() for c in m.requires)]))
    num_scored = 0
    with ExitStack() as stack:
        writers: dict[str, TableWriter] = {}
        for block in read_blocks(store, bucket, columns, job.epochs):
            for name, table in score_block(job, bucket, block).items():
                if name not in writers:
                    file = store.run.scores(name) / bucket_name(bucket)
                    writers[name] = stack.enter_context(file.table_writer(**fast_encoding(table.schema)))
                writers[name].write(table)
            num_scored += table.num_rows
    return num_scored


def score_block(job: ScoreJob, bucket: int, block: Block) -> dict[str, pa.Table]:
    """Return the rows of each method's score file that a block gives."""
    statistics, index = block.statistics, block.index
    scored = {name: method.score(statistics) for name, method in job.methods.items()}
    means = [result.mean_prob for result in scored.values() if result.mean_prob is not None]
    mean = means[0] if means else statistics["target_prob"].mean(1, dtype=np.float64)
    index = index.append_column("position", pa.array(np.arange(block.first_position, block.first_position + len(mean))))
    # A NaN among the statistics makes one of the score: the statistics themselves are looked at only then.
    suspect = np.isnan(mean)
    for result in scored.values():
        suspect |= np.isnan(result.score)
    keep = pa.array(_usable(index, bucket, statistics, job)) if suspect.any() else None
    tables = {}
    for name, result in scored.items():
        table = index.append_column("score", pa.array(result.score)).append_column("mean_prob", pa.array(mean))
        tables[name] = table if keep is None else table.filter(keep)
    return tables


def fast_encoding(schema: pa.Schema) -> dict[str, Any]:
    """Return the Parquet options by which scores are read fastest: differences of whole numbers, uncompressed."""
    whole = [name for name in ("sample_id", "position") if pa.types.is_integer(schema.field(name).type)]
    return {
        "compression": "none",
        "write_statistics": False,
        "use_dictionary": ["label"],
        "column_encoding": dict.fromkeys(whole, "DELTA_BINARY_PACKED"),
    }


def _usable(index: pa.Table, bucket: int, statistics: Mapping[str, np.ndarray], job: ScoreJob) -> np.ndarray:
    """Return which samples have all values; those never seen, such as skipped images, are left out without a word."""
    missing = np.isnan(np.stack(list(statistics.values()))).any(axis=0)
    partly = missing.any(axis=1) & ~missing.all(axis=1)
    if partly.any() and job.on_nan == "raise":
        row = int(np.flatnonzero(partly)[0])
        epoch = job.epochs[int(np.flatnonzero(missing[row])[0])]
        raise DataError(
            f"samples of bucket {bucket} have a NaN among their statistics, first sample "
            f"{index['sample_id'][row].as_py()!r} in epoch {epoch}; set score.on_nan to drop to leave such samples out"
        )
    usable: np.ndarray = ~missing.any(axis=1)
    return usable


def read_scores(run: RunDirectory, method: str, bucket: int, columns: Sequence[str] | None = None) -> pa.Table:
    """Return a bucket's scores, in position order: sample_id, label, position, score, mean_prob."""
    table = (run.scores(method) / bucket_name(bucket)).read_table(columns)
    if columns is None or "score" in columns:
        finite = pc.is_finite(table["score"])
        if not pc.all(finite, min_count=0).as_py():
            raise DataError(f"scores of {method} in bucket {bucket} are not all finite; score again with --force")
    return table
