"""The columns that a score reads, block by block beside the recorded dynamics of the same samples."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from dualprune.core.hashing import id_bits
from dualprune.core.records import check
from dualprune.core.run import RunDirectory
from dualprune.dynamics.blocks import Block, RowReader, read_blocks
from dualprune.dynamics.columns import VALUE, ColumnStore
from dualprune.dynamics.index import SampleIndex
from dualprune.dynamics.store import DynamicsStore
from dualprune.dynamics.writer import to_numpy
from dualprune.errors import DataError
from dualprune.scores.mean_prob import TARGET_PROB
from dualprune.scores.score import SAMPLE_ID, ColumnScore, complete
from dualprune.stages.methods import SCORE, columns_read, run_and_score, scores_read
from dualprune.stages.score.files import read_scores


@dataclass(frozen=True)
class ColumnJob:
    """Everything that a task needs to score by one method; `summaries` by class, or that of all under None."""

    run: str
    name: str
    method: ColumnScore
    epochs: Sequence[int]
    on_nan: str
    mean_epochs: int | None
    summaries: dict[int | None, Any] | None = None


class ColumnBlock(NamedTuple):
    """Consecutive samples with their columns; the method sees those that are `usable`, bool [n]."""

    block: Block
    columns: dict[str, np.ndarray]
    usable: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        """Labels of all n samples, int64."""
        labels: np.ndarray = self.block.index["label"].to_numpy()
        return labels


def check_columns(run: RunDirectory, methods: Mapping[str, ColumnScore]) -> None:
    """Raise a RunError where a column that a method reads is missing."""
    names = columns_read(methods)
    if names:
        columns = ColumnStore(run)
        for name in names:
            columns.record(name)


def column_blocks(store: DynamicsStore, bucket: int, job: ColumnJob) -> Iterator[ColumnBlock]:
    """Yield a bucket's blocks with the columns that the method reads, in position order.

    Samples that were never seen, or that have no score by a method that is read, are not usable. A column's NaN is a
    DataError, or makes a sample unusable where `on_nan` is "drop".
    """
    start, _ = store.index.bucket_range(bucket)
    known = {f"{SCORE}{name}": _dense_scores(store, name, bucket) for name in scores_read(job.method)}
    columns = ColumnStore(store.run)
    with ExitStack() as stack:
        readers = {}
        for name in columns_read({job.name: job.method}):
            place, remedy = columns.file(name, bucket), columns.remedy(name)
            readers[name] = stack.enter_context(RowReader(place, [VALUE], remedy))
            readers[name].check(remedy, **store.index.facts(bucket))
            check(place, columns.file_record(name, bucket), remedy)
        for block in read_blocks(store, bucket, [TARGET_PROB], job.epochs):
            count, first = block.index.num_rows, block.first_position - start
            measured = {name: to_numpy(reader.next(count)[VALUE].combine_chunks()) for name, reader in readers.items()}
            scores = {name: values[first : first + count] for name, values in known.items()}
            usable = complete({TARGET_PROB: block.statistics[TARGET_PROB], **scores})
            if measured:
                lacking = usable & ~complete(measured)
                if lacking.any() and job.on_nan == "raise":
                    sample_id = block.index["sample_id"][int(np.flatnonzero(lacking)[0])].as_py()
                    raise DataError(
                        f"score method {job.name}: {int(lacking.sum())} samples of bucket {bucket} have a NaN in "
                        f"{' or '.join(measured)}, first sample {sample_id!r}; set score.on_nan to drop to leave them "
                        "out"
                    )
                usable &= ~lacking
            ids = {SAMPLE_ID: id_bits(block.index[SAMPLE_ID])} if SAMPLE_ID in job.method.reads else {}
            yield ColumnBlock(block, {**measured, **scores, **ids}, usable)


def _dense_scores(store: DynamicsStore, name: str, bucket: int) -> np.ndarray:
    start, stop = store.index.bucket_range(bucket)
    run, method = run_and_score(store.run, name)
    if run is not store.run:
        index = SampleIndex.load(run.index)
        if (index.fingerprint, index.bucket_rows) != (store.index.fingerprint, store.index.bucket_rows):
            raise DataError(
                f"{run} has other samples or buckets than {store.run}: {index.num_samples:,} samples in "
                f"{index.num_buckets} buckets, not {store.index.num_samples:,} in {store.index.num_buckets}, or other "
                "data; scores can be combined where the data section and record.num_buckets are the same"
            )
    table = read_scores(run, method, bucket, ["position", "score"])
    dense = np.full(stop - start, np.nan)
    dense[table["position"].to_numpy() - start] = table["score"].to_numpy()
    return dense
