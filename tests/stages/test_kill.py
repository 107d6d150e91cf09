"""`kill -9` of a real `dualprune prune`, in the middle of recording and after a stage: the next call does the rest."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml

import dualprune
from dualprune.stages.status import stage_states
from tests.data.sources.test_parquet import write

EPOCHS = 12


def prune(*arguments: object) -> subprocess.Popen[str]:
    words = [sys.executable, "-m", "dualprune", "prune", *map(str, arguments)]
    # A cluster of its own, whatever other tests have set.
    env = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    return subprocess.Popen(words, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)


def killed_when(reached: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    give_up = time.monotonic() + 400
    try:
        while not reached():
            assert process.poll() is None, process.communicate()[1]
            assert time.monotonic() < give_up, "it did not get that far"
            time.sleep(0.02)
    finally:
        process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_killed_prune_goes_on_where_it_was(tmp_path: Path) -> None:
    run, path = tmp_path / "run", tmp_path / "config.yaml"
    settings = {
        "data": {"source": "parquet", "path": write(tmp_path / "train.parquet", num=61)},
        "model": {"name": "small_cnn"},
        "train": {"epochs": EPOCHS, "batch_size": 16},
        "record": {"epochs": EPOCHS},
        "score": {"window": 3},
    }
    path.write_text(yaml.safe_dump(settings))

    live: list[dict[str, object]] = []

    def four_epochs() -> bool:
        if not (run / "dynamics/epoch=0003/_commit.json").exists():
            return False
        live.extend(row for row in stage_states(dualprune.RunDirectory(run)) if row["stage"] == "record")
        return True

    killed_when(four_epochs, prune(path, "--run", run))
    assert live[0]["state"] == "running"
    summary = live[0]["summary"]
    assert isinstance(summary, dict)
    assert int(summary["epochs"].partition(" of ")[0]) >= 4
    assert 0 < summary["left_s"] < 60
    states = {row["stage"]: row["state"] for row in stage_states(dualprune.RunDirectory(run))}
    assert (states["index"], states["record"], states["score"]) == ("done", "unfinished", "missing")
    before = [(run / f"dynamics/epoch={epoch:04d}/_commit.json").read_bytes() for epoch in range(3)]

    def recorded() -> bool:
        manifest = run / "manifests" / "record.json"
        return manifest.exists() and json.loads(manifest.read_bytes())["status"] == "done"

    # The run directory alone is enough to continue.
    killed_when(recorded, prune(run))
    store = dualprune.DynamicsStore(run)
    assert store.epochs == list(range(EPOCHS))
    assert [(run / f"dynamics/epoch={epoch:04d}/_commit.json").read_bytes() for epoch in range(3)] == before
    for bucket in range(store.num_buckets):
        assert np.isfinite(store.read_bucket(bucket)["target_prob"]).all()

    last = prune(path, "--run", run)
    out, err = last.communicate(timeout=400)
    assert last.returncode == 0, err
    for stage in ("index", "record", "score.dual"):
        assert f"{stage}: done already, skipped" in err
    assert "export.beta-0.7: done in" in err
    assert "kept 18 of 61 samples" in out
    assert {row["state"] for row in stage_states(dualprune.RunDirectory(run))} == {"done", "off"}
