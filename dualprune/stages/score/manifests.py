"""Begins and ends the stage of each score method: `score.NAME`, with the manifest and the record of its files."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from itertools import chain
from typing import Any

from dualprune.core import parquet
from dualprune.core.config import Config
from dualprune.core.identity import options_identity
from dualprune.core.outputs import Output
from dualprune.core.own_folder import discard
from dualprune.core.records import delete_files
from dualprune.core.run import RunDirectory, Stage
from dualprune.core.storage import Location
from dualprune.dynamics.blocks import NUM_THREADS
from dualprune.dynamics.commit import COMMIT
from dualprune.dynamics.layout import OWN_FILES, bucket_name
from dualprune.dynamics.store import DynamicsStore, first_epoch
from dualprune.scores.score import EpochScore, ScoreMethod
from dualprune.stages.inputs import score_inputs
from dualprune.stages.score.files import AGAIN, Written, files_of

STARTED = "_started.json"


def begin_stages(
    stack: ExitStack,
    run: RunDirectory,
    config: Config,
    store: DynamicsStore,
    epochs: Sequence[int],
    methods: Mapping[str, ScoreMethod],
    *,
    inputs: Mapping[str, Sequence[str]] | None = None,
    force: bool = False,
) -> dict[str, Stage]:
    """Enter the stage of each method on `stack`, and return those that have work to do, their folders prepared.

    `inputs` are, by method, the fingerprints of what it reads beside the recorded epochs.
    """
    recorded = score_inputs(store, epochs)
    todo = {}
    for name, method in methods.items():
        if isinstance(method, EpochScore):
            _check_epochs(method, epochs)
        settings: dict[str, Any] = {
            "options": options_identity("score method", name, method.options.model_dump(mode="json")),
            "epochs": len(epochs),
            "on_nan": config.score.on_nan,
        }
        if config.mean_epochs is not None and config.mean_epochs < len(epochs):
            settings["mean_epochs"] = config.mean_epochs
        read = [*recorded, *(inputs or {}).get(name, ())]
        stage = stack.enter_context(run.stage(f"score.{name}", settings, read, force=force))
        if not stage.done:
            todo[name] = stage
            delete_files(stage.damaged)
            _prepare(run.scores(name), stage.fingerprint, force)
    return todo


def _check_epochs(method: EpochScore, epochs: Sequence[int]) -> None:
    first = max((first_epoch(statistic) for statistic in method.reads), default=0)
    method.check_epochs(sum(epoch >= first for epoch in epochs))


def _prepare(folder: Location, stage_fingerprint: str, force: bool) -> None:
    started = folder / STARTED
    # Buckets that an interrupted run with the same settings finished are kept.
    if force or not started.exists() or started.read_json() != stage_fingerprint:
        discard(folder, OWN_FILES)
        started.write_json(stage_fingerprint)


def commit_stages(
    run: RunDirectory,
    store: DynamicsStore,
    epochs: Sequence[int],
    methods: Mapping[str, ScoreMethod],
    stages: Mapping[str, Stage],
    written: Iterable[Written],
) -> None:
    """Declare the files of each stage complete, and fill its summary.

    `written` are the records by method of each bucket that was written now; those of other buckets are made here.
    """
    written = list(written)
    for name, stage in stages.items():
        known = {output.path: output for outputs in written for output in outputs.get(name, ())}
        files = [run.scores(name) / bucket_name(bucket) for bucket in range(store.num_buckets)]
        with ThreadPoolExecutor(NUM_THREADS) as pool:
            rows = list(pool.map(_num_rows, files))
            buckets = range(store.num_buckets)
            stage.outputs = list(chain(*pool.map(partial(_outputs, run, name, methods[name], known), buckets)))
        (run.scores(name) / COMMIT).write_json(
            {
                "fingerprint": stage.fingerprint,
                "method": name,
                "parameters": methods[name].options.model_dump(mode="json"),
                "epochs": len(epochs),
                "files": [{"name": file.name, "rows": count} for file, count in zip(files, rows, strict=True)],
            }
        )
        stage.outputs += [Output.of(run.root, run.scores(name) / record) for record in (STARTED, COMMIT)]
        stage.summary = {"samples": sum(rows), "left_out": store.num_samples - sum(rows)}


def _num_rows(file: Location) -> int:
    with parquet.reading(file, AGAIN), file.open_input() as stream:
        return int(parquet.opened(stream).metadata.num_rows)


def _outputs(
    run: RunDirectory, name: str, method: ScoreMethod, known: Mapping[str, Output], bucket: int
) -> list[Output]:
    """Return the records of a bucket's files; those that an interrupted run left are read for it."""
    outputs = []
    for file in files_of(run, name, method, bucket):
        found = known.get(file.below(run.root) or "")
        if found is None:
            # Every page is verified before the file counts.
            file.read_table(remedy=AGAIN)
            found = Output.of(run.root, file)
        outputs.append(found)
    return outputs
