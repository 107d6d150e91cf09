"""Recording with a real Ray Train: each sample once per epoch for any number of workers, which may change midway."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from dualprune.core.config_file import make_config
from dualprune.core.run import RunDirectory
from dualprune.dynamics.store import DynamicsStore
from dualprune.stages.record.stage import run_record
from dualprune.stages.status import stage_states
from tests.data.sources.test_parquet import write


@pytest.mark.slow
def test_one_worker_begins_and_three_go_on(tmp_path: Path, ray_cluster: None) -> None:
    images = pq.read_table(write(tmp_path / "train.parquet", num=61))["image"].to_pylist()
    path = write(tmp_path / "train.parquet", num=61, image=[*images[:7], b"no image", *images[8:]])
    run = RunDirectory(tmp_path / "run")

    def record(num_epochs: int, num_workers: int) -> DynamicsStore:
        config = {
            "data": {"source": "parquet", "path": path, "on_error": "skip"},
            "model": {"name": "small_cnn"},
            "train": {"epochs": 4, "batch_size": 16},
            "record": {"epochs": num_epochs, "num_buckets": 4, "statistics": ["target_prob", "loss"]},
            "score": {"window": 2},
            "scaling": {"num_workers": num_workers},
        }
        run_record(run, make_config(config))
        return DynamicsStore(run)

    first = record(2, num_workers=1)
    assert first.epochs == [0, 1]
    both = record(4, num_workers=3)
    assert both.epochs == [0, 1, 2, 3]
    assert {epoch: both.commits[epoch] for epoch in (0, 1)} == first.commits
    seen = np.arange(61) != 7
    for name in ("target_prob", "loss"):
        values = np.concatenate([both.read_bucket(bucket)[name] for bucket in range(both.num_buckets)])
        assert values.shape == (61, 4)
        assert np.array_equal(np.isfinite(values), np.repeat(seen[:, None], 4, axis=1))
    assert [commit["rows"] for commit in both.commits.values()] == [61] * 4
    [row] = [row for row in stage_states(run) if row["stage"] == "record"]
    assert row["summary"]["skipped"] == {"count": 1, "first": ["s7"]}
    assert (row["summary"]["epochs"], row["summary"]["workers"]) == (4, 3)
