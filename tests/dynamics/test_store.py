from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest

from dualprune.dynamics.commit import discard_from
from dualprune.dynamics.index import SampleIndex
from dualprune.dynamics.store import DynamicsStore
from dualprune.dynamics.writer import DynamicsWriter
from dualprune.errors import DataError, RunError

PROB = np.random.default_rng(0).random((23, 5), dtype=np.float32)


def test_a_bucket_comes_back_as_it_was_written(make_dynamics) -> None:
    store = DynamicsStore(make_dynamics(PROB, num_buckets=3))
    assert store.num_samples == 23
    assert store.epochs == [0, 1, 2, 3, 4]
    parts = [store.read_bucket(bucket)["target_prob"] for bucket in range(store.num_buckets)]
    np.testing.assert_array_equal(np.concatenate(parts), PROB)
    np.testing.assert_array_equal(store.read_bucket(0, epochs=[3, 1])["target_prob"], PROB[:8][:, [3, 1]])


def test_an_object_store_holds_a_run_too(make_dynamics, s3) -> None:
    store = DynamicsStore(make_dynamics(PROB, place=s3))
    np.testing.assert_array_equal(store.read_bucket(1)["target_prob"], PROB[12:])


def test_an_epoch_without_a_commit_does_not_count(make_dynamics) -> None:
    run = make_dynamics(PROB)
    (run.dynamics / "epoch=0002" / "_commit.json").delete()
    assert DynamicsStore(run).epochs == [0, 1, 3, 4]


def test_a_restart_removes_what_is_after_it_and_what_has_no_commit(make_dynamics) -> None:
    run = make_dynamics(PROB)
    (run.dynamics / "epoch=0001" / "_commit.json").delete()
    discard_from(run.dynamics, 3)
    assert [folder.name for folder in run.dynamics.children()] == ["epoch=0000", "epoch=0002"]


def test_files_have_no_id_column_and_shared_row_groups(make_dynamics) -> None:
    run = make_dynamics(PROB)
    table = DynamicsStore(run).file(0, 0).read_table()
    assert table.column_names == ["target_prob"]
    metadata = pq.ParquetFile(DynamicsStore(run).file(0, 0).path).metadata
    column = metadata.row_group(0).column(0)
    assert (column.compression, "PLAIN" in column.encodings) == ("UNCOMPRESSED", True)


def test_the_ray_dataset_is_keyed_by_sample_id(make_dynamics, ray_cluster) -> None:
    ids = [f"id-{i:03d}" for i in range(23)]
    rows = DynamicsStore(make_dynamics(PROB, ids=ids, num_buckets=3)).dataset().take_all()
    assert len(rows) == 23
    by_id = {row["sample_id"]: row for row in rows}
    assert list(by_id["id-017"]) == ["sample_id", "label", "target_prob"]
    np.testing.assert_array_equal(by_id["id-017"]["target_prob"], PROB[17])
    assert by_id["id-017"]["label"] == 17 % 3


def test_a_statistic_that_was_not_recorded(make_dynamics) -> None:
    with pytest.raises(RunError, match="has no statistic 'margin'; it has: target_prob"):
        DynamicsStore(make_dynamics(PROB)).read_bucket(0, ["margin"])


def test_a_run_with_no_epochs(make_dynamics) -> None:
    with pytest.raises(RunError, match="has no recorded epochs; run `dualprune record"):
        DynamicsStore(make_dynamics(np.empty((5, 0)))).read_bucket(0)


def test_positions_of_another_bucket_are_refused(make_dynamics) -> None:
    run = make_dynamics(PROB, num_buckets=3)
    writer = DynamicsWriter(run.dynamics, SampleIndex.load(run.index), ("target_prob",), "x")
    with pytest.raises(DataError, match="bucket 1 holds positions 8 … 15, but got others"):
        writer.write_bucket(9, 1, np.array([3]), np.array([[0.5]]))
