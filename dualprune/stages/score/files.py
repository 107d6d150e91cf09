"""What score files are, whoever writes them: the score stage from the store, or recording from its running scores.

scores/method=dual/bucket=00003.parquet   sample_id, label, position, score, mean_prob; rows in position order
scores/method=dual/_survey.parquet        what was seen of them, so that a selection need not look at all of them first
scores/method=dual/_commit.json           what the files are, written last
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from dualprune.core.config import Config
from dualprune.core.identity import options_identity
from dualprune.core.run import RunDirectory, Stage
from dualprune.core.storage import Location, TableWriter
from dualprune.dynamics.blocks import NUM_THREADS
from dualprune.dynamics.layout import COMMIT, bucket_name
from dualprune.dynamics.store import DynamicsStore
from dualprune.errors import ConfigError, DataError
from dualprune.scores.score import SCORES, Scored, ScoreMethod
from dualprune.selection.engine.survey import Survey
from dualprune.stages.inputs import score_inputs
from dualprune.stages.score.surveys import SURVEY, add_scores, survey_of_scores, write_survey

STARTED = "_started.json"


class Gaps(NamedTuple):
    """Where statistics of n samples are NaN: in how many epochs, and in which first; int [n] both."""

    num_epochs: np.ndarray
    first: np.ndarray


@dataclass(frozen=True)
class ScoredBlock:
    """Consecutive samples of a bucket with their scores by method.

    `index` has sample_id and label, `mean_prob` is float64 [n]; `gaps` is asked only where a score is NaN.
    """

    first_position: int
    index: pa.Table
    scored: Mapping[str, Scored]
    mean_prob: np.ndarray
    gaps: Callable[[], Gaps]


def score_methods(config: Config) -> dict[str, ScoreMethod]:
    """Return the score methods that the configuration names, by name."""
    names = dict.fromkeys([*config.score.methods, config.select_score])
    return {name: SCORES[name].from_config(config.score) for name in names}


def columns_of(methods: Mapping[str, ScoreMethod]) -> tuple[str, ...]:
    """Return the statistics that scoring by these methods reads; every file has the mean of target_prob."""
    return tuple(dict.fromkeys(["target_prob", *(name for method in methods.values() for name in method.requires)]))


def begin_stages(
    stack: ExitStack,
    run: RunDirectory,
    config: Config,
    store: DynamicsStore,
    epochs: Sequence[int],
    methods: Mapping[str, ScoreMethod],
    *,
    force: bool = False,
) -> dict[str, Stage]:
    """Enter the stage of each method on `stack`, and return those that have work to do, their folders prepared."""
    recorded = score_inputs(store, epochs)
    todo = {}
    for name, method in methods.items():
        if len(epochs) < method.min_epochs:
            raise ConfigError(
                f"{name}: {len(epochs)} recorded epochs are fewer than the {method.min_epochs} that it needs; "
                "record more epochs (record.epochs) or shorten the window (score.window)"
            )
        settings = {
            "options": options_identity("score method", name, method.parameters),
            "epochs": len(epochs),
            "on_nan": config.score.on_nan,
        }
        stage = stack.enter_context(run.stage(f"score.{name}", settings, recorded, force=force))
        if not stage.done:
            todo[name] = stage
            _prepare(run.scores(name), stage.fingerprint, force)
    return todo


def _prepare(folder: Location, print_: str, force: bool) -> None:
    started = folder / STARTED
    # Buckets that an interrupted run of the same settings finished are kept.
    if force or not started.exists() or started.read_json() != print_:
        folder.delete()
        started.write_json(print_)


def missing_buckets(run: RunDirectory, names: Iterable[str], buckets: Iterable[int]) -> list[int]:
    """Return those of `buckets` of which any of the named methods has no file."""
    # One listing a method: a question a file takes minutes on an object store.
    there = [{file.name for file in run.scores(name).children()} for name in names]
    return [bucket for bucket in buckets if any(bucket_name(bucket) not in files for files in there)]


def write_bucket(
    run: RunDirectory, bucket: int, blocks: Iterable[ScoredBlock], epochs: Sequence[int], on_nan: str
) -> dict[str, Survey]:
    """Write a bucket's file of each method from its blocks, in position order; returns a survey of each.

    Samples that were never seen, such as skipped images, are left out without a word. Those that lack some epochs are a
    DataError, or are left out where `on_nan` is "drop".
    """
    writers: dict[str, TableWriter] = {}
    surveys: dict[str, Survey] = {}
    with ExitStack() as stack:
        for block in blocks:
            for name, table in score_tables(block, bucket, epochs, on_nan).items():
                if name not in writers:
                    file = run.scores(name) / bucket_name(bucket)
                    writers[name] = stack.enter_context(file.table_writer(**fast_encoding(table.schema)))
                    surveys[name] = survey_of_scores()
                # First, while the block lies in the caches.
                add_scores(surveys[name], table)
                writers[name].write(table)
    return surveys


def look_at_bucket(run: RunDirectory, bucket: int, names: Iterable[str]) -> dict[str, Survey]:
    """Return what `write_bucket` returned when it wrote the files that are there."""
    surveys = {}
    for name in names:
        with (run.scores(name) / bucket_name(bucket)).open_input() as stream:
            file = pq.ParquetFile(stream)
            surveys[name] = survey_of_scores(file.read_row_group(number) for number in range(file.num_row_groups))
    return surveys


def add_surveys(surveys: dict[str, Survey], more: Mapping[str, Survey]) -> None:
    """Add what was seen of other buckets, by method."""
    for name, survey in more.items():
        surveys.setdefault(name, survey_of_scores()).add(survey)


def score_tables(block: ScoredBlock, bucket: int, epochs: Sequence[int], on_nan: str) -> dict[str, pa.Table]:
    """Return the rows of each method's score file that a block gives; errors as for `write_bucket`."""
    mean, first = block.mean_prob, block.first_position
    index = block.index.append_column("position", pa.array(np.arange(first, first + len(mean))))
    # A NaN among the statistics makes one of the score: the statistics themselves are looked at only then.
    suspect = np.isnan(mean)
    for result in block.scored.values():
        suspect |= np.isnan(result.score)
    keep = pa.array(_usable(block, bucket, epochs, on_nan)) if suspect.any() else None
    tables = {}
    for name, result in block.scored.items():
        table = index.append_column("score", pa.array(result.score)).append_column("mean_prob", pa.array(mean))
        tables[name] = without_nulls(table if keep is None else table.filter(keep))
    return tables


def _usable(block: ScoredBlock, bucket: int, epochs: Sequence[int], on_nan: str) -> np.ndarray:
    """Return which samples have all values."""
    gaps = block.gaps()
    partly = np.flatnonzero((gaps.num_epochs > 0) & (gaps.num_epochs < len(epochs)))
    if len(partly) and on_nan == "raise":
        row = int(partly[0])
        raise DataError(
            f"samples of bucket {bucket} have a NaN among their statistics, first sample "
            f"{block.index['sample_id'][row].as_py()!r} in epoch {epochs[int(gaps.first[row])]}; "
            "set score.on_nan to drop to leave such samples out"
        )
    usable: np.ndarray = gaps.num_epochs == 0
    return usable


def without_nulls(table: pa.Table) -> pa.Table:
    """Return the table with every column declared as free of nulls; it is read twice as fast then."""
    return table.cast(pa.schema([field.with_nullable(False) for field in table.schema]))


def fast_encoding(schema: pa.Schema) -> dict[str, Any]:
    """Return the Parquet options by which scores are read fastest: differences of whole numbers, no dictionaries.

    Neither scores nor differences get smaller by compression; names do.
    """
    texts = {name for name in schema.names if pa.types.is_string(schema.field(name).type)}
    whole = {"sample_id", "position", "label"} & set(schema.names) - texts
    return {
        "compression": {name: "lz4" if name in texts else "none" for name in schema.names},
        "write_statistics": False,
        "use_dictionary": False,
        "column_encoding": dict.fromkeys(sorted(whole), "DELTA_BINARY_PACKED"),
    }


def commit_stages(
    run: RunDirectory,
    store: DynamicsStore,
    epochs: Sequence[int],
    methods: Mapping[str, ScoreMethod],
    stages: Mapping[str, Stage],
    surveys: Mapping[str, Survey],
) -> None:
    """Declare the files of each stage complete, leave what was seen of all of them, and fill its summary."""
    for name, stage in stages.items():
        files = [run.scores(name) / bucket_name(bucket) for bucket in range(store.num_buckets)]
        with ThreadPoolExecutor(NUM_THREADS) as pool:
            rows = list(pool.map(_num_rows, files))
        write_survey(surveys[name], run.scores(name) / SURVEY)
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


def _num_rows(file: Location) -> int:
    with file.open_input() as stream:
        return int(pq.ParquetFile(stream).metadata.num_rows)


def read_scores(run: RunDirectory, method: str, bucket: int, columns: Sequence[str] | None = None) -> pa.Table:
    """Return a bucket's scores, in position order: sample_id, label, position, score, mean_prob."""
    table = (run.scores(method) / bucket_name(bucket)).read_table(columns)
    if columns is None or "score" in columns:
        finite = pc.is_finite(table["score"])
        if not pc.all(finite, min_count=0).as_py():
            raise DataError(f"scores of {method} in bucket {bucket} are not all finite; score again with force=True")
    return table
