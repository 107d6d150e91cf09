"""Compares the samples of two selections of a run."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from dualprune.cluster.tasks import over_buckets
from dualprune.core.config import Config
from dualprune.core.run import RunDirectory
from dualprune.dynamics.index import SampleIndex
from dualprune.exchange.kept import kept_place, read_kept_bucket, require_selection

EXAMPLES = 5


@dataclass(frozen=True)
class Overlap:
    """The overlap of two selections: numbers of samples, and the first few that only one of them keeps."""

    names: tuple[str, str]
    in_both: int
    only_first: int
    only_second: int
    first_examples: list[Any]
    second_examples: list[Any]

    @property
    def jaccard(self) -> float:
        """Samples in both over samples in either, 0 … 1."""
        return self.in_both / max(1, self.in_both + self.only_first + self.only_second)


def overlap(run: RunDirectory, config: Config, first: str, second: str) -> Overlap:
    """Return how two selections of a run overlap, counted bucket by bucket."""
    for name in (first, second):
        require_selection(run, name)
    buckets = range(SampleIndex.load(run.index).num_buckets)
    counts = np.zeros(3, dtype=np.int64)
    examples: tuple[list[Any], list[Any]] = ([], [])
    work = partial(_of_bucket, str(run.root.address), (first, second))
    for found, ids in over_buckets(work, buckets, config.scaling, light=True):
        counts += found
        for known, more in zip(examples, ids, strict=True):
            known += more[: EXAMPLES - len(known)]
    both, one, other = (int(number) for number in counts)
    return Overlap((first, second), both, one, other, *examples)


def _of_bucket(run: str, names: tuple[str, str], bucket: int) -> tuple[np.ndarray, list[list[Any]]]:
    folder = RunDirectory(run)
    index = SampleIndex.load(folder.index)
    tables = [read_kept_bucket(index, kept_place(folder, name), bucket, ["sample_id", "position"]) for name in names]
    one, other = (np.asarray(table["position"]) for table in tables)
    only = [~np.isin(one, other, assume_unique=True), ~np.isin(other, one, assume_unique=True)]
    examples = [
        table["sample_id"].take(np.flatnonzero(mask)[:EXAMPLES]).to_pylist()
        for table, mask in zip(tables, only, strict=True)
    ]
    counts = [len(one) - int(only[0].sum()), int(only[0].sum()), int(only[1].sum())]
    return np.array(counts, dtype=np.int64), examples
