"""Score files, which the score stage writes from the store, and recording from its running scores.

scores/method=dual/bucket=00003.parquet   sample_id, label, position, score, mean_prob, and what the method adds; rows
                                          in position order
scores/method=NAME/_lists/LIST.parquet/   the rows of samples on a list that the method makes, a file per bucket
scores/method=dual/_commit.json           what the files are, written last
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from dualprune.core.outputs import Output
from dualprune.core.parquet import TableWriter, without_nulls
from dualprune.core.run import RunDirectory
from dualprune.core.storage import Location
from dualprune.dynamics.index import SampleIndex
from dualprune.dynamics.layout import bucket_name, fast_encoding
from dualprune.dynamics.metadata import encoded, read_checked
from dualprune.dynamics.writer import to_arrow, to_numpy
from dualprune.errors import ConfigError, DataError
from dualprune.scores.score import Result, ScoreMethod, Values, split

# The records of the files of a bucket, by method.
Written = dict[str, list[Output]]
AGAIN = "score again with force=True"
COLUMNS = ("sample_id", "label", "position", "score", "mean_prob")


class Gaps(NamedTuple):
    """Where statistics of n samples are NaN: in how many epochs, and in which first; int [n] both."""

    num_epochs: np.ndarray
    first: np.ndarray


def gaps_of(statistics: Values) -> Gaps:
    """Return the gaps of statistics [n, T], or [n, T, width]; fewer epochs are the last ones."""
    num_samples, num_epochs = len(next(iter(statistics.values()))), max(a.shape[1] for a in statistics.values())
    missing = np.zeros((num_samples, num_epochs), dtype=bool)
    for array in statistics.values():
        gone = np.isnan(array)
        missing[:, num_epochs - array.shape[1] :] |= gone if gone.ndim == 2 else gone.any(axis=2)
    return Gaps(missing.sum(axis=1), missing.argmax(axis=1))


@dataclass(frozen=True)
class ScoredBlock:
    """Consecutive samples of a bucket with their scores by method, and `mean_prob` float64 [n].

    `index` has sample_id and label; `gaps` is called only where a score is NaN.
    """

    first_position: int
    index: pa.Table
    scored: Mapping[str, Result]
    mean_prob: np.ndarray
    gaps: Callable[[], Gaps]


def write_bucket(
    run: RunDirectory,
    bucket: int,
    blocks: Iterable[ScoredBlock],
    methods: Mapping[str, ScoreMethod],
    epochs: Sequence[int],
    on_nan: str,
) -> Written:
    """Write a bucket's file of each method from its blocks, in position order, and those of the method's lists.

    Returns their records by method.

    Samples that were never seen, such as skipped images, have no row. Those that lack some epochs are a DataError, or
    have no row where `on_nan` is "drop".
    """
    writers: dict[Location, TableWriter] = {}
    index = SampleIndex.load(run.index)
    facts = {"run": index.fingerprint, "bucket": bucket}
    with ExitStack() as stack:
        for block in blocks:
            for name, table in score_tables(block, bucket, epochs, on_nan).items():
                lists = _lists(methods[name], table, index.num_classes)
                # Files are finished in reverse: a bucket is complete once its file of scores is there.
                for place, rows in ((run.scores(name), table), *_named(run.scores(name), lists)):
                    if place not in writers:
                        file = place / bucket_name(bucket)
                        writers[place] = stack.enter_context(file.table_writer(**fast_encoding(rows.schema)))
                    writers[place].write(rows)
        for writer in writers.values():
            writer.metadata = encoded({**facts, "rows": writer.rows})
    return {
        name: [
            Output.of(run.root, file, writers[file.parent].stream.written)
            for file in files_of(run, name, method, bucket)
            if file.parent in writers
        ]
        for name, method in methods.items()
    }


def files_of(run: RunDirectory, name: str, method: ScoreMethod, bucket: int) -> list[Location]:
    """Return the places of a bucket's scores by a method and of the method's lists."""
    folder = run.scores(name)
    return [place / bucket_name(bucket) for place in (folder, *(_list_place(folder, one) for one in method.list_names))]


def _lists(method: ScoreMethod, table: pa.Table, num_classes: int) -> dict[str, pa.Table]:
    """Return the rows of each of a method's lists."""
    if not method.list_names:
        return {}
    extras = {name: to_numpy(table[name].combine_chunks()) for name in table.column_names if name not in COLUMNS}
    found = method.lists(table["score"].to_numpy(), table["label"].to_numpy(), extras, num_classes)
    return {name: table.filter(pa.array(found[name])) for name in method.list_names}


def _named(folder: Location, lists: Mapping[str, pa.Table]) -> Iterator[tuple[Location, pa.Table]]:
    for name, rows in lists.items():
        yield _list_place(folder, name), rows


def _list_place(folder: Location, name: str) -> Location:
    # Readers of a folder of Parquet files pass over names with an underscore.
    return folder / "_lists" / f"{name}.parquet"


def score_tables(block: ScoredBlock, bucket: int, epochs: Sequence[int], on_nan: str) -> dict[str, pa.Table]:
    """Return a block's rows of each method's score file; errors as for `write_bucket`."""
    mean, first = block.mean_prob, block.first_position
    index = block.index.append_column("position", pa.array(np.arange(first, first + len(mean))))
    scored = {name: split(result) for name, result in block.scored.items()}
    # A NaN among the statistics makes the score NaN, too, so only then are the statistics checked.
    suspect = np.isnan(mean)
    for score, _ in scored.values():
        # Neither a number nor -inf.
        suspect |= ~(score < np.inf)
    keep = pa.array(_usable(block, bucket, epochs, on_nan)) if suspect.any() else None
    tables = {}
    for name, (score, extras) in scored.items():
        table = index.append_column("score", pa.array(score)).append_column("mean_prob", pa.array(mean))
        for extra, values in extras.items():
            if extra in COLUMNS:
                raise ConfigError(f"score method {name} adds a column {extra!r}, which each score file has already")
            table = table.append_column(extra, to_arrow(values))
        tables[name] = without_nulls(table if keep is None else table.filter(keep))
        if keep is not None:
            check_scores(name, tables[name])
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


def check_scores(method: str, table: pa.Table) -> None:
    """Raise a DataError where a sample's score is neither a number nor -inf, which means: never keep."""
    score = table["score"].to_numpy()
    wrong = np.flatnonzero(np.isnan(score) | (score == np.inf))
    if len(wrong):
        sample_id = table["sample_id"][int(wrong[0])].as_py()
        raise DataError(
            f"score method {method}: {len(wrong)} scores are NaN or infinite, first of sample {sample_id!r}, whose "
            "values are all there; a score is a number, or -inf for a sample that is never kept"
        )


def read_scores(run: RunDirectory, method: str, bucket: int, columns: Sequence[str] | None = None) -> pa.Table:
    """Return a bucket's scores, in position order: the columns of `COLUMNS` and those that the method added.

    A DataError where the file is another run's or bucket's, or a score is no number.
    """
    place = run.scores(method) / bucket_name(bucket)
    expected: dict[str, Any] = {"run": SampleIndex.load(run.index).fingerprint, "bucket": bucket}
    table = read_checked(place, columns, AGAIN, **expected)
    if columns is None or "score" in columns:
        score = table["score"].to_numpy()
        if (np.isnan(score) | (score == np.inf)).any():
            raise DataError(f"scores of {method} in bucket {bucket} are not all numbers; {AGAIN}")
    return table


def missing_buckets(run: RunDirectory, names: Iterable[str], buckets: Iterable[int]) -> list[int]:
    """Return those of `buckets` for which any of the named methods has no file."""
    # One listing per method: a request per file takes minutes on an object store.
    there = [{file.name for file in run.scores(name).children()} for name in names]
    return [bucket for bucket in buckets if any(bucket_name(bucket) not in files for files in there)]
