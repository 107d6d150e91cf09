"""The classes of a data set by name: labels of both splits, whatever their type, become places in one list."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dualprune.core.plain_columns import plain_column
from dualprune.errors import DataError


@dataclass(frozen=True)
class Classes:
    """Names of the classes, in order, and which of them have training samples.

    Whole numbers are their own places, 0 … the highest; names are sorted as texts. The label 7 and the label '7' are
    the same class.
    """

    names: tuple[str, ...]
    used: frozenset[str]

    @classmethod
    def of(cls, labels: Iterable[pa.Array], column: str) -> Classes:
        """Collect the classes of training labels, int64 or string; missing ones are passed over.

        A DataError where numbers cannot count classes.
        """
        found: set[Any] = set()
        num_rows = 0
        for array in labels:
            num_rows += len(array)
            found.update(pc.unique(array).drop_null().to_pylist())
        if not found:
            return cls((), frozenset())
        used, highest = frozenset(map(str, found)), max(found)
        if isinstance(highest, str):
            return cls(tuple(sorted(found)), used)
        if highest >= max(num_rows, 1000):
            raise DataError(
                f"labels are out of range: {column} goes up to {highest} in {num_rows} rows; "
                "labels must be 0 … number of classes - 1, or names"
            )
        return cls((str(highest),) if len(found) == 1 else tuple(str(label) for label in range(highest + 1)), used)

    def places(self, labels: pa.Array, split: str, column: str) -> NDArray[np.int64]:
        """Return the place of each label, int64 [n]; a DataError names a label that no training sample has."""
        plain = plain_column(f"{split} set", "label", labels)
        if plain.null_count:
            raise DataError(f"{plain.null_count} labels are missing in {column!r} ({split} set)")
        # Looked up by distinct label: there are few.
        codes = plain.dictionary_encode()
        known = {name: place for place, name in enumerate(self.names)}
        place_of = np.empty(len(codes.dictionary), dtype=np.int64)
        for code, name in enumerate(map(str, codes.dictionary.to_pylist())):
            if name not in self.used:
                raise DataError(
                    f"label {name!r} of the {split} set in {column!r} is out of range: no training sample has it"
                )
            # A negative number stays one: the index refuses it by the name of its sample.
            place_of[code] = known[name] if name in known else int(name)
        places: NDArray[np.int64] = place_of[np.asarray(codes.indices)]
        return places
