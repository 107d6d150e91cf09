"""Arrays from the index to accuracies, on real engines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

import dualprune

pytestmark = pytest.mark.slow


def write_clusters(place: Path, num: int, seed: int) -> dict[str, Any]:
    """Write float16 arrays around three points, as NumPy files; return the paths of arrays and labels."""
    rng = np.random.default_rng(seed)
    labels = np.arange(num) % 3
    np.save(place / f"x{seed}.npy", (np.eye(3)[labels] * 3 + rng.normal(size=(num, 3))).astype(np.float16))
    np.save(place / f"y{seed}.npy", np.array(["cat", "dog", "fish"])[labels])
    return {"path": f"{place}/x{seed}.npy", "labels": f"{place}/y{seed}.npy"}


def test_arrays_end_to_end(tmp_path: Path, ray_cluster: None) -> None:
    train, test = write_clusters(tmp_path, 240, 1), write_clusters(tmp_path, 60, 2)
    config: dict[str, Any] = {
        "data": {
            "source": "array",
            "path": train["path"],
            "test_path": test["path"],
            "options": {"labels": train["labels"], "test_labels": test["labels"]},
        },
        "model": {"name": "mlp", "options": {"hidden": 16}},
        "train": {"epochs": 8, "batch_size": 32, "lr": 0.05},
        "record": {"epochs": 5},
        "score": {"options": {"dual": {"window": 3}}},
        "select": {"ratio": 0.5},
        "evaluate": {"enabled": True, "seeds": 1},
        "scaling": {"num_workers": 2},
    }
    run = tmp_path / "run"
    dualprune.prune(config, run)
    opened = dualprune.RunDirectory(run)
    values = dualprune.DynamicsStore(opened).read_bucket(0)["target_prob"]
    assert values.shape[1] == 5
    # It learns: the classes lie apart.
    assert values[:, -1].mean() > 0.8
    kept = (opened.selection("beta-0.5") / "kept.parquet").read_table()
    assert kept.num_rows == 120
    data = f"{opened.export('beta-0.5')}/data"
    rows = pq.read_table(data)
    assert rows.column_names == ["embedding", "label", "inclusion"]
    assert np.array_equal(np.array(rows["embedding"].to_pylist()), np.load(train["path"])[kept["position"].to_numpy()])
