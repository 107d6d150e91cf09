"""The kept part of a torch data set."""

from __future__ import annotations

import os
from collections.abc import Sized
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from torch.utils.data import Dataset

from dualprune.core.run import RunDirectory
from dualprune.core.storage import Location
from dualprune.dynamics.index import SampleIndex
from dualprune.errors import DataError, RunError
from dualprune.exchange.columns import column_of
from dualprune.exchange.kept import read_kept


class PrunedDataset(Dataset[Any]):
    """The samples of a map-style data set that a selection kept, in their order.

    Args:
        dataset: the training set that the run recorded, in the same order: sample i at position i.
        run: the run directory.
        selection: the name of a selection, such as beta-0.7.
        sample_ids: [n] the id of each sample of `dataset`. With them, `dataset` may have another order and further
        samples: the kept ones are found by id.

    Attributes:
        positions: int64 [k], where the kept samples are in `dataset`.
        weights: float64 [k], the sampling weights that they were drawn with.
        inclusion: float64 [k], the probabilities with which they were kept: the sum of losses divided by them equals,
            in expectation, the sum over the full set.

    Raises:
        RunError: the run has no such selection, or has been recorded anew since.
        DataError: the length differs from the recorded one; an id is missing or not unique; or the selection's files
            are damaged.
    """

    def __init__(
        self,
        dataset: Any,
        run: RunDirectory | Location | str | os.PathLike[str],
        selection: str,
        sample_ids: Any | None = None,
    ) -> None:
        directory = RunDirectory(run)
        table = read_kept(directory, selection, ["sample_id", "position", "weight", "inclusion"])
        index = SampleIndex.load(directory.index)
        positions = np.asarray(table["position"])
        _check_current(index, table["sample_id"], positions, f"{directory}: selection {selection!r}")
        expected = index.num_samples if sample_ids is None else len(sample_ids)
        if isinstance(dataset, Sized) and len(dataset) != expected:
            raise DataError(
                f"the data set has {len(dataset)} samples, but there are {expected} sample_ids; pass one for each"
                if sample_ids is not None
                else f"the data set has {len(dataset)} samples, but {directory} recorded {expected}; "
                "pass the training set that was recorded, in the same order, or sample_ids to find the kept ones by id"
            )
        self.dataset = dataset
        self.positions = positions if sample_ids is None else _find(table["sample_id"], sample_ids)
        self.weights = np.asarray(table["weight"])
        self.inclusion = np.asarray(table["inclusion"])

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, item: int) -> Any:
        return self.dataset[int(self.positions[item])]


def _check_current(index: SampleIndex, ids: pa.ChunkedArray, positions: NDArray[np.int64], name: str) -> None:
    """Raise a RunError where a selection was drawn from other samples than the index has now."""
    if len(positions) and positions.max() < index.num_samples:
        indexed = index.read()["sample_id"].take(pa.array(positions))
        if indexed.type == ids.type and indexed.equals(ids):
            return
    elif not len(positions):
        return
    raise RunError(f"{name} was drawn from an earlier recording; select again")


def _known(kept: pa.ChunkedArray, sample_ids: Any) -> pa.Array:
    """Return ids in the store's types. Bytes are hexadecimal digits in a run of such ids, or else UTF-8 text."""
    first = next(iter(sample_ids), None) if len(sample_ids) else None
    if isinstance(first, bytes) and len(kept) and kept[0].as_py() in {value.hex() for value in sample_ids}:
        return pa.array([value.hex() for value in sample_ids], pa.string())
    return column_of("PrunedDataset", "sample_id", sample_ids)


def _find(kept: pa.ChunkedArray, sample_ids: Any) -> NDArray[np.int64]:
    """Return where each kept id is among `sample_ids`."""
    known = _known(kept, sample_ids)
    if known.type != kept.type:
        raise DataError(f"PrunedDataset: sample_ids are of the type {known.type}, but the run's of {kept.type}")
    if pc.count_distinct(known).as_py() != len(known):
        raise DataError("PrunedDataset: sample_ids are not unique; expected one distinct id per sample")
    rows = pc.index_in(kept, value_set=known).combine_chunks()
    if rows.null_count:
        first = kept.filter(rows.is_null())[0].as_py()
        raise DataError(
            f"PrunedDataset: {rows.null_count} kept samples are not among sample_ids, such as {first!r}; "
            "pass the ids of the training set that was recorded"
        )
    return np.asarray(rows.cast(pa.int64()))
