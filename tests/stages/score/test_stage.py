"""The score stage on a cluster: several methods in one read, what it refuses, and how it continues after a crash."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import ray

from dualprune.core.config import Config
from dualprune.core.config_file import make_config
from dualprune.core.run import RunDirectory
from dualprune.core.storage import Location
from dualprune.dynamics.store import DynamicsStore
from dualprune.errors import ConfigError, DataError, RunError
from dualprune.scores import Dual, dual
from dualprune.stages.score.files import read_scores
from dualprune.stages.score.stage import ScoreJob, run_score, score_bucket
from tests.conftest import MakeDynamics

PROB = np.random.default_rng(0).random((23, 5), dtype=np.float32)


def recorded(run: RunDirectory) -> RunDirectory:
    with run.stage("record", {}) as stage:
        stage.summary = {"epochs": len(DynamicsStore(run).epochs)}
    return run


def config(**score: object) -> Config:
    return make_config({"record": {"epochs": 5}, "score": {"window": 3, **score}})


def test_a_window_longer_than_what_is_recorded(make_dynamics: MakeDynamics) -> None:
    with pytest.raises(ConfigError, match="dual: 5 recorded epochs are fewer than the 6 that it needs"):
        run_score(recorded(make_dynamics(PROB)), make_config({"score": {"window": 6}}))


def test_an_epoch_that_is_lost_in_the_middle(make_dynamics: MakeDynamics) -> None:
    run = recorded(make_dynamics(PROB))
    (run.dynamics / "epoch=0002" / "_commit.json").delete()
    with pytest.raises(RunError, match=r"epoch 2 has no commit, but later ones have; delete the folder epoch=0002 and"):
        run_score(run, config())


def test_epochs_of_two_configurations(make_dynamics: MakeDynamics) -> None:
    run = recorded(make_dynamics(PROB))
    for epoch in (1, 3):
        commit = run.dynamics / f"epoch={epoch:04d}" / "_commit.json"
        commit.write_json(commit.read_json() | {"fingerprint": "other"})
    message = r"epochs 1, 3 were recorded under another configuration than epochs 0, 2, 4, .*folder epoch=0001 and run"
    with pytest.raises(RunError, match=message):
        run_score(run, config())


def job(run: RunDirectory, on_nan: str = "raise") -> ScoreJob:
    return ScoreJob(run.root.address, {"dual": Dual(Dual.Options(window=3))}, range(5), on_nan)


def test_a_file_that_is_cut_off_is_named_with_its_epoch(make_dynamics: MakeDynamics) -> None:
    run = make_dynamics(PROB)
    file = Path(DynamicsStore(run).file(3, 1).path)
    file.write_bytes(file.read_bytes()[:-20])
    message = r"epoch=0003/bucket=00001.parquet is missing or damaged .*11 samples from position 12; .*from epoch 3 on"
    with pytest.raises(DataError, match=message):
        score_bucket(job(run), 1)


def test_a_nan_is_named_or_dropped(make_dynamics: MakeDynamics) -> None:
    prob = PROB.copy()
    prob[20, 2] = np.nan
    run = make_dynamics(prob, ids=[f"id-{i}" for i in range(23)])
    with pytest.raises(DataError, match=r"first sample 'id-20' in epoch 2; set score.on_nan to drop"):
        score_bucket(job(run), 1)
    score_bucket(job(run, "drop"), 1)
    scored = read_scores(run, "dual", 1)
    assert scored.num_rows == 10
    assert "id-20" not in scored["sample_id"].to_pylist()


def test_one_bucket_is_scored_without_ray_and_torch(make_dynamics: MakeDynamics) -> None:
    run = recorded(make_dynamics(PROB, num_buckets=1))
    run.save_config(config())
    code = (
        "import sys; from dualprune.core.run import RunDirectory; from dualprune.stages.score.stage import run_score;"
        "run = RunDirectory(sys.argv[1]); run_score(run, run.load_config()); print(*sys.modules)"
    )
    loaded = subprocess.check_output([sys.executable, "-c", code, str(run)], text=True).split()
    assert not {"ray", "torch", "torchvision", "rich"} & {*loaded}
    np.testing.assert_array_equal(read_scores(run, "dual", 0)["score"].to_numpy(), dual(PROB, 3))


def test_several_methods_share_one_read(make_dynamics: MakeDynamics, monkeypatch: pytest.MonkeyPatch) -> None:
    run = make_dynamics(PROB)
    opened: list[str] = []
    open_input = Location.open_input
    monkeypatch.setattr(Location, "open_input", lambda self: opened.append(self.address) or open_input(self))
    both = ScoreJob(
        run.root.address,
        {"dual": Dual(Dual.Options(window=3)), "longer": Dual(Dual.Options(window=5))},
        range(5),
        "raise",
    )
    score_bucket(both, 0)
    assert len(opened) == len(set(opened)) == 6  # the index and five epochs
    for name, window in (("dual", 3), ("longer", 5)):
        np.testing.assert_array_equal(read_scores(run, name, 0)["score"].to_numpy(), dual(PROB[:12], window))


def test_a_killed_run_goes_on_with_the_buckets_that_it_left(make_dynamics: MakeDynamics, ray_cluster: None) -> None:
    prob = np.random.default_rng(1).random((120, 5), dtype=np.float32)
    run = recorded(make_dynamics(prob, num_buckets=12))
    run.save_config(config())
    stuck = Path(DynamicsStore(run).file(0, 7).path)
    whole = stuck.read_bytes()
    stuck.unlink()
    os.mkfifo(stuck)  # a task that opens it waits forever
    files = [Path((run.scores("dual") / f"bucket={bucket:05d}.parquet").path) for bucket in range(12)]
    environment = os.environ | {"RAY_ADDRESS": ray.get_runtime_context().gcs_address}
    with subprocess.Popen([sys.executable, "-m", "dualprune", "score", str(run)], env=environment) as process:
        try:
            wait_until(lambda: sum(file.exists() for file in files) >= 5, process)
        finally:
            process.send_signal(signal.SIGKILL)
    stuck.unlink()
    stuck.write_bytes(whole)
    assert not files[7].exists()
    assert not (run.scores("dual") / "_commit.json").exists()
    before = {file: file.stat().st_mtime_ns for file in files if file.exists()}
    run_score(run, config())
    assert {file: file.stat().st_mtime_ns for file in before} == before
    scores = np.concatenate([read_scores(run, "dual", bucket)["score"].to_numpy() for bucket in range(12)])
    np.testing.assert_array_equal(scores, dual(prob, 3))


def wait_until(met: object, process: subprocess.Popen[bytes], limit_s: float = 90.0) -> None:
    end = time.monotonic() + limit_s
    while not met():  # type: ignore[operator]
        assert process.poll() is None, f"the command ended by itself, with {process.returncode}"
        assert time.monotonic() < end, "the command did not come that far"
        time.sleep(0.05)
