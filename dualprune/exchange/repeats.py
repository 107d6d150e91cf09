"""Repeated rows of a sample and epoch in a long table: one value is taken, or an error names them.

A distributed sampler pads an epoch with repeated samples, so that their rows are repeated, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dualprune.errors import DataError

Repeated = Literal["first", "mean", "error"]
SHOWN = 5
Values = dict[str, NDArray[np.float32]]


@dataclass(frozen=True)
class Cells:
    """The pairs of sample and epoch of some samples, numbered `row of ids · num_epochs + epoch - first_epoch`."""

    table: str
    ids: pa.Array
    first_epoch: int
    num_epochs: int

    def refuse(self, numbers: NDArray[np.int64], counts: NDArray[np.int64], what: str, remedy: str) -> None:
        """Raise a DataError about these pairs, if there are any. `counts` are the rows of every pair."""
        if not len(numbers):
            return
        such = []
        for number in numbers[:SHOWN].tolist():
            row, epoch = divmod(number, self.num_epochs)
            times = f" ({counts[number]} times)" if counts[number] else ""
            such.append(f"sample {self.ids[row].as_py()!r} in epoch {epoch + self.first_epoch}{times}")
        raise DataError(
            f"{self.table}: {len(numbers)} pairs of sample and epoch {what}, such as {', '.join(such)}; {remedy}"
        )


def take_one_each(
    cells: Cells,
    numbers: NDArray[np.int64],
    values: Mapping[str, NDArray[np.float32]],
    *,
    repeated: Repeated,
    keep_missing: bool,
) -> tuple[NDArray[np.int64], Values]:
    """Return each cell once, with its values.

    Args:
        cells: what the numbers stand for.
        numbers: int64 [m], the cell of each row, in the order of the table.
        values: float32 [m] per statistic.
        repeated: the value to take where rows of one cell differ: the first row's, the mean (without NaN), or an error.
        Rows with equal values count as one.
        keep_missing: cells without a row are no error.
    """
    counts = np.bincount(numbers, minlength=len(cells.ids) * cells.num_epochs)
    result = numbers, dict(values)
    if counts.max(initial=0) > 1:
        result, differing = _merge(numbers, values, repeated)
        if repeated == "error":
            remedy = 'keep one row of each, or pass repeated="first" or repeated="mean"'
            cells.refuse(differing, counts, "occur more than once with different values", remedy)
    if not keep_missing:
        remedy = 'every sample needs a row in every epoch, or pass missing="keep" to leave those values missing'
        cells.refuse(np.flatnonzero(counts == 0), counts, "are missing", remedy)
    return result


def _merge(
    numbers: NDArray[np.int64], values: Mapping[str, NDArray[np.float32]], repeated: Repeated
) -> tuple[tuple[NDArray[np.int64], Values], NDArray[np.int64]]:
    """Return each cell once with its values, and the cells whose rows differ."""
    # `unique` sorts stably, so that `first` are the first rows in the order of the table.
    unique, first, inverse = np.unique(numbers, return_index=True, return_inverse=True)
    differs = np.zeros(len(unique), bool)
    for column in values.values():
        kept = column[first][inverse]
        differs[inverse[(column != kept) & ~(np.isnan(column) & np.isnan(kept))]] = True
    merged = {name: column[first] for name, column in values.items()}
    if repeated == "mean":
        for name, column in values.items():
            merged[name][differs] = _means(column, inverse, len(unique))[differs]
    return (unique, merged), unique[differs]


def _means(column: NDArray[np.float32], groups: NDArray[np.int64], num_groups: int) -> NDArray[np.float32]:
    """Return the mean of each group's values without NaN; NaN where all are NaN."""
    known = ~np.isnan(column)
    counts = np.bincount(groups[known], minlength=num_groups)
    sums = np.bincount(groups[known], weights=column[known], minlength=num_groups)
    with np.errstate(invalid="ignore"):
        return (sums / counts).astype(np.float32)
