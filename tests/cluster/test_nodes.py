"""Jobs on a real cluster of three Ray nodes, submitted with a token, with the run in an object store."""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator

import pytest

import dualprune
from dualprune.core.config_file import load_config
from dualprune.core.storage import Location
from tests.cluster.documents import ROOT
from tests.cluster.nodes import BIN, Nodes, started

pytestmark = pytest.mark.slow

EPOCHS = 24
SETTINGS = ["train.epochs=40", f"record.epochs={EPOCHS}", "score.window=4", "evaluate.enabled=false"]
SETTINGS += ["record.checkpoint_every=1"]
SWEEP = ["tune.space={select.c_d: {uniform: [1, 12]}}", "tune.num_trials=4", "tune.test_points=0", "evaluate.epochs=1"]


@pytest.fixture(scope="module")
def nodes(object_store: str) -> Iterator[Nodes]:
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_EC2_METADATA_DISABLED": "true"}
    # Workers that Ray starts in advance lack the job's environment, and are useless here.
    quick = {"RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.2", "RAY_prestart_worker_first_driver": "0"}
    quick |= {"RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0", "RAY_metrics_report_interval_ms": "2000"}
    # As in the manifests the head takes no work. No other node has room for both training workers.
    with started([0, 1, 1], keys | quick) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def run_address(object_store: str) -> str:
    return f"s3://bucket/nodes/digits?{object_store}"


def submit_words(nodes: Nodes, job: str, pipeline: str, run: str, *flags: str, settings=SETTINGS) -> list[str]:
    words = ["job", "submit", "--address", nodes.address, "--submission-id", job, *flags]
    words += ["--working-dir", str(ROOT), "--runtime-env", str(ROOT / "pipelines" / "runtime_env.yaml"), "--"]
    words += ["python", "-m", f"pipelines.{pipeline}", "--config", "pipelines/configs/digits.yaml"]
    words += ["--run", run, *(word for setting in settings for word in ("--set", setting))]
    return words


def our_submit(nodes: Nodes, pipeline: str, run: str, settings=SETTINGS) -> list[str]:
    words = [str(BIN / "dualprune"), "submit", "pipelines/configs/digits.yaml", "--address", nodes.address]
    words += ["--code", str(ROOT), "--pipeline", pipeline, "--run", run]
    return words + [word for setting in settings for word in ("--set", setting)]


def last_line(log: str) -> dict:
    return json.loads([line for line in log.splitlines() if line.startswith('{"pipeline"')][-1])


def wait_for(what: Callable[[], bool], seconds: float, why: Callable[[], str]) -> None:
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, why()
        time.sleep(0.5)


def commit_times(run_address: str) -> dict[int, float]:
    folder = Location.of(run_address) / "dynamics"
    commits = [epoch / "_commit.json" for epoch in folder.children()]
    records = [commit.read_json() for commit in commits if commit.exists()]
    return {record["epoch"]: record["written_at"] for record in records}


def test_without_the_token_a_submission_is_refused(nodes: Nodes, run_address: str) -> None:
    without = nodes.env | {"RAY_AUTH_MODE": "disabled"}
    done = nodes.ray(*submit_words(nodes, "stranger", "prune", run_address), env=without)
    assert done.returncode != 0
    assert "Authenti" in done.stdout + done.stderr

    wrong = nodes.env | {"RAY_AUTH_TOKEN": "0" * 32}
    words = [str(BIN / "dualprune"), "submit", "pipelines/configs/digits.yaml", "--address", nodes.address]
    words += ["--run", run_address, "--submission-id", "impostor"]
    refused = subprocess.run(words, env=wrong, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert refused.returncode == 2, refused.stderr
    assert "refuses us: set RAY_AUTH_MODE=token" in refused.stderr
    assert nodes.jobs() == []


def test_a_job_stopped_in_an_epoch_and_submitted_again_goes_on_from_the_last_commit(
    nodes: Nodes, run_address: str
) -> None:
    words = [*our_submit(nodes, "prune", run_address), "--submission-id", "first"]
    shown: list[str] = []
    process = subprocess.Popen(words, env=nodes.env, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    reader = threading.Thread(target=lambda: shown.extend(iter(process.stdout.readline, "")), daemon=True)
    reader.start()

    def committed() -> bool:
        assert process.poll() is None, "".join(shown)
        return len(commit_times(run_address)) >= 3

    def live() -> bool:
        return re.search(rf"record: \d+ of {EPOCHS}, .*loss", "".join(shown)) is not None

    wait_for(lambda: committed() and live(), 240, lambda: "".join(shown))
    # The log is shown while the job runs; Ctrl-C leaves the log, and does not stop the job.
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=30) == 130
    reader.join(timeout=10)
    assert "left the log; job first continues" in shown[-1]
    assert nodes.job_status("first") == "RUNNING"
    workers = [actor for actor in nodes.state("actors") if "TrainWorker" in actor["class_name"]]
    assert len({actor["node_id"] for actor in workers if actor["state"] == "ALIVE"}) == 2
    wait_for(lambda: "ray_dualprune_epoch{" in nodes.metrics(), 20, nodes.metrics)
    stop = shown[-1].partition("To stop it: ray ")[2]
    nodes.ray(*shlex.split(stop))
    wait_for(lambda: nodes.job_status("first") == "STOPPED", 60, lambda: nodes.job_log("first"))
    before = commit_times(run_address)
    assert 3 <= len(before) < EPOCHS
    assert last_line(nodes.job_log("first"))["status"] == "stopped"
    assert not (Location.of(run_address) / "_lease.json").exists()

    again = nodes.ray(*submit_words(nodes, "second", "prune", run_address))
    assert again.returncode == 0, again.stdout + again.stderr
    assert nodes.job_status("second") == "SUCCEEDED"
    after = commit_times(run_address)
    assert sorted(after) == list(range(EPOCHS))
    assert {epoch: after[epoch] for epoch in before} == before
    line = last_line(nodes.job_log("second"))
    assert line["status"] == "succeeded"
    assert line["run"] == run_address.partition("?")[0]
    assert line["result"]["kept"] == {"beta-0.7": 431}
    kept_ids = (dualprune.RunDirectory(run_address).selection("beta-0.7") / "kept.parquet").read_table()
    assert kept_ids.num_rows == 431


def test_a_sweep_that_is_submitted_again_goes_on_with_the_trials_that_are_there(nodes: Nodes, run_address: str) -> None:
    words = submit_words(nodes, "sweep", "sweep", run_address, settings=SETTINGS + SWEEP)
    begun = nodes.ray(*words, "--max-trials", "2")
    assert begun.returncode == 0, begun.stdout + begun.stderr
    result = last_line(nodes.job_log("sweep"))["result"]
    assert result["num_trials"]["finished"] == 2
    trials = Location.of(run_address) / "tune" / "trials"
    before = {trial.name: trial.read_bytes() for trial in trials.children()}

    words = our_submit(nodes, "sweep", run_address, SETTINGS + SWEEP)
    done = subprocess.run(words, env=nodes.env, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"to stop it: ray job stop --address {nodes.address} raysubmit_" in done.stdout
    assert "SUCCEEDED" in done.stdout.splitlines()[-1]
    assert last_line(done.stdout)["result"]["num_trials"]["finished"] == 4
    after = {trial.name: trial.read_bytes() for trial in trials.children()}
    assert len(after) == 4
    assert before.items() <= after.items()
    best = load_config(Location.of(run_address) / "tune" / "best.yaml")
    assert 1 <= best.select.options["beta"]["c_d"] <= 12


def test_our_own_submit_fails_as_the_job_does(nodes: Nodes, run_address: str) -> None:
    words = our_submit(nodes, "score", run_address.replace("digits", "nothing"))
    failed = subprocess.run(words, env=nodes.env, cwd=ROOT, capture_output=True, text=True, timeout=200)
    assert failed.returncode == 1, failed.stdout + failed.stderr
    assert "is not finished; run `dualprune record" in last_line(failed.stdout)["error"]
    assert "FAILED" in failed.stdout
