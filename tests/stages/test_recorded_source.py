"""Rows of a source are compared with the index by id and label, however both are cut."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from dualprune.core.sections import DataConfig
from dualprune.data.source import Source, open_source
from dualprune.dynamics.index import SampleIndex
from dualprune.errors import DataError
from dualprune.stages.recorded_source import check_rows
from tests.conftest import MakeDynamics

IDS = [f"s{row}" for row in range(20)]
LABELS = [row % 3 for row in range(20)]


def source(ids: list[Any], labels: list[int], rows: int, monkeypatch: pytest.MonkeyPatch) -> Source:
    """Return a source that yields these in batches of `rows`."""

    def batches() -> Iterator[pa.RecordBatch]:
        for start in range(0, len(ids), rows):
            yield pa.record_batch(
                {"sample_id": ids[start : start + rows], "label": pa.array(labels[start : start + rows], pa.int32())}
            )

    made = open_source(DataConfig())
    monkeypatch.setattr(made, "sample_batches", batches)
    return made


@pytest.mark.parametrize("rows", [1, 3, 7, 20])
def test_batches_and_buckets_of_any_length(
    make_dynamics: MakeDynamics, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    run = make_dynamics(np.full((20, 2), 0.5), ids=IDS, num_buckets=3)
    index = SampleIndex.load(run.index)
    check_rows(source(IDS, LABELS, rows, monkeypatch), index)
    swapped = [*IDS[:12], IDS[15], *IDS[13:15], IDS[12], *IDS[16:]]
    for ids, labels, message in (
        (swapped, LABELS, "the sample_id at position 12 was 's12', and is 's15' now"),
        (IDS, [*LABELS[:19], 0], "the label at position 19 was 1, and is 0 now"),
        (IDS[:19], LABELS[:19], "have 19 rows, but 20 were recorded"),
        ([*IDS, "new"], [*LABELS, 0], "have 21 rows, but 20 were recorded"),
        (list(range(20)), LABELS, "the sample_id at position 0 was 's0', and is 0 now"),
    ):
        with pytest.raises(DataError, match=f"the training data .*{message}.* restore the recorded data"):
            check_rows(source(ids, labels, rows, monkeypatch), index)
