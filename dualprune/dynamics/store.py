"""Reads the dynamics store: committed epochs of per-sample statistics, by bucket."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from dualprune.core.run import RunDirectory
from dualprune.core.storage import Location
from dualprune.dynamics.index import SampleIndex
from dualprune.dynamics.layout import COMMIT, VALID, bucket_name, epoch_name, epoch_number
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
        commits = {}
        for folder in self.location.children():
            if folder.name.startswith("epoch=") and (folder / COMMIT).exists():
                commits[epoch_number(folder.name)] = (folder / COMMIT).read_json()
        return dict(sorted(commits.items()))

    @property
    def epochs(self) -> list[int]:
        """Committed epochs, ascending."""
        return list(self.commits)

    @property
    def missing_epochs(self) -> list[int]:
        """Epochs without a commit that later ones have, ascending."""
        return sorted(set(range(max(self.epochs, default=-1) + 1)) - set(self.epochs))

    @property
    def odd_epochs(self) -> list[int]:
        """Epochs recorded under another configuration than most are, ascending; of equally many, the later ones."""
        prints = Counter(commit["fingerprint"] for commit in self.commits.values())
        usual = max(prints, key=prints.__getitem__, default=None)
        return [epoch for epoch, commit in self.commits.items() if commit["fingerprint"] != usual]

    @property
    def is_imported(self) -> bool:
        """Whether the dynamics were recorded elsewhere."""
        return "imported" in self.index.details

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the statistics that every committed epoch has."""
        names = [commit["columns"] for commit in self.commits.values()]
        return tuple(name for name in names[0] if all(name in other for other in names)) if names else ()

    @property
    def num_samples(self) -> int:
        """The number of samples, N."""
        return self.index.num_samples

    @property
    def num_buckets(self) -> int:
        """The number of parts of the position range."""
        return self.index.num_buckets

    def file(self, epoch: int, bucket: int) -> Location:
        """Return the place of a bucket's file of an epoch."""
        return self.location / epoch_name(epoch) / bucket_name(bucket)

    def read_bucket(
        self, bucket: int, columns: Sequence[str] | None = None, epochs: Sequence[int] | None = None
    ) -> dict[str, np.ndarray]:
        """Return float32 [n, T] a statistic, rows in position order, NaN where a value is missing.

        The memory behind each is [T, n], so that one epoch's values lie together.
        """
        names = self.check_columns(columns)
        chosen = self.epochs if epochs is None else list(epochs)
        start, stop = self.index.bucket_range(bucket)
        arrays = {name: np.empty((len(chosen), stop - start), dtype=np.float32) for name in names}
        for row, epoch in enumerate(chosen):
            table = self.file(epoch, bucket).read_table()
            for name in names:
                arrays[name][row] = table[name].to_numpy()
                if VALID in table.column_names:
                    arrays[name][row][~table[VALID].to_numpy()] = np.nan
        return {name: array.T for name, array in arrays.items()}

    def bucket_table(self, bucket: int, columns: Sequence[str] | None = None) -> pa.Table:
        """Return sample_id, label and one fixed-size list [T] a statistic, in position order."""
        table = self.index.read_bucket(bucket)
        for name, values in self.read_bucket(bucket, columns).items():
            flat = pa.array(np.ascontiguousarray(values).reshape(-1))
            table = table.append_column(name, pa.FixedSizeListArray.from_arrays(flat, values.shape[1]))
        return table

    def dataset(self, columns: Sequence[str] | None = None) -> ray.data.Dataset:
        """Return a Ray Dataset keyed by `sample_id`, one block a bucket: sample_id, label, one list [T] a statistic."""
        import ray.data

        names = self.check_columns(columns)
        buckets = ray.data.from_items(
            [{"bucket": b} for b in range(self.num_buckets)], override_num_blocks=self.num_buckets
        )

        def read(batch: dict[str, np.ndarray]) -> pa.Table:
            return pa.concat_tables(self.bucket_table(int(bucket), names) for bucket in batch["bucket"])

        return buckets.map_batches(read, batch_size=1)

    def remedy(self, epoch: int) -> str:
        """Return what to do where an epoch is damaged."""
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
