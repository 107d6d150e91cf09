"""What `dualprune status` says about a run: what is done, outdated, unfinished or missing, and what comes next."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import pytest

from dualprune.api import Run
from dualprune.core.config_file import make_config
from dualprune.core.run import RunDirectory
from dualprune.stages.status import next_command, stage_states, total_seconds
from dualprune.stages.table import STAGES
from tests.cli.conftest import Command
from tests.conftest import MakeDynamics

SUMMARIES: dict[str, dict[str, Any]] = {
    "index": {"samples": 7000},
    "record": {"epochs": 3, "statistics": ["target_prob", "loss"], "skipped": {"count": 2, "first": ["s4", "s9"]}},
    "score.dual": {"samples": 6998, "left_out": 2},
    "select.beta-0.7": {"num_kept": 2100, "ratio": 0.7},
    "export.beta-0.7": {"kept": 2100},
}
EPOCHS = 3
# A process that writes a run, as a recording does.
WRITES = """
import sys
from dualprune.core.run import RunDirectory
run = RunDirectory(sys.argv[1])
with run.exclusive(), run.stage("record", {}):
    print("begun", flush=True)
    sys.stdin.read()
"""


def finish(run: RunDirectory, key: str, settings: dict[str, Any] | None = None) -> None:
    stage = next(stage for stage in STAGES.values() if stage.owns(key))
    given = {"score": "dual"} if settings is None else settings
    found = stage.inputs(run, run.load_config(), {"stage": key, "settings": given})
    with run.stage(key, given, found or ()) as entered:
        entered.summary = SUMMARIES[key]


def states(run: RunDirectory) -> dict[str, str]:
    return {row["stage"]: row["state"] for row in stage_states(run)}


@pytest.fixture
def run(make_dynamics: MakeDynamics) -> RunDirectory:
    run = make_dynamics(np.full((7, EPOCHS), 0.5))
    run.save_config(make_config({"train": {"epochs": 5}, "record": {"epochs": 5}, "score": {"window": 2}}))
    for key in SUMMARIES:
        finish(run, key)
    return run


def test_a_finished_run(command: Command, run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    assert states(run) == {**dict.fromkeys(SUMMARIES, "done"), "evaluate": "off"}
    monkeypatch.setenv("COLUMNS", "200")
    outcome = command("status", run)
    assert outcome.code == 0
    for part in (
        "samples 7,000",
        "statistics target_prob, loss",
        "2 images skipped (s4, s9)",
        "left out 2",
        "kept 2,100",
    ):
        assert part in outcome.out
    assert "next:" not in outcome.out
    for row in stage_states(run):
        assert row["seconds"] is None or 0 <= row["seconds"] < 60


def test_what_a_stage_before_has_changed_is_outdated(run: RunDirectory, make_dynamics: MakeDynamics) -> None:
    finish(run, "score.dual", {"epochs": 3, "on_nan": "drop"})
    assert states(run)["select.beta-0.7"] == "outdated"
    assert states(run)["export.beta-0.7"] == "done"
    finish(run, "select.beta-0.7")
    assert states(run)["export.beta-0.7"] == "outdated"
    make_dynamics(np.full((7, EPOCHS + 1), 0.5), place=str(run))
    assert states(run)["score.dual"] == "outdated"
    run.save_config(make_config({"score": {"window": 2, "epochs": EPOCHS}}))
    assert states(run)["score.dual"] == "done"


def test_what_deleted_dynamics_were_scored_to_stands(run: RunDirectory) -> None:
    run.dynamics.delete()
    assert states(run)["score.dual"] == "done"


def test_a_selection_of_the_configuration_that_is_not_there_comes_next(command: Command, run: RunDirectory) -> None:
    run.save_config(make_config({"score": {"window": 2}, "select": {"ratio": [0.5, 0.7]}}))
    assert states(run)["select.beta-0.5"] == "missing"
    assert f"next: dualprune select {run}" in command("status", run).out


def test_an_interrupted_sweep_goes_on_with_resume(command: Command, run: RunDirectory) -> None:
    with pytest.raises(KeyboardInterrupt), run.stage("tune", {}):
        raise KeyboardInterrupt
    (run.root / "tune" / "trials" / "a.json").write_json({})
    rows = {row["stage"]: row for row in stage_states(run)}
    assert rows["tune"]["summary"] == {"trials": 1}
    assert f"next: dualprune tune {run} --resume" in command("status", run).out


def test_an_interrupted_recording_and_what_comes_next(
    command: Command, make_dynamics: MakeDynamics, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_dynamics(np.full((7, 3), 0.5))
    run.save_config(
        make_config({"record": {"epochs": 10}, "score": {"window": 2}, "evaluate": {"enabled": True, "seeds": 1}})
    )
    with run.stage("index", {}) as stage:
        stage.summary = {"samples": 7}
    with pytest.raises(KeyboardInterrupt), run.stage("record", {}):
        raise KeyboardInterrupt
    found = states(run)
    assert found == {"index": "done", "record": "unfinished", **dict.fromkeys(("score", "select", "export"), "missing"),
                     "evaluate": "missing"}  # fmt: skip
    monkeypatch.setenv("COLUMNS", "200")
    told = command("status", run).out
    assert "epochs 3 of 10" in told
    assert f"next: dualprune record {run}" in told


@contextmanager
def recording(run: RunDirectory) -> Iterator[subprocess.Popen[str]]:
    """Have another process write the run while the block runs, and kill it."""
    words = [sys.executable, "-c", WRITES, str(run)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "begun\n"
            yield process
        finally:
            process.kill()


def test_a_live_recording_is_running_until_its_process_ends(
    command: Command, make_dynamics: MakeDynamics, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_dynamics(np.full((7, 3), 0.5))
    run.save_config(make_config({"record": {"epochs": 10}, "score": {"window": 2}}))
    with run.stage("index", {}) as stage:
        stage.summary = {"samples": 7}
    # Another command was killed before.
    with pytest.raises(KeyboardInterrupt), run.stage("tune", {}):
        raise KeyboardInterrupt
    monkeypatch.setenv("COLUMNS", "200")
    # The lease tells the time in whole seconds.
    time.sleep(1.0)
    with recording(run) as process:
        rows = {row["stage"]: row for row in stage_states(run)}
        assert (rows["index"]["state"], rows["record"]["state"]) == ("done", "running")
        assert (rows["tune"]["state"], rows["score"]["state"]) == ("unfinished", "missing")
        assert rows["record"]["summary"] == {"epochs": "3 of 10"}
        assert 0 <= rows["record"]["seconds"] < 60
        assert next_command(run, list(rows.values())) is None
        began = run.manifests()["record"]["started_at"]
        for epoch in range(3):
            place = run.dynamics / f"epoch={epoch:04d}" / "_commit.json"
            place.write_json({**place.read_json(), "written_at": began + 100 * epoch})
        told = command("status", run)
        assert told.code == 0
        assert "epochs 3 of 10, 15 min left" in told.out
        assert f"running: pid {process.pid} on " in told.out
        assert "next:" not in told.out
        assert f"being written by pid {process.pid}" in repr(Run(run))
        command("score", run).is_user_error(f"is being written by another process (pid {process.pid} ")
    assert states(run)["record"] == "unfinished"
    assert f"next: dualprune record {run}" in command("status", run).out


def test_a_live_run_in_an_object_store(s3: str) -> None:
    run = RunDirectory(s3)
    with run.stage("index", {}):
        pass
    with pytest.raises(KeyboardInterrupt), run.stage("record", {}):
        raise KeyboardInterrupt
    assert states(run)["record"] == "unfinished"
    lease = {"owner": "x", "expires_at": time.time() + 90, "host": "h", "pid": 7, "since": "2020-01-01T00:00:00+0000"}
    (run.root / "_lease.json").write_json(lease)
    assert states(run)["record"] == "running"
    (run.root / "_lease.json").write_json({**lease, "expires_at": time.time() - 1})
    assert states(run)["record"] == "unfinished"


def test_a_pass_that_results_share_counts_once(
    run: RunDirectory, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    began = total_seconds(stage_states(run))
    with ExitStack() as stack:
        for ratio in (0.3, 0.5, 0.9):
            stack.enter_context(run.stage(f"select.beta-{ratio}", {"score": "dual"}))
        time.sleep(0.5)
    rows = stage_states(run)
    shared = [row["seconds"] for row in rows if row["stage"] in ("select.beta-0.3", "select.beta-0.5")]
    assert min(shared) >= 0.5
    assert 0.5 <= total_seconds(rows) - began < 1.0
    assert "time that stages share counts once" in command("status", run).out


def test_the_time_of_all_attempts_counts(run: RunDirectory) -> None:
    for interrupted in (True, True, False):
        try:
            with run.stage("tune", {}):
                time.sleep(0.1)
                if interrupted:
                    raise KeyboardInterrupt
        except KeyboardInterrupt:
            time.sleep(0.3)
    [row] = [row for row in stage_states(run) if row["stage"] == "tune"]
    assert len(row["attempts"]) == 3
    assert 0.3 <= total_seconds([row]) < 0.6
    assert total_seconds([row]) == pytest.approx(row["seconds"], abs=0.05)
    # Manifests of older versions know the last beginning and the sum.
    place = run.root / "manifests" / "tune.json"
    place.write_json({key: value for key, value in place.read_json().items() if key != "attempts"})
    [row] = [row for row in stage_states(run) if row["stage"] == "tune"]
    assert total_seconds([row]) == pytest.approx(row["seconds"])


def test_what_an_earlier_configuration_asked_for_does_not_come_next(command: Command, run: RunDirectory) -> None:
    # A selection at another ratio, drawn before the scores changed: no command of this configuration would do it.
    with run.stage("select.beta-0.3", {"score": "dual"}, ["of other scores"]):
        pass
    assert states(run)["select.beta-0.3"] == "outdated"
    assert "next:" not in command("status", run).out


def test_a_plug_in_that_is_not_installed_here_leaves_what_is_there(command: Command, run: RunDirectory) -> None:
    place = run.root / "config.yaml"
    # Without the first line, the checksum, as someone who edits the file must leave it out.
    text = place.read_bytes().decode().partition("\n")[2]
    place.write_text(text.replace("method: beta", "method: of_another_package"))
    shown = command("status", run)
    assert shown.code == 0
    assert "select.beta-0.7" in shown.out
    assert states(run)["record"] == "done"
