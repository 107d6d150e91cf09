"""The kept part of a torch data set."""

from __future__ import annotations

import os
from collections.abc import Sized
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from dualprune.core.run import RunDirectory
from dualprune.core.storage import Location
from dualprune.dynamics.index import SampleIndex
from dualprune.errors import DataError, RunError


class PrunedDataset(Dataset[Any]):
    """The samples of a map-style data set that a selection kept, in their order.

    `dataset` must be the training set that the run recorded, in the same order: sample i at position i. `positions`
    int64 [k] are the kept ones. `weights` float64 [k] are the sampling weights that they were drawn with. `inclusion`
    float64 [k] are the probabilities with which they were kept: the sum of losses divided by them equals, in
    expectation, the sum over the full set.

    Raises a RunError where the run has no such selection, and a DataError where the lengths differ.
    """

    def __init__(self, dataset: Any, run: RunDirectory | Location | str | os.PathLike[str], selection: str) -> None:
        directory = RunDirectory(run)
        kept = directory.selection(selection) / "kept.parquet"
        if not kept.exists():
            names = ", ".join(directory.selection_names()) or "none"
            raise RunError(f"{directory} has no selection {selection!r}; there are: {names}")
        total = SampleIndex.load(directory.index).num_samples
        if isinstance(dataset, Sized) and len(dataset) != total:
            raise DataError(
                f"the data set has {len(dataset)} samples, but {directory} recorded {total}; "
                "pass the training set that was recorded, in the same order"
            )
        table = kept.read_table(["position", "weight", "inclusion"])
        self.dataset = dataset
        self.positions = np.asarray(table["position"])
        self.weights = np.asarray(table["weight"])
        self.inclusion = np.asarray(table["inclusion"])

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, item: int) -> Any:
        return self.dataset[int(self.positions[item])]
