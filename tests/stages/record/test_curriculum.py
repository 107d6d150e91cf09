"""Recording with a curriculum: what it hid is in the manifest, and missing in the store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dualprune import Run
from dualprune.core.config import Config
from dualprune.core.config_file import make_config
from dualprune.core.run import RunDirectory
from dualprune.dynamics.store import DynamicsStore
from dualprune.errors import ConfigError, DataError
from dualprune.stages.checks import check_before


def config(name: str = "kakurenbo", options: dict[str, Any] | None = None, **others: Any) -> Config:
    return make_config(
        {
            "data": {"source": "digits"},
            "model": {"name": "small_cnn"},
            "train": {
                "epochs": 4,
                "batch_size": 64,
                "lr": 0.05,
                "augment": "none",
                "curriculum": {"name": name, "options": options or {}},
            },
            "record": {"epochs": 4, "num_buckets": 3, **others.pop("record", {})},
            "score": {"options": {"dual": {"window": 2}}, **others.pop("score", {})},
            **others,
        }
    )


def test_scores_that_need_what_it_hides_are_refused_before_the_first_epoch(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path / "run")
    refused = (
        r"train\.curriculum\.name: 'kakurenbo' leaves samples out from epoch 1 on; .* 'dual' needs those of every "
        r"scored epoch\. .*score\.on_nan to drop"
    )
    with pytest.raises(ConfigError, match=refused):
        check_before(["record", "score"], run, config())
    with pytest.raises(ConfigError, match="'rs2' leaves samples out from epoch 0 on"):
        check_before(["record", "score"], run, config("rs2"))
    with pytest.raises(ConfigError, match=r"record\.stop: stable follows .* 'kakurenbo' leaves samples out"):
        check_before(["record"], run, config(record={"stop": "stable"}))
    check_before(["record", "score"], run, config(score={"on_nan": "drop"}))
    check_before(["record"], run, config())
    # Epoch 0 trains on all.
    check_before(["record", "score"], run, config(score={"methods": ["loss"], "epochs": 1}, select={"score": "loss"}))


@pytest.mark.slow
def test_what_was_hidden_is_recorded(tmp_path: Path, ray_cluster: None) -> None:
    settings = config(score={"on_nan": "drop"})
    run = Run(tmp_path / "run", settings)
    run.record({"record.epochs": 2, "scaling.num_workers": 1})
    # Resumed from the checkpoint, with another number of workers.
    run.record({"record.epochs": 4, "scaling.num_workers": 2})
    summary = run.directory.manifests()["record"]["summary"]["curriculum"]
    rows, store = summary["epochs"], DynamicsStore(run.directory)
    num = store.num_samples
    assert [row["epoch"] for row in rows] == [0, 1, 2, 3]
    assert [row["cap"] for row in rows] == [0, int(0.3 * num), int(0.24 * num), int(0.18 * num)]
    assert all(0 < row["hidden"] <= row["cap"] for row in rows[1:])
    assert all(row["hidden"] == row["refreshed"] == num - row["visits"] for row in rows)
    assert rows[1]["lr_factor"] == pytest.approx(1 / (1 - 0.3))
    assert summary["of"] == 4 * num
    assert summary["visits"] == sum(row["visits"] for row in rows)
    assert summary["saved"] == round(1 - summary["visits"] / summary["of"], 4)
    # Left out means missing.
    values = np.concatenate([store.read_bucket(bucket)["target_prob"] for bucket in range(store.num_buckets)])
    assert np.isfinite(values).sum(axis=0).tolist() == [row["visits"] for row in rows]
    # Dropped: samples that any epoch left out.
    run.score()
    assert run.scores().num_rows == np.isfinite(values).all(axis=1).sum() < num
    with pytest.raises(DataError, match=r"score\.on_nan to drop"):
        run.score({"score.on_nan": "raise"})
