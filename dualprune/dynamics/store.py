"""Reads the dynamics store: committed epochs of per-sample statistics, by bucket."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from dualprune.core.records import named
from dualprune.core.run import RunDirectory
from dualprune.core.storage import Location
from dualprune.dynamics.commit import read_commits
from dualprune.dynamics.index import SampleIndex
from dualprune.dynamics.layout import VALID, bucket_name, epoch_name
from dualprune.dynamics.metadata import read_checked
from dualprune.dynamics.statistics import STATISTICS
from dualprune.dynamics.writer import to_arrow, to_numpy
from dualprune.errors import RunError

if TYPE_CHECKING:
    import ray.data


class DynamicsStore:
    """The statistics that a run has recorded so far."""

    def __init__(self, run: RunDirectory | Location | str | os.PathLike[str]) -> None:
        self.run = RunDirectory(run)
        self.location = self.run.dynamics
        self.index = SampleIndex.load(self.run.index)

    @cached_property
    def commits(self) -> dict[int, dict[str, Any]]:
        """Commit records by epoch; an epoch without one does not count."""
        return read_commits(self.location)

    @property
    def epochs(self) -> list[int]:
        """Committed epochs, ascending."""
        return list(self.commits)

    @property
    def missing_epochs(self) -> list[int]:
        """Epochs without a commit before the last committed one, or of a recording that is finished; ascending."""
        recorded = self.run.manifest("record")
        finished = 0 if recorded is None else recorded["summary"].get("epochs", 0)
        return sorted(set(range(max(max(self.epochs, default=-1) + 1, finished))) - set(self.epochs))

    def check_whole(self) -> None:
        """Raise a RunError where an epoch has no commit, or was recorded under another configuration than others."""
        missing = self.missing_epochs
        if missing:
            later = any(epoch > missing[0] for epoch in self.epochs)
            why = "but later ones have" if later else "but recording finished it"
            raise RunError(f"{self.run}: epoch {missing[0]} has no commit, {why}; {self.remedy(missing[0])}")
        mismatched = self.mismatched_epochs
        if mismatched:
            usual = [epoch for epoch in self.epochs if epoch not in mismatched]
            raise RunError(
                f"{self.run}: epochs {_listed(mismatched)} were recorded under another configuration than epochs "
                f"{_listed(usual)}, so their values do not belong together; {self.remedy(mismatched[0])}"
            )

    @property
    def mismatched_epochs(self) -> list[int]:
        """Epochs recorded under another configuration than most are, ascending; in a tie, the later ones."""
        prints = Counter(commit["fingerprint"] for commit in self.commits.values())
        usual = max(prints, key=prints.__getitem__, default=None)
        return [epoch for epoch, commit in self.commits.items() if commit["fingerprint"] != usual]

    @property
    def is_imported(self) -> bool:
        """Whether the dynamics were recorded elsewhere."""
        return "imported" in self.index.details

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the statistics that every committed epoch has, from the statistic's first epoch on."""
        names = dict.fromkeys(name for commit in self.commits.values() for name in commit["columns"])
        return tuple(name for name in names if self._has(name))

    def _has(self, name: str) -> bool:
        first = first_epoch(name)
        return all(name in commit["columns"] for epoch, commit in self.commits.items() if epoch >= first)

    @property
    def num_samples(self) -> int:
        """The number of samples, N."""
        return self.index.num_samples

    @property
    def num_buckets(self) -> int:
        """The number of buckets."""
        return self.index.num_buckets

    def file(self, epoch: int, bucket: int) -> Location:
        """Return the place of a bucket's file of an epoch."""
        return self.location / epoch_name(epoch) / bucket_name(bucket)

    def read_bucket(
        self, bucket: int, columns: Sequence[str] | None = None, epochs: Sequence[int] | None = None
    ) -> dict[str, np.ndarray]:
        """Return float32 [n, T], or [n, T, width], per statistic, rows in position order, NaN where a value is missing.

        T is the number of `epochs` (all without them) from the statistic's first epoch on. The memory behind each array
        is [T, n], so that one epoch's values lie together.
        """
        names = self.check_columns(columns)
        chosen = self.epochs if epochs is None else list(epochs)
        rows = {name: [epoch for epoch in chosen if epoch >= first_epoch(name)] for name in names}
        arrays: dict[str, np.ndarray] = {}
        for epoch in chosen:
            there = [name for name in names if epoch in rows[name]]
            for name, values in self.read_epoch(bucket, there, epoch).items():
                if name not in arrays:
                    arrays[name] = np.empty((len(rows[name]), *values.shape), np.float32)
                arrays[name][rows[name].index(epoch)] = values
        return {name: np.moveaxis(array, 0, 1) for name, array in arrays.items()}

    def read_epoch(self, bucket: int, columns: Sequence[str], epoch: int) -> dict[str, np.ndarray]:
        """Return one epoch of a bucket, float32 [n], or [n, width], per statistic; NaN where a value is missing."""
        facts, record = self.facts(epoch, bucket), self.record(epoch, bucket)
        table = read_checked(self.file(epoch, bucket), None, self.remedy(epoch), record, **facts)
        valid = table[VALID].to_numpy() if VALID in table.column_names else None
        found = {}
        for name in columns:
            values = to_numpy(table[name].combine_chunks()).astype(np.float32, copy=valid is not None)
            if valid is not None:
                values[~valid] = np.nan
            found[name] = values
        return found

    def facts(self, epoch: int, bucket: int) -> dict[str, Any]:
        """Return what the metadata of a bucket's file says about it."""
        return {**self.index.facts(bucket), "epoch": epoch}

    def record(self, epoch: int, bucket: int) -> dict[str, Any] | None:
        """Return what the commit record of an epoch says about a bucket's file; None where it does not name it."""
        return named(self.commits[epoch]["files"], bucket_name(bucket))

    def bucket_table(self, bucket: int, columns: Sequence[str] | None = None) -> pa.Table:
        """Return sample_id, label and one fixed-size list [T] per statistic (of lists, for values per class)."""
        table = self.index.read_bucket(bucket)
        for name, values in self.read_bucket(bucket, columns).items():
            inner = to_arrow(values.reshape(-1, *values.shape[2:]))
            table = table.append_column(name, pa.FixedSizeListArray.from_arrays(inner, values.shape[1]))
        return table

    def dataset(self, columns: Sequence[str] | None = None) -> ray.data.Dataset:
        """Return a Ray Dataset keyed by `sample_id`, one block per bucket: the rows of `bucket_table`."""
        # Imported by name: recording reads stores, and must not depend on Ray.
        return import_module("dualprune.dynamics.dataset").dataset_of(self, columns)

    def remedy(self, epoch: int) -> str:
        """Return what to do about a damaged epoch."""
        if self.is_imported:
            return f"import it again: `dualprune store import FILE --run {self.run} --force`"
        return (
            f"delete the folder {epoch_name(epoch)} and run `dualprune record {self.run}` to record from epoch {epoch} "
            "on again (from an earlier one, or from the start, where no checkpoint of the epoch before is kept)"
        )

    def check_columns(self, columns: Sequence[str] | None) -> tuple[str, ...]:
        """Return these statistics, or all that every epoch has; a RunError where one was not recorded."""
        if not self.commits:
            raise RunError(f"{self.run} has no recorded epochs; run `dualprune record {self.run}` first")
        if columns is None:
            return self.columns
        missing = [name for name in columns if name not in self.columns]
        if missing:
            raise RunError(
                f"{self.run} has no statistic {missing[0]!r}; it has: {', '.join(self.columns)}. "
                "Record it by naming it in record.statistics"
            )
        return tuple(columns)


def _listed(epochs: Sequence[int]) -> str:
    return ", ".join(map(str, epochs[:10])) + (f" and {len(epochs) - 10} more" if len(epochs) > 10 else "")


def first_epoch(statistic: str) -> int:
    """Return the first epoch in which a statistic has values."""
    return STATISTICS[statistic].first_epoch if statistic in STATISTICS else 0
