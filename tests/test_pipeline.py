"""The whole way, on real engines."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

import dualprune
from dualprune.errors import RunError
from dualprune.pipeline import run_stages
from tests.data.test_parquet import write

DATA = Path(__file__).parents[2] / "shared" / "data"


def test_a_parquet_set_is_pruned_and_only_what_changed_is_done_again(
    tmp_path: Path, ray_cluster: None, caplog: pytest.LogCaptureFixture
) -> None:
    config = {
        "data": {"source": "parquet", "path": write(tmp_path / "train.parquet", num=61)},
        "model": {"name": "small_cnn"},
        "train": {"epochs": 4, "batch_size": 16},
        "record": {"epochs": 3},
        "score": {"window": 2},
        "select": {"ratio": 0.5},
        "export": {"removed": True},
    }
    run = dualprune.prune(config, tmp_path / "run").run
    store = dualprune.DynamicsStore(run)
    assert store.epochs == [0, 1, 2]
    for bucket in range(store.num_buckets):
        assert np.isfinite(store.read_bucket(bucket)["target_prob"]).all()
    kept = (run.selection("beta-0.5") / "kept.parquet").read_table()
    assert kept.num_rows == 31
    exported = pq.read_table(f"{run.export('beta-0.5')}/data")
    assert exported.column_names == ["sample_id", "image", "label", "inclusion"]
    assert exported["sample_id"].to_pylist() == kept["sample_id"].to_pylist()
    mask = np.load(f"{run.export('beta-0.5')}/mask.npy")
    assert np.flatnonzero(mask).tolist() == kept["position"].to_pylist()
    removed = (run.export("beta-0.5") / "removed.parquet").read_table()
    assert removed.num_rows == 30
    pruned = dualprune.PrunedDataset(list(range(61)), run, "beta-0.5")
    assert [pruned[i] for i in range(len(pruned))] == kept["position"].to_pylist()

    logging.getLogger("dualprune").propagate = True
    with caplog.at_level(logging.INFO, logger="dualprune"):
        dualprune.prune({**config, "select": {"ratio": 0.7}}, run)
    for stage in ("index", "record", "score.dual"):
        assert f"{stage}: done already, skipped" in caplog.text
    assert "select.beta-0.7: done in" in caplog.text

    # What a damaged file's error tells to do.
    (run.dynamics / "epoch=0001").delete()
    run_stages(run, run.load_config(), ["record"])
    assert dualprune.DynamicsStore(run).epochs == [0, 1, 2]

    with pytest.raises(RunError, match=r"belongs to another configuration .*train.lr"):
        dualprune.prune({**config, "train": {"epochs": 4, "batch_size": 16, "lr": 0.01}}, run)


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason="CIFAR-10 is not here")
def test_cifar10(tmp_path: Path, ray_cluster: None) -> None:
    config = {
        "data": {
            "source": "parquet",
            "path": str(DATA / "cifar10_train.parquet"),
            "test_path": str(DATA / "cifar10_test.parquet"),
            "id_column": None,
            "max_samples": 5000,
        },
        "model": {"name": "small_cnn"},
        "train": {"epochs": 20},
        "record": {"epochs": 5},
        "score": {"window": 3},
        "select": {"ratio": 0.9},
    }
    result = dualprune.prune(config, tmp_path / "run")
    assert result.run.manifest("record")["summary"]["train_accuracy"] > 0.2
    kept = (result.run.selection("beta-0.9") / "kept.parquet").read_table()
    assert kept.num_rows == 500
    assert len(set(kept["label"].to_pylist())) >= 5


@pytest.mark.slow
def test_digits_with_evaluation(tmp_path: Path, ray_cluster: None) -> None:
    config = {
        "model": {"name": "small_cnn"},
        "train": {"epochs": 8, "batch_size": 64, "lr": 0.05, "augment": "none"},
        "record": {"epochs": 6},
        "score": {"window": 3},
        "evaluate": {"enabled": True, "seeds": 1, "epochs": 3},
    }
    result = dualprune.prune(config, tmp_path / "run")
    assert result.evaluation is not None
    rows = {row["subset"]: row for row in result.evaluation["summary"]}
    assert list(rows) == ["full", "random", "beta-0.7"]
    assert rows["full"]["accuracy"] > 0.5
    assert rows["random"]["kept"] == rows["beta-0.7"]["kept"] == 431
