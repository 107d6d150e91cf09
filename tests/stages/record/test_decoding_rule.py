"""A recording goes on with the rule of decoding that it began with, and says so."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dualprune.core.config import Config
from dualprune.core.config_file import make_config
from dualprune.core.run import RunDirectory
from dualprune.dynamics.store import DynamicsStore
from dualprune.errors import RunError
from dualprune.stages.record import stage as record_stage
from dualprune.stages.record.stage import run_record, statistics_of
from tests.data.images import encoded, noise
from tests.data.sources.test_images import source_of, write


def made_config(folder: Path, **record: Any) -> Config:
    """Return the configuration of a recording whose images are gray at first, then coloured."""
    images = [encoded(noise(6, 5)), *(encoded(noise(6, 5, 3, seed=seed)) for seed in range(23))]
    return make_config(
        {
            "data": {
                "source": "parquet",
                "path": write(folder / "train.parquet", images),
                "options": {"id_column": None},
            },
            "model": {"name": "small_cnn", "options": {"width": 4}},
            "train": {"epochs": 4, "batch_size": 8},
            "record": {"epochs": 2, "num_buckets": 1, **record},
            "score": {"options": {"dual": {"window": 2}}},
            "scaling": {"num_workers": 1},
        }
    )


def files_of(run: RunDirectory) -> dict[str, Any]:
    return {key: json.dumps(manifest) for key, manifest in run.manifests().items()}


def test_a_recording_of_the_version_before_stays_what_it_is(tmp_path: Path, make_dynamics) -> None:
    config = made_config(tmp_path)
    run = make_dynamics(np.full((24, 2), 0.5), num_buckets=1, num_classes=2)
    index_settings = {"data": config.identity("data"), "source": source_of(config.data.path).fingerprint()}
    with run.stage("index", index_settings) as index:
        pass
    settings = {
        "model": config.identity("model"),
        "train": config.identity("train"),
        "statistics": list(statistics_of(config)),
    }
    with run.stage("record", settings, [index.fingerprint]) as stage:
        stage.summary = {"epochs": 2}
    before = files_of(run)
    run_record(run, config)
    assert files_of(run) == before
    other = config.model_copy(update={"data": config.data.model_copy(update={"channels": 3})})
    with pytest.raises(RunError, match=r"data\.channels: None there, 3 now"):
        run_record(run, other)


@pytest.mark.slow
def test_a_recording_goes_on_with_the_rule_that_it_began_with(
    tmp_path: Path, ray_cluster: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    logging.getLogger("dualprune").propagate = True
    caplog.set_level(logging.INFO, logger="dualprune")
    run = RunDirectory(tmp_path / "run")
    with monkeypatch.context() as patch:
        # So recorded the version that knew this rule alone.
        patch.setattr(record_stage, "RULE", 1)
        run_record(run, made_config(tmp_path))
    assert "decoding" not in run.manifest("index")["settings"]
    assert "decoded by rule" not in caplog.text
    # A model with another number of channels could not take up the checkpoint.
    run_record(run, made_config(tmp_path, epochs=4))
    assert DynamicsStore(run).epochs == [0, 1, 2, 3]
    assert "decoding" not in run.manifest("index")["settings"]
    assert "images are decoded by rule 1 of docs/recording.md, with which this run began" in caplog.text
