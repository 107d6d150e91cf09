from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from dualprune.dynamics.blocks import read_blocks
from dualprune.dynamics.store import DynamicsStore
from dualprune.errors import DataError
from dualprune.scores import Dual, dual
from dualprune.stages.score.files import read_scores
from dualprune.stages.score.stage import ScoreJob, score_bucket
from tests.conftest import MakeDynamics

PROB = np.random.default_rng(0).random((23, 5), dtype=np.float32)


@pytest.mark.parametrize("block_rows", [1, 5, 12, 100])
def test_blocks_follow_one_another_in_position_order(make_dynamics: MakeDynamics, block_rows: int) -> None:
    store = DynamicsStore(make_dynamics(PROB))
    position = 0
    for bucket in range(store.num_buckets):
        for block in read_blocks(store, bucket, ["target_prob"], [3, 0, 4], block_rows):
            values = block.statistics["target_prob"]
            assert block.first_position == position
            assert len(values) <= block_rows
            assert block.index["sample_id"].to_pylist() == list(range(position, position + len(values)))
            np.testing.assert_array_equal(values, PROB[position : position + len(values)][:, [3, 0, 4]])
            position += len(values)
    assert position == len(PROB)


def test_a_bucket_is_scored_in_an_object_store(make_dynamics: MakeDynamics, s3: str) -> None:
    run = make_dynamics(PROB, place=s3)
    score_bucket(ScoreJob(run.root.address, {"dual": Dual(Dual.Options(window=3))}, range(5), "raise"), 1)
    table = read_scores(run, "dual", 1)
    assert len(table) == 11
    assert table["position"].to_pylist() == list(range(12, 23))
    np.testing.assert_array_equal(table["score"].to_numpy(), dual(PROB[12:], 3))


def test_a_file_of_another_length_is_named(make_dynamics: MakeDynamics) -> None:
    store = DynamicsStore(make_dynamics(PROB))
    store.file(2, 1).write_table(pa.table({"target_prob": PROB[:4, 0]}))
    with pytest.raises(DataError, match=r"epoch=0002/bucket=00001.parquet .*4 rows instead of 11.*from epoch 2 on"):
        list(read_blocks(store, 1, ["target_prob"], range(5)))


def test_no_score_file_is_left_where_scoring_fails(make_dynamics: MakeDynamics) -> None:
    prob = PROB.copy()
    prob[20, 2] = np.nan
    run = make_dynamics(prob)
    with pytest.raises(DataError, match="first sample 20 in epoch 2"):
        score_bucket(ScoreJob(run.root.address, {"dual": Dual(Dual.Options(window=3))}, range(5), "raise"), 1)
    assert not (run.scores("dual") / "bucket=00001.parquet").exists()
