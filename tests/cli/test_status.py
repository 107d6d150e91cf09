"""What `dualprune status` says about a run: what is done, outdated, unfinished or missing, and what comes next."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dualprune.core.config_file import make_config
from dualprune.core.run import RunDirectory
from dualprune.stages.status import stage_states
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
