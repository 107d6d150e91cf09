from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from dualprune.core.storage import Location
from dualprune.dynamics.index import SampleIndex, default_num_buckets
from dualprune.errors import DataError, RunError


def build(folder, ids, labels, num_buckets=3, batch=7, classes=("a", "b"), num_samples=None) -> SampleIndex:
    table = pa.table({"sample_id": pa.array(ids), "label": pa.array(labels, pa.int64())})
    return SampleIndex.build(
        Location.of(folder),
        table.to_batches(max_chunksize=batch),
        num_samples=len(ids) if num_samples is None else num_samples,
        num_buckets=num_buckets,
        classes=list(classes),
        fingerprint="f",
    )


@pytest.mark.parametrize("num_buckets", [1, 3, 7, 20])
def test_positions_follow_the_source_whatever_the_buckets(tmp_path, num_buckets: int) -> None:
    ids = [f"sample-{i}" for i in range(20)]
    labels = np.arange(20) % 2
    build(tmp_path, ids, labels, num_buckets)
    index = SampleIndex.load(Location.of(tmp_path))
    assert index.id_type == "string"
    assert index.read()["sample_id"].to_pylist() == ids
    assert index.labels.tolist() == labels.tolist()
    ranges = [index.bucket_range(bucket) for bucket in range(index.num_buckets)]
    assert ranges[0][0] == 0
    assert ranges[-1][1] == 20
    assert all(start < stop for start, stop in ranges)
    for bucket, (start, stop) in enumerate(ranges):
        assert index.read_bucket(bucket)["sample_id"].to_pylist() == ids[start:stop]


def test_buckets_hold_about_a_million_and_serve_every_worker() -> None:
    assert default_num_buckets(50_000, 2) == 2
    assert default_num_buckets(100_000_000, 64) == 100
    assert default_num_buckets(100_000_000, 256) == 256
    assert default_num_buckets(3, 8) == 3


@pytest.mark.parametrize("ids", [[5, 1, 5, 2, 1, 5], ["x", "y", "x", "z", "y", "x"]])
def test_duplicate_ids_are_named_with_their_counts(tmp_path, ids) -> None:
    with pytest.raises(DataError, match=r"2 sample ids are not unique, such as .*\(3 times\), .*\(2 times\)"):
        build(tmp_path, ids, [0] * 6, batch=2)


def test_a_label_out_of_range_names_its_sample(tmp_path) -> None:
    with pytest.raises(DataError, match=r"1 labels are out of range, first that of sample 12: 2 is not in 0 … 1"):
        build(tmp_path, [10, 11, 12], [0, 1, 2])


def test_a_missing_id_names_its_row(tmp_path) -> None:
    with pytest.raises(DataError, match=r"1 sample ids are missing, first in row 9"):
        build(tmp_path, [*range(9), None], [0] * 10, batch=4)


def test_an_empty_data_set(tmp_path) -> None:
    with pytest.raises(DataError, match="the data set is empty"):
        build(tmp_path, pa.array([], pa.int64()), [])


def test_a_source_that_gives_fewer_than_it_said(tmp_path) -> None:
    with pytest.raises(DataError, match="says that it has 5 samples, but yielded 3"):
        build(tmp_path, [1, 2, 3], [0, 1, 0], num_samples=5)


def test_a_run_without_an_index(tmp_path) -> None:
    with pytest.raises(RunError, match="has no sample index; run `dualprune record` first"):
        SampleIndex.load(Location.of(tmp_path))


@pytest.mark.parametrize(
    ("ids", "id_type", "expected"),
    [
        (pa.array([3, 1, 2], pa.uint16()), "int64", [3, 1, 2]),
        (pa.array(["b", "a", "c"], pa.large_string()), "string", ["b", "a", "c"]),
        (pa.array(["b", "a", "c"]).dictionary_encode(), "string", ["b", "a", "c"]),
        (pa.array([b"\x01", b"\xff", b"a"]), "string", ["01", "ff", "61"]),
    ],
)
def test_ids_of_a_source_become_int64_or_text(tmp_path, ids: pa.Array, id_type: str, expected: list) -> None:
    index = build(tmp_path, ids, [0, 1, 0], num_buckets=2)
    assert (index.id_type, index.read()["sample_id"].to_pylist()) == (id_type, expected)


def test_ids_of_two_types_and_missing_labels(tmp_path) -> None:
    def batches(*ids):
        return [pa.record_batch({"sample_id": [one], "label": [0]}) for one in ids]

    arguments = {"num_samples": 2, "num_buckets": 1, "classes": ["a"], "fingerprint": "f"}
    with pytest.raises(DataError, match="sample ids are int64 up to row 0, then string; expected one type"):
        SampleIndex.build(Location.of(tmp_path), batches(1, "a"), **arguments)
    with pytest.raises(DataError, match="1 labels are missing; each sample needs one"):
        build(tmp_path, [1, 2], [0, None])
